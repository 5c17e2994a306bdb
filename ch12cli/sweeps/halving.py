"""Successive halving: trains stacks from rung to rung and keeps the best runs at each rung."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ch12cli.files.metrics_csv import minimised
from ch12cli.run.signals import Terminated
from ch12cli.sweeps.stack_run import StackRun, restore_stack
from ch12cli.sweeps.workers.work_item import Event, Progress
from ch12cli.training.checkpoint import Checkpoints, DamagedError, load, save


class Halving:
    """Decides which runs leave after an epoch. Rungs are at min_epochs, min_epochs * factor, … epochs.

    `metric` is the metrics column that is compared. One in `factor` runs stays at each rung, at least one.
    """

    def __init__(self, metric: str, min_epochs: int, factor: int) -> None:
        self.metric, self.min_epochs, self.factor = metric, min_epochs, factor

    def is_rung(self, epoch: int) -> bool:
        rung = self.min_epochs
        while rung < epoch:
            rung *= self.factor
        return rung == epoch

    def rungs(self, epochs: int) -> list[int]:
        """Returns the epochs of the rungs before the last of `epochs` epochs. No run leaves after the last epoch."""
        rungs, rung = [], self.min_epochs
        while rung < epochs:
            rungs.append(rung)
            rung *= self.factor
        return rungs

    def leaving(
        self, epoch: int, values: NDArray[np.float64], settings: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Returns a mask of the runs that leave after an epoch, (runs,).

        `values` are the metric's values, (runs,), with NaN for runs that have ended. `settings`: the setting of each
        run, (runs,), if settings are compared: all runs of one leave or stay, by the mean of those that have not ended.
        """
        if settings is not None:
            means = np.full(int(settings.max(initial=-1)) + 1, np.nan)
            for setting in np.unique(settings[~np.isnan(values)]):
                means[setting] = np.nanmean(values[settings == setting])
            return self.leaving(epoch, means)[settings] & ~np.isnan(values)
        running = ~np.isnan(values)
        if not self.is_rung(epoch) or running.sum() < 2:
            return np.zeros(len(values), dtype=bool)
        kept = max(1, int(running.sum()) // self.factor)
        order = np.argsort(np.where(running, values if minimised(self.metric) else -values, np.inf), kind="stable")
        mask = running.copy()
        mask[order[:kept]] = False
        return mask


class StackPart:
    """A group of runs that is trained as one stack.

    `make` builds the stack. `checkpoints` stores what a resume needs.
    `stays_in_memory`: the stack stays in memory between rungs, because it is the only part.
    """

    def __init__(
        self, make: Callable[[], StackRun], *, runs: int, checkpoints: Checkpoints | None, stays_in_memory: bool
    ) -> None:
        self.make, self.runs, self.checkpoints, self.stays_in_memory = make, runs, checkpoints, stays_in_memory
        self.run: StackRun | None = None
        self.done = False
        self.progress = Progress(0, runs, np.nan)

    @contextmanager
    def opened(self) -> Iterator[StackRun]:
        """Yields the stack, restored to its latest state. Writes its checkpoint afterwards and on a signal."""
        run = self.run or self.restored()
        try:
            yield run
        except (Terminated, GeneratorExit):  # raised in training, or while the caller handled an event
            if self.checkpoints is not None:
                run.write(self.checkpoints, verify=False)  # only two seconds remain; the previous checkpoint is kept
            raise
        self.done = bool(run.done.all())
        if self.stays_in_memory:
            self.run = run
        elif self.checkpoints is not None:
            run.write(self.checkpoints)

    def restored(self) -> StackRun:
        run = self.make()
        if self.checkpoints is not None:
            with suppress(DamagedError):  # without a valid checkpoint it starts again
                restore_stack(run, self.checkpoints)
        return run

    def remove(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.remove()


def train_parts(
    parts: Sequence[StackPart],
    epochs: int,
    *,
    halving: Halving | None = None,
    settings: NDArray[np.int64] | None = None,
    decisions_file: Path | None = None,
) -> Iterator[Event]:
    """Trains runs to their end. All parts wait for each other at each rung, where all runs are compared.

    `epochs`: the largest number of epochs per run. `settings`: as of `Halving.leaving`.
    `decisions_file`: the file that records, for a resume, which runs leave at which rung.
    """
    rungs = [] if halving is None else halving.rungs(epochs)
    leaving_by_rung = read_decisions(decisions_file, parts)
    bounds = np.cumsum([0, *(part.runs for part in parts)])
    rung, leaving = 0, np.zeros(bounds[-1], dtype=bool)
    for until in [*rungs, epochs]:
        values = np.full(len(leaving), np.nan)
        for part, first, last in zip(parts, bounds, bounds[1:], strict=False):
            if part.done:
                continue
            with part.opened() as run:
                yield from run.end_leaving(rung, leaving[first:last])
                for event in run.run(part.checkpoints, until=until):
                    yield combined_progress(part, event, parts) if isinstance(event, Progress) else event
                if halving is not None:
                    values[first:last] = run.values(halving.metric, until)
        if until < epochs and halving is not None:
            if until not in leaving_by_rung:
                leaving_by_rung[until] = np.flatnonzero(halving.leaving(until, values, settings)).tolist()
                if decisions_file is not None:  # saved first: a resume with some runs gone would compare the rest again
                    save(decisions_file, {str(epoch): indices for epoch, indices in leaving_by_rung.items()})
            rung, leaving = until, np.isin(np.arange(len(leaving)), leaving_by_rung[until])
    for part in parts:
        part.remove()
    if decisions_file is not None:
        decisions_file.unlink(missing_ok=True)


def read_decisions(decisions_file: Path | None, parts: Sequence[StackPart]) -> dict[int, list[int]]:
    """Returns the indices of the runs that left, by rung.

    If the file is unreadable, removes the checkpoints of all parts, so that they start again.
    """
    if decisions_file is None or not decisions_file.exists():
        return {}
    try:
        return {int(epoch): list(indices) for epoch, indices in load(decisions_file).items()}
    except (DamagedError, TypeError, ValueError):
        for part in parts:
            part.remove()
        return {}


def combined_progress(part: StackPart, progress: Progress, parts: Sequence[StackPart]) -> Progress:
    """Returns the progress of all parts after an update of one part. Its epoch is the mean over the running runs."""
    part.progress = progress
    progresses = [other.progress for other in parts if not other.done]
    running = sum(each.running for each in progresses)
    epoch = sum(each.running * each.epoch for each in progresses) // max(1, running)
    better = np.nanmin if progress.minimise else np.nanmax
    return Progress(epoch, running, float(better([other.progress.best for other in parts])), progress.minimise)
