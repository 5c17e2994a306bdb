"""The training of a stack, several epochs at a time where they are compiled: these share their other costs."""

import math
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.fused.epochs import SECONDS_OF_CALL, FusedEpochs, TrainedEpochs
from ch12cli.training.batches import StackedSource
from ch12cli.training.loop import Epoch, Training, added_in_order, first_bad_step, rows_of_batches
from ch12cli.training.stack import Stack
from ch12cli.training.stopping import Values

# Runs x epochs up to which a further epoch costs hardly more beside its steps. For memory: rows x runs x epochs, and
# parameters x runs x epochs, as those after each epoch are kept.
MOST_AT_ONCE = {"cpu": (1024, 2**19, 2**22), "cuda": (2**17, 2**23, 2**25)}
FIRST_COUNT = 8  # epochs to try at once before anything is known
WITHIN = 2e-4  # seconds that training epochs at once takes beside the epochs themselves


class AtOnce:
    """Chooses how many epochs to train at once.

    Each time has costs of its own, beside those of its epochs. When a run ends among the epochs, those up to its end
    are trained again. With costs of c epochs, and a chance p that a run ends in an epoch, sqrt(2 c / p) epochs at once
    cost least, as between the checkpoints of a machine that fails (J. W. Young, 1974).
    """

    def __init__(self) -> None:
        self.count = FIRST_COUNT  # the next time
        self.epochs, self.ends = 0, 0
        self.between: float | None = None  # the least seconds from one time to the next

    def observe(self, epochs: int, seconds: float, *, between: float | None, has_end: bool) -> None:
        """Takes what some epochs took. between: seconds since the ones before; has_end: a run ended in the last."""
        self.epochs += epochs
        self.ends += has_end
        if between is not None:
            self.between = between if self.between is None else min(self.between, between)
        each = max(seconds / epochs, 1e-6)  # a coarse clock may stand still
        costs = (WITHIN + (self.between or 0.0)) / each
        chance = (self.ends + 0.5) / (self.epochs + FIRST_COUNT)
        self.count = max(1, min(int(math.sqrt(2 * costs / chance)), int(SECONDS_OF_CALL / each)))


