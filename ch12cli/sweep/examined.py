"""The plan of jobs in a sweep's directory, with what is found there and what trying their networks shows."""

from collections.abc import Sequence
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.result_json import is_done, is_intact
from ch12cli.files.run_directory import SWEEP
from ch12cli.files.sweep_csv import SweepRow, read_sweep_csv, row_on_disk
from ch12cli.sweep.examine import examine
from ch12cli.sweep.groups import Group, why_not_halved
from ch12cli.sweep.jobs import SweepJob
from ch12cli.sweep.plan import Plan, make_plan
from ch12cli.sweep.record import HydraFiles
from ch12cli.sweep.worker import Worker


def examined_plan(jobs: Sequence[SweepJob], directory: Path, *, alone: str = "") -> tuple[Plan, Worker, list[SweepRow]]:
    """The plan of these jobs in a sweep's directory, what trains them, and the table's rows that stay as they are.

    alone: why all of them are trained one by one, if they are.
    """
    rows = {row.job: row for row in read_sweep_csv(directory / SWEEP)}
    worker = Worker({}, [], lambda job: directory / job.directory, HydraFiles(directory))

    def look(groups: Sequence[Group]) -> None:
        worker.groups = groups
        examine(groups, worker)
        for group in groups:
            group.reason = alone or group.reason
        require_halving(groups)

    statuses = {number: row.status for number, row in rows.items()}
    failed = {number for number, status in statuses.items() if status == "failed"}

    def done(job: SweepJob) -> bool:
        """Of a job that the table has not, a power cut may have left files that are empty; others were on the disk."""
        place, told = directory / job.directory, statuses.get(job.number) in ("finished", "diverged")
        return is_done(place) and (told or is_intact(place))

    plan = make_plan(jobs, directory, is_done=done, examine=look, failed=failed)
    worker.jobs = plan.jobs
    kept = [row for number, row in rows.items() if number not in plan.jobs]
    kept += [row_on_disk(rows.get(number), plan.jobs[number].facts, directory) for number in plan.done]
    return plan, worker, kept


def require_halving(groups: Sequence[Group]) -> None:
    """InputError if `sweep.halving` is asked for and does nothing for any job."""
    asked = [group for group in groups if group.settings["sweep"]["halving"]]
    reasons = dict.fromkeys(why_not_halved(group) for group in asked)
    if asked and all(reasons):
        raise InputError(f"sweep.halving: no job can be halved: {'; '.join(reasons)}; leave it out")
