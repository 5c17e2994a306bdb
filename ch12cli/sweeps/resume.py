"""Resumes a sweep from its directory, which is read as untrusted data."""

from __future__ import annotations

import signal
from collections.abc import Collection
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ch12cli.config.check import value_problem
from ch12cli.config.recorded import with_later_keys
from ch12cli.errors import InputError, Problem
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.plan_json import PlanFile, PlannedBase, PlannedJob, read_plan
from ch12cli.files.run_directory import STATE, SWEEP
from ch12cli.saved.load import refuse_links, require_valid_settings
from ch12cli.sweeps.jobs import Base, SweepJob
from ch12cli.sweeps.start import HYDRAS, Finished, monitor_of

if TYPE_CHECKING:
    from ch12cli.sweeps.callbacks import SweepCallback


def resume_sweep(directory: Path, *, callback: SweepCallback, trust: bool = False) -> Finished:
    """Does what is missing of a sweep: ended jobs are left as they are, stacks go on from their last checkpoint."""
    known = read_plan(directory)
    jobs = saved_jobs(known, where=str(directory), trust=trust)
    if not trust:
        refuse_links_of_jobs(directory, known.directories.values())
    from ch12cli.sweeps.launch import Launch

    launch = Launch(directory, callback)
    try:
        launch(jobs, None)
    except KeyboardInterrupt:
        launch.outcome.signal = signal.SIGINT
    except launch.terminated:
        launch.outcome.signal = signal.SIGTERM
    launch.callback.raise_error(f"the sweep itself is complete in {directory}")
    return Finished(launch.outcome, monitor_of(jobs[0]), [])


def saved_jobs(known: PlanFile, *, where: str, trust: bool) -> list[SweepJob]:
    """The jobs of a sweep out of what it kept, each checked as if a stranger had written it."""
    try:
        bases = [read_base(base, where=where, trust=trust) for base in known.bases]
        found = [read_job(job, bases) for job in known.jobs]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(f"{where}: its plan is not such as ch12 makes it ({type(error).__name__}: {error})") from error
    problems = [f"{where}: job {job.number}: {problem}" for job, problems in found for problem in problems]
    if problems or not found:
        raise InputError(problems[:20] or f"{where}: its plan holds no jobs")
    return [job for job, _ in found]


def refuse_links_of_jobs(directory: Path, places: Collection[str]) -> None:
    """InputError if a file of the sweep or of one of its jobs leads elsewhere. places: the jobs' directories."""
    above = sorted({str(parent) for place in places for parent in PurePath(place).parents if parent.parts})
    refuse_links(directory, (STATE, SWEEP, HYDRAS))
    for folder in (*above, *places):
        if (directory / folder).is_symlink():
            raise InputError(f"{directory / folder}: must not be a link; if the sweep is your own, add --trust")
    for place in places:
        refuse_links(directory / place)


def read_base(base: PlannedBase, *, where: str, trust: bool) -> Base:
    chosen = {str(group): choice for group, choice in base.chosen.items()}
    settings, written = with_later_keys(base.settings), with_later_keys(base.written)
    require_valid_settings(settings, chosen, where=where, trust=trust)
    keys = frozenset(key for key, _ in flatten(settings))
    return Base(None, written, settings, chosen, keys, template=base.template, options=base.options)


def read_job(job: PlannedJob, bases: list[Base]) -> tuple[SweepJob, list[Problem]]:
    """A job, and what is wrong with it."""
    base, problems = bases[job.base], list[Problem]()
    made = SweepJob(job.number, job.lines, base, dict(job.changes))
    if not stays_inside(job.directory):
        problems.append(Problem("", None, f"its directory {job.directory!r} is not below the sweep's own"))
    for key, value in made.changes.items():
        if (
            key not in base.keys
            or key.endswith("._target_")
            or (isinstance(value, dict) and not key.startswith("sweep."))
        ):
            problems.append(Problem(key, None, "cannot be what a job changes"))
        elif problem := value_problem(key, value, base.chosen):
            problems.append(problem)
    return made, problems


def stays_inside(place: str) -> bool:
    """Whether a job's path below the sweep's directory leads neither out of it nor to the sweep's own files."""
    path = PurePath(place)
    hidden = not path.parts or path.parts[0].startswith(".")
    return not path.is_absolute() and ".." not in path.parts and "\0" not in place and not hidden
