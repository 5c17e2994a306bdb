"""The plan of jobs in a sweep's directory, with what is found there and what trying their networks shows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.result_json import is_done, is_intact
from ch12cli.files.run_directory import SWEEP
from ch12cli.files.sweep_csv import SweepRow, read_sweep_csv, row_on_disk
from ch12cli.run.task import Task
from ch12cli.sweep.examine import examine
from ch12cli.sweep.groups import Group, why_not_halved
from ch12cli.sweep.jobs import SweepJob
from ch12cli.sweep.plan import Plan, make_plan


def examined_plan(jobs: Sequence[SweepJob], directory: Path, *, single: str = "") -> tuple[Plan, list[SweepRow]]:
    """The plan of these jobs in a sweep's directory, and the rows of the table that stay as they are.

    single: why all jobs are trained one by one; empty if they are not.
    """
    rows = {row.job: row for row in read_sweep_csv(directory / SWEEP)}
    statuses = {number: row.status for number, row in rows.items()}
    failed = {number for number, status in statuses.items() if status == "failed"}

    def examine_groups(groups: Sequence[Group]) -> tuple[list[Group], list[Task]]:
        examined, tasks = examine(groups)
        examined = [replace(group, reason=single or group.reason) for group in examined]
        require_halving(examined)
        return examined, tasks

    def has_ended(job: SweepJob) -> bool:
        """A power cut may have emptied the files of a job without a row; the files of the others were on the disk."""
        path = directory / job.directory
        return is_done(path) and (statuses.get(job.number) in ("finished", "diverged") or is_intact(path))

    plan = make_plan(jobs, directory, is_done=has_ended, examine=examine_groups, failed=failed)
    kept = [row for number, row in rows.items() if number not in plan.jobs]
    kept += [row_on_disk(rows.get(number), plan.jobs[number].facts, directory) for number in plan.done]
    return plan, kept


def require_halving(groups: Sequence[Group]) -> None:
    """InputError if `sweep.halving` is asked for and does nothing for any job."""
    asked = [group for group in groups if group.settings["sweep"]["halving"]]
    reasons = dict.fromkeys(why_not_halved(group) for group in asked)
    if asked and all(reasons):
        raise InputError(f"sweep.halving: no job can be halved: {'; '.join(reasons)}; leave it out")
