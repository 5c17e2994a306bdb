"""A whole sweep from a command line's words to its outcome, for whichever launcher Hydra is told to use."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ch12cli.config.combinations import has_part, monitored
from ch12cli.config.compose import STACKED_LAUNCHER, Composer, working_directory
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.hydra_job import callbacks_of
from ch12cli.config.settings import first_lines
from ch12cli.errors import InputError, MachineError
from ch12cli.files.atomic import locked
from ch12cli.files.run_directory import SWEEP
from ch12cli.files.sweep_csv import SweepRow, SweepTable
from ch12cli.sweep.directory import claimed, sweep_directory
from ch12cli.sweep.hydra_sweep import Sweep, SweepTask, batch_of, read_sweep, run_sweep
from ch12cli.sweep.hydra_task import train_as_hydra_job
from ch12cli.sweep.jobs import SweepJob
from ch12cli.sweep.jobs_file import read_jobs

if TYPE_CHECKING:
    from ch12cli.sweep.callbacks import SweepCallback
    from ch12cli.sweep.estimate import Estimate
    from ch12cli.sweep.launch import Launch, SweepOutcome
    from ch12cli.sweep.plan import Plan
    from ch12cli.sweep.verification import Difference


class Finished(NamedTuple):
    """A sweep that has ended. monitor: the objective of its first job; asked: how many jobs were to be verified."""

    outcome: SweepOutcome
    monitor: str
    differences: list[Difference]
    asked: int = 0


def open_sweep(words: Sequence[str], composer: Composer, jobs_file: Path | None) -> tuple[Sweep, list[list[str]]]:
    """A sweep and the overrides of its jobs (none listed where another sweeper than the basic one makes them)."""
    sweep = read_sweep(composer, words, compose=jobs_file is None)
    if jobs_file is None:
        return sweep, batch_of(sweep.swept) if sweep.jobs else []
    composer.several = f"give each a row of its own in {jobs_file}"
    rows = read_jobs(jobs_file)
    refuse_given_twice(sweep, rows, jobs_file)
    batch = [[*before, *row] for before, row in product(batch_of(sweep.task_overrides), rows)]
    sweep.compose(batch)
    return sweep, batch


def refuse_given_twice(sweep: Sweep, rows: Sequence[Sequence[str]], jobs_file: Path) -> None:
    """InputError for keys of the command line that the table of jobs would override without a word."""
    columns = {line.partition("=")[0].lstrip("+~") for row in rows for line in row}
    twice = [override.key_or_group for override in sweep.task_overrides if override.key_or_group in columns]
    if twice:
        raise InputError(
            [f"{key}: set on the command line and in the column {key} of {jobs_file}; leave one out" for key in twice]
        )


def train_many(
    words: Sequence[str],
    *,
    folders: Sequence[Path],
    config_name: str,
    callback: SweepCallback,
    jobs_file: Path | None = None,
) -> Finished:
    """Trains a sweep's jobs and writes its directory."""
    working_directory()
    with hydra_session():
        composer = Composer(folders, config_name=config_name)
        sweep, batch = open_sweep(words, composer, jobs_file)
        require_one_batch(sweep)
        # only now, with every option of every job found right, is it worth the time to import torch
        from ch12cli.sweep.launch import Launch

        with claimed(sweep) as directory:
            launch = Launch(directory, callback, jobs=in_batches(sweep))
            try:
                if jobs_file is not None:
                    run_batch(sweep, batch, launch)
                elif is_stacked(sweep):
                    run_sweep(sweep, SweepTask(sweep, launch, train_as_hydra_job))
                else:
                    launch.callback.on_message(
                        f"{trained_alone(sweep)}, into {directory}; the table follows at the end"
                    )
                    run_elsewhere(sweep, launch.outcome)
            except KeyboardInterrupt:
                launch.outcome.signal = signal.SIGINT
            except launch.terminated:
                launch.outcome.signal = signal.SIGTERM
        launch.tell_not_begun(sweep.jobs.values())
        launch.callback.raise_error(f"the sweep itself is complete in {directory}")
        jobs = list(sweep.jobs.values())
        asked = max(map(verified, jobs), default=0) if launch.outcome.signal is None else 0
        differences = check_trust(launch.outcome.jobs, launch.outcome, asked=asked)
        return Finished(launch.outcome, monitor_of(jobs[0]), differences, asked)


def is_stacked(sweep: Sweep) -> bool:
    return bool(sweep.config.hydra.launcher.get("_target_") == STACKED_LAUNCHER)


def trained_alone(sweep: Sweep) -> str:
    """What another launcher does; empty for ours."""
    launcher = sweep.config.hydra.runtime.choices["hydra/launcher"]
    return "" if is_stacked(sweep) else f"hydra/launcher={launcher} trains each job by itself"


