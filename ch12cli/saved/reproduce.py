"""`ch12 repro`: retrains a saved run in memory and compares the result with its record."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ch12cli.config.run_settings import RunSettings
from ch12cli.errors import InputError
from ch12cli.files.atomic import digest_of, machine_errors
from ch12cli.files.history import describe_session, environment_differences, sessions_of
from ch12cli.files.result_json import Result, read_result
from ch12cli.files.run_directory import BEST, CHECKPOINTS, HYDRA, METRICS, MODEL, PREDICTIONS, RESULT
from ch12cli.files.sealed_json import NewerFormatError
from ch12cli.run.callbacks import Callback
from ch12cli.run.recorder import MetricsRow, checkpoint_rows, metrics_csv, rows_state
from ch12cli.run.sessions import environment_of
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import prepare_job
from ch12cli.run.users_errors import users_errors
from ch12cli.saved.load import Saved, read_saved, refuse_ensemble, require_same_data
from ch12cli.saved.network import on_this_machine
from ch12cli.saved.replay import USES, replay_parts, retrain
from ch12cli.saved.unpack import readable
from ch12cli.training.checkpoint import Checkpoints, DamagedError, canonical, fingerprint, load_plain

ROUNDING = 1e-3  # relative loss difference that a stack's summation order may cause in float32 over thousands of steps
SMALL = 1e-6  # denominator for losses smaller than this
THREADS = 1024  # maximum accepted from a record
HYDRA_FILES = tuple(f"{HYDRA}/{name}.yaml" for name in ("config", "hydra", "overrides"))
DIGESTED = (METRICS, MODEL, PREDICTIONS, f"{CHECKPOINTS}/{BEST}", *HYDRA_FILES)


@dataclass(frozen=True)
class Reproduction:
    """Comparison of a retrained run with its record.

    epochs: number of epochs compared; stacked: size of the stack that the run was trained in, 0 for none; devices:
    processes that added up its gradients in no fixed order; differs_from:
    the first epoch whose metrics differ, 0 if none; metrics: (column, recorded, now) of the metrics that differ in that
    epoch; same: whether all is bit-identical; weights, losses: largest differences, relative to the largest weight and
    to the loss; files: problems with the run's files; environment: differences from the recorded environment.
    """

    epochs: int
    stacked: int = 0
    devices: int = 1
    differs_from: int = 0
    metrics: list[tuple[str, float, float]] = field(default_factory=list)
    same: bool = False
    weights: float = 0.0
    losses: float = 0.0
    files: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether all files are intact and the runs are bit-identical, or close if sums were added in another order."""
        is_close = (self.stacked > 0 or self.devices > 1) and self.losses <= ROUNDING
        return (self.same or is_close) and not self.files


def reproduce(directory: Path, *, callback: Callback, trust: bool = False) -> Reproduction:
    """Retrains a run for as many epochs as its newest valid checkpoint records, and compares. Writes nothing."""
    saved = read_saved(directory, trust=trust, uses=USES, older=True)
    refuse_ensemble(saved)
    files = readable(directory)
    try:
        result, damaged = read_result(files / RESULT), False
    except NewerFormatError:
        raise
    except InputError:
        result, damaged = None, True
    settings, messages = on_this_machine(with_threads(saved.settings, result), trains=True)
    recorded = checkpoint_rows(saved.state)
    stacked = int(saved.state.get("stacked") or 0)
    if stacked and isinstance(compiled := saved.state.get("compiled"), bool):
        settings = settings.with_changes({"sweep.fused": compiled})  # for the same bits
    with torch_settings(settings.machine) as device:
        job = prepare_job(settings, device)
        require_same_data(saved, job.task.data.table.digest)
        parts = replay_parts(saved, settings, trust=trust)
        callback.on_begin(job.description, epochs=len(recorded), directory=directory)
        environment = {**environment_of(device), "threads": torch.get_num_threads()}
        rows: list[MetricsRow] = []
        with users_errors(settings, "training"):
            network, best = retrain(parts, device, callback, rows, stacked=stacked > 0)
    differs_from, metrics = first_difference(recorded, rows)
    same = not differs_from and all(
        fingerprint(found) == fingerprint(saved.state[name])
        for name, found in (("network", network), ("best_network", best))
    )
    return Reproduction(
        epochs=len(recorded),
        stacked=stacked,
        devices=1 if settings.machine.shards is not None else settings.machine.devices,
        differs_from=differs_from,
        metrics=metrics,
        same=same,
        weights=weight_difference(network, saved.state["network"]),
        losses=loss_difference(recorded, rows),
        files=[*saved.skipped, *differing_files(files, saved, recorded, result, damaged=damaged)],
        environment=environment_differences({**recorded_environment(result), **saved.environment}, environment),
        messages=[
            *messages,
            *map(describe_session, sessions_of(saved.history)),
        ],
    )


