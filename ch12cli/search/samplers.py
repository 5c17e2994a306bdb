"""Samplers draw the points of a batch: at random, spread evenly (Sobol), or near the best ones so far (TPE).

Each draw depends only on the seed, the number of trials before it and their ranks, so that a resumed search draws the
same points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ch12cli.search.space import Points, Space
from ch12cli.search.trial import Trial

CANDIDATES = 24  # of TPE, for each point
GOOD_SHARE, MOST_GOOD = 0.1, 25  # the best trials that TPE draws from
EVEN_CENTERS = 3  # that are added to those of a mixture
NARROWEST, WIDEST = 0.02, 0.5  # of a kernel, as a share of the parameter's scale
MOST_KERNELS = 4_000_000  # numbers of a matrix of candidates and kernels, held at once


@dataclass(frozen=True)
class Seen:
    """The trials so far.

    points: of those with a rank, best first, (n, parameters). asked: the number of this study's own trials. trials: all
    of them, those of other sweeps first. population: of the samplers that have generations.
    """

    points: Points
    asked: int
    trials: Sequence[Trial] = ()
    population: int = 16


Draw = Callable[[Space, Seen, int, int], Points]  # space, seen, count, seed: points (count, parameters)


def draw_random(space: Space, seen: Seen, count: int, seed: int) -> Points:
    """Returns points drawn independently and evenly, (count, parameters)."""
    return generator(seed, seen.asked).random((count, len(space.parameters)))


def draw_sobol(space: Space, seen: Seen, count: int, seed: int) -> Points:
    """Returns the next points of a scrambled Sobol sequence, (count, parameters)."""
    from torch.quasirandom import SobolEngine

    engine = SobolEngine(len(space.parameters), scramble=True, seed=seed)
    points: Points = engine.fast_forward(seen.asked).draw(count).double().numpy()
    return points


def draw_tpe(space: Space, seen: Seen, count: int, seed: int) -> Points:
    """Returns points where good trials are dense in comparison with the others, (count, parameters).

    The tree-structured Parzen estimator of Bergstra et al. (2011), with joint kernels, fitted once for the batch.
    """
    good = min(int(np.ceil(GOOD_SHARE * len(seen.points))), MOST_GOOD)
    best, others = Kernels(seen.points[:good], space.categories), Kernels(seen.points[good:], space.categories)
    candidates = best.draw(count * CANDIDATES, generator(seed, seen.asked))
    candidates = space.without_inapplicable(candidates)
    score = (best.log_density(candidates) - others.log_density(candidates)).reshape(count, CANDIDATES)
    chosen = candidates.reshape(count, CANDIDATES, -1)[np.arange(count), score.argmax(1)]  # (count, parameters)
    return np.asarray(chosen, np.float64)


def generator(seed: int, asked: int) -> np.random.Generator:
    return np.random.default_rng([seed, asked])


class Kernels:
    """A mixture of one kernel around each center and a uniform part, over the unit cube.

    centers: (n, parameters), NaN where a parameter does not apply; there the density is uniform. categories: as in
    Space. The kernel of a number is a normal distribution; that of a category has most weight at its own.
    """

    def __init__(self, centers: Points, categories: NDArray[np.int64]) -> None:
        self.centers, self.categories = centers, categories
        applies = ~np.isnan(centers)
        count, known = applies.sum(0), applies.any(0)
        variance = np.zeros(centers.shape[1])
        variance[known] = np.nanvar(centers[:, known], axis=0)
        # few centers may be near each other by chance, so some of an even spread are added to them
        variance = (count * variance + EVEN_CENTERS / 12) / (count + EVEN_CENTERS)
        exponent = -1 / (centers.shape[1] + 4)
        self.width = np.clip(np.sqrt(variance) * np.maximum(1, count) ** exponent, NARROWEST, WIDEST)
        self.smoothing = 1 / max(1, len(centers))  # weight of a category that is not the center's

    def draw(self, count: int, rng: np.random.Generator) -> Points:
        """Returns points of the mixture, (count, parameters)."""
        dimensions = self.centers.shape[1]
        chosen = rng.integers(len(self.centers), size=count)
        points = self.centers[chosen] + rng.normal(size=(count, dimensions)) * self.width
        points = np.abs(points)
        points = np.where(points > 1, 2 - points, points).clip(0, 1)
        for index in np.flatnonzero(self.categories):
            other = rng.random(count)  # a position of any category
            stays = rng.random(count) < 1 / (1 + self.categories[index] * self.smoothing)
            points[:, index] = np.where(stays, self.centers[chosen, index], other)
        uniform = rng.random((count, dimensions))
        anywhere = rng.random(count) < 1 / (len(self.centers) + 1)
        return np.where(anywhere[:, None] | np.isnan(points), uniform, points)

    def log_density(self, points: Points) -> NDArray[np.float64]:
        """Returns the logarithm of the density at points, relative to the uniform one, (n,)."""
        step = max(1, MOST_KERNELS // (len(self.centers) + 1))
        parts = [self._log_density(points[first : first + step]) for first in range(0, len(points), step)]
        return np.concatenate(parts)

    def _log_density(self, points: Points) -> NDArray[np.float64]:
        whole = ~np.isnan(self.centers).any(0) & ~np.isnan(points).any(0) & (self.categories == 0)
        # half the squared distance in units of the width: |a|²/2 + |b|²/2 - ab. In place: new memory costs more
        scaled, around = points[:, whole] / self.width[whole], self.centers[:, whole] / self.width[whole]
        logs = scaled @ around.T  # (n, centers)
        logs -= (scaled**2).sum(1)[:, None] / 2
        logs -= (around**2).sum(1) / 2 + np.log(self.width[whole] * np.sqrt(2 * np.pi)).sum()
        for index in np.flatnonzero(~whole):
            at, center = points[:, index, None], self.centers[None, :, index]
            if categories := int(self.categories[index]):
                own = _category(at, categories) == _category(center, categories)
                log = np.log((own + self.smoothing) / (1 + categories * self.smoothing) * categories)
            else:
                log = -0.5 * ((at - center) / self.width[index]) ** 2 - np.log(self.width[index] * np.sqrt(2 * np.pi))
            logs += np.where(np.isnan(at) | np.isnan(center), 0.0, log)
        largest = logs.max(1, initial=0)  # 0: of the uniform part
        logs -= largest[:, None]
        total = np.exp(logs, out=logs).sum(1) + np.exp(-largest)
        return np.asarray(largest + np.log(total) - np.log(len(self.centers) + 1))


def _category(positions: Points, categories: int) -> NDArray[np.int64]:
    """Returns the index of the category at each position; that of NaN is not used."""
    return np.minimum(categories - 1, (np.nan_to_num(positions) * categories).astype(np.int64))


DRAWERS: dict[str, Draw] = {"tpe": draw_tpe, "sobol": draw_sobol, "random": draw_random}
