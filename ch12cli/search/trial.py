"""Trials: settings that were asked, what came of them, and how they are ranked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ch12cli.search.space import Setting

Status = Literal["asked", "complete", "pruned", "diverged", "failed"]


@dataclass(frozen=True)
class Trial:
    """A setting that was asked, and what came of it.

    values: one per objective, lower is better; empty unless it is complete or pruned. epochs: those that it was
    trained, for pruned ones.
    """

    setting: Setting
    status: Status = "asked"
    values: tuple[float, ...] = ()
    epochs: int = 0


def ranked_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Returns the trials that have a rank, best first: all but those that failed or have no result.

    Complete trials come first, then pruned ones by the epochs they reached, then diverged ones.
    """
    complete = [trial for trial in trials if trial.status == "complete"]
    pruned = sorted((trial for trial in trials if trial.status == "pruned"), key=_pruned_order)
    return [*by_values(complete), *pruned, *(trial for trial in trials if trial.status == "diverged")]


def _pruned_order(trial: Trial) -> tuple[int, float]:
    return -trial.epochs, trial.values[0] if trial.values else math.inf


def key_of_setting(setting: Setting) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(setting.items()))


def by_values(trials: Sequence[Trial]) -> list[Trial]:
    """Returns complete trials, best first. With several objectives, those that no other beats in all come first."""
    if not trials:
        return []
    values = np.array([trial.values for trial in trials], np.float64)  # (n, objectives)
    layer = pareto_layers(values)
    spread = -crowding(values, layer) if values.shape[1] > 1 else np.zeros(len(values))
    return [trials[index] for index in np.lexsort((values[:, 0], spread, layer)).tolist()]


def pareto_layers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns the layer of each row, (n,): 0 for rows that no other dominates, 1 for those after removing them, …

    values: (n, objectives), lower is better.
    """
    if values.shape[1] == 1:
        return np.zeros(len(values), np.int64)
    better = (values[:, None] <= values[None]).all(2) & (values[:, None] < values[None]).any(2)  # row beats column
    layers = np.full(len(values), -1)
    layer, left = 0, np.ones(len(values), bool)
    while left.any():
        front = left & ~(better & left[:, None]).any(0)
        layers[front] = layer
        left &= ~front
        layer += 1
    return layers


def crowding(values: NDArray[np.float64], layer: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns how far the neighbours of each row in its layer are apart, (n,); infinite for the outermost rows."""
    distance = np.zeros(len(values))
    for number in np.unique(layer):
        rows = np.flatnonzero(layer == number)
        for column in values[rows].T:
            order = np.argsort(column, kind="stable")
            width = column[order[-1]] - column[order[0]]
            gaps = np.full(len(rows), np.inf)
            if len(rows) > 2 and width > 0:
                gaps[order[1:-1]] = (column[order[2:]] - column[order[:-2]]) / width
            distance[rows] += gaps
    return distance
