"""Trains a single job, from checked settings to a finished run directory."""

import json
import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import directory_kept
from ch12cli.data.text_file import count_with_noun
from ch12cli.distributed.ranks import LostRankError, Ranks
from ch12cli.distributed.torchrun import Place
from ch12cli.errors import InputError
from ch12cli.files.atomic import remove_leftovers
from ch12cli.files.metrics_csv import MetricsFile
from ch12cli.files.result_json import Result, describe_divergence, write_result
from ch12cli.files.run_directory import BEST, CHECKPOINTS, MODEL
from ch12cli.run.build import ALONE, build_training
from ch12cli.run.callbacks import Callback, FaultTolerantCallback
from ch12cli.run.description import describe_run
from ch12cli.run.garbage_collection import freeze_objects
from ch12cli.run.predictions.record import record_predictions, remove_predictions
from ch12cli.run.recorder import (
    Ending,
    MetricsRow,
    checkpoint_rows,
    metrics_row,
    result_of,
    rows_state,
    run_metadata,
    run_state,
)
from ch12cli.run.signals import Terminated, sigterm_raises
from ch12cli.run.step_progress import ReportingSource
from ch12cli.run.task import Task, build_task, notes_on_outputs, tensors
from ch12cli.run.torch_settings import is_small, machine_of_rank, require_gpus, torch_settings
from ch12cli.run.users_errors import UsersError, users_errors
from ch12cli.run.value_checks import far_off_hint, undefined_monitor_note
from ch12cli.training.checkpoint import Checkpoints, checkpoint_must_fit, save, save_plain
from ch12cli.training.loop import Training
from ch12cli.training.network import Network

log = logging.getLogger("ch12")


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `rows` are those of metrics.csv. `signal` is the signal that interrupted it, if any."""

    status: str
    directory: Path
    result: Result
    rows: list[MetricsRow]
    model: nn.Module
    signal: int | None = None


@dataclass(frozen=True)
class Earlier:
    """What a run did in earlier sessions.

    `history`: the parent run and the sessions (files/history.py).
    `stacked`: the number of runs in the stack that trained it, 0 for none.
    """

    rows: tuple[MetricsRow, ...] = ()
    history: Mapping[str, Any] = field(default_factory=dict)
    stacked: int = 0

    @property
    def seconds(self) -> float:
        return sum(float(row.get("seconds", 0.0)) for row in self.rows)


@dataclass(frozen=True)
class Job:
    """A training that is ready to run, with what its record needs."""

    settings: RunSettings
    task: Task
    training: Training
    network: Network
    device: torch.device
    earlier: Earlier = field(default_factory=Earlier)
    notes: tuple[str, ...] = ()  # for the user

    @cached_property
    def run_state(self) -> dict[str, Any]:
        """The settings and metadata that every checkpoint of the run holds."""
        return run_state(self.settings, run_metadata(self.task, self.device))

    def state(self, snapshot: Mapping[str, Any], rows: Sequence[MetricsRow]) -> dict[str, Any]:
        """Returns a checkpoint: the training state after an epoch, the rows so far, and the run's metadata."""
        own = {"stacked": self.earlier.stacked, "history": json.dumps(self.earlier.history)}
        return {**snapshot, **rows_state(rows), **self.run_state, **own}

    @property
    def description(self) -> list[tuple[str, str]]:
        return describe_run(self.settings, self.task, self.network.module, self.device)


@directory_kept()
def prepare_job(settings: RunSettings, device: torch.device, ranks: Ranks = ALONE) -> Job:
    """Reads the data and builds the training. Raises InputError for wrong input, before anything is written.

    ranks: all processes that train the run.
    """
    task = build_task(settings)
    training, network = build_training(settings, task, device, ranks)
    if settings.machine.threads is None and is_small(network.module, settings.loop.batch_size):
        torch.set_num_threads(1)
    notes = (*task.warnings, *notes_on_outputs(network, task, training.train))
    return Job(settings, task, training, network, device, notes=notes)


