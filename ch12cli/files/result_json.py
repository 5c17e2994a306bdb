"""result.json: the status and metrics of a run. It is written last and holds the digests of the other files.

Format 2: `left_at`, `stopped_at` and `diverged_at` are epochs; `diverged_step` is a step of that epoch. Fields that do
not apply are absent. Format 1 had no `format` key. It used `stopped_early`, `diverged` (with an epoch and a step), and
`cause` for the error of a failed run.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ch12cli.errors import InputError, reason_of
from ch12cli.files.atomic import digest_of, machine_errors, write_whole
from ch12cli.files.compact.run_files import read_run_file, recorded_job
from ch12cli.files.run_directory import BEST, CHECKPOINTS, HYDRA, LAST, METRICS, MODEL, PREDICTIONS, RESULT
from ch12cli.files.sealed_json import CHECKSUM, FORMAT_KEY, require_known_format, to_json

FORMAT = 2
AFTER_HEAD = ',\n  "data": {'  # follows the fields that a listing needs
SEAL = f',\n  "{CHECKSUM}": "'.encode()
LARGEST = 2**63  # bound of its integers

Metrics = Mapping[str, float | int | None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The content of result.json.

    status: finished, diverged, failed or interrupted; final, best: the last and the best row of metrics.csv; test:
    metrics on the test part; objective: the value of `monitor` in the best row; left_at: the epoch after which halving
    dropped the run; stopped_at: the epoch of early stopping; diverged_at, diverged_step: where the loss became
    non-finite; error: why it failed; stacked: size of its stack, 0 for none; history: `parent`, `resumed` and
    `ancestry` (files/history.py); files: SHA-256 of the run's other files.
    """

    status: str
    epochs: int | None = None
    final: Metrics | None = None
    best: Metrics | None = None
    test: Metrics | None = None
    monitor: str | None = None
    objective: float | None = None
    parameters: int | None = None
    left_at: int | None = None
    stopped_at: int | None = None
    diverged_at: int | None = None
    diverged_step: int | None = None
    error: str | None = None
    stacked: int = 0
    history: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int | None:
        return None if self.best is None or self.best.get("epoch") is None else int(self.best["epoch"] or 0)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields in the order of the file, without those that do not apply."""
        optional = {name: getattr(self, name) for name in ENDING}
        return {
            FORMAT_KEY: FORMAT,
            "status": self.status,
            "epochs": self.epochs,
            "final": self.final,
            "best": self.best,
            "test": self.test,
            "monitor": self.monitor,
            "objective": self.objective,
            "parameters": self.parameters,
            **{name: value for name, value in optional.items() if value is not None},
            **({"stacked": self.stacked} if self.stacked else {}),
            **self.history,
            "seconds": self.seconds,
            "data": self.data,
            "environment": self.environment,
            "files": self.files,
        }

    def to_json(self) -> bytes:
        """Returns the content of the file, with its checksum last. Non-finite values become null: JSON has no NaN."""
        return seal(self.to_dict())

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], path: Path | str) -> "Result":
        """Returns a result of this or an older format. Raises InputError if a value has the wrong type."""
        if require_known_format(content, path, newest=FORMAT) == 1:
            content = result_from_format_1(content)
        given = {name: content[name] for name in CHECKS if content.get(name) is not None}
        invalid = [name for name, value in given.items() if not CHECKS[name](value)]
        if invalid or "status" not in given:
            raise InputError(f"{path}: is not the result of a run: look at its {', '.join(invalid) or 'status'}")
        history = {name: content[name] for name in HISTORY if name in content}
        return cls(**given, history=history)

    @classmethod
    def from_json(cls, content: bytes, path: Path | str, *, head: bool = False) -> "Result":
        """Returns a result from the content of its file. Raises InputError if it is damaged.

        head: skip data, environment and files, which halves the time.
        """
        try:
            text = content.decode()
            first, cut, _ = text.partition(AFTER_HEAD) if head else (text, "", "")
            result = json.loads(first + "}" if cut else text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
        if not isinstance(result, dict) or "status" not in result:
            raise InputError(f"{path}: is not the result of a run")
        require_known_format(result, path, newest=FORMAT)
        if not content.endswith(_closing(content[: content.rfind(SEAL)])):
            raise InputError(f"{path}: damaged: its content is not what was written")
        return cls.from_dict(result, path)


ENDING = ("left_at", "stopped_at", "diverged_at", "diverged_step", "error")
HISTORY = ("parent", "resumed", "ancestry")


class Ended(Protocol):
    """Fields about the end of a run that a result and a row of sweep.csv share."""

    @property
    def left_at(self) -> int | None: ...
    @property
    def stopped_at(self) -> int | None: ...
    @property
    def diverged_at(self) -> int | None: ...
    @property
    def diverged_step(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...


def describe_ending(ended: Ended) -> str:
    """Returns one line on why a run ended before its last epoch; empty if it did not."""
    if ended.error is not None:
        return ended.error
    if ended.diverged_at is not None:
        return describe_divergence(str(ended.diverged_at), str(ended.diverged_step))
    if ended.stopped_at is not None:
        return f"stopped early in epoch {ended.stopped_at}"
    return f"left by halving after epoch {ended.left_at}" if ended.left_at is not None else ""


def describe_divergence(epoch: str, step: str) -> str:
    """Returns where a loss became non-finite, and what may help. epoch, step: a number, or a range such as `1 to 3`."""
    return (
        f"the loss was no longer finite in epoch {epoch}, step {step}; "
        "try a smaller optimizer.lr, clip_grad_norm=1, or dataset.scaling=standard"
    )


def result_from_format_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a result of format 1 to the field names of format 2."""
    renamed = {"stopped_early": "stopped_at", "cause": "error"}
    found = {renamed.get(name, name): value for name, value in content.items() if name != "diverged"}
    diverged = content.get("diverged")
    if isinstance(diverged, Mapping):
        found |= {"diverged_at": diverged.get("epoch"), "diverged_step": diverged.get("step")}
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < LARGEST)


