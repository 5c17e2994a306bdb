"""Trackers that a run's figures also go to, beside its own files."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ch12cli.errors import InputError
from ch12cli.files.result_json import Result

NAMES = ("csv", "tensorboard", "mlflow")  # csv: metrics.csv, which every run has
PACKAGES = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run. params: what it was, by dotted keys; sweep: the directory of its sweep."""

    directory: Path
    name: str
    params: Mapping[str, Any]
    sweep: Path | None = None


class Logger(Protocol):
    """A tracker of one run. Rows come in the order of their epochs; a run that goes on begins after the first."""

    def epoch(self, row: Mapping[str, float | int]) -> None: ...
    def end(self, result: Result) -> None: ...


def names_of(setting: str | Sequence[str]) -> list[str]:
    """The trackers that `logger` names, without csv, which is there anyway."""
    names = [setting] if isinstance(setting, str) else list(setting)
    return [name for name in dict.fromkeys(names) if name != "csv"]


def require_installed(setting: str | Sequence[str]) -> None:
    """InputError for a tracker whose packages are not here."""
    for name in names_of(setting):
        missing = [package for package in PACKAGES[name] if not here(package)]
        if missing:
            raise InputError(
                f"logger={name}: {', '.join(missing)} is not installed: pip install 'ch12[{name}]'; "
                "without it, logger=csv writes metrics.csv"
            )


def here(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # imported, and gone since
        return False


def open_loggers(setting: str | Sequence[str], tracked: Tracked) -> list[tuple[str, Logger]]:
    """The trackers of a run by name, each ready for its first row."""
    found: list[tuple[str, Logger]] = []
    for name in names_of(setting):
        if name == "tensorboard":
            from ch12cli.trackers.tensorboard import TensorBoard

            found.append((name, TensorBoard(tracked)))
        else:
            from ch12cli.trackers.mlflow import MLflow

            found.append((name, MLflow(tracked)))
    return found


def scalars(row: Mapping[str, float | int]) -> dict[str, float]:
    """The figures of an epoch, by name."""
    return {name: float(value) for name, value in row.items() if name != "epoch"}


def outcome(result: Result) -> dict[str, float]:
    """What a run came to: its objective, and the figures of its test part."""
    figures = {"objective": result.objective}
    figures |= {f"test_{name}": value for name, value in (result.test or {}).items()}
    return {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
