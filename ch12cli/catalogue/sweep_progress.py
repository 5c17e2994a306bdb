"""Computes the progress of a sweep that another process trains, from the files in its directory."""

import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.files.atomic import last_written
from ch12cli.files.cluster.progress import sweep_progress
from ch12cli.files.metrics_csv import count_epochs
from ch12cli.files.plan_json import PLAN, count_planned, is_inside, readable_plan
from ch12cli.files.progress_json import ProgressFile
from ch12cli.files.run_directory import METRICS, RESULT


class SweepStanding(NamedTuple):
    """Progress of a sweep.

    jobs: number planned, 0 if unknown; ended: number of completed jobs by status; epochs, of_epochs: trained and total
    epochs over all runs; seconds: estimated time left at this session's speed, None if unknown.
    """

    jobs: int
    ended: dict[str, int]
    epochs: int
    total_epochs: int
    seconds: float | None


class SweepFollower:
    """Follows a sweep that another process trains.

    earlier: by job number, whether a completed job ended before this session.
    """

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        plan = readable_plan(sweep)
        self.directories = {job.number: job.directory for job in plan.jobs if is_inside(job.directory)}
        self.epochs = {job.number: plan.epochs(job) for job in plan.jobs if is_inside(job.directory)}
        self.earlier: dict[int, bool] = {}

    def read(self) -> SweepStanding:
        ended = {row.job: row for row in read_sweep_rows(self.sweep) if row.status != "interrupted"}
        progress = sweep_progress(self.sweep) or ProgressFile(last_written(self.sweep / PLAN))
        began = progress.began
        for number in ended.keys() - self.earlier.keys():
            directory = ended[number].directory
            self.earlier[number] = is_inside(directory) and last_written(self.sweep / directory / RESULT) < began
        open_jobs = self.epochs.keys() - ended.keys()
        in_stacks = [(len(open_jobs & set(stack.jobs)), stack.first, stack.epoch) for stack in progress.stacks]
        # a stack may write its jobs' directories at this moment: their epochs are counted once, by its progress
        not_stacked = open_jobs.difference(*(stack.jobs for stack in progress.stacks))
        single = sum(count_epochs(self.sweep / self.directories[number] / METRICS) or 0 for number in not_stacked)
        new = single + sum(runs * (after - before) for runs, before, after in in_stacks)
        new += sum(self.epochs.get(number, 0) for number in ended if not self.earlier[number])
        old = sum(runs * before for runs, before, _ in in_stacks)
        old += sum(self.epochs.get(number, 0) for number in ended if self.earlier[number])
        total = sum(self.epochs.values())
        left = (time.time() - began) * (total - old - new) / new if new > 0 and began else None
        counts = dict(Counter(row.status for row in ended.values()))
        return SweepStanding(max(len(self.epochs), count_planned(self.sweep)), counts, old + new, total, left)
