"""The stores of a sweep, one file for each stack, and an index of the jobs in them."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError, reason_of
from ch12cli.files.atomic import machine_errors, sync_folder
from ch12cli.files.compact.blocks import Block, block_bytes, has_whole_arrays, read_arrays, scan_blocks
from ch12cli.files.compact.job_record import FORMAT, JOBS, STACK, Arrays, JobRecord, StackFacts, record_of
from ch12cli.files.compact.run_files import recorded_job
from ch12cli.files.run_directory import RECORDS
from ch12cli.files.sealed_json import NewerFormatError, require_known_format

SUFFIX = ".runs"
NAME = re.compile(r"[\w.-]+\.runs")
# Errors raised by values of the wrong form.
WRONG_FORM = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class RecordPlace:
    """Where the record of a job is: its store, the blocks, and its index among the jobs of its block."""

    path: Path
    stack: Block
    block: Block
    index: int

    @property
    def own(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.block.fields["jobs"][self.index]
        return found

    @property
    def is_whole(self) -> bool:
        """Whether the arrays of its block are what was written."""
        return has_whole_arrays(self.path, self.block)

    def text(self, name: str) -> tuple[bytes, float] | None:
        """Returns a text of the job's directory, and when the job ended; None if there is no such text.

        Raises InputError if the record is damaged.
        """
        record = record_at(self)
        try:
            content = record.text(name)
        except WRONG_FORM as error:
            raise InputError(f"{self.path}: was not written by ch12, or is corrupt ({error!r})") from error
        return None if content is None else (content, record.time)


@dataclass
class Index:
    """The jobs in the stores of a sweep, by directory. problems: a line about each damaged part."""

    places: dict[str, RecordPlace] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Adds the jobs of a store. The first record of a job counts. Raises NewerFormatError."""
        try:
            found = scan_blocks(path)
        except OSError as error:
            self.problems.append(f"{path}: cannot be read: {reason_of(error)}")
            return
        if found.damaged:
            self.problems.append(f"{path}: damaged: {found.damaged:,} bytes in it are not what was written")
        stack = None
        for block in found.blocks:
            try:
                if block.fields["kind"] == STACK:
                    require_known_format(block.fields, path, newest=FORMAT)
                    stack = block
                elif block.fields["kind"] == JOBS and stack is not None:
                    for index, own in enumerate(block.fields["jobs"]):
                        self.places.setdefault(str(own["directory"]), RecordPlace(path, stack, block, index))
            except NewerFormatError:
                raise
            except (*WRONG_FORM, InputError) as error:
                self.problems.append(f"{path}: was not written by ch12, or is corrupt ({error})")


Look = tuple[int, int, int]  # inode, size and modification time of a file
_indexes: dict[str, tuple[dict[str, Look], Index]] = {}  # by sweep: the stores by path, and what is in them
_facts: dict[tuple[str, int], StackFacts] = {}  # by store and offset
_arrays: dict[tuple[str, int], Any] = {}  # of the block that was read last


def has_records(sweep: Path | str) -> bool:
    """Returns whether a sweep's directory has stores."""
    try:
        return stat.S_ISDIR(os.lstat(f"{sweep}/{RECORDS}").st_mode)
    except (OSError, ValueError):
        return False


def stores_of(sweep: Path) -> list[Path]:
    """Returns the stores of a sweep, in order."""
    if not has_records(sweep):
        return []
    try:
        return [sweep / RECORDS / name for name in sorted(os.listdir(sweep / RECORDS)) if NAME.fullmatch(name)]
    except OSError:
        return []


def index_of(sweep: Path) -> Index:
    """Returns the index of a sweep's stores, read again only if they have changed. Raises NewerFormatError."""
    paths = stores_of(sweep)
    looks = {str(path): look for path in paths if (look := look_at(str(path))) is not None}
    known = _indexes.get(str(sweep))
    if known is not None and known[0] == looks:
        return known[1]
    index = Index()
    for path in paths:
        index.add(path)
    drop_indexes()
    _indexes[str(sweep)] = looks, index
    return index


def find(sweep: Path, directory: str) -> RecordPlace | None:
    """Returns where the record of a job is, by its directory in the sweep; None if it is in no store."""
    known = _indexes.get(str(sweep))
    found = known[1].places.get(directory) if known else None
    if known is not None and found is not None and has_only_grown(str(found.path), known[0]):
        return found
    return index_of(sweep).places.get(directory)


