"""Learning rates over a run, of one run or many: numbers, or (R,) float64 with a value for each run. numpy only."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ch12cli.errors import InputError

Values = NDArray[np.float64]
Value = float | Values  # a number for all runs, or one for each run: (R,)
Rules = dict[str, tuple[NDArray[np.bool_], str]]  # a value's name: where it is valid, (R,), and the rule in words

_NOT_PER_RUN = {"epochs", "steps_per_epoch", "minimise", "anneal_strategy", "threshold_mode", "state"}


def cosine(angles: Values) -> Values:
    """Returns the cosines, shaped like the angles, with the bits of math.cos, which torch uses; numpy's may differ."""
    return np.reshape([math.cos(angle) for angle in np.ravel(angles).tolist()], np.shape(angles))


@dataclass(kw_only=True, eq=False)
class Schedule:
    """The learning rates of each epoch's steps: the class's own curve, with a linear rise in the first `warmup` epochs.

    Once built, every value is (R,), R = 1 for a single run. minimise: whether a lower observed metric is the better
    one; every schedule takes it, only ReduceOnPlateau uses it. InputError for values outside of their limits.
    """

    lr: Value = field(kw_only=False)
    epochs: int
    steps_per_epoch: int
    warmup: Value = 0.0
    minimise: bool = True
    state: dict[str, Values] = field(init=False, default_factory=dict)  # what observe() changes, each (R,)

    def __post_init__(self) -> None:
        self._names = [f.name for f in fields(self) if f.name not in _NOT_PER_RUN]
        try:
            arrays = [np.asarray(getattr(self, name), dtype=np.float64) for name in self._names]
        except (TypeError, ValueError) as error:
            raise InputError(f"scheduler: its values must be numbers: {error}") from error
        runs = np.broadcast_shapes((1,), *(array.shape for array in arrays))
        for name, array in zip(self._names, arrays, strict=True):
            setattr(self, name, np.broadcast_to(array, runs))
        self._check()

    def learning_rates(self, epoch: int) -> Values:
        """Returns the learning rates of an epoch's steps, (steps_per_epoch, R), read-only. epoch: counted from 0."""
        steps = epoch * self.steps_per_epoch + np.arange(self.steps_per_epoch)[:, None]  # (steps, 1)
        curve = self._curve(epoch, steps)
        rising = self.warmup * self.steps_per_epoch  # (R,) steps, perhaps a fraction of one
        if np.any(steps[0] < rising):
            curve = curve * np.minimum(1.0, (steps + 1) / np.maximum(rising, 1e-300))
        return np.broadcast_to(curve, (self.steps_per_epoch, *np.shape(self.lr)))

    def learning_rates_of_epochs(self, epoch: int, count: int) -> Values:
        """Returns those of some epochs from one on, (count, steps_per_epoch, R), read-only."""
        rates = [self.learning_rates(epoch + index) for index in range(count)]
        return np.stack(rates) if count > 1 else rates[0][np.newaxis]  # a view, which may repeat one number

    def observe(self, metric: Values) -> None:
        """Records the metric, (R,), of the epoch that has ended."""

    def state_dict(self) -> dict[str, list[float]]:
        """Returns what a resume needs beside the epoch: item r of each list is run r's."""
        return {name: value.tolist() for name, value in self.state.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        expected = {name: len(value) for name, value in self.state.items()}
        if (found := {name: len(value) for name, value in state.items()}) != expected:
            raise InputError(f"checkpoint: the schedule's state holds {found}, this schedule needs {expected}")
        self.state = {name: np.array(value, dtype=np.float64) for name, value in state.items()}

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Drops the runs that are not in rows, (kept,)."""
        for name in self._names:
            setattr(self, name, getattr(self, name)[rows])
        self.state = {name: value[rows] for name, value in self.state.items()}

    def set_lr(self, lr: Values) -> None:
        """Sets the learning rate that the curve is drawn with, (R,), as if it had been so from the start."""
        self.lr = lr

    def copy_runs(self, source: NDArray[np.int64], target: NDArray[np.int64], lr: Values) -> None:
        """Gives runs the state of others, and sets the learning rates, (R,). source, target: rows, (copied,)."""
        self.state = {name: value.copy() for name, value in self.state.items()}
        for value in self.state.values():
            value[target] = value[source]
        self.set_lr(lr)

    def _curve(self, epoch: int, steps: NDArray[np.int64]) -> Any:
        """Returns the learning rates without warm-up: (R,) for the whole epoch, or (steps, R).

        steps: (steps, 1), counted from the start of the run.
        """
        raise NotImplementedError

    def _rules(self) -> Rules:
        return {
            "warmup": (np.greater_equal(self.warmup, 0) & np.isfinite(self.warmup), "a number of epochs, 0 or more")
        }

    def _check(self) -> None:
        problems = []
        for name, (valid, rule) in self._rules().items():
            if not np.all(valid):
                invalid = np.atleast_1d(getattr(self, name))[~np.atleast_1d(valid)][0]
                shown = invalid if isinstance(invalid, str) else f"{invalid:g}"
                problems.append(f"scheduler.{name}={shown}: must be {rule}")
        if problems:
            raise InputError(problems)


@dataclass(kw_only=True, eq=False)
class Constant(Schedule):
    """The same learning rate throughout."""

    def learning_rates_of_epochs(self, epoch: int, count: int) -> Values:
        if np.any(epoch < self.warmup):
            return super().learning_rates_of_epochs(epoch, count)
        rates = self.learning_rates(epoch)
        return np.broadcast_to(rates, (count, *rates.shape))

    def _curve(self, epoch: int, steps: NDArray[np.int64]) -> Any:
        return self.lr


class Recursion(Schedule):
    """A schedule whose learning rate of an epoch follows from that of the epoch before, as torch computes it.

    The closed form of the curve would be rounded otherwise.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._reached = (0, np.asarray(self.lr))  # an epoch, and its learning rates, (R,)

    def keep(self, rows: NDArray[np.int64]) -> None:
        super().keep(rows)
        epoch, lr = self._reached
        self._reached = (epoch, lr[rows])

    def set_lr(self, lr: Values) -> None:
        super().set_lr(lr)
        self._reached = (0, lr)

    def _curve(self, epoch: int, steps: NDArray[np.int64]) -> Any:
        start, lr = self._reached if self._reached[0] <= epoch else (0, np.asarray(self.lr))
        for number in range(start + 1, epoch + 1):
            lr = self._following(lr, number)
        self._reached = (epoch, lr)
        return lr

    def _following(self, lr: Values, epoch: int) -> Values:
        """Returns the learning rates of an epoch, (R,). lr: those of the epoch before."""
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class Step(Recursion):
    """The learning rate times gamma after every step_size epochs: torch's StepLR."""

    step_size: Value = 30
    gamma: Value = 0.1

    def _following(self, lr: Values, epoch: int) -> Values:
        return np.where(epoch % np.asarray(self.step_size) == 0, lr * self.gamma, lr)

    def _rules(self) -> Rules:
        is_whole = np.equal(self.step_size, np.rint(self.step_size))
        return super()._rules() | {
            "step_size": (np.greater_equal(self.step_size, 1) & is_whole, "a whole number of epochs, 1 or more"),
            "gamma": (np.greater_equal(self.gamma, 0), "0 or greater"),
        }


@dataclass(kw_only=True, eq=False)
class Cosine(Recursion):
    """Half a cosine wave from lr to eta_min in T_max epochs (None: all epochs): torch's CosineAnnealingLR."""

    T_max: Value | None = None
    eta_min: Value = 0.0

    def __post_init__(self) -> None:
        self.T_max = self.epochs if self.T_max is None else self.T_max
        super().__post_init__()

    def _following(self, lr: Values, epoch: int) -> Values:
        period = np.asarray(self.T_max)
        height, before = (1 + cosine(np.pi * number / period) for number in (epoch, epoch - 1))
        rise = (self.lr - self.eta_min) * (1 - cosine(np.pi / period)) / 2
        lowest = ((epoch - 1 - period) % (2 * period) == 0) | (before == 0)  # the epoch before was
        return np.where(lowest, lr + rise, height / np.where(lowest, 1, before) * (lr - self.eta_min) + self.eta_min)

    def _rules(self) -> Rules:
        return super()._rules() | {
            "T_max": (np.greater_equal(np.asarray(self.T_max), 1), "a number of epochs, 1 or more"),
            "eta_min": (np.greater_equal(self.eta_min, 0), "0 or greater"),
        }


@dataclass(kw_only=True, eq=False)
class OneCycle(Schedule):
    """From lr / div_factor up to lr, then down to lr / div_factor / final_div_factor, step by step: torch's OneCycleLR.

    It moves the learning rate alone. torch's moves momentum (or the first beta) against it, unless given
    cycle_momentum=False.
    """

    pct_start: Value = 0.3
    div_factor: Value = 25.0
    final_div_factor: Value = 1e4
    anneal_strategy: str = "cos"

    def _curve(self, epoch: int, steps: NDArray[np.int64]) -> Any:
        last = self.epochs * self.steps_per_epoch - 1
        steps = np.minimum(steps, last)  # a run that is longer stays at the lowest learning rate
        peak = self.pct_start * (last + 1) - 1  # (R,) the step of the highest learning rate, seldom a whole number
        first = self.lr / self.div_factor
        lowest = first / self.final_div_factor
        up = self._anneal(first, self.lr, steps / np.maximum(peak, 1e-300))
        down = self._anneal(self.lr, lowest, (steps - peak) / np.maximum(last - peak, 1e-300))
        return np.where(steps <= peak, up, down)  # (steps, R)

    def _anneal(self, start: Value, end: Value, part: Values) -> Values:
        """Returns values from start to end, (steps, R). part: the part of the way, (steps, R), from 0 to 1."""
        part = np.clip(part, 0.0, 1.0)
        if self.anneal_strategy == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (cosine(np.pi * part) + 1)

    def _rules(self) -> Rules:
        shapes = ("cos", "linear")
        return super()._rules() | {
            "pct_start": (np.greater_equal(self.pct_start, 0) & np.less_equal(self.pct_start, 1), "between 0 and 1"),
            "div_factor": (np.greater(self.div_factor, 0), "greater than 0"),
            "final_div_factor": (np.greater(self.final_div_factor, 0), "greater than 0"),
            "anneal_strategy": (np.isin(self.anneal_strategy, shapes), " or ".join(shapes)),
        }


@dataclass(kw_only=True, eq=False)
class ReduceOnPlateau(Schedule):
    """The learning rate times factor after over `patience` epochs without improvement: torch's ReduceLROnPlateau."""

    factor: Value = 0.1
    patience: Value = 10
    threshold: Value = 1e-4
    threshold_mode: str = "rel"
    cooldown: Value = 0
    min_lr: Value = 0.0
    eps: Value = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        zeros = np.zeros(np.shape(self.lr))
        worst = zeros + (np.inf if self.minimise else -np.inf)
        self.state = {"lr": zeros + self.lr, "best": worst, "bad": zeros, "resting": zeros}

    def copy_runs(self, source: NDArray[np.int64], target: NDArray[np.int64], lr: Values) -> None:
        """As of all schedules. What is left of a learning rate after its reductions is kept as a share of it."""
        before = np.array(self.lr, np.float64)
        super().copy_runs(source, target, lr)
        self.state["lr"][target] *= lr[target] / before[source]

    def _curve(self, epoch: int, steps: NDArray[np.int64]) -> Any:
        return self.state["lr"]

    def observe(self, metric: Values) -> None:
        """Records the metric, (R,), of the epoch that has ended; NaN is no improvement."""
        lr, best, bad, resting = (self.state[name] for name in ("lr", "best", "bad", "resting"))
        if np.shape(metric) != best.shape:
            raise ValueError(f"a metric for each run is needed, {best.shape}, not {np.shape(metric)}")
        better = self._better(metric, best)
        rests = resting > 0
        bad = np.where(better | rests, 0.0, bad + 1)
        reduce = bad > self.patience
        lower = np.maximum(lr * self.factor, self.min_lr)
        self.state = {
            "lr": np.where(reduce & (lr - lower > self.eps), lower, lr),
            "best": np.where(better, metric, best),
            "bad": np.where(reduce, 0.0, bad),
            "resting": np.where(reduce, self.cooldown, np.where(rests, resting - 1, resting)),
        }

    def _better(self, metric: Values, best: Values) -> NDArray[np.bool_]:
        sign = 1.0 if self.minimise else -1.0
        with np.errstate(invalid="ignore"):  # at first the best is infinite, and infinity times 0 is no number
            bar = best * (1.0 - sign * self.threshold) if self.threshold_mode == "rel" else best - sign * self.threshold
        return np.less(sign * metric, sign * bar)

    def _rules(self) -> Rules:
        modes = ("rel", "abs")
        rules = super()._rules() | {
            "factor": (np.greater_equal(self.factor, 0) & np.less(self.factor, 1), "at least 0 and below 1"),
            "threshold_mode": (np.isin(self.threshold_mode, modes), " or ".join(modes)),
        }
        for name in ("patience", "threshold", "cooldown", "min_lr", "eps"):
            rules[name] = (np.greater_equal(getattr(self, name), 0), "0 or greater")
        return rules