def _is_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(inner is None or _is_number(inner) for inner in value.values())


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "status": _is_text,
    "epochs": _is_count,
    "final": _is_metrics,
    "best": _is_metrics,
    "test": _is_metrics,
    "monitor": _is_text,
    "objective": _is_number,
    "parameters": _is_count,
    "left_at": _is_count,
    "stopped_at": _is_count,
    "diverged_at": _is_count,
    "diverged_step": _is_count,
    "error": _is_text,
    "stacked": _is_count,
    "seconds": _is_number,
    "data": _is_mapping,
    "environment": _is_mapping,
    "files": _is_mapping,
}


def read_result(path: Path | str) -> Result | None:
    """Returns the content of a result.json; None if the file is missing. Raises InputError if it is damaged."""
    try:
        content = read_run_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
    return Result.from_json(content, path)


def seal(content: Mapping[str, Any]) -> bytes:
    """Returns the content of a result.json with these fields, followed by its checksum."""
    text = to_json(content).removesuffix("\n}").encode()
    return text + _closing(text)


def _closing(content: bytes) -> bytes:
    """Returns the end of a result.json, with the SHA-256 of all bytes before it."""
    return SEAL + hashlib.sha256(content).hexdigest().encode() + b'"\n}\n'


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Returns the SHA-256 of files by name. Leaves out log files, which may still grow."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if not name.endswith(".log")}


def write_result(directory: Path, result: Result) -> Result:
    """Writes result.json with the digests of the run's other files. Returns the result with the digests."""
    with machine_errors(f"cannot read {directory}"):
        names = [METRICS, MODEL, PREDICTIONS, f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{BEST}"]
        names += [f"{HYDRA}/{file.name}" for file in sorted((directory / HYDRA).glob("*.yaml"))]
        files = {name: digest_of((directory / name).resolve()) for name in names if (directory / name).exists()}
    result = replace(result, files=files)
    write_whole(directory / RESULT, result.to_json())
    return result


def is_part_of_run(name: str) -> bool:
    """Returns whether a name in `files` is of a file that ch12 writes into a run: never a path that leads out of it."""
    folder, _, file = name.rpartition("/")
    return name in (METRICS, MODEL, PREDICTIONS) or (folder in (CHECKPOINTS, HYDRA) and file not in ("", ".", ".."))


def is_intact(directory: Path) -> bool:
    """Returns whether the files of a completed run match the digests in its result.json, or its record is whole."""
    if (place := recorded_job(directory)) is not None:
        return place.is_whole
    try:
        result = read_result(directory / RESULT)
        expected = {} if result is None else result.files
        intact = all(is_part_of_run(name) and digest_of(directory / name) == expected[name] for name in expected)
    except (OSError, InputError, TypeError, ValueError):
        return False
    return intact and bool(expected)


def is_done(directory: Path) -> bool:
    """Returns whether a job has a result whose status is neither interrupted nor failed.

    Reads only the start of the file, because a sweep calls this for each of its jobs.
    """
    try:
        beginning = read_run_file(directory / RESULT)[:200]
    except OSError:
        return False
    has_status = b'"status": "' in beginning  # False for an empty file, which a power failure may leave
    return has_status and not any(f'"status": "{status}"'.encode() in beginning for status in ("interrupted", "failed"))
