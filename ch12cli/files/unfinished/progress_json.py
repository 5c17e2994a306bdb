"""`.ch12/progress.json` in a sweep's directory: the epoch of each stack, for another process that displays progress."""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ch12cli.errors import MachineError
from ch12cli.files.atomic import machine_errors, read_file
from ch12cli.files.run_directory import STATE

PROGRESS = f"{STATE}/progress.json"
FORMAT = 1
EVERY = 1.0  # minimum time between writes, in seconds


@dataclass(frozen=True)
class StackProgress:
    """A stack in training. first: its epoch when this session began; epoch: its current epoch."""

    jobs: tuple[int, ...]
    first: int
    epoch: int


@dataclass(frozen=True)
class ProgressFile:
    """The content of progress.json. began: start of this session, in seconds since 1970."""

    began: float
    stacks: tuple[StackProgress, ...] = ()

    def to_json(self) -> bytes:
        stacks = [[stack.jobs, stack.first, stack.epoch] for stack in self.stacks]
        return json.dumps({"format": FORMAT, "began": self.began, "stacks": stacks}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "ProgressFile":
        """Raises ValueError if the content has another format or was not written by ch12."""
        try:
            record = json.loads(content)
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']!r}")
            stacks = [
                StackProgress(tuple(map(int, jobs)), int(first), int(epoch)) for jobs, first, epoch in record["stacks"]
            ]
            return cls(float(record["began"]), tuple(stacks))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error


def read_progress(sweep: Path) -> ProgressFile | None:
    """Returns the progress of a sweep; None if the file is missing or unreadable."""
    try:
        return ProgressFile.from_json(read_file(sweep / PROGRESS))
    except (OSError, ValueError):
        return None


class ProgressWriter:
    """Writes the progress of a sweep's stacks, at most once every EVERY seconds."""

    def __init__(self, sweep: Path) -> None:
        self.path = sweep / PROGRESS
        self.began, self.written = time.time(), 0.0
        self.stacks: dict[int, StackProgress] = {}

    def note(self, jobs: Sequence[int], epoch: int) -> None:
        """Records the epoch that a stack has reached, and writes the file if EVERY seconds have passed."""
        before = self.stacks[jobs[0]].first if jobs[0] in self.stacks else epoch - 1
        self.stacks[jobs[0]] = StackProgress(tuple(jobs), before, epoch)
        if time.monotonic() - self.written >= EVERY:
            self.write()

    def write(self) -> None:
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with machine_errors(f"cannot write {self.path}"):  # not flushed to disk: a power failure may lose it
            beside.write_bytes(ProgressFile(self.began, tuple(self.stacks.values())).to_json())
            os.replace(beside, self.path)
        self.written = time.monotonic()

    def close(self, *, keep: bool) -> None:
        """Removes the file, or keeps it for a sweep with jobs left, where `ch12 show` reads how far they came."""
        if not keep:
            self.remove()
        elif self.stacks:
            with suppress(MachineError):  # the sweep ends for another reason, which is to be reported
                self.write()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
