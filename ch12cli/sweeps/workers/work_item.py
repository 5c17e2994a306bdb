"""Work items, which are jobs that one worker trains together, and the events that a worker reports."""

import json
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ch12cli.files.result_json import Result
from ch12cli.sweeps.workers.attempts import StackCheckpoints


@dataclass(frozen=True)
class WorkItem:
    """Jobs, by number, that one worker trains, and the index of their group.

    `stacked`: whether they are trained as a stack.
    `checkpoint`: the path of the stack's checkpoint.
    `killed_before`: whether a process that trained the item was killed.
    `runs_at_once`: the number of runs that fit into memory under halving; 0 without halving.
    `buildable`: after a failure, how many of the first jobs have networks that build; None before.
    `seconds`: how long its training takes; 0 where that is not measured.
    """

    jobs: tuple[int, ...]
    group: int
    stacked: bool
    checkpoint: Path | None = None
    killed_before: bool = False
    runs_at_once: int = 0
    buildable: int | None = None
    seconds: float = 0.0

    def without(self, failed: Collection[int], *, buildable: int) -> "WorkItem":
        """Returns the item without the failed jobs. The networks of its first `buildable` jobs are known to build."""
        jobs = tuple(number for number in self.jobs if number not in failed)
        checkpoint = self.checkpoint.with_name(checkpoint_name(jobs)) if self.checkpoint and jobs else None
        return replace(self, jobs=jobs, checkpoint=checkpoint, buildable=buildable)

    def split(self, done: Collection[int]) -> list["WorkItem"]:
        """Returns two halves of the jobs left in a failed stack, so that repeated splits isolate the faulty job.

        Under halving, returns single jobs, because halves would be compared with fewer runs.
        """
        remaining = [number for number in self.jobs if number not in done]
        if self.runs_at_once:
            return [replace(self, jobs=(number,), stacked=False, checkpoint=None) for number in remaining]
        middle = -(-len(remaining) // 2)
        return [
            replace(self, jobs=tuple(half), checkpoint=None)
            for half in (remaining[:middle], remaining[middle:])
            if half
        ]

    def parts(self) -> list[tuple[int, ...]]:
        """Returns the jobs divided into as few stacks as fit into memory."""
        stacks = -(-len(self.jobs) // (self.runs_at_once or len(self.jobs)))
        bounds = [len(self.jobs) * index // stacks for index in range(stacks + 1)]
        return [self.jobs[first:last] for first, last in pairwise(bounds)]

    @property
    def has_checkpoint(self) -> bool:
        """Whether any of its stacks has a checkpoint."""
        kept = [self.checkpoints(numbers) for numbers in self.parts()]
        return any(checkpoints is not None and checkpoints.exist() for checkpoints in kept)

    @property
    def epoch(self) -> int | None:
        """The epoch of its checkpoint; None if it has none, or is trained as several stacks."""
        first, *others = self.parts()
        kept = None if others else self.checkpoints(first)
        return None if kept is None else kept.epoch()

    def checkpoints(
        self, numbers: Sequence[int], *, every: int | None = None, attempt: str = ""
    ) -> StackCheckpoints | None:
        """Returns the checkpoints of the stack of these jobs, or None if it keeps none."""
        if self.checkpoint is None:
            return None
        name, runs = stack_name(numbers), len(numbers)
        return StackCheckpoints(self.checkpoint.parent, name, every=every, runs=runs, attempt=attempt)

    @property
    def decisions_file(self) -> Path | None:
        """The path of the file that records which runs leave at which rung; None without halving."""
        return self.checkpoint.with_suffix(".rungs") if self.checkpoint and self.runs_at_once else None

    def remove(self) -> None:
        """Removes the files that a resume would need."""
        for numbers in self.parts():
            if (checkpoints := self.checkpoints(numbers)) is not None:
                checkpoints.remove()
        if self.decisions_file is not None:
            self.decisions_file.unlink(missing_ok=True)


def stack_name(numbers: Sequence[int]) -> str:
    """Returns the name of a stack of these jobs, with which the names of its files begin."""
    return f"stack-{numbers[0]}-{zlib.crc32(json.dumps(list(numbers)).encode()):08x}"


def checkpoint_name(numbers: Sequence[int]) -> str:
    """Returns the name of the checkpoint file for a stack of these jobs."""
    return f"{stack_name(numbers)}.pt"


class Done(NamedTuple):
    """A job that has ended, by number, and its result."""

    number: int
    result: Result

    @property
    def status(self) -> str:
        return self.result.status


class Progress(NamedTuple):
    """The progress of a stack.

    `best` is the best value of the monitored metric among its runs. `minimise` tells whether lower is better.
    """

    epoch: int
    running: int
    best: float
    minimise: bool = True


class Unstacked(NamedTuple):
    """A stack of `runs` runs has failed. `fallback` describes how its jobs are trained instead."""

    reason: str
    runs: int
    fallback: str


class Remark(NamedTuple):
    """What a user should know of the machines that train a sweep."""

    text: str


class Tasks(NamedTuple):
    """The tasks of an engine by their states, in words: `2 running, 1 pending (Resources)`."""

    text: str


class Building(NamedTuple):
    """The worker is about to build the network of this job separately. None: it has built all of the item."""

    number: int | None


Report = Done | Progress | Unstacked | Remark | Tasks
Event = Report | Building
