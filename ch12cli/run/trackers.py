"""Runs whose figures go to trackers as well: while one trains, and of a sweep's jobs when they have ended."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ch12cli.files.hydra_folder import flatten
from ch12cli.run.callbacks import Watcher
from ch12cli.trackers.tracker import Logger, Tracked, names_of, open_loggers, require_installed

UNTOLD = ("logger", "sweep.", "checkpoint.", "workers", "threads", "pin_memory")  # what changes no result


def params_of(settings: Mapping[str, Any], chosen: Mapping[str, str | None]) -> dict[str, Any]:
    """What a run was: its choices, and every setting that its result depends on."""
    told = {key: value for key, value in flatten(settings) if not key.startswith(UNTOLD) and "_target_" not in key}
    return {**{group: choice for group, choice in chosen.items() if choice and "/" not in group}, **told}


class Trackers:
    """A run's trackers. One that fails is told of once and left out, here and where `failed` is known: work goes on."""

    def __init__(
        self, setting: str | Sequence[str], tracked: Tracked, message: Callable[..., None], failed: set[str]
    ) -> None:
        self.message, self.failed, self.open = message, failed, list[tuple[str, Logger]]()
        for name in names_of(setting):
            self.tell(name, partial(self.start, name, tracked))

    def start(self, name: str, tracked: Tracked) -> None:
        self.open += open_loggers(name, tracked)

    def epoch(self, row: Mapping[str, float | int]) -> None:
        for name, logger in self.open:
            self.tell(name, partial(logger.epoch, row))

    def end(self, result: Mapping[str, Any]) -> None:
        for name, logger in self.open:
            self.tell(name, partial(logger.end, result))

    def tell(self, name: str, tell: Callable[[], None]) -> None:
        if name in self.failed:
            return
        try:
            tell()
        except Exception as error:  # whatever another program's library raises
            self.failed.add(name)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.message(f"logger={name}: {reason}; goes on without it", warning=True)


class Logged:
    """A run's watcher, and its trackers beside it."""

    def __init__(self, watcher: Watcher, settings: Mapping[str, Any], chosen: Mapping[str, str | None]) -> None:
        self.watcher, self.setting, self.params = watcher, settings["logger"], params_of(settings, chosen)
        require_installed(self.setting)

    def begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        self.watcher.begin(facts, epochs=epochs, directory=directory)
        self.trackers = Trackers(self.setting, Tracked(directory, directory.name, self.params), self.message, set())

    def step(self, done: int, steps: int) -> None:
        self.watcher.step(done, steps)

    def epoch(self, row: Mapping[str, float | int]) -> None:
        self.trackers.epoch(row)
        self.watcher.epoch(row)

    def message(self, text: str, *, warning: bool = False) -> None:
        self.watcher.message(text, warning=warning)

    def end(self, result: Mapping[str, Any], rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None:
        self.trackers.end(result)
        self.watcher.end(result, rows, directory=directory)
