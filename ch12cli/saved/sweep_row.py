"""Updates the row in sweep.csv of a job that was resumed outside its sweep."""

from contextlib import suppress
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.locks import locked
from ch12cli.files.plan_json import read_plan
from ch12cli.files.run_directory import STATE, SWEEP
from ch12cli.files.sweep_csv import SweepRow, SweepTable, read_sweep_csv


def refresh_sweep_row(directory: Path) -> None:
    """Replaces the job's row in sweep.csv, if the directory belongs to a sweep.

    Does nothing if the sweep is in progress, because it updates the row itself, or if the table is damaged.
    """
    directory = directory.resolve()
    sweep = next((folder for folder in directory.parents if (folder / STATE).is_dir()), None)
    if sweep is None:
        return
    with suppress(InputError), locked(sweep, key=str(sweep)):
        plan, path = read_plan(sweep), directory.relative_to(sweep).as_posix()
        fresh = {
            job.number: SweepRow.of_directory(plan.facts(job), sweep) for job in plan.jobs if job.directory == path
        }
        if fresh:
            rows = {row.job: row for row in read_sweep_csv(sweep / SWEEP)} | fresh
            SweepTable(sweep / SWEEP, keys=(), metrics=(), rows=list(rows.values())).close()
