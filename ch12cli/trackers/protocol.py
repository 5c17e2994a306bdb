"""The interface of a tracker: a service outside ch12 that receives the metrics of runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ch12cli.files.result_json import Result


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker sees it.

    params: its settings by dotted key; sweep: the directory of its sweep; is_new: nothing of it was trained before.
    """

    directory: Path
    name: str
    params: Mapping[str, Any]
    sweep: Path | None = None
    is_new: bool = False


class Tracker(Protocol):
    """A tracker of one run. Rows arrive in the order of their epochs; a resumed run starts after epoch 1."""

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None: ...
    def on_end(self, result: Result) -> None: ...


def epoch_metrics(row: Mapping[str, float | int]) -> dict[str, float]:
    """The metrics of a row of metrics.csv, by name."""
    return {name: float(value) for name, value in row.items() if name != "epoch"}


def final_metrics(result: Result) -> dict[str, float]:
    """The objective and the test metrics of a result.json."""
    metrics = {"objective": result.objective}
    metrics |= {f"test_{name}": value for name, value in (result.test or {}).items()}
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
