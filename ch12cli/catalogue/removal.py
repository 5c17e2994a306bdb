"""Removes runs and sweeps from the disk: only complete ones, and only if no process is writing them."""

import shutil
from pathlib import Path

from ch12cli.catalogue.entries import Entry, entry_at
from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors
from ch12cli.files.cluster.journal import is_in_use
from ch12cli.files.locks import locked
from ch12cli.files.run_directory import STATE, SWEEP


def removable(path: Path) -> Entry:
    """Returns the run or sweep in a directory. Raises InputError if it must not be removed."""
    if path.is_symlink():
        raise InputError(f"{path}: is a link; name the directory itself")
    found = entry_at(path)
    if Path.cwd().is_relative_to(path.resolve()):
        raise InputError(f"{path}: is the current directory; leave it first (cd ..)")
    above = next((p for p in path.absolute().parents if (p / STATE).exists() or (p / SWEEP).exists()), None)
    if above is not None:
        raise InputError(f"{path}: is a job of the sweep {above}, which can only be removed as a whole")
    if is_in_use(path):
        raise InputError(f"{path}: a ch12 process is writing there; end it first")
    return found


def remove(entry: Entry) -> None:
    """Removes a directory and its content. Links in it are removed, not followed."""
    with locked(entry.path, key=str(entry.path)), machine_errors(f"cannot remove {entry.path}"):
        shutil.rmtree(entry.path)
