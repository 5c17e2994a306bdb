"""The directories of runs and sweeps: the names of the files in them, and how a process claims a run's directory."""

from pathlib import Path

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors, make_folder

HYDRA = ".hydra"  # the configuration, as Hydra writes it; making this folder claims the directory
METRICS = "metrics.csv"
RESULT = "result.json"
MODEL = "model.pt"
CHECKPOINTS = "checkpoints"
LAST, BEST = "last.pt", "best.pt"

SWEEP = "sweep.csv"  # in the directory of a sweep
STATE = ".ch12"  # there too: what a sweep that goes on needs to know


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
