"""Successive halving (Jamieson & Talwalkar 2016): at each rung only the best share of the runs goes on."""

import numpy as np
from numpy.typing import NDArray

from ch12cli.files.objective import minimised


class Halving:
    """Which runs of a stack leave after an epoch. Rungs are at min_epochs, min_epochs * factor, … epochs.

    metric: the column that is compared; factor: one in so many stays at each rung, at least one.
    """

    def __init__(self, metric: str, min_epochs: int, factor: int) -> None:
        self.metric, self.min_epochs, self.factor = metric, min_epochs, factor

    def is_rung(self, epoch: int) -> bool:
        rung = self.min_epochs
        while rung < epoch:
            rung *= self.factor
        return rung == epoch

    def rungs(self, epochs: int) -> list[int]:
        """The epochs after which runs leave, of so many in all: nobody leaves after the last."""
        rungs, rung = [], self.min_epochs
        while rung < epochs:
            rungs.append(rung)
            rung *= self.factor
        return rungs

    def leaving(self, epoch: int, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """True for the runs that leave. values: the metric's, (runs,), NaN for runs that have ended already."""
        running = ~np.isnan(values)
        if not self.is_rung(epoch) or running.sum() < 2:
            return np.zeros(len(values), dtype=bool)
        stay = max(1, int(running.sum()) // self.factor)
        order = np.argsort(np.where(running, values if minimised(self.metric) else -values, np.inf), kind="stable")
        leaves = running.copy()
        leaves[order[:stay]] = False
        return leaves
