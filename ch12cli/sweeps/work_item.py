"""Work items, the jobs that one worker trains together, and the events that a worker reports about them."""

import json
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ch12cli.files.result_json import Result
from ch12cli.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class WorkItem:
    """Jobs, by number, that are done together, and the index of their group.

    stacked: together; checkpoint: where they keep what a resume needs; tried: their process was killed once;
    at_once: of jobs that are halved, how many fit into memory, 0 where there is no halving; sound: after a failure, how
    many of the first have networks that can be built, None before.
    """

    jobs: tuple[int, ...]
    group: int
    stacked: bool
    checkpoint: Path | None = None
    tried: bool = False
    at_once: int = 0
    sound: int | None = None

    def without(self, failed: Collection[int], *, sound: int) -> "WorkItem":
        """The other jobs, of which so many of the first have been tried."""
        jobs = tuple(number for number in self.jobs if number not in failed)
        checkpoint = self.checkpoint.with_name(checkpoint_name(jobs)) if self.checkpoint and jobs else None
        return replace(self, jobs=jobs, checkpoint=checkpoint, sound=sound)

    def pieces(self, done: Collection[int]) -> list["WorkItem"]:
        """What is left of a stack that failed in training, in two: so the job whose fault it is ends up by itself.
        Halves of runs that are halved would be compared with others than they should be: these train one by one."""
        left = [number for number in self.jobs if number not in done]
        if self.at_once:
            return [replace(self, jobs=(number,), stacked=False, checkpoint=None) for number in left]
        middle = -(-len(left) // 2)
        return [replace(self, jobs=tuple(half), checkpoint=None) for half in (left[:middle], left[middle:]) if half]

    def parts(self) -> list[tuple[int, ...]]:
        """The jobs in as few stacks as fit into memory."""
        stacks = -(-len(self.jobs) // (self.at_once or len(self.jobs)))
        bounds = [len(self.jobs) * place // stacks for place in range(stacks + 1)]
        return [self.jobs[first:last] for first, last in pairwise(bounds)]

    @property
    def is_begun(self) -> bool:
        """Whether there is anything from which its stacks would go on."""
        kept = [self.checkpoints(numbers) for numbers in self.parts()]
        return any(checkpoints is not None and checkpoints.exist() for checkpoints in kept)

    def checkpoints(self, numbers: Sequence[int], *, every: int | None = None) -> Checkpoints | None:
        """Those of the stack that these jobs of it are, if it keeps any."""
        if self.checkpoint is None:
            return None
        return Checkpoints(self.checkpoint.parent, every=every, last=checkpoint_name(numbers))

    @property
    def decided(self) -> Path | None:
        """The file that keeps which of its runs leave at which rung, if they are halved."""
        return self.checkpoint.with_suffix(".rungs") if self.checkpoint and self.at_once else None

    def remove(self) -> None:
        """Removes what its resume would need."""
        for numbers in self.parts():
            if (checkpoints := self.checkpoints(numbers)) is not None:
                checkpoints.remove()
        if self.decided is not None:
            self.decided.unlink(missing_ok=True)


def checkpoint_name(numbers: Sequence[int]) -> str:
    """Of the file that keeps what the resume of a stack of these jobs needs."""
    return f"stack-{numbers[0]}-{zlib.crc32(json.dumps(list(numbers)).encode()):08x}.pt"


class Done(NamedTuple):
    """A job that has ended, by its number, and its result."""

    number: int
    result: Result

    @property
    def status(self) -> str:
        return self.result.status


class Progress(NamedTuple):
    """How far a stack is. best: the monitored metric's best value among its runs so far; minimise: less is better."""

    epoch: int
    running: int
    best: float
    minimise: bool = True


class Unstacked(NamedTuple):
    """A stack of so many runs could not go on. then: how its jobs are trained instead."""

    reason: str
    runs: int
    then: str


class Trying(NamedTuple):
    """The network of a job is about to be built by itself; None: that has been done with all of an item."""

    number: int | None


Told = Done | Progress | Unstacked
Event = Told | Trying
