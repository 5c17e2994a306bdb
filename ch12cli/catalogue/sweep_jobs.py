"""Reads the completed jobs of a sweep from its table, and from the directories of jobs missing in the table."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ch12cli.catalogue.configured_values import with_configured_values
from ch12cli.errors import InputError
from ch12cli.files.command import overrides_of
from ch12cli.files.compact.run_files import recorded_job
from ch12cli.files.metrics_csv import SEVERAL, minimised
from ch12cli.files.plain_values import whole_number_in
from ch12cli.files.plan_json import count_planned, is_inside, readable_plan
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import RESULT, SWEEP
from ch12cli.files.sealed_json import NewerFormatError
from ch12cli.files.sweep_csv import JobFacts, SweepRow, read_sweep_csv

PLANNED = "planned"  # the status of a job that has not ended
DIRECTORY = re.compile(r"[0-9]{1,9}")  # of a job, named by its number


def read_sweep_rows(sweep: Path, inside: Collection[str] | None = None, *, brief: bool = False) -> list[SweepRow]:
    """Returns the rows of the completed jobs, by number.

    The table of a killed sweep may lack the last jobs, whose rows are read from their directories. inside: names in the
    sweep's directory, if known; brief: as in read_sweep_csv. Raises InputError if the table is damaged or of a newer
    format.
    """
    planned = count_planned(sweep)  # first, because it raises NewerFormatError
    rows = read_sweep_csv(sweep / SWEEP, brief=brief)
    known = {row.job for row in rows}
    try:
        names = os.listdir(sweep) if inside is None else inside
    except OSError:
        names = ()
    facts = {int(name): JobFacts(int(name), name) for name in names if DIRECTORY.fullmatch(name)}
    if len(rows) < planned or not facts.keys() <= known:
        facts |= {job.number: job for job in planned_jobs(sweep)}
    missing = [job for number, job in facts.items() if number not in known and is_inside(job.directory)]
    missing = [job for job in missing if has_result(sweep, job.directory)]
    return sorted([*rows, *(row_from_directory(job, sweep) for job in missing)], key=lambda row: row.job)


def has_result(sweep: Path, directory: str) -> bool:
    return os.path.lexists(f"{sweep}/{directory}/{RESULT}") or recorded_job(sweep / directory) is not None


def read_rows_as_planned(sweep: Path, *, missing: bool = False) -> list[SweepRow]:
    """Returns the rows of the completed jobs with the overrides that were planned, and `extended_to`.

    They have the values of all keys that any planned job overrides (see `with_configured_values`). missing: adds an
    interrupted row for each planned job that has none.
    """
    plan = readable_plan(sweep)
    rows = as_planned(read_sweep_rows(sweep), map(plan.facts, plan.jobs))
    known = {row.job for row in rows}
    others = sorted((job for job in plan.jobs if job.number not in known), key=lambda job: job.number)
    if missing:
        rows += [SweepRow.of(plan.facts(job), Result(status="interrupted")) for job in others]
    return with_configured_values(rows, sweep, plan=plan, others=[overrides_of(job.lines) for job in others])


def as_planned(rows: Iterable[SweepRow], jobs: Iterable[JobFacts]) -> list[SweepRow]:
    """Returns rows without the changes of later resumes, which would make jobs differ that were trained alike.

    Of these changes, only a larger number of epochs affects the training. It becomes `extended_to`.
    """
    planned = {job.number: overrides_of(job.overrides) for job in jobs}
    found = []
    for row in rows:
        overrides = planned.get(row.job, row.overrides)
        if row.overrides != overrides:
            epochs = row.overrides.get("epochs", "")
            extended = whole_number_in(epochs) if epochs != overrides.get("epochs", "") else None
            row = replace(row, overrides=overrides, extended_to=extended)
        found.append(row)
    return found


def rows_to_come(sweep: Path, rows: Sequence[SweepRow]) -> list[SweepRow]:
    """Returns a row with the status PLANNED for each planned job that has none, with values as the others have them."""
    plan, known = readable_plan(sweep), {row.job for row in rows}
    coming = [
        SweepRow(job=job.number, directory=job.directory, status=PLANNED, overrides=overrides_of(job.lines))
        for job in plan.jobs
        if job.number not in known
    ]
    return with_configured_values([*rows, *coming], sweep, plan=plan)[len(rows) :]


def row_from_directory(facts: JobFacts, sweep: Path) -> SweepRow:
    """Returns the row of a job from its directory, with status "damaged" if its result is damaged."""
    try:
        return SweepRow.of_directory(facts, sweep)
    except NewerFormatError:
        raise
    except InputError:
        return SweepRow.of(facts, Result(status="damaged"))


def planned_jobs(sweep: Path) -> list[JobFacts]:
    """Returns the facts about the planned jobs; none if the plan is missing or damaged."""
    plan = readable_plan(sweep)
    return [plan.facts(job) for job in plan.jobs]


def sweep_status(rows: Sequence[SweepRow], *, planned: int, activity: str) -> str:
    """Returns the status of a sweep: its activity if there is one, "killed" if jobs have no row otherwise."""
    counts = Counter(row.status for row in rows)
    if activity == "running" or (activity and len(rows) - counts["interrupted"] < planned):
        return activity
    if counts["interrupted"]:
        return "interrupted"
    if len(rows) < max(1, planned):
        return "killed"
    return "failed" if counts["failed"] else "finished"


def best_job(sweep: Path, rows: Sequence[SweepRow]) -> dict[str, Any]:
    """Returns the best objective of the finished jobs, its monitor and the job's number; empty if there is none."""
    found = [(row.objective, row) for row in rows if row.status == "finished" and row.objective is not None]
    monitor = sweep_monitor(sweep, rows) if found else None
    if monitor in (None, SEVERAL):  # objectives of different metrics are not comparable
        return {}
    sign = 1 if minimised(monitor) else -1
    value, row = min(found, key=lambda pair: sign * pair[0])
    return {"monitor": monitor, "objective": value, "best_job": row.job}


def sweep_monitor(sweep: Path, rows: Sequence[SweepRow]) -> str | None:
    """Returns the monitor of a sweep's jobs; SEVERAL if they differ, None if no finished job has one."""
    finished = [row for row in rows if row.status == "finished"]
    named = {row.monitor for row in finished if row.monitor}
    if named:
        return named.pop() if len(named) == 1 else SEVERAL
    if not finished or not is_inside(finished[0].directory):
        return None
    try:
        result = read_result(sweep / finished[0].directory / RESULT)
    except InputError:
        return None
    return None if result is None else result.monitor
