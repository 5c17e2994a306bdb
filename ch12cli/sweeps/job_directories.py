"""Names and files of the directories of a sweep's jobs."""

import io
import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.settings import copy_of_config, first_lines, with_changes
from ch12cli.errors import LONGEST_NAME, InputError
from ch12cli.files.atomic import machine_errors, read_file
from ch12cli.files.hydra_folder import PLAIN, text_to_yaml, to_yaml
from ch12cli.files.metrics_csv import count_epochs
from ch12cli.files.result_json import Result, digests, is_done, is_intact, write_result
from ch12cli.files.run_directory import (
    BEST,
    CHECKPOINTS,
    HYDRA,
    LAST,
    METRICS,
    MODEL,
    RESULT,
    SWEEP,
)
from ch12cli.files.tags import TAGS
from ch12cli.run.recorder import MetricsRow, metrics_csv
from ch12cli.sweeps.jobs import Base, SweepJob
from ch12cli.training.checkpoint import sealed_bytes

RESERVED = (SWEEP, TAGS, "multirun.yaml")  # names of the sweep's own files; Hydra writes the last one
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
    config = job.base.config
    if config is None:
        return BY_NUMBER
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    return str(sweep["subdir"])


def with_directory(job: SweepJob) -> SweepJob:
    """Returns the job with the directory that `hydra.sweep.subdir` names.

    Raises InputError if the directory is not below the sweep's.
    """
    pattern = pattern_of(job)
    return replace(job, directory=str(job.number) if pattern == BY_NUMBER else resolved_name(pattern, job))


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
    for job in jobs:
        above = next((str(p) for p in PurePath(job.directory).parents if str(p) in owner), None)
        if above is not None:
            problems.append(_clash(job, above, owner[above]))
    if problems:
        raise InputError(problems[:5])


def _clash(job: SweepJob, other: str, owner: str) -> str:
    return (
        f"hydra.sweep.subdir={pattern_of(job)}: gives '{job.directory}' for job {job.number} "
        f"and '{other}' for {owner}; name everything in it that differs between the jobs"
    )


def refuse_foreign(jobs: Iterable[SweepJob], sweep_dir: Path) -> list[SweepJob]:
    """Returns the jobs whose directories exist and belong to them.

    Raises InputError if a directory belongs to another job.
    """
    existing = [job for job in jobs if (sweep_dir / job.directory).exists()]
    foreign = [job for job in existing if _overrides(sweep_dir / job.directory) != overrides_yaml(job)]
    if foreign:
        job = foreign[0]
        raise InputError(
            f"hydra.sweep.dir={sweep_dir}: {job.directory} exists already, and does not belong to job {job.number} "
            f"({' '.join(job.overrides) or 'no overrides'}); choose another directory"
        )
    return existing


def _overrides(directory: Path) -> bytes | None:
    try:
        return read_file(directory / HYDRA / "overrides.yaml")
    except OSError:
        return None


NUMBER, OUTPUT, NAMES, TASK = "918273645", "@output@", "@names@", "@task@"  # placeholders for what differs


def overrides_yaml(job: SweepJob) -> bytes:
    """Returns the content of overrides.yaml, as Hydra writes it."""
    if all(map(PLAIN.fullmatch, job.overrides)):
        return ("".join(f"- {line}\n" for line in job.overrides) or "[]\n").encode()
    return to_yaml(list(job.overrides)).encode()