def continued(job: Job, state: Mapping[str, Any], history: Mapping[str, Any] | None = None) -> Job:
    """Returns the job with its training set to the state of a checkpoint.

    Raises InputError if the checkpoint does not fit the job's settings.
    """
    with checkpoint_must_fit("resume"):
        job.training.load_state_dict(state)
        earlier = Earlier(tuple(checkpoint_rows(state)), history or {}, int(state.get("stacked", 0)))
    return replace(job, earlier=earlier)


@contextmanager
def ranks_of(settings: RunSettings) -> Iterator[Ranks]:
    """Yields the processes that train a run, of which this one leads. The others end with the block."""
    if settings.machine.devices == 1:
        yield ALONE
        return
    from ch12cli.distributed.processes import CPU, GPU, lead

    backend, message = GPU if require_gpus(settings.machine) else CPU, json.dumps(run_state(settings, {}))
    with lead(settings.machine.devices, message, backend=backend, train=follow_run) as ranks:
        yield ranks


def follow_place(place: Place) -> int:
    """Trains with the first of the processes that torchrun started, and returns the exit code."""
    from ch12cli.distributed.processes import follow_torchrun

    return follow_torchrun(place, follow_run)


@directory_kept()
def follow_run(message: str, ranks: Ranks) -> None:
    """Trains a run with the process that leads, and records nothing. message: the run's settings."""
    sent = json.loads(message)
    settings = RunSettings.from_config(json.loads(sent["settings"]), json.loads(sent["chosen"]))
    with torch_settings(machine_of_rank(settings.machine, ranks)) as device:
        job = prepare_job(settings, device, ranks)
        training = job.training
        training.begin()
        for epoch in () if has_stopped(training) else training.epochs():
            if epoch.diverged_at[0]:
                return
            if epoch.stopped[0]:
                break
        evaluate_test_part(job)


@directory_kept()
def train_job(job: Job, directory: Path, callback: Callback, *, predictions: bool = False) -> Outcome:
    """Trains a job, writes its record into a directory that the caller has locked, and returns the outcome.

    predictions: whether to record them for the run's plots. SIGINT and SIGTERM end the training after writing a
    checkpoint.
    """
    start = time.perf_counter()
    given, directory = directory, directory.absolute()  # code of the user's own may change the directory
    freeze_objects()
    callback = FaultTolerantCallback(callback)
    for folder in (directory, directory / CHECKPOINTS):
        remove_leftovers(folder)
    description = job.description
    callback.on_begin(description, epochs=job.settings.loop.epochs, directory=given)
    for label, text in description:
        log.info("%s: %s", label, text)
    for warning in job.notes:
        callback.on_message(warning, warning=True)
        log.warning(warning)
    rows = list(job.earlier.rows)
    try:
        with users_errors(job.settings, "training"):
            with sigterm_raises():
                ending = run_epochs(job, directory, rows, callback)
            result = finish(job, directory, rows, ending, seconds=time.perf_counter() - start, predictions=predictions)
        learned = job.task.data.learned(job.task.data.train.y)
        if hint := far_off_hint(final_r2(rows), learned, job.task.data.table.target_name):
            callback.on_message(hint, warning=True)
            log.warning(hint)
    except InputError as error:  # of objects of the user's, or rows that are read in training
        cause = error.cause if isinstance(error, UsersError) else error.messages[0]
        write_result(directory, Result(status="failed", epochs=len(rows), error=cause))
        raise
    log.info("%s after %d epochs", ending.status, len(rows))
    callback.on_end(result, rows, directory=given)
    return Outcome(ending.status, given, result, rows, job.network.module, ending.signal)


