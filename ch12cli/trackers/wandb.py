"""Writes the metrics of a run for Weights & Biases: files for `wandb sync`, or to its server with WANDB_MODE=online."""

import hashlib
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import wandb

from ch12cli.files.result_json import Result
from ch12cli.trackers.protocol import TrackedRun, epoch_metrics, final_metrics

PROJECT = "ch12"
SUCCEEDED = ("finished", "interrupted")
PREFIX = 12  # letters of an id that follow from the run's path


class WandB:
    """A run in the project `ch12`, or in that of WANDB_PROJECT. The jobs of a sweep are a group.

    The files are in the folder `wandb` of the run or the sweep, or in that of WANDB_DIR. A resumed run continues its
    record.
    """

    def __init__(self, run: TrackedRun) -> None:
        folder = Path(
            os.environ.get("WANDB_DIR") or run.sweep or run.directory
        ).absolute()  # wandb's process has its own
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            dir=str(folder),
            id=id_of(run, folder / "wandb"),
            name=run.name,
            group=None if run.sweep is None else run.sweep.name,
            config={**run.params, "directory": str(run.directory)},
            mode="online" if os.environ.get("WANDB_MODE") == "online" else "offline",
            resume="allow",
            reinit="create_new",  # the jobs of a stack have their runs at the same time
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_save_requirements=False,
            ),
        )

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        self.run.log(epoch_metrics(row), step=int(row["epoch"]))

    def on_end(self, result: Result) -> None:
        self.run.summary.update({**final_metrics(result), "status": result.status})
        self.run.finish(exit_code=0 if result.status in SUCCEEDED else 1)


def id_of(run: TrackedRun, folder: Path) -> str:
    """The id of a run's record: that of the record it continues, or a new one. folder: where wandb writes."""
    prefix = hashlib.sha256(str(run.directory.absolute()).encode()).hexdigest()[:PREFIX]
    known = [] if run.is_new else sorted(folder.glob(f"*run-*-{prefix}*"))
    if not known:
        return f"{prefix}{secrets.token_hex(4)}"
    began, _, name = known[-1].name.partition("run-")[2].partition("-")
    while time.strftime("%Y%m%d_%H%M%S") == began:  # wandb would write over the files of a session of this second
        time.sleep(0.1)
    return name
