"""Successive halving: stacks are trained from rung to rung, and the best runs of each rung stay."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ch12cli.files.metrics_csv import minimised
from ch12cli.run.signals import Terminated
from ch12cli.sweeps.stack_run import StackRun, take_up_stack
from ch12cli.sweeps.work_item import Event, Progress
from ch12cli.training.checkpoint import Checkpoints, DamagedError, load, save


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


class StackPart:
    """Runs that are one stack. make: builds it; checkpoints: where it keeps what its resume needs.

    stays: in memory when others have their turn, because there are none.
    """

    def __init__(
        self, make: Callable[[], StackRun], *, runs: int, checkpoints: Checkpoints | None, stays: bool
    ) -> None:
        self.make, self.runs, self.checkpoints, self.stays = make, runs, checkpoints, stays
        self.run: StackRun | None = None
        self.done = False
        self.progress = Progress(0, runs, np.nan)

    @contextmanager
    def opened(self) -> Iterator[StackRun]:
        """The stack, as far as it has come; afterwards, and when a signal ends it, its checkpoint is written."""
        run = self.run or self.taken_up()
        try:
            yield run
        except (Terminated, GeneratorExit):  # while it trained, or while somebody dealt with what it told
            if self.checkpoints is not None:
                run.write(self.checkpoints, verify=False)  # there are two seconds; the one before it stays
            raise
        self.done = bool(run.done.all())
        if self.stays:
            self.run = run
        elif self.checkpoints is not None:
            run.write(self.checkpoints)

    def taken_up(self) -> StackRun:
        run = self.make()
        if self.checkpoints is not None:
            with suppress(DamagedError):  # without a good one it begins anew
                take_up_stack(run, self.checkpoints)
        return run

    def remove(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.remove()


def train_parts(
    parts: Sequence[StackPart], epochs: int, *, halving: Halving | None = None, decided: Path | None = None
) -> Iterator[Event]:
    """Trains runs to their end. At each rung all parts wait for each other: every run is compared with all others.

    epochs: of each run, at most; decided: the file that keeps who leaves at which rung, for a resume.
    """
    rungs = [] if halving is None else halving.rungs(epochs)
    leaving_at = read_decisions(decided, parts)
    bounds = np.cumsum([0, *(part.runs for part in parts)])
    rung, leaving = 0, np.zeros(bounds[-1], dtype=bool)
    for until in [*rungs, epochs]:
        values = np.full(len(leaving), np.nan)
        for part, first, last in zip(parts, bounds, bounds[1:], strict=False):
            if part.done:
                continue
            with part.opened() as run:
                yield from run.leave(rung, leaving[first:last])
                for event in run.run(part.checkpoints, until=until):
                    yield together(part, event, parts) if isinstance(event, Progress) else event
                if halving is not None:
                    values[first:last] = run.values(halving.metric, until)
        if until < epochs and halving is not None:
            if until not in leaving_at:
                leaving_at[until] = np.flatnonzero(halving.leaving(until, values)).tolist()
                if decided is not None:  # before anybody leaves: half of them gone, the others would be compared anew
                    save(decided, {str(epoch): places for epoch, places in leaving_at.items()})
            rung, leaving = until, np.isin(np.arange(len(leaving)), leaving_at[until])
    for part in parts:
        part.remove()
    if decided is not None:
        decided.unlink(missing_ok=True)


def read_decisions(decided: Path | None, parts: Sequence[StackPart]) -> dict[int, list[int]]:
    """The places, by rung, of runs that left. Where that cannot be read any more, the parts begin anew."""
    if decided is None or not decided.exists():
        return {}
    try:
        return {int(epoch): list(places) for epoch, places in load(decided).items()}
    except (DamagedError, TypeError, ValueError):
        for part in parts:
            part.remove()
        return {}


def together(part: StackPart, progress: Progress, parts: Sequence[StackPart]) -> Progress:
    """How far all parts are, when one of them has come further: the epoch of its runs on average."""
    part.progress = progress
    told = [other.progress for other in parts if not other.done]
    running = sum(each.running for each in told)
    epoch = sum(each.running * each.epoch for each in told) // max(1, running)
    better = np.nanmin if progress.minimise else np.nanmax
    return Progress(epoch, running, float(better([other.progress.best for other in parts])), progress.minimise)
