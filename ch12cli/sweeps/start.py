"""Starts a sweep from its command line: its directory, its launcher and its outcome."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ch12cli.catalogue.keys_of_settings import FOLD
from ch12cli.config.compose import Composer, working_directory
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.hydra_job import callbacks_of
from ch12cli.config.schema import STACKED_LAUNCHERS
from ch12cli.config.settings import first_lines
from ch12cli.errors import InputError, MachineError, os_problem
from ch12cli.files.atomic import machine_errors, make_folder
from ch12cli.files.locks import locked
from ch12cli.files.plan_json import read_plan
from ch12cli.files.run_directory import CHECKPOINTS, METRICS, RESULT
from ch12cli.run.data_sets import data_read_once
from ch12cli.sweeps.hydra_sweep import (
    ComposedSweep,
    SweepTask,
    batch_of,
    read_sweep,
    run_sweep,
    train_as_hydra_job,
)
from ch12cli.sweeps.jobs import SweepJob
from ch12cli.sweeps.jobs_file import read_jobs
from hydra_plugins import ch12_stacked

if TYPE_CHECKING:
    from ch12cli.sweeps.callbacks import SweepCallback
    from ch12cli.sweeps.launch import Launch, SweepOutcome
    from ch12cli.sweeps.plan import Plan
    from ch12cli.sweeps.trials import Difference, Estimate
    from ch12cli.sweeps.workers.worker_pool import SweepEngine


class Finished(NamedTuple):
    """A sweep that has ended.

    `monitor` is the objective of its first job. `to_verify` is the number of jobs that were to be verified.
    """

    outcome: SweepOutcome
    monitor: str
    differences: list[Difference]
    to_verify: int = 0


def open_sweep(
    argv: Sequence[str], composer: Composer, jobs_file: Path | None
) -> tuple[ComposedSweep, list[list[str]]]:
    """Returns a sweep and the overrides of its jobs.

    The list is empty if a sweeper other than the basic one makes the jobs.
    """
    sweep = read_sweep(composer, argv, compose=jobs_file is None)
    if jobs_file is None:
        return sweep, batch_of(sweep.swept) if sweep.jobs else []
    composer.several_hint = f"give each a row of its own in {jobs_file}"
    rows = read_jobs(jobs_file)
    if any(line.startswith(f"{FOLD}=") for row in rows for line in row):
        sweep.overrides = [one for one in sweep.overrides if one.key_or_group != FOLD or one.input_line in argv]
    refuse_duplicate_keys(sweep, rows, jobs_file)
    batch = [[*before, *row] for before, row in product(batch_of(sweep.task_overrides), rows)]
    sweep.compose(batch)
    return sweep, batch


def refuse_duplicate_keys(sweep: ComposedSweep, rows: Sequence[Sequence[str]], jobs_file: Path) -> None:
    """Raises InputError for keys that are set both on the command line and in the jobs file."""
    columns = {line.partition("=")[0].lstrip("+~") for row in rows for line in row}
    duplicates = [override.key_or_group for override in sweep.task_overrides if override.key_or_group in columns]
    if duplicates:
        raise InputError(
            [
                f"{key}: set on the command line and in the column {key} of {jobs_file}; leave one out"
                for key in duplicates
            ]
        )


def train_many(
    argv: Sequence[str],
    *,
    folders: Sequence[Path],
    config_name: str,
    callback: SweepCallback,
    jobs_file: Path | None = None,
    command: Sequence[str] = (),
) -> Finished:
    """Trains a sweep's jobs, writes its directory and returns its outcome.

    command: the words that go on with a search, after `ch12` and without its directory; of `ch12 train` by default.
    """
    working_directory()
    with hydra_session(), data_read_once():
        composer = Composer(folders, config_name=config_name)
        sweep, batch = open_sweep(argv, composer, jobs_file)
        sweep.command = tuple(command)
        require_one_batch(sweep)
        # torch is imported only after all options of all jobs are checked, because the import is slow
        from ch12cli.sweeps.launch import Launch

        engine = engine_of(sweep.config.hydra.launcher) if is_stacked(sweep) else None
        if engine is not None:
            engine.require_ready()
        with claimed(sweep) as directory:
            launch = Launch(directory, callback, total_jobs=batched_job_count(sweep), engine=engine)
            with launch.interruptible():
                if jobs_file is None and not is_stacked(sweep):
                    launch.callback.on_message(
                        f"{single_job_reason(sweep)}, into {directory}; the table follows at the end"
                    )
                    run_other_launcher(sweep, launch)
                else:
                    with launch.session():
                        if jobs_file is not None:
                            run_batch(sweep, batch, launch)
                        else:
                            run_sweep(sweep, SweepTask(sweep, launch, train_as_hydra_job))
        launch.add_rows_not_begun(sweep.jobs.values())
        launch.callback.raise_error(f"the sweep itself is complete in {directory}")
        jobs = list(sweep.jobs.values())
        to_verify = max(map(verify_count, jobs), default=0) if launch.signal is None else 0
        differences = verification_differences(launch, to_verify=to_verify)
        return Finished(launch.outcome, monitor_of(jobs[0]), differences, to_verify)


def is_stacked(sweep: ComposedSweep) -> bool:
    return bool(sweep.config.hydra.launcher.get("_target_") in STACKED_LAUNCHERS)


def engine_of(launcher: DictConfig, *, trust: bool = True) -> SweepEngine:
    """Returns the engine of one of ch12's own launchers. Raises InputError if its options are invalid.

    `trust`: the sweep may import classes of the user's own.
    """
    plain: Any = OmegaConf.to_container(launcher, resolve=True)
    name = plain.pop("_target_").rpartition(".")[2]
    options = {key: value for key, value in plain.items() if not key.startswith("_")}
    engine: SweepEngine = getattr(ch12_stacked, name)(**options).make_engine(trust=trust)
    return engine


def single_job_reason(sweep: ComposedSweep) -> str:
    """Returns a note that the launcher trains jobs one by one; empty for the launcher `stacked`."""
    launcher = sweep.config.hydra.runtime.choices["hydra/launcher"]
    return "" if is_stacked(sweep) else f"hydra/launcher={launcher} trains each job by itself"


def batched_job_count(sweep: ComposedSweep) -> int:
    """Returns the number of jobs in all batches if Hydra splits the sweep into batches, else 0."""
    if sweep.search is not None:
        return (sweep.search.settings.n_trials or 0) * len(sweep.search.repetitions)
    size, jobs = sweep.config.hydra.sweeper.get("max_batch_size"), sweep.jobs.values()
    return len({job.key for job in jobs}) if size is not None and size < len(jobs) else 0


def require_one_batch(sweep: ComposedSweep) -> None:
    """Raises InputError if halving or a population is asked for but the jobs are not launched as one batch.

    A search compares the jobs of each batch.
    """
    if sweep.search is not None:
        if not is_stacked(sweep):
            raise InputError(f"hydra/sweeper=search: {single_job_reason(sweep)}; leave it out")
        if sweep.config.hydra.launcher.get("wait") is False:
            rule = "a search needs the results of a batch before it draws the next"
            raise InputError(f"hydra.launcher.wait=false: {rule}; leave it out, and let the search itself run as a job")
        return
    for key in ("sweep.halving", "sweep.pbt"):
        compared = any(job.setting(key) for job in sweep.jobs.values())
        if compared and not is_stacked(sweep):
            raise InputError(f"{key}: {single_job_reason(sweep)}; leave one of them out")
        if compared and batched_job_count(sweep):
            raise InputError(f"{key}: compares all jobs with each other; leave out hydra.sweeper.max_batch_size")


def run_batch(sweep: ComposedSweep, batch: Sequence[Sequence[str]], launch: Launch) -> None:
    """Launches a batch from a jobs file, and calls the callbacks that Hydra would call for a sweep."""
    callbacks = callbacks_of(sweep.config)
    callbacks.on_multirun_start(config=sweep.config, config_name=sweep.composer.config_name)
    launch(sweep.compose(batch), callbacks)
    callbacks.on_multirun_end(config=sweep.config, config_name=sweep.composer.config_name)


def run_other_launcher(sweep: ComposedSweep, launch: Launch) -> None:
    """Has another launcher train the jobs one by one, and adds their results from their files."""
    from ch12cli.run.signals import sigterm_raises
    from ch12cli.sweeps.job_directories import require_separate, with_directory

    directory, jobs = launch.directory, [with_directory(job) for job in sweep.jobs.values()]
    require_separate(jobs, ())
    refuse_to_overwrite(jobs, directory)
    for remark in notes_on_data(jobs):
        launch.callback.on_message(remark, warning=True)
    raised: Exception | None = None
    try:
        with locked(directory, key=f"hydra.sweep.dir={directory}"), sigterm_raises():
            run_sweep(sweep, SweepTask(sweep, None, train_as_hydra_job))
    except Exception as error:  # Hydra re-raises the first failure; result.json files hold all of them
        raised = error
    finally:
        if any((directory / job.directory).exists() for job in jobs):
            launch.add_results(jobs)
    if isinstance(raised, MachineError) or (isinstance(raised, InputError) and not launch.failed):
        raise raised
    if raised is not None and not launch.failed:
        raise InputError(f"hydra/launcher: {first_lines(raised)}") from raised


def notes_on_data(jobs: Sequence[SweepJob]) -> list[str]:
    """Returns the notes on the jobs' data, each once. Jobs whose data cannot be read will say so themselves."""
    from ch12cli.run.task import build_task
    from ch12cli.sweeps.groups import group_jobs

    notes: dict[str, None] = {}
    for group in group_jobs(jobs):
        with suppress(InputError):
            notes |= dict.fromkeys(build_task(group.settings).warnings)
    return list(notes)


