"""`ch12 eval`: metrics of a saved run on parts of its data, in total and per class."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ch12cli.data.prepared import Prepared
from ch12cli.data.text_file import count_with_noun
from ch12cli.errors import InputError
from ch12cli.files.predictions.predictions_npz import PARTS
from ch12cli.run.predictions.of_rows import predictions
from ch12cli.run.task import tensors
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import Job, prepare_job
from ch12cli.run.users_errors import users_errors
from ch12cli.saved.load import read_saved, require_same_data
from ch12cli.saved.network import on_this_machine
from ch12cli.training.checkpoint import checkpoint_must_fit
from ch12cli.training.loop import EVALUATED
from ch12cli.training.losses import target_of
from ch12cli.training.metrics import predicted_classes

Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PartMetrics:
    """Metrics on one part of the data.

    metrics: loss and the metrics of the task; confusion: counts, (true class, predicted class), or None for regression.
    undefined: rows whose prediction is NaN, which have no class. If there are any, metrics are NaN and confusion None.
    """

    rows: int
    metrics: dict[str, float]
    confusion: Counts | None
    undefined: int = 0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics by part. epoch: the epoch that the weights come from; messages: warnings for the user."""

    epoch: int
    class_names: tuple[str, ...] | None
    parts: dict[str, PartMetrics]
    messages: list[str]


class LoadedJob(NamedTuple):
    """A saved run with its data and weights. epoch: of the weights; messages: warnings for the user."""

    job: Job
    epoch: int
    messages: list[str]


@contextmanager
def loaded_job(directory: Path, *, best: bool, trust: bool) -> Iterator[LoadedJob]:
    """Yields a saved run with its data and weights, under the run's settings of torch.

    best: the weights are those of the best epoch instead of the last one. Raises InputError if the data have changed
    since training.
    """
    saved = read_saved(directory, best=best, trust=trust)
    settings, messages = on_this_machine(saved.settings)
    with torch_settings(settings.machine) as device:
        job = prepare_job(settings, device)
        require_same_data(saved, job.task.data.table.digest)
        with checkpoint_must_fit(str(directory)):
            job.network.restore(saved.state["network"])
        skipped = [f"skipped: {message}" for message in saved.skipped]
        with users_errors(settings, "evaluating"):
            yield LoadedJob(job, saved.state["epoch"], [*skipped, *messages])


def evaluate(directory: Path, *, split: str | None = None, best: bool = False, trust: bool = False) -> Evaluation:
    """Returns the metrics of a saved run.

    split: a part, "all" for every part, None for the test part, else validation, else training. best: use the weights
    of the best epoch instead of the last one. Raises InputError if the data have no such part or have changed since
    training.
    """
    with loaded_job(directory, best=best, trust=trust) as (job, epoch, messages):
        data = job.task.data
        parts = {name: evaluate_part(job, name) for name in evaluated_parts(data, split)}
        notes = [f"{name}: {undefined_note(part)}" for name, part in parts.items() if part.undefined]
        return Evaluation(epoch, data.table.class_names, parts, [*messages, *notes])


def undefined_note(part: PartMetrics) -> str:
    rows = count_with_noun(part.rows, "row")
    return f"the network's outputs are not numbers (NaN) for {part.undefined} of {rows}, which have no predicted class"


def evaluated_parts(data: Prepared, split: str | None) -> list[str]:
    """Returns the names of the parts to evaluate on. Raises InputError if the data set lacks the part."""
    present = [name for name in PARTS if getattr(data, name) is not None]
    if split is None:
        return [present[-1]]
    if split == "all":
        return present
    if split not in present:
        raise InputError(f"split {split}: the run's data have no such part; they have {', '.join(present)}")
    return [split]


def evaluate_part(job: Job, name: str) -> PartMetrics:
    part = tensors(getattr(job.task.data, name), job.task, dtype=job.network.dtype, device=job.device)
    metrics = {metric: float(value[0]) for metric, value in job.training.evaluate(part).items()}
    confusion, undefined = None, 0
    if job.task.classes:
        rows, classes = max(1, EVALUATED // max(1, part.values)), job.task.classes
        confusion = np.zeros((classes, classes), np.int64)
        for x, y in part.blocks(rows, runs=None):
            outputs = predictions(job.network, x)
            undefined += int(outputs.isnan().any(1).sum())
            found = predicted_classes(outputs, output=job.task.output).cpu().numpy()
            actual = target_of(job.task.loss, y).reshape(-1).long().cpu().numpy()
            confusion += confusion_of(actual, found, classes=classes)
    if undefined:  # the largest of NaN would be the first class
        return PartMetrics(len(part), dict.fromkeys(metrics, math.nan), None, undefined)
    return PartMetrics(len(part), metrics, confusion)


def confusion_of(actual: Counts, found: Counts, *, classes: int) -> Counts:
    """Returns the confusion matrix, (classes, classes): row = true class, column = predicted class."""
    return np.bincount(actual * classes + found, minlength=classes**2).reshape(classes, classes)


def metrics_by_class(confusion: Counts) -> list[Mapping[str, float | int | None]]:
    """Returns precision, recall, f1 and support per class. A metric is None if its denominator is 0."""
    right, support, found = np.diag(confusion), confusion.sum(1), confusion.sum(0)

    def share(part: int, total: int) -> float | None:
        return part / total if total else None

    return [
        {
            "precision": share(int(right[c]), int(found[c])),
            "recall": share(int(right[c]), int(support[c])),
            "f1": share(2 * int(right[c]), int(found[c] + support[c])),
            "support": int(support[c]),
        }
        for c in range(len(confusion))
    ]
