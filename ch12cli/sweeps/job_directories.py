"""Names and files of the directories of a sweep's jobs."""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.settings import copy_of_config, first_lines
from ch12cli.errors import LONGEST_NAME, InputError, first_few
from ch12cli.files.atomic import machine_errors
from ch12cli.files.compact.hydra_texts import NAMES, NUMBER, OUTPUT, TASK, overrides_yaml
from ch12cli.files.compact.job_record import SharedBase
from ch12cli.files.compact.run_files import read_run_file, run_exists
from ch12cli.files.compact.stores import index_of
from ch12cli.files.hydra_folder import to_yaml
from ch12cli.files.metrics_csv import count_epochs
from ch12cli.files.result_json import Result, write_result
from ch12cli.files.run_directory import (
    CHECKPOINTS,
    HYDRA,
    METRICS,
    RECORDS,
    SWEEP,
)
from ch12cli.files.tags import TAGS
from ch12cli.sweeps.jobs import Base, SweepJob

RESERVED = (SWEEP, RECORDS, TAGS, "multirun.yaml")  # names of the sweep's own files; Hydra writes the last one
BY_NUMBER = "${hydra.job.num}"


def full_config(job: SweepJob) -> DictConfig:
    """Returns the job's complete Hydra configuration, for callbacks and for names that depend on it."""
    assert job.base.config is not None
    config = copy_of_config(job.base.config)
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
    """Returns the value of `hydra.sweep.subdir` for a job, unresolved. The jobs of a sweep share it."""
    return job.base.subdir or BY_NUMBER


def with_directory(job: SweepJob) -> SweepJob:
    """Returns the job with the directory that `hydra.sweep.subdir` names.

    Raises InputError if the directory is not below the sweep's.
    """
    pattern = pattern_of(job)
    return job.placed(job.number, str(job.number) if pattern == BY_NUMBER else resolved_name(pattern, job))


def resolved_name(pattern: str, job: SweepJob) -> str:
    config = full_config(job)
    HydraConfig.instance().set_config(config)  # resolves ${hydra:…} in the pattern
    try:
        name = str(OmegaConf.select(config, "hydra.sweep.subdir"))
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.sweep.subdir={pattern}: {first_lines(error)}") from error
    path = PurePath(name)
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME:
        raise InputError(
            f"hydra.sweep.subdir={pattern}: gives a name of {longest} bytes for job {job.number}; {LONGEST_NAME} at "
            "most: name fewer keys, such as 'hydra.sweep.subdir=seed_${seed}', or leave it out"
        )
    is_invalid = not name.strip() or "\0" in name or path.is_absolute() or not path.parts
    if is_invalid or ".." in path.parts or path.parts[0].startswith(".") or path.parts[0] in RESERVED:
        raise InputError(
            f"hydra.sweep.subdir={pattern}: gives '{name}' for job {job.number}; "
            "must name a directory within the sweep's, such as 'hydra.sweep.subdir=seed_${seed}'"
        )
    return path.as_posix()


def require_separate(jobs: Iterable[SweepJob], others: Collection[str]) -> None:
    """Raises InputError if two jobs share a directory, or if one contains another.

    `others` are the directories of the sweep's other jobs.
    """
    owner: dict[str, str] = dict.fromkeys(others, "another job")
    problems = []
    jobs = list(jobs)
    for job in jobs:
        if job.directory in owner:
            problems.append(_clash(job, job.directory, owner[job.directory]))
        owner[job.directory] = f"job {job.number}"
    for job in [job for job in jobs if "/" in job.directory]:
        above = next((str(p) for p in PurePath(job.directory).parents if str(p) in owner), None)
        if above is not None:
            problems.append(_clash(job, above, owner[above]))
    if problems:
        raise InputError(first_few(problems))


def _clash(job: SweepJob, other: str, owner: str) -> str:
    return (
        f"hydra.sweep.subdir={pattern_of(job)}: gives '{job.directory}' for job {job.number} "
        f"and '{other}' for {owner}; name everything in it that differs between the jobs"
    )


def refuse_foreign(jobs: Iterable[SweepJob], sweep_dir: Path) -> list[SweepJob]:
    """Returns the jobs whose directories exist and belong to them.

    Raises InputError if a directory belongs to another job.
    """
    begun = {*listed(sweep_dir), *(name.partition("/")[0] for name in index_of(sweep_dir).places)}
    likely = [job for job in jobs if job.directory.partition("/")[0] in begun]
    existing = [job for job in likely if run_exists(sweep_dir / job.directory)]
    own = {job.number: overrides_yaml(job.overrides).encode() for job in existing}
    foreign = [job for job in existing if _overrides(sweep_dir / job.directory) != own[job.number]]
    if foreign:
        job = foreign[0]
        raise InputError(
            f"hydra.sweep.dir={sweep_dir}: {job.directory} exists already, and does not belong to job {job.number} "
            f"({' '.join(job.overrides) or 'no overrides'}); choose another directory"
        )
    return existing


def listed(folder: Path) -> list[str]:
    """Returns the names in a folder; none if it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _overrides(directory: Path) -> bytes | None:
    try:
        return read_run_file(directory / HYDRA / "overrides.yaml")
    except (OSError, InputError):
        return None


class HydraFiles:
    """Makes the `.hydra` files of jobs. What jobs of the same base share is serialized once."""

    def __init__(self, sweep_dir: Path) -> None:
        self.sweep_dir = sweep_dir
        self.templates: dict[int, tuple[Base, str]] = {}
        self.recorded: dict[int, tuple[Base, SharedBase]] = {}

    def template(self, base: Base) -> str:
        """Returns the hydra.yaml of a base's jobs, with placeholders where the jobs differ."""
        if base.template:
            return base.template
        if id(base) not in self.templates:
            assert base.config is not None
            hydra: Any = OmegaConf.to_container(base.config.hydra, resolve=False, enum_to_str=True)
            hydra["job"] |= {"num": int(NUMBER), "id": NUMBER, "override_dirname": NAMES}
            hydra["runtime"]["output_dir"] = OUTPUT
            hydra["overrides"]["task"] = [TASK]
            hydra["sweep"]["dir"] = str(self.sweep_dir)
            hydra["mode"] = RunMode.MULTIRUN.name
            self.templates[id(base)] = base, to_yaml({"hydra": hydra})
        return self.templates[id(base)][1]

    def shared(self, base: Base) -> SharedBase:
        """Returns what stacks record of a base, as it is read again. Stacks of the same base share it."""
        if id(base) not in self.recorded:
            found = SharedBase(self.template(base), base.plain, base.resolved, base.choices)
            self.recorded[id(base)] = base, SharedBase.from_fields(json.loads(json.dumps(found.to_fields())))
        return self.recorded[id(base)][1]

    def files(self, job: SweepJob, directory: Path) -> dict[str, bytes]:
        """Returns the contents of the `.hydra` files, by file name."""
        return self.shared(job.base).texts.files(
            number=job.number,
            overrides=job.overrides,
            changes=job.changes,
            dirname=job.dirname,
            output_dir=str(directory.absolute()),
        )


def write_failed(directory: Path, *, hydra: Mapping[str, bytes], error: str) -> Result:
    """Writes the directory of a failed job as a single run would leave it, and returns its result.

    Files that the job wrote are kept.
    """
    with machine_errors(f"cannot write {directory}"):
        for folder in (HYDRA, CHECKPOINTS):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        for name, content in hydra.items():
            (directory / HYDRA / name).write_bytes(content)
    epochs = count_epochs(directory / METRICS) or 0
    return write_result(directory, Result(status="failed", epochs=epochs, error=error))
