"""The trackers that `logger` may name: their packages, and their modules, which are imported when used."""

import importlib.util
from collections.abc import Sequence
from importlib import import_module

from ch12cli.errors import InputError
from ch12cli.trackers.protocol import TrackedRun, Tracker

# Each tracker's class, and the packages that it needs. `csv` is metrics.csv, which every run has.
TRACKERS = {
    "tensorboard": ("ch12cli.trackers.tensorboard:TensorBoard", ("tensorboard",)),
    "wandb": ("ch12cli.trackers.wandb:WandB", ("wandb",)),
    "mlflow": ("ch12cli.trackers.mlflow:MLflow", ("mlflow", "sqlalchemy", "alembic")),
}


def tracker_names(setting: str | Sequence[str]) -> list[str]:
    """The trackers that `logger` names, without csv."""
    names = [setting] if isinstance(setting, str) else list(setting)
    return [name for name in dict.fromkeys(names) if name != "csv"]


def require_installed(setting: str | Sequence[str]) -> None:
    """InputError for a tracker whose packages are not installed."""
    for name in tracker_names(setting):
        missing = [package for package in TRACKERS[name][1] if not is_installed(package)]
        if missing:
            raise InputError(
                f"logger={name}: {', '.join(missing)} is not installed: pip install 'ch12[{name}]'; "
                "logger=csv needs no package and writes metrics.csv"
            )


def is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it was imported and has been removed since
        return False


def open_tracker(name: str, run: TrackedRun) -> Tracker:
    """A tracker of a run, ready for its first row."""
    module, _, attribute = TRACKERS[name][0].partition(":")
    tracker: Tracker = getattr(import_module(module), attribute)(run)
    return tracker
