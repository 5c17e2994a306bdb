"""Removes runs and sweeps from the disk: only complete ones, and only if no process is writing them."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from ch12cli.catalogue.entries import MULTIRUN, Entry, entry_at
from ch12cli.errors import InputError
from ch12cli.files.atomic import LEFTOVER, machine_errors
from ch12cli.files.cluster.journal import is_in_use
from ch12cli.files.locks import locked
from ch12cli.files.plan_json import PlanFile, readable_plan
from ch12cli.files.run_directory import RECORDS, RUN_FILES, STATE, SWEEP
from ch12cli.files.sealed_json import NewerFormatError
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.files.tags import TAGS

OF_BOTH = (TAGS, "wandb")
OF_A_RUN = (*RUN_FILES, *OF_BOTH)
# final.csv: of `ch12 tune`; .submitit: of Hydra's launcher of that name
OF_A_SWEEP = (SWEEP, STATE, RECORDS, MULTIRUN, "final.csv", ".submitit", *OF_BOTH)
WRITTEN = re.compile(rf"{LEFTOVER.pattern}|\..+\.partial.*|events\.out\.tfevents\..*")  # the last ones: of TensorBoard
MOST_NAMED = 3  # names of others' files in a message


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
    foreign = sorted(foreign_names(path, is_sweep=found.kind == "sweep"))
    if foreign:
        named = ", ".join(foreign[:MOST_NAMED])
        more = f" and {len(foreign) - MOST_NAMED:,} more" if len(foreign) > MOST_NAMED else ""
        raise InputError(f"{path}: holds what ch12 did not write there: {named}{more}; move it away first")
    return found


def foreign_names(directory: Path, *, is_sweep: bool) -> list[str]:
    """Returns the paths, relative to the directory of a run or sweep, of what ch12 did not write into it.

    Links are left out, because their targets stay. Of a sweep, the folders above its jobs are read too, but not the
    directories of the jobs. Raises MachineError if the directory cannot be read.
    """
    if not is_sweep:
        return list(_names_besides(directory, OF_A_RUN))
    jobs = _job_directories(directory)
    above = {parent for job in jobs for parent in job.parents if parent != PurePath()} - jobs
    foreign = list[str]()
    for folder in (PurePath(), *above):
        own = OF_A_SWEEP if folder == PurePath() else ()
        if not (directory / folder).is_symlink() and (directory / folder).is_dir():
            names = (folder / name for name in _names_besides(directory / folder, own))
            foreign += [str(name) for name in names if name not in jobs and name not in above]
    return foreign


def _names_besides(folder: Path, own: tuple[str, ...]) -> Iterator[str]:
    with machine_errors(f"cannot read {folder}"), os.scandir(folder) as inside:
        yield from (
            each.name
            for each in inside
            if each.name not in own and not WRITTEN.fullmatch(each.name) and not each.is_symlink()
        )


def _job_directories(sweep: Path) -> set[PurePath]:
    """Returns the directories of a sweep's jobs, relative to it: those of its plan and of its table."""
    try:
        plan = readable_plan(sweep)
    except NewerFormatError:
        plan = PlanFile()
    names = {*plan.directories.values()}
    with suppress(InputError):
        names |= {row.directory for row in read_sweep_csv(sweep / SWEEP)}
    if not plan.jobs:  # lost or damaged: its jobs had their numbers as names, unless the user chose others
        names |= {name for name in os.listdir(sweep) if name.isdecimal()}
    return {PurePath(name) for name in names}


def remove(entry: Entry) -> None:
    """Removes a directory and its content. Links in it are removed, not followed."""
    with locked(entry.path, key=str(entry.path)), machine_errors(f"cannot remove {entry.path}"):
        shutil.rmtree(entry.path)