def has_only_grown(path: str, looks: Mapping[str, Look]) -> bool:
    """Returns whether a store has been appended to since, or is unchanged: what it held is still there."""
    known, now = looks.get(path), look_at(path)
    return known is not None and now is not None and (now == known or (now[0] == known[0] and now[1] > known[1]))


def look_at(path: str) -> Look | None:
    """Returns the inode, size and modification time of a file; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def drop_indexes() -> None:
    """Drops what has been read."""
    _indexes.clear()
    _facts.clear()
    _arrays.clear()


def record_of_job(directory: Path) -> JobRecord | None:
    """Returns the record of a job that has no directory of its own; None if it has one, or no record.

    Raises InputError if the record is damaged.
    """
    place = recorded_job(directory)
    return record_at(place) if isinstance(place, RecordPlace) else None


def record_at(place: RecordPlace) -> JobRecord:
    """Returns the record of a job. Raises InputError if it is damaged."""
    path, key = place.path, (str(place.path), place.block.start)
    try:
        stack_key = (str(path), place.stack.start)
        if stack_key not in _facts:
            _facts[stack_key] = StackFacts.from_fields(place.stack.fields)
        if key not in _arrays:
            _arrays.clear()  # jobs are mostly read in order
            _arrays[key] = read_arrays(path, place.block)
        return record_of(_facts[stack_key], place.block.fields, _arrays[key], place.index)
    except InputError:
        raise
    except WRONG_FORM as error:
        raise InputError(f"{path}: was not written by ch12, or is corrupt ({error!r})") from error


def records_in(sweep: Path) -> Iterator[JobRecord]:
    """Yields the records of a sweep's jobs, in the order of the stores. Raises InputError for a damaged one."""
    for place in index_of(sweep).places.values():
        yield record_at(place)


class StoreWriter:
    """Appends the jobs of one stack to its store. Nobody else writes that file.

    known: the directories of the jobs that are in it.
    """

    def __init__(self, sweep: Path, name: str) -> None:
        self.path = sweep / RECORDS / f"{name}{SUFFIX}"
        self.known: set[str] = set()
        self.end: int | None = None  # of the last complete block; None before the file is opened
        self.stack: StackFacts | None = None  # what the newest block of kind `stack` says
        with suppress(OSError):
            self.look()

    def look(self) -> None:
        """Reads what an earlier session wrote. A last block that a power cut has left empty does not count."""
        found = scan_blocks(self.path)
        blocks, self.end = found.blocks, found.end
        if blocks and not has_whole_arrays(self.path, blocks[-1]):
            self.end = blocks.pop().start
        with suppress(*WRONG_FORM):
            self.known = {
                own["directory"] for each in blocks if each.fields["kind"] == JOBS for own in each.fields["jobs"]
            }

    def flush(self) -> None:
        """Flushes the file and its name to disk."""
        with machine_errors(f"cannot write {self.path}"):
            if self.path.exists():
                handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
                sync_folder(self.path.parent)

    def append(self, stack: StackFacts, together: Mapping[str, Any], arrays: Arrays) -> None:
        """Writes a block of jobs, after what they share. It is on the file system when this returns.

        Raises MachineError. What a full disk took of the block is removed, so that others can be written.
        """
        blocks = [block_bytes({"kind": JOBS, **together}, arrays)]
        if stack is not self.stack:
            blocks.insert(0, block_bytes(stack.to_fields(), {}))
        with machine_errors(f"cannot write {self.path}"):
            if self.end is None:
                self.path.parent.mkdir(exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(self.path, flags, 0o666), "wb", buffering=0) as file:
                start = file.seek(self.end or 0)
                try:
                    file.truncate()
                    write_all(file, [part for block in blocks for part in block])
                except BaseException:
                    file.truncate(start)
                    raise
                self.end = file.tell()
        self.stack = stack
        self.known |= {own["directory"] for own in together["jobs"]}


def write_all(file: FileIO, parts: Iterable[bytes | memoryview]) -> None:
    """Writes bytes to an unbuffered file. Raises OSError: a full disk accepts a part, and fails at the next write."""
    for part in parts:
        remaining = memoryview(part)
        while remaining:
            remaining = remaining[file.write(remaining) :]
