"""Progress of a sweep: jobs ended, work in epochs of runs, rate and time left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from ch12cli.files.metrics_csv import minimised

if TYPE_CHECKING:  # these modules import torch
    from ch12cli.sweeps.jobs import SweepJob
    from ch12cli.sweeps.plan import Plan
    from ch12cli.sweeps.workers.work_item import Done, Progress, WorkItem

STEADY = 0.5  # minimum seconds before a rate is reported


@dataclass
class StackShare:
    """A work item of a sweep and its progress.

    runs: the number of runs that have to end. epochs: the epochs of each run. best: the best value of its monitored
    metric so far. resumed: whether its first report includes epochs of an earlier session.
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
    """Counts of a sweep's jobs, its work in epochs of runs, and its best run so far."""

    def __init__(self) -> None:
        self.jobs = self.earlier = 0  # all jobs, and those done before
        self.is_open = False  # whether more jobs follow, of a number that is not known
        self.counts = {"finished": 0, "diverged": 0, "failed": 0}
        self.processes = 1  # number of work items trained at the same time
        self.best: dict[str, tuple[float, SweepJob]] = {}  # by metric, among the finished jobs
        self.failure: tuple[Done, SweepJob] | None = None  # the latest failure
        self.start = 0.0  # by perf_counter
        self.ends_at: float | None = None  # when the budget of time is used up, by perf_counter
        self.total = 0  # jobs of all batches, those to come included
        self._parts: list[StackShare] = []
        self._part_of: dict[int, int] = {}  # index of each job's work item; -1 for jobs done before
        self._open: dict[int, None] = {}  # work items with jobs that have not ended, in starting order
        self._open_stacks = 0
        self._ended: set[int] = set()
        self._before = 0  # epochs of the jobs done before
        self._work = 0  # epochs of the other jobs that are done or no longer needed
        self._todo = 0  # total epochs of the other jobs
        self._resumed = 0  # part of _work that was done in earlier sessions

    def __contains__(self, job: int) -> bool:
        return job in self._part_of

    def add(self, plan: Plan, *, processes: int) -> None:
        """Adds a plan. A sweep has several if its sweeper submits the jobs in batches."""
        if not self._part_of:
            self.start = perf_counter()
        self.processes, self.ends_at = processes, plan.ends_at
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
                self._part_of |= dict.fromkeys(jobs, len(self._parts))
                self._open[len(self._parts)] = None
                self._open_stacks += item.stacked
                resumed = item.has_checkpoint or plan.elsewhere is not None  # tasks may train since long before
                self._parts.append(
                    StackShare(len(jobs), settings.loop.epochs, item.stacked, settings.monitored, resumed)
                )
                self._todo += len(jobs) * settings.loop.epochs
        self.jobs = len(self._part_of)
        self.total = max(self.jobs, plan.total_jobs)
        self.is_open = plan.goes_on and self.total == self.jobs

    def advance(self, item: WorkItem, progress: Progress) -> None:
        """Records an epoch of a work item."""
        index = self._part_of.get(item.jobs[0], -1) if item.jobs else -1
        if index < 0:
            return
        part = self._parts[index]
        work = (part.runs - part.ended) * (progress.epoch - part.epoch)
        self._work += work
        self._resumed += work if part.resumed else 0
        part.epoch, part.best, part.resumed = progress.epoch, progress.best, False

    def end(self, done: Done, job: SweepJob) -> bool:
        """Records a job that has ended. Returns False if it had already ended or is unknown."""
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
        """Returns the best value so far of each monitored metric, over running and ended jobs."""
        values = {monitor: value for monitor, (value, _) in self.best.items()}
        for part in self.busy():
            if is_better(part.monitor, part.best, values.get(part.monitor, math.nan)):
                values[part.monitor] = part.best
        return values

    @property
    def ended(self) -> int:
        """The number of jobs that have ended, including those done before."""
        return len(self._ended)

    @property
    def _all(self) -> float:
        """The epochs of all jobs that were not done before. Those of batches to come are like those that are known."""
        of_job = (
            self._todo / (self.jobs - self.earlier) if self.jobs > self.earlier else self._before / max(1, self.jobs)
        )
        return of_job * (self.total - self.earlier)

    @property
    def share(self) -> float:
        """The share of all work that is done, from 0 to 1; of the budget of time, if more of that is used."""
        of_work = (self._before + self._work) / max(1, self._before + self._all)
        if self.ends_at is None:
            return of_work
        of_time = self._elapsed / max(self.ends_at - self.start, 1e-9)
        return min(1.0, of_time if self.is_open else max(of_work, of_time))

    @property
    def _elapsed(self) -> float:
        return perf_counter() - self.start

    @property
    def rate(self) -> float | None:
        """Runs per second, counting the completed part of running jobs; None if it is not known yet."""
        elapsed, work = self._elapsed, self._work - self._resumed
        return work / elapsed * (self.jobs - self.earlier) / self._todo if work and elapsed > STEADY else None

    @property
    def seconds_left(self) -> float | None:
        """How long the work will take, at most to the end of the budget of time; None if it is not known yet."""
        elapsed, work = self._elapsed, self._work - self._resumed
        if not work or elapsed <= STEADY:
            return None
        left = math.inf if self.is_open and self.ends_at else elapsed * (self._all - self._work) / work
        return left if self.ends_at is None else max(0.0, min(left, self.ends_at - perf_counter()))

    def busy(self) -> list[StackShare]:
        """Returns the work items in training: the first `processes` open ones, as they start in order."""
        return [self._parts[index] for index in islice(self._open, self.processes)]

    def waiting(self) -> tuple[int, int]:
        """Returns the number of stacks, and of single runs, that have not started."""
        busy = self.busy()
        stacks = self._open_stacks - sum(part.stacked for part in busy)
        return stacks, len(self._open) - len(busy) - stacks


def is_better(metric: str, value: float, other: float) -> bool:
    """Returns whether `value` is better than `other` for a metric. A value that is not finite is never better."""
    if not math.isfinite(value):
        return False
    return math.isnan(other) or (value < other if minimised(metric) else value > other)
