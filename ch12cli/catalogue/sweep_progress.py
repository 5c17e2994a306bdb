"""Computes how far a sweep has come that another process trains, or an interrupted one, from the files that it left."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.files.atomic import last_written
from ch12cli.files.cluster.progress import sweep_progress
from ch12cli.files.metrics_csv import count_epochs
from ch12cli.files.plan_json import PLAN, count_planned, is_inside, readable_plan
from ch12cli.files.run_directory import METRICS, RESULT
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.files.unfinished.progress_json import ProgressFile


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


def epochs_in_stacks(sweep: Path) -> dict[int, int]:
    """Returns the epochs that jobs have been trained for in stacks that have not ended, by number, as far as known."""
    progress = sweep_progress(sweep)
    return {number: stack.epoch for stack in (progress.stacks if progress else ()) for number in stack.jobs}


def with_epochs(rows: Sequence[SweepRow], sweep: Path) -> list[SweepRow]:
    """Returns the rows with the epochs of interrupted jobs that have no result, as far as they are known."""
    if all(row.epochs is not None or row.status != "interrupted" for row in rows):
        return list(rows)
    in_stacks = epochs_in_stacks(sweep)

    def reached(row: SweepRow) -> int | None:
        if row.job in in_stacks:
            return in_stacks[row.job]
        return count_epochs(sweep / row.directory / METRICS) if is_inside(row.directory) else None

    cut = {row.job for row in rows if row.epochs is None and row.status == "interrupted"}
    return [replace(row, epochs=reached(row)) if row.job in cut else row for row in rows]


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
