"""The training loop, of a single run and of a stack of runs.

A prediction is (…, rows, outputs) and a loss (…,), where … is (runs,) in a stack and nothing for a single run. What is
known about each run (metrics, learning rates, best epoch) is numpy, (runs,), with one run for a single run.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.data.scaling import TargetScaling
from ch12cli.training.batches import Part
from ch12cli.training.losses import Loss, row_weights, target_of
from ch12cli.training.metrics import Metric, MetricsOfPieces
from ch12cli.training.optimizers import Optimizer
from ch12cli.training.schedules import Schedule
from ch12cli.training.step import StepFunction, Trainable, TrainingStep
from ch12cli.training.stopping import Best, EarlyStopping, Values

OPTIMIZER, LR = "optimizer.", "optimizer.lr"  # how the keys of its numbers begin, and that of the learning rate
EVALUATED = 2**22  # values of x evaluated at once: bounds memory, not speed


class Source(Protocol):
    """The source of an epoch's batches, in the order that the runs' random streams give."""

    batch_size: int

    def order(self) -> Tensor: ...
    def batches(self, order: Tensor, epoch: int = 0) -> Iterable[tuple[Tensor, Tensor]]: ...  # epoch: from 0
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Limits:
    """The bounds of a training. monitor: the column that picks the best epoch; epochs: passes over the data.

    norms: whether to measure those of gradient and weights.
    """

    epochs: int
    monitor: str
    stop_on: str
    clip_grad_norm: float | Values | None = None  # one for each run of a stack, where they differ: (runs,)
    clip_grad_value: float | Values | None = None
    norms: bool = False


class Epoch(NamedTuple):
    """One epoch, counted from 1. columns: metrics.csv's, (runs,) each; the others: (runs,).

    better: the best epoch so far; stopped: early stopping ends the run here;
    diverged_at: the step, from 1, whose loss was no longer finite, else 0. The weights mean nothing after it.
    """

    number: int
    columns: dict[str, Values]
    better: NDArray[np.bool_]
    stopped: NDArray[np.bool_]
    diverged_at: NDArray[np.int64]


class Training:
    """A training in progress: the state that changes from step to step, and the loop that changes it."""

    def __init__(
        self,
        network: Trainable,
        *,
        loss: Loss,
        loss_in_units: Loss,
        metrics: Mapping[str, Metric],
        optimizer: Optimizer,
        schedule: Schedule,
        source: Source,
        train: Part,
        valid: Part | None,
        best: Best,
        stopping: EarlyStopping,
        limits: Limits,
        units: TargetScaling | None = None,
    ) -> None:
        """loss: what is minimised, of targets as they are learned. loss_in_units: what is reported, of those restored.

        units: the scaling of the targets, which losses and metrics are reported without; None: there is none.
        """
        self.network, self.loss, self.loss_in_units, self.metrics = network, loss, loss_in_units, metrics
        self.optimizer, self.schedule, self.source = optimizer, schedule, source
        self.train, self.valid = train, valid
        self.best, self.stopping, self.limits = best, stopping, limits
        self.units = units
        self.norms: list[Tensor] = []  # of the gradients of the epoch's steps
        self.step = self.make_step()
        self.epoch = 0  # epochs done
        self.best_state = network.snapshot()

    def begin(self) -> None:
        """Is called once before the first epoch, with the state to start from."""

    def epochs(self) -> Iterator[Epoch]:
        """Trains epoch by epoch and yields each one. The caller ends a run that diverged or stopped."""
        while self.epoch < self.limits.epochs:
            yield self.one_epoch()

    def make_step(self) -> StepFunction:
        """Returns the step for the network, the optimiser and the limits as they are."""
        return TrainingStep(
            self.network,
            self.loss,
            self.optimizer,
            clip_grad_norm=self.limits.clip_grad_norm,
            clip_grad_value=self.limits.clip_grad_value,
            norms=self.norms if self.limits.norms else None,
        )

    def one_epoch(self) -> Epoch:
        """Trains one epoch, evaluates it, and updates the best epoch, early stopping and the schedule."""
        start = time.perf_counter()
        lrs = self.schedule.learning_rates(self.epoch)  # (steps, runs)
        order = self.source.order()
        losses, seen = self.train_epoch(order, lrs)
        diverged_at = first_bad_step(losses, self.network.is_finite().cpu().numpy())
        if diverged_at.all():
            none = np.zeros(self.network.runs, dtype=bool)
            return Epoch(self.epoch + 1, {}, none, none, diverged_at)
        self.epoch += 1
        columns = self.train_columns(losses, seen)
        del seen, order  # of all rows: the validation part needs the memory
        if self.valid is not None:
            columns |= {f"valid_{name}": value for name, value in self.evaluate(self.valid).items()}
        columns["lr"] = np.array(lrs[-1])
        if self.limits.norms:
            columns |= self.norm_columns()
        columns["seconds"] = np.full(self.network.runs, time.perf_counter() - start)
        epoch = self.observe(self.epoch, columns, diverged_at)
        if epoch.better.any():
            self.remember(epoch.better)
        return epoch

    def observe(self, number: int, columns: dict[str, Values], diverged_at: NDArray[np.int64]) -> Epoch:
        """Updates the best epoch, early stopping and the schedule by the metrics of an epoch, and returns it."""
        monitored = np.where(diverged_at > 0, np.nan, columns[self.limits.monitor])
        better = self.best.observe(monitored, number)
        stopped = self.stopping.observe(columns[self.limits.stop_on])
        self.schedule.observe(columns[self.limits.monitor])
        return Epoch(number, columns, better, stopped, diverged_at)

    def train_epoch(self, order: Tensor, lrs: NDArray[np.float64]) -> "tuple[Values, SeenRows]":
        """Makes one pass over the training part. Returns losses, (steps, runs), and what was seen of the rows.

        The prediction of a row is the one that its step made. The pass ends at the first loss that is not finite where
        the step watches it.
        """
        seen = self.seen_rows()
        step = self.step
        losses: list[Any] = []
        for (x, y), lr in zip(
            self.source.batches(order, self.epoch), lrs if self.network.stacked else lrs[:, 0].tolist(), strict=True
        ):
            loss, prediction = step(x, y, lr)
            losses.append(loss)
            seen.add(prediction, y)
            if isinstance(loss, float) and not math.isfinite(loss):
                break
        values = torch.stack(losses).cpu().double().numpy() if isinstance(losses[0], Tensor) else np.array(losses)
        return values.reshape(len(losses), -1), seen

    def seen_rows(self) -> "SeenRows":
        """Returns what takes the rows of an epoch, batch by batch."""
        return SeenRows(self)

    def train_columns(self, losses: Values, seen: "SeenRows") -> dict[str, Values]:
        """Returns training loss and metrics over the epoch's examples, each as it was when its batch was seen."""
        if seen.losses:  # in the units of the data
            losses = np.array(seen.losses)
        counted = np.array(seen.counted, np.float64).reshape(len(losses), -1)  # (steps, runs), or one for all runs
        # in order, as a loop over the batches adds: the same bits as the book's running total
        total = added_in_order(losses * counted)
        below = len(self.train) if seen.is_plain else np.cumsum(counted, axis=0)[-1]
        measured = {f"train_{name}": per_run(value) for name, value in seen.measured.values().items()}
        return {"train_loss": total / below, **measured}

    def norm_columns(self) -> dict[str, Values]:
        """Returns the norm of the gradient before clipping, a mean over the steps, and that of the trained weights."""
        steps = torch.stack(self.norms).double()  # (steps,) or (steps, runs)
        self.norms.clear()
        weights = torch.linalg.vector_norm(self.network.parameters.detach(), dim=-1)
        return {"grad_norm": per_run(steps.mean(0)), "weight_norm": per_run(weights)}

    @torch.no_grad()
    def evaluate(self, part: Part) -> dict[str, Values]:
        """Returns loss and metrics of each run on a part, in evaluation mode. Draws nothing from the random stream."""
        network = self.network
        runs = network.runs if network.stacked else None
        network.train(False)
        stream = torch.get_rng_state()  # a user's module may draw from it in evaluation, too
        pairs = self.predictions(part, max(1, EVALUATED // max(1, part.values * network.runs)))
        found = self.measure(part, pairs, runs=runs)
        torch.set_rng_state(stream)
        network.train(True)
        return found

    def measure(self, part: Part, pairs: Iterable[tuple[Tensor, Tensor]], *, runs: int | None) -> dict[str, Values]:
        """Returns loss and metrics of each run. pairs: predictions and targets of the part's rows, in order."""
        losses, measured = [], MetricsOfPieces(self.metrics)
        for prediction, y in pairs:
            prediction, target = self.in_units(prediction), self.in_units(y)
            losses.append(self.loss_in_units(prediction, target).cpu().double() * self.share(part, y, runs))
            measured.add(prediction, target_of(self.loss, target))
        found = {name: per_run(value) for name, value in measured.values().items()}
        return {"loss": per_run(torch.stack(losses).sum(0)), **found}

    def predictions(self, part: Part, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields predictions and targets of so many rows of a part at a time, in order, in evaluation mode."""
        for x, y in part.blocks(rows, runs=self.network.runs if self.network.stacked else None):
            yield self.network(x), y

    def in_units(self, values: Tensor) -> Tensor:
        """Returns predictions or targets, (…, rows, outputs[, weight]), in the units of the data; float64 if scaled."""
        if self.units is None:
            return values
        exact = values.cpu().double() if values.device.type == "mps" else values.double()  # mps has no float64
        restored: Tensor = self.units.restore(exact[..., :1])
        return torch.cat([restored, exact[..., 1:]], -1)

    def share(self, part: Part, y: Tensor, runs: int | None) -> float | Tensor:
        """Returns how much some rows of a part count in the mean over the part. y: their targets, (…, rows[, 1])."""
        weight = row_weights(self.loss, y)
        whole = None if weight is None else row_weights(self.loss, part.targets(runs=runs))
        if weight is None or whole is None:
            return (len(y) if runs is None else y.shape[1]) / len(part)
        return weight.cpu().double().sum(-1) / whole.cpu().double().sum(-1)

    def remember(self, better: NDArray[np.bool_]) -> None:
        """Copies the weights of the runs whose epoch was their best, (runs,)."""
        state = self.network.snapshot()
        if better.all():
            self.best_state = state
        else:
            rows = torch.from_numpy(better).to(self.network.device).unsqueeze(1)  # (runs, 1)
            self.best_state = {name: torch.where(rows, new, self.best_state[name]) for name, new in state.items()}

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Drops the runs that are not in rows, (kept,), from the stack."""
        stack, index = cast(Any, self.network), torch.from_numpy(rows)
        stack.keep(index.to(stack.device))
        self.optimizer.keep(index.to(stack.device), stack.parameters)
        self.schedule.keep(rows)
        self.best.keep(rows)
        self.stopping.keep(rows)
        cast(Any, self.source).keep(rows.tolist())
        if self.valid is not None:
            self.valid.keep(index.to(self.valid.y.device))
        self.best_state = {name: value[index.to(value.device)] for name, value in self.best_state.items()}
        clips = {name: getattr(self.limits, name) for name in ("clip_grad_norm", "clip_grad_value")}
        kept: dict[str, Any] = {name: value[rows] for name, value in clips.items() if isinstance(value, np.ndarray)}
        self.limits = replace(self.limits, **kept)
        self.step = self.make_step()

    def copy_runs(self, source: NDArray[np.int64], target: NDArray[np.int64], numbers: Mapping[str, Values]) -> None:
        """Lets runs of a stack go on from others, with numbers of their own. The order of their rows stays their own.

        source, target: rows, (copied,), of which none is in both. numbers: as of set_numbers.
        """
        stack = cast(Any, self.network)
        rows = [torch.from_numpy(index).to(stack.device) for index in (source, target)]
        stack.copy_runs(*rows)
        self.optimizer.copy_runs(*rows)
        self.schedule.copy_runs(source, target, numbers.get(LR, np.array(self.schedule.lr)))
        self.best.copy_runs(source, target)
        self.stopping.copy_runs(source, target)
        self.best_state = {name: value.clone() for name, value in self.best_state.items()}
        for value in self.best_state.values():
            value[rows[1]] = value[rows[0]]
        self.set_numbers(numbers)

    def set_numbers(self, numbers: Mapping[str, Values]) -> None:
        """Sets numbers of a stack's runs, each (runs,), by key: `optimizer.lr` and others, `clip_grad_norm`, …"""
        if LR in numbers:
            self.schedule.set_lr(numbers[LR])
        self.optimizer.set_values(
            {key.removeprefix(OPTIMIZER): value for key, value in numbers.items() if key.startswith(OPTIMIZER)}
        )
        clips: dict[str, Any] = {key: value for key, value in numbers.items() if not key.startswith(OPTIMIZER)}
        self.limits = replace(self.limits, **clips)
        self.step = self.make_step()

    def state_dict(self) -> dict[str, Any]:
        """Returns a copy of everything that a resume needs: tensors and plain values only."""
        return {
            "epoch": self.epoch,
            "network": self.network.snapshot(),
            "best_network": dict(self.best_state),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best.state_dict(),
            "stopping": self.stopping.state_dict(),
            "source": self.source.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.network.restore(state["network"])
        self.best_state = {name: value.to(self.network.device) for name, value in state["best_network"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best.load_state_dict(state["best"])
        self.stopping.load_state_dict(state["stopping"])
        self.source.load_state_dict(state["source"])


class SeenRows:
    """What an epoch's columns need of its rows, batch by batch: the metrics, and how much each batch counts.

    losses: of each batch in the units of the data, (runs,) each; none if the targets are not scaled. counted: rows of
    each batch, or the sum of their weights, (runs,). is_plain: whether rows have no weights.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.measured = MetricsOfPieces(training.metrics)
        self.losses: list[Values] = []
        self.counted: list[Any] = []
        self.is_plain = True

    def add(self, prediction: Tensor, y: Tensor) -> None:
        """Takes a batch: (…, batch, outputs) and (…, batch[, 1])."""
        training = self.training
        weight = row_weights(training.loss, y)
        if weight is None:
            self.counted.append(prediction.shape[-2])
        else:
            self.is_plain = False
            self.counted.append(per_run(weight.double().sum(-1)))
        if training.units is not None:
            prediction, y = training.in_units(prediction), training.in_units(y)
            self.losses.append(per_run(training.loss_in_units(prediction, y)))
        self.measured.add(prediction, target_of(training.loss, y))

    def add_all(self, prediction: Tensor, order: Tensor) -> None:
        """Takes the batches of an epoch at once. prediction: (…, rows, outputs); order: of the rows, (…, rows)."""
        training = self.training
        y, size, axis = training.train.y[order.to(training.train.y.device)], training.source.batch_size, order.dim() - 1
        if training.units is None and row_weights(training.loss, y.narrow(axis, 0, 1)) is None:
            self.counted = rows_of_batches(y.shape[axis], size)
            self.measured.add(prediction, target_of(training.loss, y))
            return
        for batch in zip(prediction.split(size, axis), y.split(size, axis), strict=True):
            self.add(*batch)


def rows_of_batches(rows: int, batch_size: int) -> list[int]:
    """Returns how many rows each batch of an epoch has."""
    return [min(batch_size, rows - start) for start in range(0, rows, batch_size)]


def per_run(value: Tensor) -> Values:
    """Returns a tensor, () of a single run or (runs,) of a stack, as numpy (runs,)."""
    return value.detach().cpu().double().reshape(-1).numpy()


MANY_RUNS = 64  # from which adding whole steps is faster than numpy's running total


def added_in_order(values: Values) -> Values:
    """Returns the sum over the steps, (runs,), added one after the other. values: (steps, runs)."""
    if values.shape[1] < MANY_RUNS:
        total: Values = np.cumsum(values, axis=0)[-1]
        return total
    total = values[0].copy()
    for step in values[1:]:
        total += step
    return total


def first_bad_step(losses: Values, finite: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the step, from 1, at which each run's loss or weights ceased to be finite, (runs,); 0 where none did.

    losses: (steps, runs). finite: whether each run's weights are finite after the last step, (runs,).
    """
    bad = ~np.isfinite(losses)  # (steps, runs)
    if not bad.any() and finite.all():
        return np.zeros(losses.shape[1], np.int64)
    steps = np.where(bad.any(0), bad.argmax(0) + 1, 0)
    return np.where((steps == 0) & ~finite, len(losses), steps)
