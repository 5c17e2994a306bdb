"""Starts one run: composes and checks its configuration, builds it, and trains it as a Hydra job."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.config.check import check
from ch12cli.config.compose import Composer, Composition, working_directory
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.hydra_job import claim_directory, run_in_hydra
from ch12cli.config.recorded import resume_line
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.unknown import idle_problems
from ch12cli.distributed.torchrun import torchrun_place, with_devices
from ch12cli.errors import InputError, MachineError, Problem, os_problem
from ch12cli.files.locks import locked
from ch12cli.files.run_directory import CHECKPOINTS, LAST, RESULT
from ch12cli.run.signals import interrupts_kept, termination_exits

if TYPE_CHECKING:
    from ch12cli.run.callbacks import Callback
    from ch12cli.run.train import Outcome


def checked(composer: Composer, overrides: Sequence[str]) -> Composition:
    """Returns the composed configuration of one run. Raises InputError with all problems found."""
    problems = idle_problems(composer.parse(overrides, []), swept=False)
    overrides = [text for text in overrides if not text.startswith(("search.", "search="))]  # of a search: idle here
    composition = composer.compose(overrides, problems)
    if composition.settings:
        problems += check(composition.settings, composition.choices)
    if composition.is_sweep:
        problems.append(Problem("hydra.mode", "MULTIRUN", "asks for a sweep", "train it with -m, or by ch12cli.sweep"))
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return composition


@contextmanager
def train_log(directory: Path) -> Iterator[None]:
    """Writes train.log within the block, without Hydra changing the program's logging."""
    logger, handler = logging.getLogger("ch12"), logging.FileHandler(directory / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(level)
        logger.propagate = propagate


def resume_hint(directory: Path) -> str:
    return f"when that is fixed, continue with: {resume_line(directory)}"


def train_single(
    overrides: Sequence[str],
    *,
    folders: Sequence[Path] = (),
    config_name: str = "config",
    callback: Callback,
    log: bool,
    several_hint: str = Composer.several_hint,
) -> Outcome:
    """Trains one run and returns its outcome.

    `log`: whether Hydra's job_logging writes train.log. Otherwise it is written without changing the logging setup.
    `several_hint`: the advice in the message about a key with several values.
    """
    working_directory()
    overrides = with_devices(overrides, torchrun_place())
    with hydra_session():
        composer = Composer(folders, config_name=config_name)
        composer.several_hint = several_hint
        composition = checked(composer, overrides)
        settings = RunSettings.from_config(composition.settings, composition.choices)
        # torch is imported only after all options are checked, because the import takes more than a second
        with interrupts_kept():
            from ch12cli.run.task import require_learnable
            from ch12cli.run.torch_settings import machine_of_rank, torch_settings
            from ch12cli.run.trackers import with_trackers
            from ch12cli.run.train import prepare_job, ranks_of, train_job

        with (
            termination_exits(),
            ranks_of(settings) as ranks,
            torch_settings(machine_of_rank(settings.machine, ranks)) as device,
        ):
            callback = with_trackers(callback, settings)
            job = prepare_job(settings, device, ranks)
            require_learnable(settings, job.task)
            directory = claim_directory(composition)
            train = partial(train_job, job, callback=callback, predictions=True)
            try:
                with locked(directory, key=str(directory)), nullcontext() if log else train_log(directory):
                    return run_in_hydra(composer, composition, directory, train, log=log)
            except BrokenPipeError:
                raise
            except MachineError as error:
                begun = (directory / CHECKPOINTS / LAST).exists() and not (directory / RESULT).exists()
                raise MachineError(f"{error}; {resume_hint(directory)}" if begun else str(error)) from error
            except OSError as error:  # from a file that Hydra writes
                raise os_problem(f"cannot write {error.filename or directory}", error) from error
