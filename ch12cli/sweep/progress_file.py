"""How far the stacks of a sweep are, kept in its directory for whoever watches from another process."""

import json
import os
import time
from pathlib import Path

from ch12cli.catalogue.sweep_progress import REACHED
from ch12cli.files.atomic import machine_errors
from ch12cli.sweep.events import Progress
from ch12cli.sweep.work_item import WorkItem

EVERY = 1.0  # seconds from one writing to the next, at least


class Reached:
    """The stacks in training: of each its jobs, and the epoch that it had reached before this sitting and has now."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / REACHED
        self.began, self.written = time.time(), 0.0
        self.stacks: dict[int, tuple[tuple[int, ...], int, int]] = {}

    def note(self, item: WorkItem, progress: Progress) -> None:
        """Takes note of an epoch of a stack, and writes all down if that was not done just now."""
        before = self.stacks[item.jobs[0]][1] if item.jobs[0] in self.stacks else progress.epoch - 1
        self.stacks[item.jobs[0]] = (item.jobs, before, progress.epoch)
        if time.monotonic() - self.written >= EVERY:
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
            with machine_errors(f"cannot write {self.path}"):  # a look at it may be lost in a power cut
                beside.write_text(
                    json.dumps({"began": self.began, "stacks": [*self.stacks.values()]}), encoding="ascii"
                )
                os.replace(beside, self.path)
            self.written = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