def refuse_to_overwrite(jobs: Sequence[SweepJob], directory: Path) -> None:
    """Raises InputError if a job's directory exists."""
    existing = [job.directory for job in jobs if (directory / job.directory).exists()]
    if existing:
        raise InputError(
            f"hydra.sweep.dir={directory}: holds {existing[0]} already, and only hydra/launcher=stacked can resume "
            "them; choose another directory"
        )


def monitor_of(job: SweepJob) -> str:
    """Returns the metric that is a job's objective."""
    return job.run_settings.monitored


def verify_count(job: SweepJob) -> int:
    """Returns how many jobs `sweep.verify` asks to verify, in this job's settings."""
    return int(job.setting("sweep.verify"))


def verification_differences(launch: Launch, *, to_verify: int) -> list[Difference]:
    """Returns the differences that `sweep.verify` asks for."""
    from ch12cli.sweeps.trials import verify

    return verify(launch.jobs, launch.rows, launch.directory, count=to_verify) if to_verify else []


def plan_many(
    argv: Sequence[str], *, folders: Sequence[Path], config_name: str, jobs_file: Path | None = None
) -> tuple[Plan, list[Estimate | str | None]]:
    """Returns the plan of a sweep and an estimate for each of its groups.

    Trains only a few epochs of a few runs for the estimates, and writes nothing.
    """
    with hydra_session(), data_read_once():
        composer = Composer(folders, config_name=config_name)
        sweep, batch = open_sweep(argv, composer, jobs_file)
        from ch12cli.sweeps.launch import devices_of, rows_in
        from ch12cli.sweeps.plan import examined_plan
        from ch12cli.sweeps.trials import estimates
        from ch12cli.sweeps.workers.worker_pool import LocalEngine

        require_one_batch(sweep)
        single = "" if jobs_file else single_job_reason(sweep)
        directory, goes_on = sweep_directory(sweep), False
        if sweep.search is not None:
            batch, goes_on = first_batch(sweep, directory)
        engine = engine_of(sweep.config.hydra.launcher) if is_stacked(sweep) else LocalEngine()
        with devices_of(engine):
            known, rows = read_plan(directory), rows_in(directory)
            jobs = sweep.compose(batch)
            plan, _ = examined_plan(jobs, directory, known, rows, single=single, elsewhere=engine.elsewhere)
            tasks = engine.describe(plan.items)
            plan = replace(plan, total_jobs=batched_job_count(sweep), goes_on=goes_on, tasks_of_engine=tasks)
            found, items = estimates(plan.groups, plan.tasks, plan.items, elsewhere=engine.elsewhere)
            return replace(plan, seconds=engine.seconds_for(items, processes=plan.processes)), found


