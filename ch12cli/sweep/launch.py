"""A batch of jobs carried out: planned, trained by workers, tabled as they end."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import flag_override

from ch12cli.runs.directory import RESULT, read_result
from ch12cli.runs.files import locked, remove_leftovers
from ch12cli.runs.table import STATE, SWEEP, Record, read_table
from ch12cli.sweep.examine import examine
from ch12cli.sweep.groups import Group
from ch12cli.sweep.jobs import SweepJob, full_config
from ch12cli.sweep.logged import log_job, require_trackers
from ch12cli.sweep.places import place_of
from ch12cli.sweep.plan import Plan, make_plan, processes_for, write_plan
from ch12cli.sweep.record import HydraFiles
from ch12cli.sweep.signals import Terminated, sigterm_raises
from ch12cli.sweep.stacked import Done, Progress, Uncompiled, Unstacked, cause_of
from ch12cli.sweep.table import SweepTable, row_of_result
from ch12cli.sweep.units import Workshop, is_done
from ch12cli.sweep.watcher import SteadfastSweep, SweepWatcher
from ch12cli.sweep.workers import do_units

FLUSH = 64  # rows of jobs that have ended, at most, before they are put on disk
ENDED = ("finished", "diverged")


@dataclass
class SweepOutcome:
    """rows: of sweep.csv, in the order of the jobs; failed: how many jobs failed; signal: that interrupted it."""

    directory: Path
    rows: list[Record] = field(default_factory=list)
    failed: int = 0
    signal: int | None = None


def examined_plan(jobs: Sequence[SweepJob], directory: Path) -> tuple[Plan, Workshop, list[Record]]:
    """The plan of these jobs in a sweep's directory, what trains them, and the table's rows that stay as they are."""
    rows = {int(row["job"]): row for row in read_table(directory / SWEEP)}
    workshop = Workshop({}, [], lambda job: directory / job.place, HydraFiles(directory))

    def look(groups: Sequence[Group]) -> None:
        workshop.groups = groups
        examine(groups, workshop)

    plan = make_plan(jobs, directory, is_done=lambda job: is_done(directory / job.place), examine=look)
    workshop.jobs = plan.jobs
    kept = [row for number, row in rows.items() if number not in plan.jobs]
    for number in plan.done:
        row = rows.get(number)
        # a sweep that was killed may have ended a job without having told so
        kept.append(row if row and row["status"] in ENDED else found_row(plan.jobs[number], directory))
    return plan, workshop, kept


def row_of(job: SweepJob, result: Mapping[str, Any], cause: str) -> Record:
    """A job's row of sweep.csv."""
    row = {"job": job.number, "directory": job.place, **job.values, **row_of_result(result)}
    named = {**row, "cause": cause, "command": job.command}
    return {name: "" if value is None else str(value) for name, value in named.items()}


def found_row(job: SweepJob, directory: Path) -> Record:
    """A job's row from what it left in its directory: of its result, or of an interruption if it has none."""
    result = read_result(directory / job.place / RESULT) if is_done(directory / job.place) else None
    return row_of(job, result or {"status": "interrupted", "epochs": None}, cause_of(result or {}))


