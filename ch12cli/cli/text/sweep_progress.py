"""How far a sweep is: jobs counted as they end, work in epochs of runs, and what can be told from that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from ch12cli.config.combinations import monitored
from ch12cli.files.metrics_csv import minimised

if TYPE_CHECKING:  # they import torch
    from ch12cli.sweeps.jobs import SweepJob
    from ch12cli.sweeps.plan import Plan
    from ch12cli.sweeps.work_item import Done, Progress, WorkItem

STEADY = 0.5  # seconds before a rate says anything


@dataclass
class StackShare:
    """A work item in training. runs: that it has to end; epochs: of each; best: of its monitored metric so far.

    resumed: whether its first report tells of epochs of an earlier sitting.
    """

    runs: int
    epochs: int
    stacked: bool
    monitor: str
    resumed: bool = False
    epoch: int = 0
    ended: int = 0
    best: float = math.nan


class SweepProgress:
    """Counts of a sweep's jobs, its work in epochs of runs, and the best run so far."""

    def __init__(self) -> None:
        self.jobs = self.earlier = 0  # jobs in all, and those that were done before
        self.counts = {"finished": 0, "diverged": 0, "failed": 0}
        self.processes = 1  # parts in training at a time
        self.best: dict[str, tuple[float, SweepJob]] = {}  # by metric, of the jobs that have finished
        self.failure: tuple[Done, SweepJob] | None = None  # the latest
        self.start = 0.0  # by perf_counter
        self._parts: list[StackShare] = []
        self._part_of: dict[int, int] = {}  # index of each job's part, -1 for those done before
        self._open: dict[int, None] = {}  # parts with jobs that have not ended, in the order in which they begin
        self._open_stacks = 0
        self._ended: set[int] = set()
        self._before = 0  # epochs of runs that were done before
        self._work = 0  # epochs of the other runs that are done, or no longer needed
        self._todo = 0  # of how many
        self._resumed = 0  # part of _work that was done in earlier sittings

    def __contains__(self, job: int) -> bool:
        return job in self._part_of

    def add(self, plan: Plan, *, processes: int) -> None:
        """Takes up a plan. A sweep has several where its sweeper hands out the jobs in batches."""
        if not self._part_of:
            self.start = perf_counter()
        self.processes = processes
        earlier = {number for number in plan.done if number not in self._part_of}
        self._part_of |= dict.fromkeys(earlier, -1)
        self._ended |= earlier
        self.earlier += len(earlier)
        for group in plan.groups:
            self._before += group.settings.loop.epochs * sum(job.number in earlier for job in group.jobs)
        for item in plan.items:
            jobs = [number for number in item.jobs if number not in self._ended]
            if jobs:
                settings = plan.groups[item.group].settings
                monitor = monitored(settings.loop.monitor, valid=bool(settings.data.split.valid_size))
                self._part_of |= dict.fromkeys(jobs, len(self._parts))
                self._open[len(self._parts)] = None
                self._open_stacks += item.stacked
                resumed = item.checkpoint is not None and item.checkpoint.exists()
                self._parts.append(StackShare(len(jobs), settings.loop.epochs, item.stacked, monitor, resumed))
                self._todo += len(jobs) * settings.loop.epochs
        self.jobs = len(self._part_of)

    def advance(self, item: WorkItem, progress: Progress) -> None:
        """Takes note of an epoch of a stack."""
        index = self._part_of.get(item.jobs[0], -1) if item.jobs else -1
        if index < 0:
            return
        part = self._parts[index]
        work = (part.runs - part.ended) * (progress.epoch - part.epoch)
        self._work += work
        self._resumed += work if part.resumed else 0
        part.epoch, part.best, part.resumed = progress.epoch, progress.best, False

    def end(self, done: Done, job: SweepJob) -> bool:
        """Takes note of a job that has ended; False if it had ended before."""
        index = self._part_of.get(done.number, -1)
        if index < 0 or done.number in self._ended:
            return False
        self._ended.add(done.number)
        self.counts[done.status] = self.counts.get(done.status, 0) + 1
        part = self._parts[index]
        part.ended += 1
        self._work += part.epochs - part.epoch
        if part.ended == part.runs:
            del self._open[index]
            self._open_stacks -= part.stacked
        if done.status == "failed":
            self.failure = done, job
        value = done.result.objective
        best = self.best[part.monitor][0] if part.monitor in self.best else math.nan
        if done.status == "finished" and value is not None and is_better(part.monitor, value, best):
            self.best[part.monitor] = value, job
        return True

    def best_values(self) -> dict[str, float]:
        """The best value so far, in training or ended, of each metric that is monitored."""
        values = {monitor: value for monitor, (value, _) in self.best.items()}
        for part in self.busy():
            if is_better(part.monitor, part.best, values.get(part.monitor, math.nan)):
                values[part.monitor] = part.best
        return values

    @property
    def ended(self) -> int:
        """Jobs that have ended, those that were done before among them."""
        return len(self._ended)

    @property
    def share(self) -> float:
        """How much of all work is done, 0 to 1."""
        return (self._before + self._work) / max(1, self._before + self._todo)

    @property
    def rate(self) -> float | None:
        """Runs in a second, those in training counted as far as they are; None before it can be told."""
        elapsed, work = perf_counter() - self.start, self._work - self._resumed
        return work / elapsed * (self.jobs - self.earlier) / self._todo if work and elapsed > STEADY else None

    @property
    def seconds_left(self) -> float | None:
        elapsed, work = perf_counter() - self.start, self._work - self._resumed
        return elapsed * (self._todo - self._work) / work if work and elapsed > STEADY else None

    def busy(self) -> list[StackShare]:
        """The parts in training: they are taken up in order."""
        return [self._parts[index] for index in islice(self._open, self.processes)]

    def waiting(self) -> tuple[int, int]:
        """How many stacks, and how many jobs by themselves, are yet to be taken up."""
        busy = self.busy()
        stacks = self._open_stacks - sum(part.stacked for part in busy)
        return stacks, len(self._open) - len(busy) - stacks


def is_better(metric: str, value: float, other: float) -> bool:
    """Whether it is the better value of a metric; one that is not finite never is."""
    if not math.isfinite(value):
        return False
    return math.isnan(other) or (value < other if minimised(metric) else value > other)
