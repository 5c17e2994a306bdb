""".ch12/progress.json in a sweep's directory: how far its stacks are, for another process that follows the sweep."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ch12cli.files.atomic import machine_errors, read_file
from ch12cli.files.run_directory import STATE

PROGRESS = f"{STATE}/progress.json"
FORMAT = 1
EVERY = 1.0  # seconds from one writing to the next, at least


@dataclass(frozen=True)
class StackProgress:
    """A stack in training. first: the epoch that it had reached when this session began; epoch: the one it is at."""

    jobs: tuple[int, ...]
    first: int
    epoch: int


@dataclass(frozen=True)
class ProgressFile:
    """The content of progress.json. began: when this session did, in seconds since 1970."""

    began: float
    stacks: tuple[StackProgress, ...] = ()

    def to_json(self) -> bytes:
        stacks = [[stack.jobs, stack.first, stack.epoch] for stack in self.stacks]
        return json.dumps({"format": FORMAT, "began": self.began, "stacks": stacks}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "ProgressFile":
        """ValueError for anything that ch12 does not write, or not in this format."""
        try:
            told = json.loads(content)
            if told["format"] != FORMAT:
                raise ValueError(f"format {told['format']!r}")
            stacks = [
                StackProgress(tuple(map(int, jobs)), int(first), int(epoch)) for jobs, first, epoch in told["stacks"]
            ]
            return cls(float(told["began"]), tuple(stacks))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error


def read_progress(sweep: Path) -> ProgressFile | None:
    """The progress of a sweep; None if there is no file that this version can read."""
    try:
        return ProgressFile.from_json(read_file(sweep / PROGRESS))
    except (OSError, ValueError):
        return None


class ProgressWriter:
    """Writes the progress of a sweep's stacks, at most once in a while."""

    def __init__(self, sweep: Path) -> None:
        self.path = sweep / PROGRESS
        self.began, self.written = time.time(), 0.0
        self.stacks: dict[int, StackProgress] = {}

    def note(self, jobs: Sequence[int], epoch: int) -> None:
        """Notes the epoch that a stack has reached, and writes the file if that is due."""
        before = self.stacks[jobs[0]].first if jobs[0] in self.stacks else epoch - 1
        self.stacks[jobs[0]] = StackProgress(tuple(jobs), before, epoch)
        if time.monotonic() - self.written >= EVERY:
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
            with machine_errors(f"cannot write {self.path}"):  # not flushed: a power cut may take it
                beside.write_bytes(ProgressFile(self.began, tuple(self.stacks.values())).to_json())
                os.replace(beside, self.path)
            self.written = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