def first_batch(sweep: ComposedSweep, directory: Path) -> tuple[list[list[str]], bool]:
    """Returns the overrides of the jobs that a search would train first, and whether it would go on then.

    Raises InputError if it has ended.
    """
    from ch12cli.sweeps.search.driver import Search

    search = Search(sweep, directory)
    settings = search.batch()
    if not settings:
        raise InputError(f"{directory}: the search has ended there; give it more trials, such as search.n_trials=1000")
    return [job for setting in settings for job in search.jobs(setting)], search.goes_on_after(settings)


MULTIRUN_YAML = "multirun.yaml"  # Hydra's sweeper writes it before any job starts


@contextmanager
def claimed(sweep: ComposedSweep) -> Iterator[Path]:
    """Yields the sweep's directory: the named one, which may hold an earlier part of the sweep, or a new one.

    Removes what it created if an error is raised before any job was begun.
    """
    directory = sweep_directory(sweep)
    before = {folder for folder in (directory, *directory.parents) if folder.exists()}
    multirun_yaml = (directory / MULTIRUN_YAML).read_bytes() if (directory / MULTIRUN_YAML).is_file() else None
    named = any(line.lstrip("+").startswith("hydra.sweep.dir=") for line in sweep.job_composer.hydra_overrides)
    candidate = make_directory(directory, named=named)
    config = sweep.config
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(candidate)
    try:
        yield candidate
    except (InputError, MachineError, OSError) as error:
        with suppress(OSError):  # from a full disk
            if multirun_yaml is not None:
                (candidate / MULTIRUN_YAML).write_bytes(multirun_yaml)
            release_sweep_directory(candidate, before)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # from a file that Hydra writes
            raise os_problem(f"cannot write {error.filename or candidate}", error) from error
        raise