class Launch:
    """One sweep directory's batches of jobs, each carried out by `__call__`. given_up: `sweep.fail_fast` ended it."""

    terminated = Terminated

    def __init__(self, directory: Path, watcher: SweepWatcher) -> None:
        self.directory, self.watcher = directory, SteadfastSweep(watcher)
        self.outcome = SweepOutcome(directory)
        self.given_up = False
        self.failed_trackers: set[str] = set()

    def __call__(self, jobs: Sequence[SweepJob], callbacks: Callbacks | None) -> list[JobReturn]:
        if self.given_up:
            return [job_return(job, {}) for job in jobs]
        require_trackers(jobs)
        with locked(self.directory, key=f"hydra.sweep.dir={self.directory}", wait=3.0):
            plan, workshop, rows = examined_plan(jobs, self.directory)
            write_plan(plan, self.directory, workshop.hydra)
            self.watcher.begin(plan, directory=self.directory)
            table = self.open_table(plan, workshop, rows=rows)
            try:
                with sigterm_raises():
                    self.train(plan, workshop, table, callbacks)
            finally:
                self.tell_unfinished(plan, table)
                table.close()
                self.outcome.rows = [table.rows[number] for number in sorted(table.rows)]
        return [job_return(plan.jobs[number], table.rows[number]) for number in plan.numbers]

    def open_table(self, plan: Plan, workshop: Workshop, *, rows: Sequence[Record]) -> SweepTable:
        keys = dict.fromkeys(key for job in plan.jobs.values() for key in job.values)
        metrics: dict[str, None] = {}
        for index in range(len(plan.groups)):
            task = workshop.task(index)
            names = ["loss", *task.metrics]
            parts = ["train", *(["valid"] if task.data.valid else []), *(["test"] if task.data.test else [])]
            metrics |= dict.fromkeys(f"{part}_{name}" for part in parts for name in names)
        return SweepTable(self.directory / SWEEP, keys=keys, metrics=metrics, rows=rows)

    def train(self, plan: Plan, workshop: Workshop, table: SweepTable, callbacks: Callbacks | None) -> None:
        """Does the units; tables, shows and tells callbacks of each job that ends."""
        processes = max((processes_for(group.settings) for group in plan.groups), default=1)
        fail_fast = any(group.settings["sweep"]["fail_fast"] for group in plan.groups)
        waiting: list[Record] = []
        told: set[str] = set()  # why stacks were not compiled
        ended = set(plan.done)  # a stack that is taken up may tell again of jobs that have ended
        events = do_units(plan.units, workshop, processes=min(processes, max(1, len(plan.units))))
        try:
            for unit, event in events:
                if isinstance(event, Progress):
                    self.watcher.progress(unit, event)
                    continue
                if isinstance(event, Unstacked):
                    self.watcher.message(
                        f"a stack of {event.runs} jobs failed and is halved: {event.reason}", warning=True
                    )
                    continue
                if isinstance(event, Uncompiled):
                    if event.reason not in told:
                        told.add(event.reason)
                        self.watcher.message(
                            f"sweep.compile=true: stacks are not compiled: {event.reason}", warning=True
                        )
                    continue
                if event.number in ended:
                    continue
                ended.add(event.number)
                job = plan.jobs[event.number]
                log_job(job, self.directory, self.watcher, self.failed_trackers)
                self.outcome.failed += event.status == "failed"
                waiting.append(row_of(job, event.result, event.cause))
                self.watcher.done(event, job)
                if callbacks is not None and callbacks.callbacks:
                    tell(callbacks, job, event, self.directory)
                if len(waiting) >= FLUSH or not unit.stacked:
                    self.flush(table, waiting)
                if event.status == "failed" and fail_fast:
                    self.given_up = True
                    break
        finally:
            events.close()
            self.flush(table, waiting)
            remove_leftovers(self.directory / STATE)  # of workers that were killed while they wrote

    def flush(self, table: SweepTable, waiting: list[Record]) -> None:
        """Puts ended jobs into the table, once their directories are safely on disk."""
        if waiting:
            os.sync()
            table.add(waiting)
            waiting.clear()

    def tell_unfinished(self, plan: Plan, table: SweepTable) -> None:
        """Gives the jobs of which nothing was told a row: of their result if they have one, else of an interruption."""
        for number, job in plan.jobs.items():
            if number not in table.rows:
                table.rows[number] = found_row(job, self.directory)

    def tell_not_begun(self, jobs: Iterable[SweepJob]) -> None:
        """Gives the jobs of batches that were not begun, because the sweep was ended before, a row that says so."""
        there = {int(row["job"]): row for row in self.outcome.rows}
        missing = {job.number: job for job in jobs if job.number not in there}
        if missing and (self.directory / SWEEP).exists():
            for number, job in missing.items():
                job.place = job.place or place_of(job)
                there[number] = found_row(job, self.directory)
            keys = dict.fromkeys(key for job in missing.values() for key in job.values)
            SweepTable(self.directory / SWEEP, keys=keys, metrics=(), rows=list(there.values())).close()
            self.outcome.rows = [there[number] for number in sorted(there)]


def job_return(job: SweepJob, row: Record) -> JobReturn:
    """What Hydra's sweepers learn of a job: its objective, NaN if it has none."""
    returned = JobReturn(overrides=list(job.lines), task_name="train", status=JobStatus.COMPLETED)
    returned.return_value = float(row.get("objective") or "nan")
    return returned


def tell(callbacks: Callbacks, job: SweepJob, done: Done, directory: Path) -> None:
    """Hydra's callbacks for a job that has ended; in a stack, jobs begin and end together."""
    config = full_config(job)
    with flag_override(config, ["struct", "readonly"], [False, False]):
        config.hydra.runtime.output_dir = str((directory / job.place).absolute())
    returned = JobReturn(overrides=list(job.lines), cfg=config, task_name="train")
    returned.status = JobStatus.FAILED if done.status == "failed" else JobStatus.COMPLETED
    returned.return_value = RuntimeError(done.cause) if done.status == "failed" else done.result.get("objective")
    callbacks.on_job_start(config=config, task_function=lambda _config: None)
    callbacks.on_job_end(config=config, job_return=returned)
