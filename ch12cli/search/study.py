"""A study: the trials of a search, asked in batches and reported with their values."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ch12cli.search.samplers import DRAWERS, Draw, Seen, draw_random, draw_sobol, generator
from ch12cli.search.space import Setting, Space

Status = Literal["asked", "complete", "pruned", "diverged", "failed"]

REDRAWS = 10  # where too few draws are new and allowed, each of several times as many points
POINTS_PER_REDRAW = 8
MOST_LISTED = 4096  # settings of a finite space, which are listed when draws find no new ones


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


class Study:
    """Asks for settings that were not asked before, and keeps the trials in the order in which they were asked.

    startup: the number of ranked trials before `draw` is used; until then, points are spread evenly. allows: whether a
    setting may be asked. start: settings that are asked first.
    """

    def __init__(
        self,
        space: Space,
        draw: Draw = DRAWERS["tpe"],
        *,
        seed: int = 1,
        startup: int = 16,
        allows: Callable[[Setting], bool] = lambda _setting: True,
        start: Sequence[Setting] = (),
    ) -> None:
        self.space, self.draw, self.seed, self.startup, self.allows = space, draw, seed, startup, allows
        self.start = list(start)
        self.trials: list[Trial] = []
        self.earlier: list[Trial] = []  # of other sweeps: known to the sampler, but not part of this study
        self._keys: set[tuple[tuple[str, str], ...]] = set()

    def add(self, trials: Iterable[Trial]) -> None:
        """Adds trials that were asked and reported earlier."""
        for trial in trials:
            self.trials.append(trial)
            self._keys.add(key_of_setting(trial.setting))

    def ask(self, count: int) -> list[Setting]:
        """Returns up to `count` new settings; fewer if the space has no more that may be asked.

        Each must be added with its result before the next are asked.
        """
        found: dict[tuple[tuple[str, str], ...], Setting] = {}

        def take(settings: Iterable[Setting]) -> None:
            for setting in settings:
                key = key_of_setting(setting)
                if len(found) < count and key not in self._keys and key not in found and self.allows(setting):
                    found[key] = setting

        take(self.start)
        ranked = self.ranked()
        points = np.array([self.space.point(trial.setting) for trial in ranked]).reshape(
            len(ranked), len(self.space.parameters)
        )
        seen = Seen(points, len(self.trials))
        draw = draw_sobol if len(ranked) < self.startup and self.draw is not draw_random else self.draw
        take(map(self.space.setting, draw(self.space, seen, count, self.seed)))
        rng = generator(self.seed + 1, len(self.trials))
        for _ in range(REDRAWS):
            if len(found) < count:
                take(map(self.space.setting, rng.random((POINTS_PER_REDRAW * count, len(self.space.parameters)))))
        if len(found) < count and self.space.count <= MOST_LISTED:
            take(self.space.settings())
        return list(found.values())

    def ranked(self) -> list[Trial]:
        """Returns the trials that have a rank, best first: all but those that failed or have no result.

        Complete trials come first, then pruned ones by the epochs they reached, then diverged ones.
        """
        known = [trial for trial in (*self.earlier, *self.trials) if trial.status in ("complete", "pruned", "diverged")]
        complete = [trial for trial in known if trial.status == "complete"]
        pruned = sorted((trial for trial in known if trial.status == "pruned"), key=_pruned_order)
        return [*by_values(complete), *pruned, *(trial for trial in known if trial.status == "diverged")]

    @property
    def best(self) -> Trial | None:
        """The best complete trial of this study, or None."""
        complete = [trial for trial in self.trials if trial.status == "complete"]
        return by_values(complete)[0] if complete else None


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


def summary_of_values(values: Sequence[float], how: str) -> float:
    """Returns a trial's value from those of its repetitions, lower is better.

    how: mean, median, or bound: the mean plus one standard error, so that uncertain settings count as worse.
    """
    if how == "median":
        return float(np.median(values))
    mean = float(np.mean(values))
    if how == "bound" and len(values) > 1:
        return mean + float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean


def with_result(trial: Trial, status: Status, values: tuple[float, ...] = (), *, epochs: int = 0) -> Trial:
    return replace(trial, status=status, values=values, epochs=epochs)


def batch_size(trials: int) -> int:
    """Returns the number of trials that are asked together: an eighth, from 16 to 256."""
    return min(256, max(16, trials // 8))
