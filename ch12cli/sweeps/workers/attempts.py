"""Attempts at the same jobs, several of which may be alive at once on several machines, and their checkpoints."""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ch12cli.errors import MachineError
from ch12cli.files.plain_values import is_integer
from ch12cli.training.checkpoint import Checkpoints, DamagedError


class SupersededError(MachineError):
    """A newer attempt at the same jobs has begun, so this one must not write any more."""


def always_newest() -> None:
    """Of an attempt that no other can supersede."""


@dataclass(frozen=True)
class Attempt:
    """An attempt at some jobs. name: part of the names of what it writes; empty if there can be no other at once.

    require_newest: raises SupersededError if a newer attempt has begun. Called before anything is written.
    """

    name: str = ""
    require_newest: Callable[[], None] = always_newest


class StackCheckpoints(Checkpoints):
    """The checkpoints of a stack. Each attempt writes files of its own, and resumes from the newest of all attempts.

    name: of the stack, as in `work_item.stack_name`; runs: in it; attempt: the name of the attempt.
    """

    def __init__(self, folder: Path, name: str, *, every: int | None, runs: int = 1, attempt: str = "") -> None:
        super().__init__(folder, every=every, last=f"{name}.{attempt}.pt" if attempt else f"{name}.pt", runs=runs)
        self.pattern = re.compile(rf"({re.escape(name)}(?:\.\d+\.\d+)?)(?:\.pt|\.previous\.pt|\.rows)")

    def others(self) -> list[Checkpoints]:
        """Returns the checkpoints of the other attempts. Lists the folder: NFS may hide new names from stat."""
        try:
            names = os.listdir(self.last.parent)
        except OSError:
            return []
        found = sorted({f"{match[1]}.pt" for name in names if (match := self.pattern.fullmatch(name))})
        return [Checkpoints(self.last.parent, every=None, last=last) for last in found if last != self.last.name]

    def newest(self) -> tuple[dict[str, Any], list[str]]:
        """Returns the checkpoint of the last epoch, and why newer ones were skipped.

        Raises DamagedError if no attempt has left a valid one.
        """
        best: Mapping[str, Any] | None = None
        skipped: list[str] = []
        others = [checkpoints.newest for checkpoints in self.others()]
        for newest in [super().newest, *others] if super().exist() or not others else others:
            try:
                state, reasons = newest()
                skipped += reasons
            except DamagedError as error:
                skipped += error.messages
                continue
            if best is None or epoch_of(state) > epoch_of(best):
                best = state
        if best is None:
            raise DamagedError(skipped)
        return dict(best), skipped

    def exist(self) -> bool:
        return super().exist() or any(checkpoints.exist() for checkpoints in self.others())

    def remove(self) -> None:
        """Removes those of all attempts."""
        for checkpoints in self.others():
            with suppress(OSError):
                checkpoints.remove()
        super().remove()


def epoch_of(state: Mapping[str, Any]) -> int:
    """Returns the epoch of a checkpoint; -1 if it names none, and is refused when it is restored."""
    epoch = state.get("epoch")
    return epoch if is_integer(epoch) else -1
