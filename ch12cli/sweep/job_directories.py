"""Where each job's directory is below the sweep's: by `hydra.sweep.subdir`, its number unless told otherwise."""

from collections.abc import Collection, Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.settings import first_lines
from ch12cli.errors import InputError
from ch12cli.files.atomic import read_file
from ch12cli.files.run_directory import HYDRA, SWEEP
from ch12cli.files.tags import TAGS
from ch12cli.sweep.jobs import SweepJob
from ch12cli.sweep.record import overrides_yaml

TAKEN = (SWEEP, TAGS, "multirun.yaml")  # by the files of the sweep itself, the last one Hydra's
BY_NUMBER = "${hydra.job.num}"


def full_config(job: SweepJob) -> DictConfig:
    """The job's whole configuration as Hydra would hold it, for callbacks and for what is named after it."""
    assert job.base.config is not None
    config = deepcopy(job.base.config)
    with flag_override(config, ["struct", "readonly"], [False, False]):
        for key, value in job.written.items():
            config[key] = value
        config.hydra.job.num = job.number
        config.hydra.job.id = str(job.number)
        config.hydra.job.override_dirname = job.dirname
        config.hydra.overrides.task = list(job.overrides)
        config.hydra.mode = RunMode.MULTIRUN
    return config


def pattern_of(job: SweepJob) -> str:
    """What `hydra.sweep.subdir` is for a job; it takes no part in what the jobs of a sweep differ in."""
    config = job.base.config
    if config is None:
        return BY_NUMBER
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return str(sweep["subdir"])


def with_directory(job: SweepJob) -> SweepJob:
    """The job with its directory as `hydra.sweep.subdir` names it. Raises InputError if it is not below the sweep's."""
    pattern = pattern_of(job)
    return replace(job, directory=str(job.number) if pattern == BY_NUMBER else named_by(pattern, job))


def named_by(pattern: str, job: SweepJob) -> str:
    config = full_config(job)
    HydraConfig.instance().set_config(config)  # for ${hydra:…} in the pattern
    try:
        name = str(OmegaConf.select(config, "hydra.sweep.subdir"))
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.sweep.subdir={pattern}: {first_lines(error)}") from error
    path = PurePath(name)
    wrong = not name.strip() or "\0" in name or path.is_absolute() or not path.parts
    if wrong or ".." in path.parts or path.parts[0].startswith(".") or path.parts[0] in TAKEN:
        raise InputError(
            f"hydra.sweep.subdir={pattern}: gives '{name}' for job {job.number}; "
            "must name a directory within the sweep's, such as seed_${seed}"
        )
    return path.as_posix()


def require_separate(jobs: Iterable[SweepJob], others: Collection[str]) -> None:
    """InputError if two jobs share a directory, or one's lies in another's. others: directories of the sweep's other
    jobs."""
    owner: dict[str, str] = dict.fromkeys(others, "another job")
    problems = []
    jobs = list(jobs)
    for job in jobs:
        if job.directory in owner:
            problems.append(_clash(job, job.directory, owner[job.directory]))
        owner[job.directory] = f"job {job.number}"
    for job in jobs:
        above = next((str(p) for p in PurePath(job.directory).parents if str(p) in owner), None)
        if above is not None:
            problems.append(_clash(job, above, owner[above]))
    if problems:
        raise InputError(problems[:5])


def _clash(job: SweepJob, place: str, owner: str) -> str:
    return (
        f"hydra.sweep.subdir={pattern_of(job)}: gives '{job.directory}' for job {job.number} "
        f"and '{place}' for {owner}; name everything in it that differs between the jobs"
    )


def refuse_strangers(jobs: Iterable[SweepJob], sweep_dir: Path) -> list[SweepJob]:
    """Those jobs whose directories are there already, made by this very job. InputError for any that another made."""
    there = [job for job in jobs if (sweep_dir / job.directory).exists()]
    strange = [job for job in there if _overrides(sweep_dir / job.directory) != overrides_yaml(job)]
    if strange:
        job = strange[0]
        raise InputError(
            f"hydra.sweep.dir={sweep_dir}: {job.directory} is there already, and is not of job {job.number} "
            f"({' '.join(job.overrides) or 'no overrides'}); choose another directory"
        )
    return there


def _overrides(directory: Path) -> bytes | None:
    try:
        return read_file(directory / HYDRA / "overrides.yaml")
    except OSError:
        return None