def sweep_directory(sweep: ComposedSweep) -> Path:
    """Returns the directory that `hydra.sweep.dir` names, without creating it.

    Raises InputError if the name is invalid.
    """
    HydraConfig.instance().set_config(sweep.config)  # resolves ${hydra:…} in the name
    try:
        name = str(OmegaConf.select(sweep.config, "hydra.sweep.dir"))
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.sweep.dir: {first_lines(error)}") from error
    if not name.strip() or "\0" in name:
        raise InputError(f"hydra.sweep.dir={name}: must name a directory; leave it out for a new one below outputs/")
    return Path(name)


def make_directory(directory: Path, *, named: bool) -> Path:
    """Creates the directory and returns its path.

    Adds a number to an existing name, unless the user named the directory.
    """
    found = [name for name in (METRICS, RESULT, CHECKPOINTS) if (directory / name).exists()]
    if named and found:
        raise InputError(f"hydra.sweep.dir={directory}: is the directory of a run ({found[0]}); choose another")
    number, candidate = 1, directory
    with machine_errors(f"cannot make the sweep's directory {directory}"):
        while True:
            try:
                make_folder(candidate, exist_ok=named)
                return candidate
            except (FileExistsError, NotADirectoryError):
                if named or not candidate.exists():
                    message = f"hydra.sweep.dir={directory}: there is a file of that name in its path; choose another"
                    raise InputError(message) from None
                number += 1
                candidate = directory.with_name(f"{directory.name}-{number}")


def release_sweep_directory(directory: Path, before: Collection[Path]) -> None:
    """Removes a new sweep directory in which no job was begun.

    `before` are those of the directory and its parents that existed before.
    """
    if directory in before or {path.name for path in directory.iterdir()} - {MULTIRUN_YAML}:
        return
    (directory / MULTIRUN_YAML).unlink(missing_ok=True)
    with suppress(OSError):  # keeps parents that are not empty
        for folder in (directory, *directory.parents):
            if folder in before:
                return
            folder.rmdir()
