"""`.ch12/plan.json` in a sweep's directory: its jobs, their numbers, and which of them are stacked together.

Format 2 starts with its version, the number of jobs, and when the first was planned, which earlier versions did not
write, so that a listing reads only these. Format 1 had none of them, and named `job_key` `identity`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ch12cli.errors import InputError, reason_of
from ch12cli.files.atomic import machine_errors, read_file, write_whole
from ch12cli.files.command import override_key
from ch12cli.files.hydra_folder import value_at
from ch12cli.files.run_directory import STATE
from ch12cli.files.sealed_json import CHECKSUM, FORMAT_KEY, NewerFormatError, checksum, require_known_format
from ch12cli.files.sweep_csv import JobFacts

PLAN = f"{STATE}/plan.json"
FORMAT = 2
COUNT = "job_count"
WITHDRAWN = ("sweep.compile",)  # configuration keys of earlier versions, which are ignored
BEGAN = "began"
TIME = r"[0-9]{1,11}\.[0-9]{1,9}"  # seconds
HEAD = re.compile(rf'{{"{FORMAT_KEY}": ([0-9]{{1,9}}), "{COUNT}": ([0-9]{{1,9}}), (?:"{BEGAN}": ({TIME}), )?'.encode())
PLAN_AGAIN = "remove it, and give the sweep's own command again with the same hydra.sweep.dir"
JOB_OF_FORMAT_1 = b'"identity": "'  # occurs once in each job of format 1


@dataclass(frozen=True)
class PlannedBase:
    """Data shared by jobs with the same choices.

    settings: resolved configuration; written: the same with interpolations; chosen: the choice of each group; template:
    hydra.yaml with placeholders where jobs differ; options: of the command line (files/command.py).
    """

    settings: dict[str, Any]
    written: dict[str, Any]
    chosen: dict[str, Any]
    template: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class PlannedJob:
    """A planned job.

    job_key: unique key; lines: its overrides; base: index of its PlannedBase; changes: the values, by dotted key, that
    differ from the base; directory: relative to the sweep's.
    """

    number: int
    job_key: str
    lines: tuple[str, ...]
    base: int
    changes: dict[str, Any]
    directory: str


@dataclass(frozen=True)
class PlanFile:
    """The content of plan.json.

    stacks: the job numbers of each stack. began: when its first job was planned, in seconds since 1970; 0 if unknown.
    """

    bases: tuple[PlannedBase, ...] = ()
    jobs: tuple[PlannedJob, ...] = ()
    stacks: tuple[tuple[int, ...], ...] = ()
    began: float = 0.0

    @property
    def numbers(self) -> dict[str, int]:
        """The job numbers by job key."""
        return {job.job_key: job.number for job in self.jobs}

    @property
    def directories(self) -> dict[int, str]:
        """The directories of the jobs, relative to the sweep's, by job number."""
        return {job.number: job.directory for job in self.jobs}

    def facts(self, job: PlannedJob) -> JobFacts:
        return JobFacts(job.number, job.directory, job.lines, self.bases[job.base].options)

    def epochs(self, job: PlannedJob) -> int:
        """Returns the number of epochs that a job is configured for."""
        return int(job.changes.get("epochs", self.bases[job.base].settings.get("epochs", 0)))

    def setting(self, job: PlannedJob, key: str) -> Any:
        """Returns the choice of a group, or the value of a dotted key in a job's configuration.

        Raises KeyError or TypeError if it has none.
        """
        base = self.bases[job.base]
        if key in job.changes:
            return job.changes[key]
        return base.chosen[key] if key in base.chosen else value_at(base.settings, key)

    def to_json(self) -> bytes:
        content = {
            FORMAT_KEY: FORMAT,
            COUNT: len(self.jobs),
            **({BEGAN: self.began} if self.began else {}),
            "bases": [fields_of(base) for base in self.bases],
            "jobs": [fields_of(job) for job in self.jobs],
            "stacks": self.stacks,
        }
        return json.dumps({**content, CHECKSUM: checksum(content)}).encode()

    @classmethod
    def from_json(cls, content: bytes, path: Path) -> "PlanFile":
        """Returns a plan of this or an older format. Raises InputError if it is damaged."""
        try:
            plan = json.loads(content.decode())
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read: {reason_of(error)}; {PLAN_AGAIN}") from error
        if not isinstance(plan, dict):
            raise InputError(f"{path}: is not the plan of a sweep; {PLAN_AGAIN}")
        version = require_known_format(plan, path, newest=FORMAT)
        if plan.pop(CHECKSUM, None) != checksum(plan):
            raise InputError(f"{path}: damaged: its content is not what was written; {PLAN_AGAIN}")
        try:
            jobs = [plan_from_format_1(job) if version == 1 else job for job in plan["jobs"]]
            found = cls(
                tuple(map(_base_of, plan["bases"])),
                tuple(_job_of(job, bases=len(plan["bases"])) for job in jobs),
                tuple(tuple(map(_number_of, stack)) for stack in plan["stacks"]),
                _time_of(plan.get(BEGAN, 0.0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"{path}: was not written by ch12, or is corrupt ({reason})") from error
        return found


def fields_of(value: PlannedBase | PlannedJob) -> dict[str, Any]:
    """Returns the fields by name without deep copies, because a sweep may have 100,000 jobs."""
    return dict(vars(value))


def plan_from_format_1(job: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a job of format 1 to the field names of format 2."""
    return {("job_key" if name == "identity" else name): value for name, value in job.items()}


def _base_of(base: Mapping[str, Any]) -> PlannedBase:
    return PlannedBase(
        _mapping_of(base["settings"]),
        _mapping_of(base["written"]),
        _mapping_of(base["chosen"]),
        _text_of(base.get("template", "")),
        tuple(map(_text_of, base.get("options", ()))),
    )


def _job_of(job: Mapping[str, Any], *, bases: int) -> PlannedJob:
    index = _number_of(job["base"])
    if index >= bases:
        raise ValueError(f"base {index}: there are {bases}")
    return PlannedJob(
        _number_of(job["number"]),
        _text_of(job["job_key"]),
        tuple(line for line in map(_text_of, job["lines"]) if override_key(line) not in WITHDRAWN),
        index,
        {key: value for key, value in _mapping_of(job["changes"]).items() if key not in WITHDRAWN},
        _text_of(job["directory"]),
    )


def _number_of(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r}: must be a whole number from 0")
    return value


def _time_of(value: Any) -> float:
    if not isinstance(value, float) or not 0 <= value < 1e11:
        raise ValueError(f"{value!r}: must be a time in seconds")
    return value


def _text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r}: must be a text")
    return value


def _mapping_of(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r}: must be a mapping")
    return value


def read_plan(sweep: Path) -> PlanFile:
    """Returns the plan of a sweep; an empty one if there is none. Raises InputError if it is damaged."""
    path = sweep / PLAN
    try:
        content = read_file(path)
    except FileNotFoundError:
        return PlanFile()
    except OSError as error:
        hint = "" if isinstance(error, PermissionError) else f"; {PLAN_AGAIN}"
        raise InputError(f"{path}: cannot be read: {reason_of(error)}{hint}") from error
    return PlanFile.from_json(content, path)


def readable_plan(sweep: Path) -> PlanFile:
    """Returns the plan of a sweep; an empty one if it is missing or damaged. Raises NewerFormatError."""
    try:
        return read_plan(sweep)
    except NewerFormatError:
        raise
    except InputError:
        return PlanFile()


def write_plan_json(sweep: Path, plan: PlanFile) -> None:
    with machine_errors(f"cannot write {sweep / STATE}"):
        (sweep / STATE).mkdir(exist_ok=True)
    write_whole(sweep / PLAN, plan.to_json())


def count_planned(sweep: Path) -> int:
    """Returns the number of planned jobs; 0 if unknown. Raises NewerFormatError if the plan has a newer format."""
    return plan_head(sweep)[0]


def plan_head(sweep: Path) -> tuple[int, float]:
    """Returns the number of planned jobs and when the first was planned, from the start of the file; 0 if unknown.

    Raises NewerFormatError if the plan has a newer format.
    """
    path = sweep / PLAN
    try:
        content = read_file(path)
    except OSError:
        return 0, 0.0
    head = HEAD.match(content)
    if head is None:
        return content.count(JOB_OF_FORMAT_1), 0.0
    require_known_format({FORMAT_KEY: int(head[1])}, path, newest=FORMAT)
    return int(head[2]), float(head[3] or 0)


def is_inside(directory: str) -> bool:
    """Returns whether a job's path, relative to the sweep's directory, stays inside that directory."""
    path = PurePath(directory)
    return not path.is_absolute() and ".." not in path.parts
