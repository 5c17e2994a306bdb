"""Names of the files in the directories of runs and sweeps; claims a directory for a run."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors, make_folder

HYDRA = ".hydra"  # the configuration as Hydra writes it; creating this folder claims the directory
METRICS = "metrics.csv"
RESULT = "result.json"
MODEL = "model.pt"
PREDICTIONS = "predictions.npz"
CHECKPOINTS = "checkpoints"
LAST, BEST = "last.pt", "best.pt"

SWEEP = "sweep.csv"  # in the directory of a sweep
STATE = ".ch12"  # in the directory of a sweep: the state that a resume needs
RECORDS = "records"  # in the directory of a sweep: the stores of its stacks, if it has a compact record

RUN_FILES = (HYDRA, CHECKPOINTS, METRICS, RESULT, MODEL, PREDICTIONS, "train.log")


def refuse_links(directory: Path, names: Sequence[str] = RUN_FILES) -> None:
    """Raises InputError if a file of the run is a link or a special file.

    ch12 writes only regular files; a link could redirect a read or write elsewhere. names: files and folders; the files
    in the folders are checked too.
    """
    with machine_errors(f"cannot read {directory}"):
        paths = [path for name in names if os.path.lexists(path := directory / name)]
        paths += [path for folder in paths if folder.is_dir() and not folder.is_symlink() for path in folder.iterdir()]
        modes = {path: path.lstat().st_mode for path in paths}
    invalid = [path for path, mode in modes.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))]
    if invalid:
        raise InputError(
            [f"{path}: must be a file, not a link or a device; if the run is your own, add --trust" for path in invalid]
        )


def claim(directory: Path) -> None:
    """Creates and claims a directory for a run. Raises InputError if it already holds a run or a sweep.

    Creating the .hydra folder is the claim: it succeeds for exactly one process.
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
    """Creates and claims a directory with this name, or with -2, -3, … appended if the name is taken."""
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
    """Removes a claimed directory in which nothing has been written yet."""
    for folder in (directory / CHECKPOINTS, directory / HYDRA, directory):
        try:
            folder.rmdir()
        except OSError:
            return
