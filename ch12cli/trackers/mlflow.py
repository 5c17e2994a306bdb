"""A run's figures in MLflow: at MLFLOW_TRACKING_URI, else in the file mlflow.db, which `mlflow ui` reads."""

import logging
import math
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.files.result_json import Result
from ch12cli.trackers.tracker import Tracked, outcome, scalars

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

LOCAL = "mlflow.db"
EXPERIMENT = "ch12"
EVERY = 2.0  # seconds between two batches: each is a transaction, or a request
BATCH = 1000  # metrics at a time, at most; so says MLflow's interface
PARAMS = 100
LONGEST = 500  # characters of a parameter
STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}


@lru_cache
def client(uri: str, experiment: str) -> tuple["MlflowClient", str]:
    """MLflow's client, and the number of the experiment, which is made if there is none of that name."""
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # which tell of every table they make
        logging.getLogger(name).setLevel(logging.WARNING)
    found = MlflowClient(tracking_uri=uri)
    known = found.get_experiment_by_name(experiment)
    return found, known.experiment_id if known else found.create_experiment(experiment)


class MLflow:
    """A run under the experiment `ch12`, or that of MLFLOW_EXPERIMENT_NAME; one that goes on is taken up again."""

    def __init__(self, tracked: Tracked) -> None:
        from mlflow.entities import Param

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / LOCAL}"
        self.client, experiment = client(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)
        directory = str(tracked.directory.absolute()).replace("'", "_")  # which would end the text in the search
        known = self.client.search_runs([experiment], f"tags.`ch12.directory` = '{directory}'")
        self.waiting: list[Metric] = []
        self.written = time.monotonic()
        if known:
            self.run = known[0].info.run_id
            self.client.update_run(self.run, status="RUNNING")
            return
        tags = {"ch12.directory": directory, "mlflow.source.name": "ch12"}
        if tracked.sweep is not None:
            tags["ch12.sweep"] = str(tracked.sweep.absolute())
        self.run = self.client.create_run(experiment, run_name=tracked.name, tags=tags).info.run_id
        params = [Param(key, str(value)[:LONGEST]) for key, value in tracked.params.items()]
        for start in range(0, len(params), PARAMS):
            self.client.log_batch(self.run, params=params[start : start + PARAMS])

    def epoch(self, row: Mapping[str, float | int]) -> None:
        self.add(scalars(row), step=int(row["epoch"]))
        if time.monotonic() - self.written > EVERY:
            self.flush()

    def add(self, figures: Mapping[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 10**6
        self.waiting += [Metric(name, value, now, step) for name, value in figures.items() if math.isfinite(value)]

    def flush(self) -> None:
        for start in range(0, len(self.waiting), BATCH):
            self.client.log_batch(self.run, metrics=self.waiting[start : start + BATCH])
        self.waiting, self.written = [], time.monotonic()

    def end(self, result: Result) -> None:
        self.add(outcome(result), step=int(result.epochs or 0))
        self.flush()
        self.client.set_tag(self.run, "ch12.status", str(result.status))
        self.client.set_terminated(self.run, STATUS.get(result.status, "FAILED"))
