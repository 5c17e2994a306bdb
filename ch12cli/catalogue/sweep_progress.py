"""How far a sweep is that another process trains, from what lies in its directory."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ch12cli.catalogue.sweep_jobs import PLAN, count_planned, place_of, planned_jobs, read_jobs
from ch12cli.files.atomic import last_written, read_file
from ch12cli.files.run_directory import METRICS, RESULT
from ch12cli.files.sweep_csv import STATE

REACHED = f"{STATE}/reached.json"


class Far(NamedTuple):
    """jobs: planned, 0 if that is not known; ended: how many by status; epochs: of all runs together, of how many;
    seconds: that are left at the speed of this sitting, if that can be told."""

    jobs: int
    ended: dict[str, int]
    epochs: int
    of_epochs: int
    seconds: float | None


class Following:
    """A sweep that is followed. planned: its jobs; earlier: whether one that has ended did so before this sitting."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.planned = planned_jobs(sweep)
        self.epochs = {number: job.epochs for number, job in self.planned.items()}
        self.earlier: dict[int, bool] = {}

    def look(self) -> Far:
        ended = {int(row["job"]): row for row in read_jobs(self.sweep) if row.get("status") != "interrupted"}
        began, stacks = reached(self.sweep)
        for number in ended.keys() - self.earlier.keys():
            place = place_of(ended[number])
            self.earlier[number] = place is not None and last_written(self.sweep / place / RESULT) < began
        open_jobs = self.epochs.keys() - ended.keys()
        in_stacks = [(len(open_jobs & set(jobs)), before, after) for jobs, before, after in stacks]
        alone = sum(epochs_in(self.sweep / self.planned[number].place / METRICS) for number in open_jobs)
        new = alone + sum(runs * (after - before) for runs, before, after in in_stacks)
        new += sum(self.epochs.get(number, 0) for number in ended if not self.earlier[number])
        old = sum(runs * before for runs, before, _ in in_stacks)
        old += sum(self.epochs.get(number, 0) for number in ended if self.earlier[number])
        total = sum(self.epochs.values())
        left = (time.time() - began) * (total - old - new) / new if new > 0 and began else None
        counts = dict(Counter(row.get("status") or "" for row in ended.values()))
        return Far(max(len(self.epochs), count_planned(self.sweep)), counts, old + new, total, left)


def reached(sweep: Path) -> tuple[float, list[tuple[list[int], int, int]]]:
    """When this sitting began; and of its stacks the jobs, and the epoch that each was at then and is at now."""
    try:
        told = json.loads(read_file(sweep / REACHED))
        stacks = [([int(job) for job in jobs], int(before), int(after)) for jobs, before, after in told["stacks"]]
        return float(told["began"]), stacks
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return last_written(sweep / PLAN), []


def epochs_in(path: Path) -> int:
    try:
        return max(0, read_file(path).count(b"\n") - 1)
    except OSError:
        return 0
