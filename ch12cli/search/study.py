"""A study: the trials of a search, asked in batches and reported with their values."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ch12cli.search.samplers import DRAWERS, Draw, Seen, draw_random, draw_sobol, generator
from ch12cli.search.space import Points, Setting, Space
from ch12cli.search.trial import Trial, by_values, key_of_setting, ranked_trials

SMALLEST_POPULATION = 16  # of the samplers that have generations
REDRAWS = 10  # where too few draws are new and allowed, each of several times as many points
POINTS_PER_REDRAW = 8
MOST_LISTED = 4096  # settings of a finite space, which are listed when draws find no new ones


class Study:
    """Asks for settings that were not asked before, and keeps the trials in the order in which they were asked.

    startup: the number of ranked trials before `draw` is used; until then, points are spread evenly. allows: whether a
    setting may be asked. start: settings that are asked first. structural: keys whose values the runs of a stack share;
    structures: how many combinations of these a batch has at most, None for no limit.
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
        structural: Collection[str] = (),
        structures: int | None = None,
    ) -> None:
        self.space, self.draw, self.seed, self.startup, self.allows = space, draw, seed, startup, allows
        self.start = list(start)
        self.structures = structures
        self.shared = [index for index, each in enumerate(space.parameters) if each.key in structural]
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
        known = self.ranked()
        points = np.array([self.space.point(trial.setting) for trial in known]).reshape(
            len(known), len(self.space.parameters)
        )
        trials = [*self.earlier, *self.trials]
        seen = Seen(points, len(self.trials), trials, max(SMALLEST_POPULATION, self.startup))
        draw = draw_sobol if len(known) < self.startup and self.draw is not draw_random else self.draw
        take(map(self.space.setting, self.of_few_structures(draw(self.space, seen, count, self.seed))))
        rng = generator(self.seed + 1, len(self.trials))
        for _ in range(REDRAWS):
            if len(found) < count:
                take(map(self.space.setting, rng.random((POINTS_PER_REDRAW * count, len(self.space.parameters)))))
        if len(found) < count and self.space.count <= MOST_LISTED:
            take(self.space.settings())
        return list(found.values())

    def of_few_structures(self, points: Points) -> Points:
        """Returns points, (n, parameters), of which those after the first structures take theirs, in turn."""
        if self.structures is None or not self.shared:
            return points
        found: dict[tuple[str, ...], NDArray[np.float64]] = {}
        changed = points.copy()
        for index, point in enumerate(points):
            setting = self.space.setting(point)
            structure = tuple(setting.get(self.space.parameters[each].key, "") for each in self.shared)
            if structure not in found and len(found) < self.structures:
                found[structure] = point[self.shared]
            elif structure not in found:
                changed[index, self.shared] = list(found.values())[index % len(found)]
        return changed

    def ranked(self) -> list[Trial]:
        """Returns the trials that have a rank, best first, with those of other sweeps."""
        return ranked_trials([*self.earlier, *self.trials])

    @property
    def best(self) -> Trial | None:
        """The best complete trial of this study, or None."""
        complete = [trial for trial in self.trials if trial.status == "complete"]
        return by_values(complete)[0] if complete else None


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


def batch_size(trials: int) -> int:
    """Returns the number of trials that are asked together: an eighth, from 16 to 256."""
    return min(256, max(16, trials // 8))
