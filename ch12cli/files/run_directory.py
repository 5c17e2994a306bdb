"""A run's directory: how one is claimed, and what is written into it."""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors, make_folder, read_file, write_whole
from ch12cli.files.sweep_csv import STATE, SWEEP

HYDRA = ".hydra"  # the configuration, as Hydra writes it; making this folder claims the directory
METRICS = "metrics.csv"
RESULT = "result.json"
MODEL = "model.pt"
CHECKPOINTS = "checkpoints"
LAST, BEST = "last.pt", "best.pt"
CHECKSUM = "checksum"
AFTER_FIGURES = ',\n  "data": {'
SEAL = f',\n  "{CHECKSUM}": "'.encode()


def claim(directory: Path) -> None:
    """Makes the directory this run's own. InputError if it holds a run already.

    The claim is the making of its .hydra folder: of two processes exactly one succeeds.
    """
    with machine_errors(f"cannot make the run's directory {directory}"):
        try:
            make_folder(directory, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(
                f"hydra.run.dir={directory}: there is a file of that name in its path; choose another directory"
            ) from None
        held = [name for name in (METRICS, RESULT, MODEL, CHECKPOINTS) if (directory / name).exists()]
        if (directory / SWEEP).exists() or (directory / STATE).exists():
            raise InputError(f"hydra.run.dir={directory}: holds a sweep; choose another directory")
        try:
            if not held:
                (directory / HYDRA).mkdir()
                (directory / CHECKPOINTS).mkdir()
        except FileExistsError:
            held = [HYDRA]
        if held:
            raise InputError(
                f"hydra.run.dir={directory}: holds a run already ({held[0]}); choose another directory, or remove it"
            )


def claim_new(directory: Path) -> Path:
    """Makes and claims a directory of that name, or of that name with -2, -3, … where it is taken."""
    number = 1
    while True:
        candidate = directory if number == 1 else directory.with_name(f"{directory.name}-{number}")
        with machine_errors(f"cannot make the run's directory {candidate}"):
            try:
                make_folder(candidate, exist_ok=False)
            except FileExistsError:
                number += 1
                continue
        claim(candidate)
        return candidate


def release(directory: Path) -> None:
    """Takes back a claim on a directory in which nothing has been written yet."""
    for folder in (directory / CHECKPOINTS, directory / HYDRA, directory):
        try:
            folder.rmdir()
        except OSError:
            return


class MetricsFile:
    """metrics.csv as it grows: a row per epoch in full precision, on the file system when `write` returns."""

    def __init__(self, directory: Path, rows: Sequence[Mapping[str, float | int]] = ()) -> None:
        """rows: what it holds to begin with; what a file of that name held besides is cut off."""
        self.path = directory / METRICS
        self.columns: list[str] = list(rows[0]) if rows else []
        lines = [self.columns, *([repr(row[column]) for column in self.columns] for row in rows)] if rows else []
        write_whole(self.path, "".join(",".join(line) + "\n" for line in lines).encode())
        with machine_errors(f"cannot write {self.path}"):
            self.file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115 - closed by close()

    def write(self, row: Mapping[str, float | int]) -> None:
        with machine_errors(f"cannot write {self.path}"):
            if not self.columns:
                self.columns = list(row)
                self.file.write(",".join(self.columns) + "\n")
            self.file.write(",".join(repr(row[column]) for column in self.columns) + "\n")
            self.file.flush()
            os.stat(self.path)  # a run whose directory was removed is not trained on

    def sync(self) -> None:
        """Flushes the rows to the disk: a checkpoint must never know more epochs than the file."""
        with machine_errors(f"cannot write {self.path}"):
            os.fsync(self.file.fileno())

    def close(self) -> None:
        with machine_errors(f"cannot write {self.path}"):
            self.file.close()


def read_result(path: Path | str) -> dict[str, Any] | None:
    """The content of a result.json; None if there is none. InputError if it is damaged."""
    try:
        content = read_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return parse_result(content, path)


def parse_result(content: bytes, path: Path | str, *, head: bool = False) -> dict[str, Any]:
    """The content of a result.json; InputError if it is damaged. head: without what stands after the figures, in half
    the time."""
    try:
        text = content.decode()
        figures, cut, _ = text.partition(AFTER_FIGURES) if head else (text, "", "")
        result = json.loads(figures + "}" if cut else text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not isinstance(result, dict) or "status" not in result:
        raise InputError(f"{path}: is no result of a run")
    if not content.endswith(sealed(content[: content.rfind(SEAL)])):
        raise InputError(f"{path}: damaged: its content is not what was written")
    result.pop(CHECKSUM, None)
    return result


def format_result(result: Mapping[str, Any]) -> bytes:
    """The content of result.json, its own checksum last. A value that is not finite becomes null: JSON has no NaN."""
    text = json_of(result).removesuffix("\n}").encode()
    return text + sealed(text)


def sealed(content: bytes) -> bytes:
    """The end of a result.json: SHA-256 of all bytes before it tells a damaged one from a whole one."""
    return SEAL + hashlib.sha256(content).hexdigest().encode() + b'"\n}\n'


def checksum(result: Mapping[str, Any]) -> str:
    """What tells a damaged JSON file from a whole one: SHA-256 of its values."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of files by name, for result.json to vouch for them; train.log may go on growing."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if not name.endswith(".log")}


def write_result(directory: Path, result: Mapping[str, Any]) -> None:
    """Writes result.json, the last file of a run; it vouches for the others."""
    with machine_errors(f"cannot read {directory}"):
        names = [METRICS, MODEL, f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{BEST}"]
        names += [f"{HYDRA}/{file.name}" for file in sorted((directory / HYDRA).glob("*.yaml"))]
        files = {name: (directory / name).read_bytes() for name in names if (directory / name).exists()}
    write_whole(directory / RESULT, format_result({**result, "files": digests(files)}))


def is_whole(directory: Path) -> bool:
    """Whether the files of a run that has ended are those that its result.json vouches for."""
    try:
        result = read_result(directory / RESULT)
        vouched = {} if result is None else result["files"]
        whole = all(hashlib.sha256(read_file(directory / name)).hexdigest() == vouched[name] for name in vouched)
    except (OSError, InputError, KeyError, TypeError):
        return False
    return whole and bool(vouched)


def json_of(value: Any, *, indent: str = "\n") -> str:
    """A value as json.dumps writes it with an indent of 2, in a third of the time; null for what is not finite."""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "null"
    if isinstance(value, str):
        return encode_basestring(value)
    inside = indent + "  "
    if isinstance(value, Mapping) and value:
        lines = [f"{encode_basestring(name)}: {json_of(inner, indent=inside)}" for name, inner in value.items()]
        return "{" + inside + ("," + inside).join(lines) + indent + "}"
    if isinstance(value, list | tuple) and value:
        return "[" + inside + ("," + inside).join([json_of(inner, indent=inside) for inner in value]) + indent + "]"
    return json.dumps(value)


def is_done(directory: Path) -> bool:
    """Whether a job's directory holds its result, and not that of an interruption or a failure."""
    try:
        beginning = read_file(directory / RESULT)[:200]
    except OSError:
        return False
    told = b'"status": "' in beginning  # not so in an empty file, as a power cut may leave it
    return told and not any(f'"status": "{status}"'.encode() in beginning for status in ("interrupted", "failed"))
