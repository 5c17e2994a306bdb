"""Runs from a notebook or a program, with nothing left behind: no state of Hydra, logging or torch's random stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from torch import nn

from ch12cli.runs.curve_svg import curve_svg
from ch12cli.sweep.single import train_single
from ch12cli.sweep.units import Nobody


@dataclass(frozen=True)
class Run:
    """A run that has ended. metrics: a dict an epoch, as in metrics.csv, for a data frame; result: result.json."""

    model: nn.Module
    metrics: list[dict[str, float | int]]
    directory: Path
    result: dict[str, Any]
    status: str

    def __repr__(self) -> str:
        figures = {**(self.result["final"] or {}), **{f"test_{k}": v for k, v in (self.result["test"] or {}).items()}}
        shown = ", ".join(f"{name}={value:.4g}" for name, value in figures.items() if name not in ("lr", "seconds"))
        return f"<Run {self.directory}: {self.status}, {shown}>"

    def _repr_html_(self) -> str:
        """The figures as a small table, and the losses' curve."""
        parts = {"final": self.result["final"], "best": self.result["best"], "test": self.result["test"]}
        rows = "".join(
            f"<tr><th>{name}</th><td>{escape(', '.join(f'{key} {value:.4g}' for key, value in part.items()))}</td></tr>"
            for name, part in parts.items()
            if part
        )
        series: dict[str, list[float]] = {
            name: [float(row[name]) for row in self.metrics]
            for name in ("train_loss", "valid_loss")
            if self.metrics and name in self.metrics[0]
        }
        title = f"{escape(str(self.directory))}: {self.status}"
        return f"<table><caption>{title}</caption>{rows}</table>{curve_svg(series)}"


def train(*overrides: str, config_dir: str | Path | Sequence[str | Path] = (), watcher: Any = None) -> Run:
    """Trains one run as `ch12 train` would with these overrides; gives its model, metrics and directory.

    config_dir: folders of your own configuration; watcher: told of each epoch (sweep.alone.Watcher).
    Raises ch12cli.errors.InputError with everything that is wrong with the overrides.
    """
    folders = [config_dir] if isinstance(config_dir, str | Path) else list(config_dir)
    outcome = train_single(
        overrides, folders=[Path(folder) for folder in folders], watcher=watcher or Nobody(), log=False
    )
    return Run(outcome.model, outcome.rows, outcome.directory, outcome.result, outcome.status)
