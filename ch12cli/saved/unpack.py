"""Writes the ordinary directories of jobs in a compact record: into the sweep, or a private copy to read from."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from ch12cli.config.recorded import resume_line
from ch12cli.errors import InputError, first_few
from ch12cli.files.atomic import machine_errors, make_folder, sync_folder
from ch12cli.files.compact.job_record import JobRecord
from ch12cli.files.compact.run_files import recorded_job, run_exists
from ch12cli.files.compact.stores import WRONG_FORM, has_records, index_of, record_at, record_of_job
from ch12cli.files.plan_json import is_inside, read_plan
from ch12cli.files.run_directory import SWEEP
from ch12cli.files.sweep_csv import is_sweep, read_sweep_csv
from ch12cli.saved.job_files import job_files, write_files

MOST_NAMED = 10  # jobs in a message


def readable(directory: Path) -> Path:
    """Returns the directory in which the files of a run can be read: its own, or a private copy of a recorded job's.

    The copy is removed when the process ends. Raises InputError if the record is damaged.
    """
    return directory if recorded_job(directory) is None else _private_copy(directory.absolute())


@cache
def _private_copy(directory: Path) -> Path:
    with machine_errors("cannot make a temporary folder"):
        folder = Path(tempfile.mkdtemp(prefix="ch12-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / directory.name
    record = record_of_job(directory)
    if record is not None:  # it was there a moment ago
        _write(copy, record)
    return copy


def unpack_job(directory: Path) -> bool:
    """Writes the directory of a recorded job that has none, atomically. Returns whether there was something to do.

    Raises InputError if the record is damaged, or names a path outside its sweep.
    """
    record = record_of_job(directory)
    if record is None:
        return False
    _place(directory, record)
    sync_folder(directory.parent)
    return True


def unpack_sweep(sweep: Path) -> Iterator[JobRecord]:
    """Writes the directories of the recorded jobs that have none. Yields each job when its directory is there.

    Raises InputError at the end if records are damaged or gone, and at once if the sweep has no compact record.
    """
    if not has_records(sweep):
        _refuse_gone(sweep)
        what = "records each job in its directory already" if is_sweep(sweep) else "is not a sweep"
        raise InputError(f"{sweep}: {what}; there is nothing to unpack")
    index, corrupt = index_of(sweep), list[str]()
    index.leave_out_damaged([*index.places])
    for name, place in index.places.items():
        if not os.path.lexists(sweep / name):
            try:
                record = record_at(place)
                _place(sweep / name, record)
            except InputError as error:
                corrupt += error.messages
            else:
                yield record
    os.sync()
    damaged = first_few(index.problems) if index.problems and _lacks_jobs(sweep) else []
    if damaged:
        damaged.append(f"train the jobs that were in it again: {resume_line(sweep)}")
    if damaged or corrupt:
        raise InputError([*damaged, *first_few(corrupt)])
    _refuse_gone(sweep)


def _refuse_gone(sweep: Path) -> None:
    """Raises InputError if jobs that have ended, by the sweep's table, have neither a directory nor a record."""
    rows = [row for row in read_sweep_csv(sweep / SWEEP) if row.status != "interrupted"]
    gone = sorted(row.job for row in rows if not run_exists(sweep / row.directory))
    if gone:
        named = ", ".join(map(str, gone[:MOST_NAMED])) + (", …" if len(gone) > MOST_NAMED else "")
        what = f"record of job {named} is" if len(gone) == 1 else f"records of jobs {named} are"
        raise InputError(f"{sweep}: the {what} gone; to train again: {resume_line(sweep)}")


def _lacks_jobs(sweep: Path) -> bool:
    """Returns whether jobs of a sweep have neither a directory nor a record: a resume records damaged ones again."""
    names = {*read_plan(sweep).directories.values(), *(row.directory for row in read_sweep_csv(sweep / SWEEP))}
    return not all(run_exists(sweep / name) for name in names)


def _place(directory: Path, record: JobRecord) -> None:
    """Writes a job's directory beside its place, and renames it."""
    if not is_inside(record.directory) or any(part.startswith(".") for part in Path(record.directory).parts):
        raise InputError(f"{directory}: its record names a path that is not below the sweep")
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    with machine_errors(f"cannot write {directory}"):
        make_folder(directory.parent, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _write(partial, record)
            partial.rename(directory)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _write(directory: Path, record: JobRecord) -> None:
    """Writes the files of a job into a new directory, with the time at which the job ended."""
    try:
        files, _ = job_files(record)
    except InputError as error:
        raise InputError(f"{directory}: {error}") from error
    except (*WRONG_FORM, RuntimeError) as error:
        raise InputError(f"{directory}: its record was not written by ch12, or is corrupt ({error!r})") from error
    with machine_errors(f"cannot write {directory}"):
        directory.mkdir()
        write_files(directory, files)
        for folder, _, names in os.walk(directory, topdown=False):
            for name in (*names, "."):
                with suppress(OSError, ValueError, OverflowError):
                    os.utime(f"{folder}/{name}", (record.time, record.time))
