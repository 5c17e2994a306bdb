"""`.ch12/bundles/K.json` in a sweep's directory: bundle K, the work items that one process of an engine trains.

`.ch12/bundles/submitted.jsonl` has a line for each submission: its engine, that engine's identifier, and its bundles.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError, reason_of
from ch12cli.files.atomic import machine_errors, make_folder, read_file, write_whole
from ch12cli.files.run_directory import STATE
from ch12cli.files.sealed_json import CHECKSUM, FORMAT_KEY, checksum, require_known_format

WORK = f"{STATE}/bundles"
SUBMITTED = "submitted.jsonl"
FORMAT = 1
BUNDLE = re.compile(r"([0-9]{1,9})\.json")


@dataclass(frozen=True)
class BundledItem:
    """A work item as its file holds it. jobs: numbers; stacked: trained as one stack; runs_at_once: under halving."""

    jobs: tuple[int, ...]
    stacked: bool
    runs_at_once: int = 0


@dataclass(frozen=True)
class Bundle:
    """Work items that one process trains, several at a time. processes: how many; 0: as many as the machine has."""

    number: int
    items: tuple[BundledItem, ...]
    processes: int = 0

    @cached_property
    def jobs(self) -> frozenset[int]:
        return frozenset(number for item in self.items for number in item.jobs)

    def to_json(self) -> bytes:
        items = [asdict(item) for item in self.items]
        content = json.loads(json.dumps({FORMAT_KEY: FORMAT, "processes": self.processes, "items": items}))
        return json.dumps({**content, CHECKSUM: checksum(content)}).encode()

    @classmethod
    def from_json(cls, number: int, content: bytes, path: Path) -> "Bundle":
        """Returns a bundle. Raises InputError if it is damaged or of a newer format."""
        try:
            record = json.loads(content)
            require_known_format(record, path, newest=FORMAT)
            if record.pop(CHECKSUM, None) != checksum(record):
                raise InputError(
                    f"{path}: damaged: its content is not what was written; remove it, and resume the sweep"
                )
            items = tuple(
                BundledItem(tuple(map(int, item["jobs"])), bool(item["stacked"]), int(item["runs_at_once"]))
                for item in record["items"]
            )
            return cls(number, items, int(record["processes"]))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: was not written by ch12, or is corrupt: {reason_of(error)}") from error


@dataclass(frozen=True)
class Submission:
    """Bundles that were handed to an engine together. first, count: their numbers; id: the engine's, such as 1234."""

    engine: str
    id: str
    first: int
    count: int

    @property
    def bundles(self) -> range:
        return range(self.first, self.first + self.count)


def bundle_numbers(sweep: Path) -> list[int]:
    """Returns the numbers of a sweep's bundles in order.

    Lists the folder, because NFS may hide a new name from stat for a while.
    """
    try:
        names = [path.name for path in (sweep / WORK).iterdir()]
    except OSError:
        return []
    return sorted(int(match[1]) for name in names if (match := BUNDLE.fullmatch(name)))


def read_bundle(sweep: Path, number: int) -> Bundle:
    """Returns a bundle. Raises InputError if there is none, or if it is damaged."""
    path = sweep / WORK / f"{number}.json"
    try:
        content = read_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
    return Bundle.from_json(number, content, path)


def write_bundles(sweep: Path, bundles: Sequence[Sequence[BundledItem]], *, processes: int) -> list[Bundle]:
    """Writes bundles under the next free numbers and returns them. The caller must hold the sweep's lock."""
    first = max(bundle_numbers(sweep), default=-1) + 1
    written = [Bundle(first + index, tuple(items), processes) for index, items in enumerate(bundles)]
    with machine_errors(f"cannot write {sweep / WORK}"):
        make_folder(sweep / WORK, exist_ok=True)
    for bundle in written:
        write_whole(sweep / WORK / f"{bundle.number}.json", bundle.to_json())
    return written


def remove_bundles(sweep: Path, bundles: Sequence[Bundle]) -> None:
    """Removes bundles that no engine took."""
    with machine_errors(f"cannot write {sweep / WORK}"):
        for bundle in bundles:
            (sweep / WORK / f"{bundle.number}.json").unlink(missing_ok=True)


def read_submissions(sweep: Path) -> list[Submission]:
    """Returns the submissions of a sweep in order. Lines that are incomplete or of another form are left out."""
    return list(_submissions(sweep / WORK / SUBMITTED))


def _submissions(path: Path) -> Iterator[Submission]:
    try:
        lines = read_file(path).decode().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        try:
            record: Mapping[str, Any] = json.loads(line)
            yield Submission(str(record["engine"]), str(record["id"]), int(record["first"]), int(record["count"]))
        except (KeyError, TypeError, ValueError, RecursionError):
            continue


def note_submission(sweep: Path, submission: Submission) -> None:
    """Appends a submission to the file, durably."""
    path = sweep / WORK / SUBMITTED
    before = read_file(path) if path.exists() else b""
    write_whole(path, before + json.dumps(asdict(submission)).encode() + b"\n")