def recorded_environment(result: Result | None) -> dict[str, Any]:
    return {} if result is None else dict(result.environment)


def with_threads(settings: RunSettings, result: Result | None) -> RunSettings:
    """Returns the settings with the recorded number of threads, because sums round differently with another number."""
    threads = recorded_environment(result).get("threads")
    known = settings.machine.threads is None and isinstance(threads, int) and 1 <= threads <= THREADS
    return settings.with_changes({"threads": threads}) if known else settings


def first_difference(recorded: list[MetricsRow], rows: list[MetricsRow]) -> tuple[int, list[tuple[str, float, float]]]:
    """Returns the first epoch, from 1, whose metrics differ, and those metrics; 0 if none. Ignores the seconds."""
    for number, then in enumerate(recorded, start=1):
        if number > len(rows):  # the loss was no longer finite
            return number, []
        now = rows[number - 1]
        metrics = [(name, then[name], now.get(name, math.nan)) for name in then if name != "seconds"]
        differing = [metric for metric in metrics if not same_number(metric[1], metric[2])]
        if differing or len(now) != len(then):
            return number, differing
    return 0, []


def same_number(then: float, now: float) -> bool:
    return then == now or (math.isnan(then) and math.isnan(now))


def weight_difference(values: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """Returns the largest difference between weights, relative to the largest weight in `others`."""
    scale = max((float(other.abs().max()) for other in others.values() if other.numel()), default=0.0)
    differing = [float((values[name] - other).abs().max()) for name, other in others.items() if other.numel()]
    return max(differing, default=0.0) / (scale or 1.0)


def loss_difference(recorded: list[MetricsRow], rows: list[MetricsRow]) -> float:
    """Returns the largest relative difference from a recorded loss; infinity if epochs are missing."""
    if len(rows) < len(recorded):
        return math.inf
    pairs = [
        (then[name], now.get(name, math.nan))
        for then, now in zip(recorded, rows, strict=True)
        for name in then
        if name.endswith("_loss")
    ]
    return max((abs(now - then) / max(abs(then), SMALL) for then, now in pairs), default=0.0)


def differing_files(
    directory: Path, saved: Saved, recorded: list[MetricsRow], result: Result | None, *, damaged: bool
) -> Iterator[str]:
    """Yields the ways in which the run's files contradict its checkpoint or its result.json."""
    if not (directory / METRICS).is_file():
        yield f"{METRICS} is missing"
    elif not begins_with(directory / METRICS, metrics_csv(recorded)):
        yield f"{METRICS} does not hold the rows of the checkpoint"
    beside = Checkpoints(directory / CHECKPOINTS, every=None).rows.path
    if recorded and beside.is_file() and not begins_with(beside, canonical(rows_state(recorded)["rows"]).tobytes()):
        yield f"{CHECKPOINTS}/{beside.name} does not hold the rows of the checkpoint"
    if damaged:
        yield f"{RESULT} is damaged"
    if result is None or result.epochs != len(recorded):  # the checkpoint is of another epoch than the result
        return
    for name in DIGESTED:
        digest = result.files.get(name)
        path = directory / name
        if digest and not path.is_file():
            yield f"{name} is missing"
        elif digest and digest_of(path.resolve()) != digest:
            yield f"{name} is not what the run wrote"
    if (directory / MODEL).is_file():
        try:
            if fingerprint(load_plain(directory / MODEL)) != fingerprint(saved.state["network"]):
                yield f"{MODEL} does not hold the weights of the checkpoint"
        except DamagedError as error:
            yield str(error)


def begins_with(path: Path, content: bytes) -> bool:
    """Returns whether a file begins with this content. A killed run may have rows newer than its checkpoint."""
    with machine_errors(f"cannot read {path}"), open(path, "rb") as file:
        return file.read(len(content)) == content
