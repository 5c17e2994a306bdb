"""Resumes a sweep from its directory. Treats the directory's content as untrusted data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.check import value_problem
from ch12cli.config.combinations import problems_of
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.recorded import launcher_of, with_later_keys
from ch12cli.config.schema import PREFIX_OF_LAUNCHER, STACKED_LAUNCHERS
from ch12cli.config.settings import first_lines
from ch12cli.config.untrusted_settings import commands_of_launcher, untrusted_problems
from ch12cli.errors import InputError, Problem, first_few
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.plan_json import PLAN, PlanFile, PlannedBase, PlannedJob, read_plan
from ch12cli.files.run_directory import RECORDS, STATE, SWEEP, refuse_links
from ch12cli.run.data_sets import data_read_once
from ch12cli.saved.gate import require_valid_settings
from ch12cli.sweeps.job_directories import RESERVED
from ch12cli.sweeps.jobs import Base, SweepJob
from ch12cli.sweeps.start import MULTIRUN_YAML, Finished, engine_of, monitor_of

if TYPE_CHECKING:
    from ch12cli.sweeps.callbacks import SweepCallback
    from ch12cli.sweeps.workers.worker_pool import SweepEngine


WAIT = "wait"  # an option of some launchers; a resume collects the results


def resume_sweep(
    directory: Path, overrides: Sequence[str] = (), *, callback: SweepCallback, trust: bool = False
) -> Finished:
    """Trains the jobs of a sweep that have not ended, and returns its outcome.

    Stacks resume from their latest checkpoints. overrides: of the launcher's options, which change no result.
    """
    options = launcher_options(directory, overrides)
    known = read_plan(directory)
    jobs = saved_jobs(known, directory=directory, trust=trust)
    if not trust:
        refuse_links_of_jobs(directory, known.directories.values())
    from ch12cli.sweeps.launch import Launch

    engine = recorded_engine(known, options, where=str(directory), trust=trust)
    engine.require_ready()
    launch = Launch(directory, callback, engine=engine)
    with launch.interruptible(), data_read_once(), launch.session():
        launch(jobs, None)
    launch.callback.raise_error(f"the sweep itself is complete in {directory}")
    return Finished(launch.outcome, monitor_of(jobs[0]), [])


def launcher_options(directory: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the options of the launcher that overrides give. Raises InputError for other overrides."""
    if not overrides:
        return {}
    problems: list[Problem] = []
    with hydra_session():
        parsed = Composer().parse(overrides, problems)
    if problems:
        raise InputError(problems)
    for override in parsed:
        is_option = override.key_or_group.startswith(PREFIX_OF_LAUNCHER) and not override.is_delete()
        if not is_option or override.is_sweep_override():
            rule = f"a sweep is resumed without changes, but for {PREFIX_OF_LAUNCHER}KEY=VALUE"
            raise InputError(f"{directory}: {rule}; resume one of its runs to change it")
    return {override.key_or_group.removeprefix(PREFIX_OF_LAUNCHER): override.value() for override in parsed}


def recorded_engine(
    known: PlanFile, options: Mapping[str, Any] = MappingProxyType({}), *, where: str, trust: bool
) -> SweepEngine:
    """Returns the engine of the launcher that the sweep was started with. options: of the launcher, given now.

    Raises InputError if it would run commands of the directory's own and is not trusted.
    """
    launcher = launcher_of(known)
    runs = commands_of_launcher({name: value for name, value in launcher.items() if name not in options})
    if runs and not trust:
        rule = "says what is to be run, which nobody has checked"
        raise InputError(f"{where}: hydra.launcher.{runs[0]} {rule}; if the sweep is your own, add --trust")
    if options and launcher["_target_"] == STACKED_LAUNCHERS[0]:
        raise InputError(
            f"{PREFIX_OF_LAUNCHER}{next(iter(options))}: {where} was started without a launcher that has such keys"
        )
    if options.get(WAIT) is False:
        raise InputError(
            f"{PREFIX_OF_LAUNCHER}{WAIT}=false: a resume waits for the results, to collect them; leave it out"
        )
    try:
        waits = {WAIT: True} if WAIT in launcher else {}
        return engine_of(OmegaConf.create({**launcher, **options, **waits}), trust=trust)
    except (OmegaConfBaseException, TypeError) as error:
        raise InputError(f"{where}: hydra.launcher: {first_lines(error)}") from error