def run_epochs(job: Job, directory: Path, rows: list[MetricsRow], callback: Callback) -> Ending:
    """Trains until the last epoch, divergence, early stopping or a signal. Appends a row to `rows` per epoch."""
    training = job.training
    steps = -(-len(training.train) // job.settings.loop.batch_size)
    training.source = ReportingSource(training.source, callback.on_step, steps=steps)
    if job.settings.model.compile:
        callback.on_message("compiling the network: the first steps take longer")
    checkpoints = Checkpoints(directory / CHECKPOINTS, every=job.settings.loop.checkpoint_every)
    snapshot = training.state_dict()  # state after the last complete epoch
    metrics = MetricsFile(directory, rows)
    ending = Ending("finished")
    try:
        # makes the run resumable, and fails early if the directory cannot be written
        checkpoints.write(job.state(snapshot, rows))
        training.begin()
        stopped = training.epoch if has_stopped(training) else 0  # killed before it wrote its result
        if stopped:
            ending = Ending("finished", stopped_at=stopped)
        for epoch in () if stopped else training.epochs():
            if epoch.diverged_at[0]:
                step = int(epoch.diverged_at[0])
                ending = Ending("diverged", diverged_at=epoch.number, diverged_step=step)
                callback.on_message(describe_divergence(str(epoch.number), str(step)), warning=True)
                break
            row = metrics_row(epoch)
            rows.append(row)
            snapshot = training.state_dict()
            metrics.write(row)
            callback.on_epoch_end(row)
            if epoch.stopped[0]:
                ending = Ending("finished", stopped_at=epoch.number)
                callback.on_message(stopped_message(job, epoch.number))
                break
            if checkpoints.due(epoch.number):
                metrics.sync()
                checkpoints.write(job.state(snapshot, rows))
    except LostRankError:
        metrics.sync()
        checkpoints.write(job.state(snapshot, rows))
        raise
    except (KeyboardInterrupt, Terminated) as error:
        received = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        del rows[snapshot["epoch"] :]
        ending = Ending("interrupted", signal=received)
    finally:
        metrics.close()
    if ending.signal is not None:
        MetricsFile(directory, rows).close()  # rewrites the file, because a row may be incomplete
    checkpoints.write(job.state(snapshot, rows))
    best_epoch = snapshot["best"]["epoch"][0]
    if best_epoch:
        best = {"epoch": best_epoch, "network": snapshot["best_network"]}
        save(directory / CHECKPOINTS / BEST, {**best, **job.run_state})
    elif rows:
        callback.on_message(undefined_monitor_note(job.task.monitor, len(rows)), warning=True)
    return ending


def final_r2(rows: Sequence[MetricsRow]) -> float:
    """Returns the last R², of the validation part if there is one; NaN if it is not measured."""
    last = rows[-1] if rows else {}
    return float(last.get("valid_r2", last.get("train_r2", math.nan)))


def has_stopped(training: Training) -> bool:
    """Returns True if early stopping ended the training at the epoch that it was restored to."""
    return training.epoch > 0 and bool(training.stopping.waited[0] >= training.stopping.patience[0])


def stopped_message(job: Job, epoch: int) -> str:
    patience = job.settings.loop.patience or 0
    return (
        f"stopped early in epoch {epoch}: {job.task.stop_on} did not improve for {count_with_noun(patience, 'epoch')}"
    )


def evaluate_test_part(job: Job) -> dict[str, float] | None:
    """Returns loss and metrics on the test part; None if there is none."""
    if job.task.data.test is None:
        return None
    part = tensors(job.task.data.test, job.task, dtype=job.network.dtype, device=job.device)
    return {name: float(value[0]) for name, value in job.training.evaluate(part).items()}


def finish(
    job: Job, directory: Path, rows: list[MetricsRow], ending: Ending, *, seconds: float, predictions: bool
) -> Result:
    """Evaluates the test part, writes model.pt and result.json, and returns the result."""
    training, task, earlier = job.training, job.task, job.earlier
    network = job.network
    test: dict[str, float] | None = None
    remove_predictions(directory)  # of an earlier session
    if ending.status == "finished":
        save_plain(directory / MODEL, network.snapshot())
        test = evaluate_test_part(job)
        if predictions and not (job.settings.model.compile or job.settings.machine.devices > 1):
            record_predictions(directory, task, network)
    result = result_of(
        task,
        ending,
        rows=rows,
        best_epoch=min(int(training.best.epoch[0]), len(rows)),
        test=test,
        parameters=sum(parameter.numel() for parameter in network.module.parameters()),
        stacked=earlier.stacked,
        history=earlier.history,
        seconds=seconds + earlier.seconds,
        device=job.device,
    )
    return write_result(directory, result)
