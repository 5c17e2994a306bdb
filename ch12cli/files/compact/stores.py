"""The stores of a sweep, one file for each stack, and an index of the jobs in them."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
SHARED_AT = "stack"  # in a block of jobs: the byte at which the block begins that says what they share
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


def blocks_of_jobs(
    path: Path, blocks: Sequence[Block], problems: list[str]
) -> Iterator[tuple[Block, Block, list[str]]]:
    """Yields for each block of jobs the block of what they share, the block itself, and the directories of its jobs.

    Leaves out jobs whose shared block is lost. Adds a line about each block of the wrong form to `problems`. Raises
    NewerFormatError.
    """
    stacks: dict[int, Block] = {}  # by where they begin
    latest, end = None, 0
    for block in blocks:
        if block.start != end:
            latest = None  # what is damaged here may be a later block of what jobs share
        end = block.end
        try:
            fields = block.fields
            if fields["kind"] == STACK:
                require_known_format(fields, path, newest=FORMAT)
                stacks[block.start] = latest = block
                continue
            if fields["kind"] != JOBS:
                continue
            shared = stacks.get(fields[SHARED_AT]) if SHARED_AT in fields else latest  # older ones do not say it
            directories = [str(own["directory"]) for own in fields["jobs"]]
        except NewerFormatError:
            raise
        except (*WRONG_FORM, InputError) as error:
            latest = None
            problems.append(f"{path}: was not written by ch12, or is corrupt ({error})")
            continue
        if shared is not None:
            yield shared, block, directories


@dataclass
class Index:
    """The jobs in the stores of a sweep, by directory. problems: a line about each damaged part.

    whole: whether the arrays of a block are what was written, by store and offset, where that has been looked at.
    """

    places: dict[str, RecordPlace] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    whole: dict[tuple[Path, int], bool] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Adds the jobs of a store. The first record of a job counts, unless it is damaged. Raises NewerFormatError."""
        try:
            found = scan_blocks(path)
        except OSError as error:
            self.problems.append(f"{path}: cannot be read: {reason_of(error)}")
            return
        if found.damaged:
            self.problems.append(f"{path}: damaged: {found.damaged:,} bytes in it are not what was written")
        for stack, block, directories in blocks_of_jobs(path, found.blocks, self.problems):
            for index, directory in enumerate(directories):
                earlier = self.places.get(directory)
                if earlier is None or not self.is_whole(earlier):  # reads arrays only of jobs that are there twice
                    self.places[directory] = RecordPlace(path, stack, block, index)

    def is_whole(self, place: RecordPlace) -> bool:
        """Returns whether the arrays of a record's block are what was written. Reads them once."""
        key = place.path, place.block.start
        if key not in self.whole:
            self.whole[key] = place.is_whole
        return self.whole[key]

    def leave_out_damaged(self, directories: Iterable[str]) -> None:
        """Leaves out those of these jobs whose arrays are damaged, with a line about each block. Reads their blocks."""
        for directory in directories:
            place = self.places.get(directory)
            if place is not None and not self.is_whole(place):
                del self.places[directory]
                problem = f"{place.path}: damaged: a block at byte {place.block.start} is not what was written"
                if problem not in self.problems:
                    self.problems.append(problem)


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
    if known is not None and found is not None:
        before, now = known[0].get(str(found.path)), look_at(str(found.path))
        # where a store has been appended to, the job may have been recorded again in place of a damaged record
        if now is not None and (now == before or (has_grown(before, now) and known[1].is_whole(found))):
            return found
    return index_of(sweep).places.get(directory)


def has_grown(before: Look | None, now: Look) -> bool:
    """Returns whether a store has been appended to since: what it held is still there."""
    return before is not None and now[0] == before[0] and now[1] > before[1]


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

    known: the directories of the jobs that can be read from it.
    """

    def __init__(self, sweep: Path, name: str) -> None:
        self.path = sweep / RECORDS / f"{name}{SUFFIX}"
        self.known: set[str] = set()
        self.end: int | None = None  # of the last complete block; None before the file is opened
        self.stack: StackFacts | None = None  # what the newest block of kind `stack` says
        self.stack_at = 0  # where it begins
        with suppress(OSError):
            self.look()

    def look(self) -> None:
        """Reads all that an earlier session wrote. What is damaged does not count: its jobs are recorded again.

        A last block that a power cut has left empty is written over.
        """
        found = scan_blocks(self.path)
        blocks, self.end = found.blocks, found.end
        if blocks and not has_whole_arrays(self.path, blocks[-1]):
            self.end = blocks.pop().start
        for _, block, directories in blocks_of_jobs(self.path, blocks, []):
            if has_whole_arrays(self.path, block):
                self.known.update(directories)

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
        is_new = stack is not self.stack
        stack_at = (self.end or 0) if is_new else self.stack_at
        blocks = [block_bytes(stack.to_fields(), {})] if is_new else []
        blocks.append(block_bytes({"kind": JOBS, SHARED_AT: stack_at, **together}, arrays))
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
        self.stack, self.stack_at = stack, stack_at
        self.known |= {own["directory"] for own in together["jobs"]}


def write_all(file: FileIO, parts: Iterable[bytes | memoryview]) -> None:
    """Writes bytes to an unbuffered file. Raises OSError: a full disk accepts a part, and fails at the next write."""
    for part in parts:
        remaining = memoryview(part)
        while remaining:
            remaining = remaining[file.write(remaining) :]
