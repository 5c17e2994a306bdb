"""Sends the metrics of a run to its trackers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ch12cli.config.run_settings import RunSettings
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.result_json import Result
from ch12cli.files.run_directory import CHECKPOINTS, LAST
from ch12cli.run.callbacks import Callback, CallbackList, NullCallback
from ch12cli.trackers.protocol import TrackedRun, Tracker
from ch12cli.trackers.registry import open_tracker, require_installed, tracker_names

UNTRACKED = ("logger", "sweep.", "checkpoint.", "workers", "threads", "pin_memory")  # no effect on results


def params_of(settings: RunSettings) -> dict[str, Any]:
    """Returns the choices of a run and all settings that affect its result, by dotted key."""
    values = {
        key: value for key, value in flatten(settings.config) if not key.startswith(UNTRACKED) and "_target_" not in key
    }
    return {**{group: choice for group, choice in settings.choices.items() if choice and "/" not in group}, **values}


class Trackers:
    """The trackers of a run.

    A tracker that fails is reported once and not called again. Runs that share the set `failed` skip it too.
    """

    def __init__(
        self, setting: str | Sequence[str], run: TrackedRun, on_message: Callable[..., None], failed: set[str]
    ) -> None:
        self.on_message, self.failed, self.open = on_message, failed, list[tuple[str, Tracker]]()
        for name in tracker_names(setting):
            self.notify(name, partial(self.start, name, run))

    def start(self, name: str, run: TrackedRun) -> None:
        self.open.append((name, open_tracker(name, run)))

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        for name, tracker in self.open:
            self.notify(name, partial(tracker.on_epoch_end, row))

    def on_end(self, result: Result) -> None:
        for name, tracker in self.open:
            self.notify(name, partial(tracker.on_end, result))

    def notify(self, name: str, call: Callable[[], None]) -> None:
        if name in self.failed:
            return
        try:
            call()
        except Exception as error:  # the tracker's library may raise anything
            self.failed.add(name)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.on_message(f"logger={name}: {reason}; continues without it", warning=True)


class TrackerCallback(NullCallback):
    """Callback that passes a run's epochs and result to its trackers. `on_message` reports a failing tracker."""

    def __init__(
        self, setting: str | Sequence[str], params: Mapping[str, Any], on_message: Callable[..., None]
    ) -> None:
        require_installed(setting)
        self.setting, self.params, self.report = setting, params, on_message

    def on_begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        is_new = not (directory / CHECKPOINTS / LAST).exists()
        run = TrackedRun(directory, directory.name, self.params, is_new=is_new)
        self.trackers = Trackers(self.setting, run, self.report, set())

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        self.trackers.on_epoch_end(row)

    def on_end(self, result: Result, rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None:
        self.trackers.on_end(result)


def with_trackers(callback: Callback, settings: RunSettings) -> Callback:
    """Returns a callback that combines `callback` with the run's trackers.

    Raises InputError if a tracker's packages are not installed.
    """
    if not tracker_names(settings.logger):
        return callback
    # the tracker comes first, so that the display shows its messages before it closes
    tracker = TrackerCallback(settings.logger, params_of(settings), callback.on_message)
    return CallbackList([tracker, callback])
