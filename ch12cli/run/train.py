"""One job trained by itself: from checked settings to a finished run directory."""

import json
import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ch12cli.config.targets import place_of
from ch12cli.errors import InputError, MachineError, describe_error
from ch12cli.files.atomic import locked, remove_leftovers
from ch12cli.files.metrics_csv import MetricsFile
from ch12cli.files.result_json import Result, describe_divergence, write_result
from ch12cli.files.run_directory import BEST, CHECKPOINTS, MODEL
from ch12cli.run.build import build_training
from ch12cli.run.callbacks import Callback, FaultTolerantCallback
from ch12cli.run.description import facts_of
from ch12cli.run.garbage_collection import settle
from ch12cli.run.recorder import Ending, Row, result_of, row_of, rows_of, rows_state, run_state, surroundings_of
from ch12cli.run.signals import Terminated, sigterm_raises
from ch12cli.run.step_progress import ToldSource
from ch12cli.run.task import Task, build_task, tensors
from ch12cli.run.torch_settings import is_small
from ch12cli.training.checkpoint import Checkpoints, checkpoint_must_fit, save, save_plain
from ch12cli.training.loop import Training
from ch12cli.training.network import Network

log = logging.getLogger("ch12")


@dataclass
class Outcome:
    """How a run ended. status: as in result.json; rows: of metrics.csv; signal: that interrupted it, if one did."""

    status: str
    directory: Path
    result: Result
    rows: list[Row]
    model: nn.Module
    signal: int | None = None


@dataclass
class Job:
    """A training that is built and ready to run, and what its record needs."""

    settings: Mapping[str, Any]
    chosen: Mapping[str, str | None]
    task: Task
    training: Training
    network: Network
    device: torch.device
    rows: list[Row] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)  # of its parent and its sittings (runs/history.py)
    spent: float = 0.0  # seconds in earlier sittings
    stacked: int = 0  # runs of the stack that it comes out of, if it does

    @cached_property
    def run_state(self) -> dict[str, Any]:
        """What every checkpoint of the run holds beside the training's state."""
        return run_state(self.settings, self.chosen, surroundings_of(self.task, self.device))

    def state(self, boundary: Mapping[str, Any]) -> dict[str, Any]:
        """A checkpoint: the training's state at the end of an epoch, the rows so far, and the run's own."""
        own = {"stacked": self.stacked, "history": json.dumps(self.history)}
        return {**boundary, **rows_state(self.rows), **self.run_state, **own}

    @property
    def facts(self) -> list[tuple[str, str]]:
        return facts_of(self.settings, self.chosen, self.task, self.network.module, self.device)


def prepare_job(settings: Mapping[str, Any], chosen: Mapping[str, str | None], device: torch.device) -> Job:
    """Reads the data and builds everything: what is wrong with the input shows here, before anything is written."""
    task = build_task(settings)
    training, network = build_training(settings, task, device)
    if settings["threads"] == "auto" and is_small(network.module, settings["batch_size"]):
        torch.set_num_threads(1)
    return Job(settings, chosen, task, training, network, device)


def train_job(job: Job, directory: Path, callback: Callback) -> Outcome:
    """Trains a job and writes its record into a claimed directory. Ctrl-C and SIGTERM end it with a checkpoint."""
    with locked(directory, key=str(directory)):
        return train_locked(job, directory, callback)


def train_locked(job: Job, directory: Path, callback: Callback) -> Outcome:
    start = time.perf_counter()
    settle()
    callback = FaultTolerantCallback(callback)
    for folder in (directory, directory / CHECKPOINTS):
        remove_leftovers(folder)
    callback.on_begin(job.facts, epochs=job.settings["epochs"], directory=directory)
    for label, text in job.facts:
        log.info("%s: %s", label, text)
    for warning in job.task.warnings:
        callback.on_message(warning, warning=True)
        log.warning(warning)
    try:
        with sigterm_raises():
            ending = run_epochs(job, directory, callback)
        result = finish(job, directory, ending, seconds=time.perf_counter() - start)
    except torch.OutOfMemoryError as error:
        raise MachineError(f"out of memory on {job.device}: use a smaller batch_size or network ({error})") from error
    except Exception as error:
        place = place_of(error)
        if not place:
            raise
        cause = f"{describe_error(error)}{place}"
        write_result(directory, Result(status="failed", epochs=len(job.rows), error=cause))
        raise InputError(f"code of your own raised while training: {cause}") from error
    log.info("%s after %d epochs", ending.status, len(job.rows))
    callback.on_end(result, job.rows, directory=directory)
    return Outcome(ending.status, directory, result, job.rows, job.network.module, ending.signal)


