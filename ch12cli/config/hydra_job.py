"""Runs one job as Hydra does: with its directory, `.hydra` files, log and callbacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

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
    """Returns the directory that a job's configuration names; does not create it. Raises InputError if invalid."""
    HydraConfig.instance().set_config(composition.config)  # for ${hydra:…} in the name
    try:
        name = str(OmegaConf.select(composition.config, key))
    except OmegaConfBaseException as error:
        raise InputError(f"{key}: {first_lines(error)}") from error
    if not name.strip() or "\0" in name:
        raise InputError(f"{key}={name}: must name a directory; leave it out for a new one below outputs/")
    return Path(name)


def claim_directory(composition: Composition) -> Path:
    """Creates and returns the run's directory.

    It is the one named on the command line, or else a new one named by the default pattern.
    """
    directory = configured_run_directory(composition)
    given: Any = OmegaConf.to_container(composition.config.hydra.overrides.hydra, resolve=False)
    if any(line.lstrip("+").startswith("hydra.run.dir=") for line in given):
        claim(directory)
        return directory
    return claim_new(directory)


def callbacks_of(config: DictConfig) -> Callbacks:
    """Returns the Hydra callbacks in a configuration. Raises InputError if one cannot be created."""
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
    """Runs task as a Hydra job in a claimed directory and returns its result.

    Calls Hydra's callbacks and re-raises an exception from task. log: whether Hydra configures logging.
    """
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
            raised.append(error)  # JobReturn would re-raise it too, but prints the overrides first
            raise

    done = run_job(
        task_function=recorded,  # a task function may return anything except a DictConfig
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
    """Flushes the `.hydra` files of a job to disk before the job begins."""
    if (directory / HYDRA).is_dir():  # missing with hydra.output_subdir=null
        sync_files(directory / HYDRA)


def output_directory(config: DictConfig) -> Path:
    """Returns the absolute path of the job's directory, which is valid whatever `hydra.job.chdir` is."""
    return Path(config.hydra.runtime.output_dir)
