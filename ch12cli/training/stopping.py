"""The best epoch of each run, and early stopping, in numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Best:
    """The best value of a metric so far, of each run. minimise: whether less is better."""

    def __init__(self, runs: int, *, minimise: bool) -> None:
        self.minimise = minimise
        self.value: Values = np.full(runs, np.inf if minimise else -np.inf)
        self.epoch = np.zeros(runs, dtype=np.int64)

    def observe(self, metric: Values, epoch: int) -> NDArray[np.bool_]:
        """Returns for which runs this epoch, from 1, is the best so far, (runs,). Of equal epochs the first is best."""
        better = metric < self.value if self.minimise else metric > self.value
        self.value = np.where(better, metric, self.value)
        self.epoch = np.where(better, epoch, self.epoch)
        return better

    def observe_epochs(self, metric: Values, first: int) -> NDArray[np.bool_]:
        """Does what `observe` does for several epochs, from `first` on. metric and what is returned: (epochs, runs)."""
        if len(metric) == 1:
            return self.observe(metric[0], first)[np.newaxis]
        best = (np.fmin if self.minimise else np.fmax).accumulate(np.concatenate([[self.value], metric]), 0)
        better = metric < best[:-1] if self.minimise else metric > best[:-1]
        last = first + len(metric) - 1 - better[::-1].argmax(0)  # in which a run was better
        self.value, self.epoch = best[-1], np.where(better.any(0), last, self.epoch)
        return better

    def keep(self, rows: NDArray[np.int64]) -> None:
        self.value, self.epoch = self.value[rows], self.epoch[rows]

    def copy_runs(self, source: NDArray[np.int64], target: NDArray[np.int64]) -> None:
        """Gives runs the best epochs of others. source, target: rows, (copied,)."""
        self.value, self.epoch = self.value.copy(), self.epoch.copy()
        self.value[target], self.epoch[target] = self.value[source], self.epoch[source]

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value.tolist(), "epoch": self.epoch.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self.epoch = np.array(state["value"], np.float64), np.array(state["epoch"], np.int64)


class EarlyStopping:
    """Ends a run after `patience` epochs in which the metric did not improve by more than min_delta.

    patience, min_delta: numbers, or (runs,); patience None or NaN: never.
    """

    def __init__(
        self, runs: int, *, minimise: bool, patience: float | Values | None = None, min_delta: float | Values = 0.0
    ) -> None:
        self.sign = 1.0 if minimise else -1.0
        self.patience: Values = np.broadcast_to(np.asarray(np.inf if patience is None else patience, np.float64), runs)
        self.patience = np.where(np.isnan(self.patience), np.inf, self.patience)
        self.min_delta: Values = np.broadcast_to(np.asarray(min_delta, np.float64), runs).copy()
        self.best: Values = np.full(runs, np.inf)
        self.waited = np.zeros(runs, dtype=np.int64)

    def observe(self, metric: Values) -> NDArray[np.bool_]:
        """Returns which runs have waited for `patience` epochs, (runs,).

        A NaN is never an improvement. Before the metric has had any value, there is nothing to wait for.
        """
        better = self.sign * metric < self.best - self.min_delta
        self.best = np.where(better, self.sign * metric, self.best)
        undefined = np.isnan(metric) & (self.waited == 0) & np.isinf(self.best)
        self.waited = np.where(better | undefined, 0, self.waited + 1)
        return self.waited >= self.patience

    def observe_epochs(self, metric: Values) -> NDArray[np.bool_]:
        """Does what `observe` does for several epochs. metric and what is returned: (epochs, runs)."""
        if len(metric) == 1 or self.min_delta.any() or np.isinf(metric).any():  # or what counts depends on the past
            return np.stack([self.observe(values) for values in metric])
        metric = self.sign * metric
        best = np.fmin.accumulate(np.concatenate([[self.best], metric]), 0)
        undefined = np.logical_and.accumulate(np.isnan(metric), 0) & (self.waited == 0) & np.isinf(self.best)
        numbers = np.arange(1, len(metric) + 1)[:, np.newaxis]
        began = np.maximum.accumulate(np.where((metric < best[:-1]) | undefined, numbers, 0), 0)  # 0: before
        waited = np.where(began > 0, numbers - began, self.waited + numbers)
        self.best, self.waited = best[-1], waited[-1]
        return waited >= self.patience

    def keep(self, rows: NDArray[np.int64]) -> None:
        self.patience, self.min_delta = self.patience[rows], self.min_delta[rows]
        self.best, self.waited = self.best[rows], self.waited[rows]

    def copy_runs(self, source: NDArray[np.int64], target: NDArray[np.int64]) -> None:
        """Gives runs what others have waited. source, target: rows, (copied,)."""
        self.best, self.waited = self.best.copy(), self.waited.copy()
        self.best[target], self.waited[target] = self.best[source], self.waited[source]

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best.tolist(), "waited": self.waited.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited = np.array(state["best"], np.float64), np.array(state["waited"], np.int64)