def in_batches(sweep: Sweep) -> int:
    """How many jobs there are in all, if Hydra hands them out in batches; else 0."""
    size, jobs = sweep.config.hydra.sweeper.get("max_batch_size"), sweep.jobs.values()
    return len({job.key for job in jobs}) if size is not None and size < len(jobs) else 0


def require_one_batch(sweep: Sweep) -> None:
    """InputError for halving where the jobs that it compares would not come together."""
    halved = any(job.changes.get("sweep.halving", job.base.resolved["sweep"]["halving"]) for job in sweep.jobs.values())
    if halved and not is_stacked(sweep):
        raise InputError(f"sweep.halving: {trained_alone(sweep)}; leave one of them out")
    if halved and in_batches(sweep):
        raise InputError("sweep.halving: compares all jobs with each other; leave out hydra.sweeper.max_batch_size")


def run_batch(sweep: Sweep, batch: Sequence[Sequence[str]], launch: Launch) -> None:
    """Carries out a batch that came from a file, with the callbacks that Hydra's sweep would have made."""
    callbacks = callbacks_of(sweep.config)
    callbacks.on_multirun_start(config=sweep.config, config_name=sweep.composer.config_name)
    launch(sweep.compose(batch), callbacks)
    callbacks.on_multirun_end(config=sweep.config, config_name=sweep.composer.config_name)


def run_elsewhere(sweep: Sweep, outcome: SweepOutcome) -> None:
    """Lets another launcher train the jobs one by one; the table is made from what they leave on disk."""
    from ch12cli.run.signals import sigterm_raises
    from ch12cli.sweep.job_directories import require_separate, with_directory

    directory, jobs = outcome.directory, [with_directory(job) for job in sweep.jobs.values()]
    require_separate(jobs, ())
    outcome.jobs |= {job.number: job for job in jobs}
    refuse_to_overwrite(jobs, directory)
    raised: Exception | None = None
    try:
        with locked(directory, key=f"hydra.sweep.dir={directory}"), sigterm_raises():
            run_sweep(sweep, SweepTask(sweep, None, train_as_hydra_job))
    except Exception as error:  # Hydra raises the first job's failure again; all of them are in the jobs' result.json
        raised = error
    finally:
        if any((directory / job.directory).exists() for job in jobs):
            tell_elsewhere(jobs, outcome)
    if isinstance(raised, MachineError) or (isinstance(raised, InputError) and not outcome.failed):
        raise raised
    if raised is not None and not outcome.failed:
        raise InputError(f"hydra/launcher: {first_lines(raised)}") from raised


def refuse_to_overwrite(jobs: Sequence[SweepJob], directory: Path) -> None:
    """InputError if a job's directory is there already."""
    there = [job.directory for job in jobs if (directory / job.directory).exists()]
    if there:
        raise InputError(
            f"hydra.sweep.dir={directory}: holds {there[0]} already, and only hydra/launcher=stacked goes on with "
            "what was begun; choose another directory"
        )


def tell_elsewhere(jobs: Sequence[SweepJob], outcome: SweepOutcome) -> None:
    """Writes the table of jobs that another launcher has trained."""
    outcome.rows = [SweepRow.of_directory(job.facts, outcome.directory) for job in jobs]
    outcome.failed = sum(row.status == "failed" for row in outcome.rows)
    keys = dict.fromkeys(key for job in jobs for key in job.values)
    SweepTable(outcome.directory / SWEEP, keys=keys, metrics=(), rows=outcome.rows).close()


def monitor_of(job: SweepJob) -> str:
    """The metric that is a job's objective."""
    settings = job.settings
    return monitored(settings, settings["monitor"], valid=has_part(settings, "valid_size"))


def verified(job: SweepJob) -> int:
    """How many jobs this one's settings ask to be verified."""
    return int(job.changes.get("sweep.verify", job.base.resolved["sweep"]["verify"]))


def check_trust(jobs: Mapping[int, SweepJob], outcome: SweepOutcome, *, asked: int) -> list[Difference]:
    """What `sweep.verify` asks for."""
    from ch12cli.sweep.verification import verify

    return verify(jobs, outcome.rows, outcome.directory, count=asked) if asked else []


def plan_many(
    words: Sequence[str], *, folders: Sequence[Path], config_name: str, jobs_file: Path | None = None
) -> tuple[Plan, list[Estimate | str | None]]:
    """The plan of a sweep and an estimate for each of its groups; nothing is trained but one epoch of a few runs each,
    and nothing is written."""
    with hydra_session():
        composer = Composer(folders, config_name=config_name)
        sweep, batch = open_sweep(words, composer, jobs_file)
        from ch12cli.sweep.estimate import estimates
        from ch12cli.sweep.examined import examined_plan

        require_one_batch(sweep)
        single = "" if jobs_file else trained_alone(sweep)
        plan, _ = examined_plan(sweep.compose(batch), sweep_directory(sweep), single=single)
        return plan, estimates(plan)