class HydraFiles:
    """Makes the `.hydra` files of jobs. The part of hydra.yaml that jobs share is serialized once."""

    def __init__(self, sweep_dir: Path) -> None:
        self.sweep_dir = sweep_dir
        self.templates: dict[int, tuple[Base, str]] = {}
        self.sections: dict[int, tuple[Base, dict[str, str]]] = {}  # of config.yaml by key, per base

    def template(self, base: Base) -> str:
        """Returns the hydra.yaml of a base's jobs, with placeholders where the jobs differ."""
        if base.template:
            return base.template
        if id(base) not in self.templates:
            assert base.config is not None
            config = base.config.copy()
            with flag_override(config, ["struct", "readonly"], [False, False]):
                config.hydra.job.num = int(NUMBER)
                config.hydra.job.id = NUMBER
                config.hydra.job.override_dirname = NAMES
                config.hydra.runtime.output_dir = OUTPUT
                config.hydra.overrides.task = [TASK]
                config.hydra.sweep.dir = str(self.sweep_dir)
                config.hydra.mode = "MULTIRUN"
            self.templates[id(base)] = base, OmegaConf.to_yaml(OmegaConf.masked_copy(config, ["hydra"]))
        return self.templates[id(base)][1]

    def files(self, job: SweepJob, directory: Path) -> dict[str, bytes]:
        """Returns the contents of the `.hydra` files, by file name."""
        overrides = overrides_yaml(job)
        text = self.template(job.base)
        mark = f"- '{TASK}'\n"
        position = text.find(mark)
        if position >= 0:
            indent = text[text.rfind("\n", 0, position) + 1 : position]
            lines = overrides.decode().splitlines() if job.overrides else []
            listed = "".join(f"{indent}{line}\n" for line in lines)
            text = text[: position - len(indent)] + listed + text[position + len(mark) :]
        text = text.replace(NUMBER, str(job.number))
        text = text.replace(f"'{OUTPUT}'", text_to_yaml(str(directory.absolute())))
        text = text.replace(f"'{NAMES}'", text_to_yaml(job.dirname))
        return {
            "config.yaml": self.config_yaml(job).encode(),
            "overrides.yaml": overrides,
            "hydra.yaml": text.encode(),
        }

    def config_yaml(self, job: SweepJob) -> str:
        """Returns the content of config.yaml. Serializes only the sections that differ from the base's."""
        base = job.base
        if id(base) not in self.sections:
            self.sections[id(base)] = base, {key: to_yaml({key: value}) for key, value in base.plain.items()}
        changed = {head: base.plain[head] for head in (key.partition(".")[0] for key in job.changes)}
        written = {key: to_yaml({key: value}) for key, value in with_changes(changed, job.changes).items()}
        return "".join(({**self.sections[id(base)][1], **written}).values())


def pt_bytes(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


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


def write_directory(
    directory: Path,
    *,
    hydra: Mapping[str, bytes],
    rows: Sequence[MetricsRow],
    result: Result,
    last: Mapping[str, Any],
    best: Mapping[str, Any] | None,
    model: Mapping[str, Any] | None,
    log: str,
    attempt: str = "",
) -> Result:
    """Writes the complete directory of an ended job atomically, and returns its result with the file digests.

    `best` is None for a run without a best epoch, `model` for one without a final network. `attempt`: part of the
    temporary name, because another attempt may be writing the same directory.
    """
    partial = directory.with_name(f".{directory.name}.partial{attempt and f'-{attempt}'}")
    files = {f"{HYDRA}/{name}": content for name, content in hydra.items()}
    files[METRICS] = metrics_csv(rows)
    files["train.log"] = log.encode()
    files[f"{CHECKPOINTS}/{LAST}"] = sealed_bytes(last)
    if best is not None:
        files[f"{CHECKPOINTS}/{BEST}"] = sealed_bytes(best)
    if model is not None:
        files[MODEL] = pt_bytes(model)
    result = replace(result, files=digests(files))
    files[RESULT] = result.to_json()
    with machine_errors(f"cannot write {directory}"):
        if partial.exists():  # left by a killed process
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
    try:
        fill(partial, directory, files)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # frees space on a full disk for the records of the other jobs
        raise
    return result


def fill(partial: Path, directory: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files into the temporary directory `partial`, then renames it to `directory`."""
    with machine_errors(f"cannot write {directory}"):
        for folder in (HYDRA, CHECKPOINTS):
            os.mkdir(f"{partial}/{folder}")
        for name, content in files.items():
            with open(f"{partial}/{name}", "xb", buffering=0) as file:
                remaining = memoryview(content)
                while remaining:  # a full disk accepts a part, and fails only at the next write
                    remaining = remaining[file.write(remaining) :]
        # the job finished before the sweep was killed, and its directory is complete
        if is_done(directory) and is_intact(directory):
            shutil.rmtree(partial)
            return
        if directory.exists():
            shutil.rmtree(directory)
        partial.rename(directory)
