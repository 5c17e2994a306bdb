"""How much of what the runs of a sweep came to each key accounts for."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ch12cli.plots.plot import Values

LEVELS = 8  # groups that the values of a key are put in, if they are numbers and more than that


def importances(keys: Sequence[Sequence[str]], values: Values) -> list[float]:
    """The share of each key, 0 … 1, in how the runs rank. keys: the texts of each, (keys, runs); values: (runs,).

    Epsilon squared, one-way, of the ranks: the variance between a key's values less what chance would give, over the
    whole variance. Ranks, for a loss that exploded would outweigh all others. Source: Kelley (1935); for what keys do
    only together no share is given.
    """
    ranks = ranked(values)
    return [share(levels(texts), ranks) for texts in keys]


def share(level: NDArray[np.int64], ranks: Values) -> float:
    n, total = len(ranks), float(((ranks - ranks.mean()) ** 2).sum()) if len(ranks) else 0.0
    groups = int(level.max()) + 1 if n else 0
    if total == 0 or groups < 2 or n <= groups:
        return 0.0
    count = np.bincount(level, minlength=groups)
    mean = np.bincount(level, ranks, groups) / count
    within = float(((ranks - mean[level]) ** 2).sum())
    return max(0.0, (total - within - (groups - 1) * within / (n - groups)) / total)


def levels(texts: Sequence[str]) -> NDArray[np.int64]:
    """The group of each text, (n,): equal ones together; of many different numbers those that are near each other."""
    names = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if len(names) > LEVELS:
        try:
            numbers = ranked(np.array([float(text) for text in texts]))
        except ValueError:
            pass
        else:
            found = np.minimum((numbers / len(numbers) * LEVELS).astype(np.int64), LEVELS - 1)
            return np.unique(found, return_inverse=True)[1].astype(np.int64)
    return np.array([names[text] for text in texts], np.int64)


def ranked(values: Values) -> Values:
    """The place of each value by size, (n,), from 0; equal ones share the mean of theirs."""
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values)[order]
    edges = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(ordered)]
    ranks = np.empty(len(ordered))
    for start, end in pairwise(edges):
        ranks[order[start:end]] = (start + end - 1) / 2
    return ranks
