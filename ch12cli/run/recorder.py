"""Builds the record of a run, single or stacked: its result, its metrics rows and its checkpoint metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ch12cli.config.run_settings import RunSettings
from ch12cli.data.columns import columns_as_plain
from ch12cli.errors import InputError
from ch12cli.files.metrics_csv import to_csv
from ch12cli.files.result_json import Result
from ch12cli.run.sessions import environment_of
from ch12cli.run.task import Task
from ch12cli.training.loop import Epoch

MetricsRow = dict[str, float | int]


@dataclass(frozen=True)
class Ending:
    """How a run's epochs ended. The fields are those of result.json; `signal` is the signal that interrupted it."""

    status: str
    left_at: int | None = None
    stopped_at: int | None = None
    diverged_at: int | None = None
    diverged_step: int | None = None
    signal: int | None = None


def result_of(
    task: Task,
    ending: Ending,
    *,
    rows: Sequence[MetricsRow],
    best_epoch: int,
    test: Mapping[str, float] | None,
    parameters: int,
    stacked: int,
    history: Mapping[str, Any],
    seconds: float,
    device: torch.device,
) -> Result:
    """Returns the result of a run.

    `best_epoch` is 0 if no epoch was finished. `stacked` is the number of runs in its stack, 0 for a single run.
    """
    best = rows[best_epoch - 1] if best_epoch else None
    return Result(
        status=ending.status,
        epochs=len(rows),
        final=rows[-1] if rows else None,
        best=best,
        test=test,
        monitor=task.monitor,
        objective=best[task.monitor] if best else None,
        parameters=parameters,
        left_at=ending.left_at,
        stopped_at=ending.stopped_at,
        diverged_at=ending.diverged_at,
        diverged_step=ending.diverged_step,
        stacked=stacked,
        history=history,
        seconds=seconds,
        data={"source": task.data.table.source, "digest": task.data.table.digest},
        environment={**environment_of(device), "threads": torch.get_num_threads()},
    )


def run_state(settings: RunSettings, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings and metadata that every checkpoint holds, for resuming and evaluating the run."""
    return {"settings": json.dumps(settings.config), "chosen": json.dumps(dict(settings.choices)), **metadata}


def run_metadata(task: Task, device: torch.device) -> dict[str, Any]:
    """Returns the part of `run_state` that the runs of a stack share: environment and data."""
    return {"environment": json.dumps(environment_of(device)), **data_state(task)}


def metrics_row(epoch: Epoch, run: int = 0) -> MetricsRow:
    """Returns the row of metrics.csv for an epoch."""
    return {"epoch": epoch.number, **{name: float(values[run]) for name, values in epoch.columns.items()}}


def rows_state(rows: Sequence[MetricsRow]) -> dict[str, Any]:
    """Returns the rows of metrics.csv in the form that a checkpoint stores."""
    columns = list(rows[0]) if rows else []
    return {
        "columns": columns,
        "rows": torch.tensor([[float(row[name]) for name in columns] for row in rows], dtype=torch.float64),
    }


def checkpoint_rows(state: Mapping[str, Any]) -> list[MetricsRow]:
    """Returns the rows of metrics.csv that belong to a checkpoint. Raises InputError if they are damaged."""
    if state["rows"] is None:
        raise InputError(
            "metrics.csv and the rows beside its checkpoints are damaged or missing, so that the run cannot go on; "
            "bring one of them back, or train it again"
        )
    rows = [dict(zip(state["columns"], values, strict=True)) for values in state["rows"].tolist()]
    return [{name: int(value) if name == "epoch" else value for name, value in row.items()} for row in rows]


def data_state(task: Task) -> dict[str, Any]:
    """Returns what evaluation and prediction need to know about the training data."""
    table, scaling = task.data.table, task.data.scaling
    return {
        "feature_names": list(table.feature_names),
        "feature_type": str(table.features.dtype),
        "encoding": None if table.columns is None else columns_as_plain(table.columns),
        "shape": None if table.shape is None else list(table.shape),
        "class_names": None if table.class_names is None else list(table.class_names),
        "target_name": table.target_name,
        "data_digest": table.digest,
        "scaling": scaling.as_plain(),
        "target_scaling": None if task.data.target_scaling is None else asdict(task.data.target_scaling),
    }


def metrics_csv(rows: Sequence[MetricsRow]) -> bytes:
    """Returns the content of metrics.csv."""
    return to_csv(list(rows[0]) if rows else [], (list(row.values()) for row in rows))
