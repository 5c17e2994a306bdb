"""The directory of a sweep: made, or taken up again; taken back if the sweep turns out to be refused."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.settings import first_lines
from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors, make_folder
from ch12cli.files.run_directory import CHECKPOINTS, METRICS, RESULT
from ch12cli.sweep.hydra_sweep import Sweep

HYDRAS = "multirun.yaml"  # what Hydra's sweeper writes before any job


@contextmanager
def claimed(sweep: Sweep) -> Iterator[Path]:
    """The sweep's directory: the one that is named, which may hold an earlier part of it, else a new one.

    If the sweep is refused within, before any job was begun, nothing of the claim stays behind.
    """
    directory = sweep_directory(sweep)
    before = {folder for folder in (directory, *directory.parents) if folder.exists()}
    hydras = (directory / HYDRAS).read_bytes() if (directory / HYDRAS).is_file() else None
    named = any(line.lstrip("+").startswith("hydra.sweep.dir=") for line in sweep.job_composer.hydra_overrides)
    candidate = make_directory(directory, named=named)
    config = sweep.config
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(candidate)
    try:
        yield candidate
    except InputError:
        if hydras is not None:
            (candidate / HYDRAS).write_bytes(hydras)
        release(candidate, before)
        raise


def sweep_directory(sweep: Sweep) -> Path:
    """The directory that `hydra.sweep.dir` names; nothing is made."""
    HydraConfig.instance().set_config(sweep.config)  # for ${hydra:…} in the name
    try:
        name = str(OmegaConf.select(sweep.config, "hydra.sweep.dir"))
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.sweep.dir: {first_lines(error)}") from error
    if not name.strip() or "\0" in name:
        raise InputError(f"hydra.sweep.dir={name}: must name a directory; leave it out for a new one below outputs/")
    return Path(name)


def make_directory(directory: Path, *, named: bool) -> Path:
    """Makes it, under the next free name unless it is the very one that was asked for."""
    held = [name for name in (METRICS, RESULT, CHECKPOINTS) if (directory / name).exists()]
    if named and held:
        raise InputError(f"hydra.sweep.dir={directory}: is the directory of a run ({held[0]}); choose another")
    number, candidate = 1, directory
    with machine_errors(f"cannot make the sweep's directory {directory}"):
        while True:
            try:
                make_folder(candidate, exist_ok=named)
                return candidate
            except (FileExistsError, NotADirectoryError):
                if named or not candidate.exists():
                    message = f"hydra.sweep.dir={directory}: there is a file of that name in its path; choose another"
                    raise InputError(message) from None
                number += 1
                candidate = directory.with_name(f"{directory.name}-{number}")


def release(directory: Path, before: Collection[Path]) -> None:
    """Takes back a claim under which no job was begun. before: of the directory and its parents, those that were there
    already."""
    if directory in before or {path.name for path in directory.iterdir()} - {HYDRAS}:
        return
    (directory / HYDRAS).unlink(missing_ok=True)
    with suppress(OSError):  # a parent that is not empty stays
        for folder in (directory, *directory.parents):
            if folder in before:
                return
            folder.rmdir()