class StackTraining(Training):
    """A stack in training, epoch by epoch, or several epochs at a time.

    whole: trains epochs in place of the steps; None: there is none, and why_steps says why.
    """

    source: StackedSource
    whole: FusedEpochs | None = None
    why_steps = ""
    left: float | None = None  # when the last epochs had been trained, by perf_counter

    @cached_property
    def at_once(self) -> AtOnce:
        return AtOnce()

    def one_epoch(self) -> Epoch:
        if self.whole is None:
            return super().one_epoch()
        found = self.train_at_once(self.whole, 1, np.ones(self.network.runs, dtype=bool))
        assert not isinstance(found, int)
        return found[0]

    def next_epochs(self, most: int, running: NDArray[np.bool_], before: Mapping[str, Any]) -> list[Epoch]:
        """Trains the next epochs, from 1 to `most`. A run ends in the last of them only.

        running: which rows of the stack have not ended, (runs,). before: the state of the training, with the step of
        its dropout's masks, to go back to.
        """
        if self.whole is None or not self.whole.trains_several or self.schedule.state:
            return [self.one_epoch()]
        runs, (of_runs, of_rows, of_values) = self.network.runs, MOST_AT_ONCE[self.network.device.type]
        parameters = self.network.parameters.shape[1]
        in_memory = min(of_runs // runs, of_rows // (runs * len(self.train)), of_values // (runs * parameters))
        count = max(1, min(self.at_once.count, most, in_memory))
        start = begun = time.perf_counter()
        while isinstance(found := self.train_at_once(self.whole, count, running), int):
            self.load_state_dict(before)
            cast(Stack, self.network).masks.step = before["step"]
            count, begun = max(1, found), time.perf_counter()
        between, self.left = None if self.left is None else start - self.left, time.perf_counter()
        has_end = bool(((found[-1].diverged_at > 0) | found[-1].stopped)[running].any())
        self.at_once.observe(count, self.left - begun, between=between, has_end=has_end)
        return found

    def train_at_once(self, whole: FusedEpochs, count: int, running: NDArray[np.bool_]) -> list[Epoch] | int:
        """Trains so many epochs. Returns them, or how many to train instead: a run ends in the last or the next one."""
        start, runs = time.perf_counter(), self.network.runs
        lrs = self.schedule.learning_rates_of_epochs(self.epoch, count)
        order = self.source.orders(count)
        done = whole(order, lrs, self.limits)
        diverged_at = first_bad_step(done.losses, done.finite).reshape(count, runs)
        ended = (diverged_at > 0)[:, running].any(1)
        if count > 1 and ended.any():
            return int(ended.argmax())
        if diverged_at.all():
            none = np.zeros(runs, dtype=bool)
            return [Epoch(self.epoch + 1, {}, none, none, diverged_at[0])]
        first, self.epoch = self.epoch + 1, self.epoch + count
        columns = self.train_columns_of(done, order.flatten(0, 1)) | self.valid_columns_of(done)
        columns |= {"lr": np.array(lrs[:, -1]), "seconds": np.full(count * runs, (time.perf_counter() - start) / count)}
        columns = {name: values.reshape(count, runs) for name, values in columns.items()}
        monitored = columns[self.limits.monitor]
        better = self.best.observe_epochs(np.where(diverged_at > 0, np.nan, monitored), first)
        stopped = self.stopping.observe_epochs(columns[self.limits.stop_on])
        ended = stopped[:-1, running].any(1)
        if ended.any():
            return int(ended.argmax()) + 1
        for values in monitored:
            self.schedule.observe(values)
        self.remember_best(better, done.parameters)
        return [
            Epoch(first + index, {name: values[index] for name, values in columns.items()}, *of_runs)
            for index, of_runs in enumerate(zip(better, stopped, diverged_at, strict=True))
        ]

    def train_columns_of(self, done: TrainedEpochs, order: Tensor) -> dict[str, Values]:
        """Returns the metrics of the training part, (epochs x runs,) each. order: (epochs x runs, rows)."""
        if done.predictions is not None:
            seen = self.seen_rows()
            seen.add_all(self.laid_together(done.predictions), order)
            return self.train_columns(done.losses, seen)
        counted = np.array(rows_of_batches(order.shape[1], self.source.batch_size))[:, np.newaxis]
        total = added_in_order(done.losses * counted)
        return {"train_loss": total / len(self.train), **self.only_metric("train", done.right)}

    def valid_columns_of(self, done: TrainedEpochs) -> dict[str, Values]:
        """Returns the metrics of the validation part, if there is one, after all epochs, (epochs x runs,) each."""
        if self.valid is None:
            return {}
        if done.valid_loss is not None:
            return {"valid_loss": done.valid_loss, **self.only_metric("valid", done.valid_right)}
        if done.valid is None:
            measured = self.evaluate(self.valid)
        else:
            runs, predictions = len(done.valid), self.laid_together(done.valid)
            measured = self.measure(self.valid, [(predictions, self.valid.targets(runs=runs))], runs=runs)
        return {f"valid_{name}": value for name, value in measured.items()}

    def only_metric(self, part: str, values: Values | None) -> dict[str, Values]:
        """Returns the values of the metric that compiled code counts, where it is the only one."""
        (name,) = self.metrics
        assert values is not None
        return {f"{part}_{name}": values}

    def laid_together(self, predictions: Tensor) -> Tensor:
        """Returns the predictions with those of each run beside each other in memory, unless the stack is large.

        Else the rounding of what is computed from them would depend on how many epochs are trained at once.
        """
        runs_at_once, *_ = MOST_AT_ONCE[self.network.device.type]
        return predictions.contiguous() if 2 * self.network.runs <= runs_at_once else predictions

    def remember_best(self, better: NDArray[np.bool_], parameters: Tensor) -> None:
        """Copies the weights of each run's last epoch that was its best.

        better: which were the best so far, (epochs, runs). parameters: (epochs, values, runs).
        """
        improved = better.any(0)
        if not improved.any():
            return
        found = parameters[0].t()
        if len(better) > 1:
            last = len(better) - 1 - better[::-1].argmax(0)  # of the epochs in which a run was better
            index = torch.from_numpy(last).to(parameters.device).expand(1, *parameters.shape[1:])
            found = parameters.gather(0, index)[0].t()
        if not improved.all():
            rows = torch.from_numpy(improved).to(parameters.device).unsqueeze(1)  # (runs, 1)
            found = torch.where(rows, found, self.best_state["parameters"])
        self.best_state = {"parameters": found}