def saved_jobs(known: PlanFile, *, directory: Path, trust: bool) -> list[SweepJob]:
    """Returns the jobs of a saved plan. Checks each of them as untrusted data.

    Raises InputError if the plan or a job is invalid.
    """
    require_distinct(known.jobs, directory=directory)
    try:
        bases = [read_base(base, directory=directory, trust=trust) for base in known.bases]
        found = [read_job(job, bases) for job in known.jobs]
        gate = Gate(trust=trust)
        found = [(job, problems or gate.problems(job)) for job, problems in found]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(
            f"{directory}: its plan was not written by ch12, or is corrupt ({type(error).__name__}: {error})"
        ) from error
    problems = [f"{directory}: job {job.number}: {problem}" for job, problems in found for problem in problems]
    if problems:
        raise InputError(first_few(problems))
    if not found:
        missing = "is missing" if not (directory / PLAN).exists() else "holds no jobs"
        hint = "give the sweep's own command again with the same hydra.sweep.dir"
        raise InputError(f"{directory}: its plan ({PLAN}) {missing}; {hint}")
    return [job for job, _ in found]


def refuse_links_of_jobs(directory: Path, directories: Collection[str]) -> None:
    """Raises InputError if a file of the sweep or of a job is a link. `directories` are the jobs' directories."""
    above = sorted(
        {str(parent) for job_directory in directories for parent in PurePath(job_directory).parents if parent.parts}
    )
    refuse_links(directory, (STATE, SWEEP, RECORDS, MULTIRUN_YAML))
    for folder in (*above, *directories):
        if (directory / folder).is_symlink():
            raise InputError(f"{directory / folder}: must not be a link; if the sweep is your own, add --trust")
    for job_directory in directories:
        refuse_links(directory / job_directory)


def read_base(base: PlannedBase, *, directory: Path, trust: bool) -> Base:
    choices = {str(group): choice for group, choice in base.chosen.items()}
    settings, written = with_later_keys(base.settings), with_later_keys(base.written)
    require_valid_settings(settings, choices, directory=directory, trust=trust)
    keys = frozenset(key for key, _ in flatten(settings))
    return Base(None, written, settings, choices, keys, template=base.template, options=base.options)


def read_job(job: PlannedJob, bases: list[Base]) -> tuple[SweepJob, list[Problem]]:
    """Returns a job and its problems, but for those of its settings as a whole."""
    base, problems = bases[job.base], list[Problem]()
    sweep_job = SweepJob(job.number, job.lines, base, dict(job.changes))
    if not stays_inside(job.directory):
        problems.append(Problem("", None, f"its directory {job.directory!r} is not below the sweep's own"))
    for key, value in sweep_job.changes.items():
        is_mapping = isinstance(value, dict) and not key.startswith("sweep.")
        if key not in base.keys or key.endswith("._target_") or is_mapping:
            problems.append(Problem(key, None, "cannot be what a job changes"))
        elif problem := value_problem(key, value, base.choices):
            problems.append(problem)
    return sweep_job, problems


class Gate:
    """Checks the settings of a plan's jobs, each with its changes applied.

    Jobs that differ only in numbers reach the same things outside, so they are checked for that once.
    """

    def __init__(self, *, trust: bool) -> None:
        self.trust = trust
        self.untrusted: dict[str, list[Problem]] = {}

    def problems(self, job: SweepJob) -> list[Problem]:
        settings = job.settings
        texts = {key: value for key, value in job.changes.items() if type(value) not in (int, float)}
        key = f"{id(job.base)} {texts!r}"
        if key not in self.untrusted:
            self.untrusted[key] = [] if self.trust else untrusted_problems(settings)
        return self.untrusted[key] or problems_of(settings)


def require_distinct(jobs: Sequence[PlannedJob], *, directory: Path) -> None:
    """Raises InputError if two jobs share a number, a key or a directory, or one's directory holds another's."""
    directories = {job.directory for job in jobs}
    counts = (len({job.number for job in jobs}), len({job.job_key for job in jobs}), len(directories))
    inside = any(str(parent) in directories for name in directories for parent in PurePath(name).parents)
    if inside or any(count != len(jobs) for count in counts):
        raise InputError(
            f"{directory}: its plan was not written by ch12, or is corrupt (two jobs share a directory or key)"
        )


def stays_inside(directory: str) -> bool:
    """Returns True if a job's path stays below the sweep's directory and is not one of the sweep's own files."""
    path = PurePath(directory)
    is_hidden = not path.parts or path.parts[0].startswith(".") or path.parts[0] in RESERVED
    return not path.is_absolute() and ".." not in path.parts and "\0" not in directory and not is_hidden