def run_epochs(job: Job, directory: Path, callback: Callback) -> Ending:
    """Trains to the end, a diverged loss, early stopping or a signal."""
    every = job.settings["checkpoint"]["every"]
    training = job.training
    steps = -(-len(training.train) // job.settings["batch_size"])
    training.source = ToldSource(training.source, callback.on_step, steps=steps)
    if job.settings["compile"]:
        callback.on_message("compiling the network: the first steps take longer")
    checkpoints = Checkpoints(directory / CHECKPOINTS, every=None if every == "auto" else every)
    boundary = training.state_dict()
    metrics = MetricsFile(directory, job.rows)
    ending = Ending("finished")
    try:
        checkpoints.write(
            job.state(boundary)
        )  # from here on the run can be continued, and an unwritable place is known
        stopped = training.epoch if has_stopped(training) else 0  # it was killed before its result was written
        if stopped:
            ending = Ending("finished", stopped_at=stopped)
        for epoch in () if stopped else training.epochs():
            if epoch.diverged_at[0]:
                step = int(epoch.diverged_at[0])
                ending = Ending("diverged", diverged_at=epoch.number, diverged_step=step)
                callback.on_message(describe_divergence(str(epoch.number), str(step)), warning=True)
                break
            row = row_of(epoch)
            job.rows.append(row)
            boundary = training.state_dict()
            metrics.write(row)
            callback.on_epoch_end(row)
            if epoch.stopped[0]:
                ending = Ending("finished", stopped_at=epoch.number)
                callback.on_message(stopped_message(job, epoch.number))
                break
            if checkpoints.due(epoch.number):
                metrics.sync()
                checkpoints.write(job.state(boundary))
    except (KeyboardInterrupt, Terminated) as error:
        ending = Ending("interrupted", signal=signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
        del job.rows[boundary["epoch"] :]
    finally:
        metrics.close()
    if ending.signal is not None:
        MetricsFile(directory, job.rows).close()  # it may have been in the midst of a row
    checkpoints.write(job.state(boundary))
    best = {"epoch": boundary["best"]["epoch"][0], "network": boundary["best_network"]}
    save(directory / CHECKPOINTS / BEST, {**best, **job.run_state})
    return ending


def has_stopped(training: Training) -> bool:
    """Whether early stopping ended the training in the epoch that a checkpoint brought it to."""
    return training.epoch > 0 and bool(training.stopping.waited[0] >= training.stopping.patience[0])


def stopped_message(job: Job, epoch: int) -> str:
    patience = job.settings["early_stopping"]["patience"]
    return f"stopped early in epoch {epoch}: {job.task.stop_on} did not improve for {patience} epochs"


def take_up(job: Job, state: Mapping[str, Any]) -> None:
    """Brings a job to where a checkpoint left it. InputError if the checkpoint is of another."""
    with checkpoint_must_fit("resume"):
        job.training.load_state_dict(state)
        job.rows = rows_of(state)
        job.spent = sum(float(row.get("seconds", 0.0)) for row in job.rows)
        job.stacked = int(state.get("stacked", 0))


def finish(job: Job, directory: Path, ending: Ending, *, seconds: float) -> Result:
    """Evaluates on the test part, writes model.pt and result.json, and returns the latter's content."""
    training, task, rows = job.training, job.task, job.rows
    network = job.network
    test: dict[str, float] | None = None
    if ending.status == "finished":
        save_plain(directory / MODEL, network.snapshot())
        if task.data.test is not None:
            part = tensors(task.data.test, task, dtype=network.dtype, device=job.device)
            test = {name: float(value[0]) for name, value in training.evaluate(part).items()}
    result = result_of(
        task,
        ending,
        rows=rows,
        best_epoch=min(int(training.best.epoch[0]), len(rows)),
        test=test,
        parameters=sum(parameter.numel() for parameter in network.module.parameters()),
        stacked=job.stacked,
        history=job.history,
        seconds=seconds + job.spent,
        device=job.device,
    )
    return write_result(directory, result)
