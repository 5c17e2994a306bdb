"""Population-based training: which runs go on from which others, and with what numbers (Jaderberg et al. 2017)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.config.run_settings import PopulationSettings
from ch12cli.files.metrics_csv import minimised
from ch12cli.search.samplers import generator
from ch12cli.search.space import Interval

Numbers = Mapping[str, NDArray[np.float64]]  # by key, each (runs,)


class Copies(NamedTuple):
    """source, target: indices of runs, (copied,): each target goes on from its source. numbers: of all runs, then."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    numbers: Numbers


class Population:
    """Decides at the end of an epoch which runs go on from others. The same input gives the same decision."""

    def __init__(self, settings: PopulationSettings) -> None:
        self.settings = settings
        self.metric = settings.metric
        self.intervals = {
            key: Interval(key, bounds.low, bounds.high, bounds.log) for key, bounds in settings.numbers.items()
        }

    def is_due(self, epoch: int) -> bool:
        return epoch % self.settings.every == 0

    def copies(self, epoch: int, values: NDArray[np.float64], running: NDArray[np.bool_], numbers: Numbers) -> Copies:
        """Returns the copies after an epoch.

        The worst runs each go on from one of as many best ones, drawn at random. values: of the metric, (runs,).
        running: the runs that have not ended, (runs,); the others neither give nor take. numbers: those of now.
        """
        settings, rng = self.settings, generator(self.settings.seed, epoch)
        runs = np.flatnonzero(running)
        count = min(math.ceil(settings.quantile * len(runs)), len(runs) // 2)
        ranked = values if minimised(self.metric) else -values
        order = runs[np.argsort(np.where(np.isnan(ranked), np.inf, ranked)[runs], kind="stable")]
        best, target = order[:count], order[len(order) - count :]
        source = best[rng.integers(0, max(1, count), count)]
        found = {key: values.copy() for key, values in numbers.items()}
        for giver, taker in zip(source.tolist(), target.tolist(), strict=True):
            for key, interval in self.intervals.items():
                found[key][taker] = self.perturbed(interval, float(numbers[key][giver]), rng)
        return Copies(source, target, found)

    def perturbed(self, interval: Interval, value: float, rng: np.random.Generator) -> float:
        """Returns a number near another, or drawn anew, rounded as drawn numbers are."""
        anew, place, factor = rng.random(), rng.random(), rng.choice(self.settings.factors)
        if anew >= self.settings.resample:
            place = interval.position(repr(min(interval.high, max(interval.low, value * float(factor))))) or 0.0
        return float(interval.text(place))


@dataclass(frozen=True)
class Lineages:
    """What the runs of a population have gone on from, and their numbers of now.

    names: the numbers of the jobs, (runs,). seeds: (runs,). steps: of each run, as in `ancestry` of files/history.py.
    """

    names: Sequence[int]
    seeds: Sequence[int]
    numbers: Numbers
    steps: Sequence[Sequence[Mapping[str, Any]]]

    def after(self, epoch: int, copies: Copies) -> "Lineages":
        """Returns the lines after copies at the end of an epoch."""
        steps = list(self.steps)
        for giver, taker in zip(copies.source.tolist(), copies.target.tolist(), strict=True):
            changes = {key: float(values[taker]) for key, values in copies.numbers.items()}
            before = {key: float(values[giver]) for key, values in self.numbers.items()}
            step = {
                "epoch": epoch,
                "job": self.names[giver],
                "changes": {**changes, "seed": self.seeds[taker]},
                "before": {**before, "seed": self.seeds[giver]},
            }
            steps[taker] = (*self.steps[giver], step)
        return replace(self, numbers=copies.numbers, steps=tuple(steps))

    def rows(self, values: NDArray[np.float64], runs: Sequence[int]) -> NDArray[np.float64]:
        """Returns a metric of some runs by epoch along their lines, (runs, epochs).

        values: of all runs as they trained, (all, epochs).
        """
        found: NDArray[np.float64] = values[runs]
        place = {name: index for index, name in enumerate(self.names)}
        for row, run in enumerate(runs):
            start = 0
            for step in self.steps[run] if self.steps else ():
                found[row, start : step["epoch"]] = values[place[step["job"]], start : step["epoch"]]
                start = step["epoch"]
        return found

    def changes(self, run: int) -> dict[str, float]:
        """Returns the numbers of a run that has gone on from others; of one that has not, none."""
        return {key: float(values[run]) for key, values in self.numbers.items()} if self.ancestry(run) else {}

    def ancestry(self, run: int) -> list[Mapping[str, Any]]:
        return list(self.steps[run]) if self.steps else []

    def to_json(self) -> str:
        return json.dumps(
            {"numbers": {key: values.tolist() for key, values in self.numbers.items()}, "steps": self.steps}
        )

    def restored(self, text: str) -> "Lineages":
        """Returns the lines of the same runs that `to_json` wrote."""
        state = json.loads(text)
        numbers = {key: np.array(values, np.float64) for key, values in state["numbers"].items()}
        return replace(self, numbers=numbers, steps=state["steps"])
