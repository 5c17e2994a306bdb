"""Sends the metrics of a run to MLflow: to MLFLOW_TRACKING_URI, or else to the file mlflow.db for `mlflow ui`."""

import logging
import math
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.files.result_json import Result
from ch12cli.trackers.protocol import TrackedRun, epoch_metrics, final_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

DATABASE = "mlflow.db"
EXPERIMENT = "ch12"
BATCH_INTERVAL = 2.0  # seconds between two batches: each is a transaction or a request
MAX_METRICS = 1000  # metrics in one request, at most: a limit of MLflow
MAX_PARAMS = 100  # parameters in one request, at most: a limit of MLflow
MAX_PARAM_LENGTH = 500  # characters
OWN_TAGS = ("ch12.", "mlflow.runName", "mlflow.source")  # written by ch12 or MLflow itself
RUN_STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}


@lru_cache
def client(uri: str, experiment: str) -> tuple["MlflowClient", str]:
    """MLflow's client, and the id of the experiment, which is created if it does not exist."""
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # they log every table they create
        logging.getLogger(name).setLevel(logging.WARNING)
    found = MlflowClient(tracking_uri=uri)
    known = found.get_experiment_by_name(experiment)
    return found, known.experiment_id if known else found.create_experiment(experiment)


class MLflow:
    """A run in the experiment `ch12`, or in that of MLFLOW_EXPERIMENT_NAME.

    A resumed run continues its record. If its settings have changed, which MLflow does not allow in a record, a copy
    with the new settings takes the place of the record. So does the record of a run that begins anew because it was
    killed before its first checkpoint.
    """

    def __init__(self, run: TrackedRun) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / DATABASE}"
        self.client, experiment = client(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)
        directory = str(run.directory.absolute()).replace("'", "_")  # a quote would end the string in the search
        known = self.client.search_runs([experiment], f"tags.`ch12.directory` = '{directory}'")
        self.pending: list[Metric] = []
        self.last_flush = time.monotonic()
        params = {key: str(value)[:MAX_PARAM_LENGTH] for key, value in run.params.items()}
        before = known[0] if known else None
        if before is not None and run.is_new and before.info.status != "RUNNING":
            before = None  # of a run that ended, and was removed
        has_params = before is not None and all(
            before.data.params.get(key, value) == value for key, value in params.items()
        )
        if before is not None and has_params and not run.is_new:
            self.run_id = before.info.run_id
            self.client.update_run(self.run_id, status="RUNNING")
            return
        tags = {"ch12.directory": directory, "mlflow.source.name": "ch12"}
        if run.sweep is not None:
            tags["ch12.sweep"] = str(run.sweep.absolute())
        if before is not None:
            tags |= {name: text for name, text in before.data.tags.items() if not name.startswith(OWN_TAGS)}
        self.run_id = self.client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        self.set_params(params)
        if before is not None:
            self.take_place_of(before, metrics=not run.is_new)

    def set_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        pairs = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(pairs), MAX_PARAMS):
            self.client.log_batch(self.run_id, params=pairs[start : start + MAX_PARAMS])

    def take_place_of(self, before: "Run", *, metrics: bool) -> None:
        """Deletes a record, so that the run has one. metrics: whether to copy its metrics before."""
        for name in before.data.metrics if metrics else ():
            self.pending += self.client.get_metric_history(before.info.run_id, name)
        self.flush()
        self.client.delete_run(before.info.run_id)

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        self.add(epoch_metrics(row), step=int(row["epoch"]))
        if time.monotonic() - self.last_flush > BATCH_INTERVAL:
            self.flush()

    def add(self, metrics: Mapping[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 10**6
        self.pending += [Metric(name, value, now, step) for name, value in metrics.items() if math.isfinite(value)]

    def flush(self) -> None:
        for start in range(0, len(self.pending), MAX_METRICS):
            self.client.log_batch(self.run_id, metrics=self.pending[start : start + MAX_METRICS])
        self.pending, self.last_flush = [], time.monotonic()

    def on_end(self, result: Result) -> None:
        self.add(final_metrics(result), step=int(result.epochs or 0))
        self.flush()
        self.client.set_tag(self.run_id, "ch12.status", str(result.status))
        self.client.set_terminated(self.run_id, RUN_STATUS.get(result.status, "FAILED"))
