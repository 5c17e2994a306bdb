"""Runs that are trained together, in as many stacks as memory asks for; with halving, from rung to rung."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from ch12cli.run.signals import Terminated
from ch12cli.sweep.continuation import take_up_stack
from ch12cli.sweep.events import Event, Progress
from ch12cli.sweep.halving import Halving
from ch12cli.sweep.stack_run import StackRun
from ch12cli.training.checkpoint import Checkpoints, DamagedError, load, save


class Part:
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
    parts: Sequence[Part], epochs: int, *, halving: Halving | None = None, decided: Path | None = None
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


def read_decisions(decided: Path | None, parts: Sequence[Part]) -> dict[int, list[int]]:
    """The places, by rung, of runs that left. Where that cannot be read any more, the parts begin anew."""
    if decided is None or not decided.exists():
        return {}
    try:
        return {int(epoch): list(places) for epoch, places in load(decided).items()}
    except (DamagedError, TypeError, ValueError):
        for part in parts:
            part.remove()
        return {}


def together(part: Part, progress: Progress, parts: Sequence[Part]) -> Progress:
    """How far all parts are, when one of them has come further: the epoch of its runs on average."""
    part.progress = progress
    told = [other.progress for other in parts if not other.done]
    running = sum(each.running for each in told)
    epoch = sum(each.running * each.epoch for each in told) // max(1, running)
    better = np.nanmin if progress.minimise else np.nanmax
    return Progress(epoch, running, float(better([other.progress.best for other in parts])), progress.minimise)
