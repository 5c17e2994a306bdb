"""One job run the way Hydra runs it: its directory, its `.hydra` files, its log, its callbacks."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from ch12cli.config.compose import Composer, Composition
from ch12cli.config.hydra_internals import Callbacks
from ch12cli.config.settings import first_lines
from ch12cli.config.targets import current_directory_last
from ch12cli.errors import InputError
from ch12cli.files.atomic import sync_files
from ch12cli.files.run_directory import HYDRA, claim, claim_new

JobOutcome = TypeVar("JobOutcome")


def configured_run_directory(composition: Composition, key: str = "hydra.run.dir") -> Path:
    """The directory that a job's configuration names; nothing is made."""
    HydraConfig.instance().set_config(composition.config)  # for ${hydra:…} in the name
    try:
        name = str(OmegaConf.select(composition.config, key))
    except OmegaConfBaseException as error:
        raise InputError(f"{key}: {first_lines(error)}") from error
    if not name.strip() or "\0" in name:
        raise InputError(f"{key}={name}: must name a directory; leave it out for a new one below outputs/")
    return Path(name)


def claim_directory(composition: Composition) -> Path:
    """Makes the run's directory: the very one that the command line names, else a new one by the default pattern."""
    directory = configured_run_directory(composition)
    if any(line.lstrip("+").startswith("hydra.run.dir=") for line in composition.config.hydra.overrides.hydra):
        claim(directory)
        return directory
    return claim_new(directory)


def callbacks_of(config: DictConfig) -> Callbacks:
    """Hydra's callbacks that a configuration asks for. InputError if one cannot be made."""
    try:
        with current_directory_last():
            return Callbacks(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"hydra.callbacks: {first_lines(error)}") from error


def run_in_hydra(
    composer: Composer,
    composition: Composition,
    directory: Path,
    task: Callable[[Path], JobOutcome],
    *,
    log: bool,
) -> JobOutcome:
    """What task gives, run as Hydra's job in a claimed directory, with Hydra's callbacks. What it raises is raised."""
    config = composition.config
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.mode = RunMode.RUN
        config.hydra.run.dir = str(directory)
    callbacks = callbacks_of(config)
    callbacks.on_run_start(config=config, config_name=composer.config_name)
    raised: list[Exception] = []

    def recorded(_config: DictConfig) -> JobOutcome | None:
        try:
            sync_hydra_files(output_directory(config))
            return task(output_directory(config))
        except Exception as error:
            raised.append(error)  # Hydra's own way to it prints the overrides first
            raise

    done = run_job(
        task_function=recorded,  # a DictConfig is all that it may not return
        config=config,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=HydraContext(config_loader=composer.loader, callbacks=callbacks),
        configure_logging=log,
    )
    callbacks.on_run_end(config=config, config_name=composer.config_name, job_return=done)
    if raised:
        raise raised[0]
    outcome: JobOutcome = done.return_value
    return outcome


def sync_hydra_files(directory: Path) -> None:
    """Makes sure that what Hydra wrote of the job is on disk before the job begins."""
    if (directory / HYDRA).is_dir():  # hydra.output_subdir=null: nowhere
        sync_files(directory / HYDRA)


def output_directory(config: DictConfig) -> Path:
    """The job's directory, absolute: right whatever `hydra.job.chdir` does."""
    return Path(config.hydra.runtime.output_dir)
