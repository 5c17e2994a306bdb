"""The files of a run, wherever they are: in its directory, or in the compact record of its sweep."""

import errno
import os
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ch12cli.errors import InputError
from ch12cli.files.atomic import read_dated
from ch12cli.files.run_directory import RECORDS
from ch12cli.files.sealed_json import NewerFormatError

# Knows the formats of all files of a run, whose readers use this module: imported by name, where a sweep has records.
STORES = f"{__package__}.stores"


class RecordedJob(Protocol):
    """A job in the compact record of its sweep. is_whole: whether its record is what was written."""

    @property
    def is_whole(self) -> bool: ...
    def text(self, name: str) -> tuple[bytes, float] | None:
        """Returns a file of its directory that is a text, and when the job ended; None if there is no such text.

        Raises InputError if the record is damaged.
        """


def read_run_file(path: Path | str) -> bytes:
    """Returns the content of a file of a run. Raises OSError as read_file does, also if its record is damaged."""
    return read_dated_run_file(path)[0]


def read_dated_run_file(path: Path | str) -> tuple[bytes, float]:
    """Returns the content of a file of a run, and when it was written, in seconds since 1970."""
    try:
        return read_dated(path)
    except (FileNotFoundError, NotADirectoryError):
        found = _text_in_record(Path(path))
        if found is None:
            raise
        return found


def _text_in_record(path: Path) -> tuple[bytes, float] | None:
    for directory in path.parents:
        if os.path.lexists(directory):
            return None
        job = recorded_job(directory)
        if job is not None:
            try:
                return job.text(path.relative_to(directory).as_posix())
            except NewerFormatError:
                raise
            except InputError as error:
                raise OSError(errno.EIO, str(error), str(path)) from error
    return None


def recorded_job(directory: Path) -> RecordedJob | None:
    """Returns the job that a directory would be of; None if the directory exists, or there is no record of it."""
    try:
        if os.path.lexists(directory):
            return None
    except ValueError:  # a zero byte in the name
        return None
    for sweep in directory.parents:
        if os.path.lexists(sweep / RECORDS):
            job: RecordedJob | None = import_module(STORES).find(sweep, directory.relative_to(sweep).as_posix())
            return job
    return None


def run_exists(directory: Path) -> bool:
    """Returns whether there is a directory, or the record of a job that would have it."""
    return directory.exists() or recorded_job(directory) is not None
