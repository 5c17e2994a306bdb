"""Writes predictions.npz at the end of a run, where that is cheap."""

import logging
from pathlib import Path

import torch

from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors
from ch12cli.files.predictions.predictions_npz import PARTS, FeatureCurve, Plane, RunPredictions, to_bytes
from ch12cli.files.run_directory import PREDICTIONS
from ch12cli.run.predictions.of_rows import data_facts_of, predicted_parts
from ch12cli.run.predictions.over_features import CELLS, feature_curve_of, plane_of
from ch12cli.run.task import Task
from ch12cli.training.network import Network

log = logging.getLogger("ch12")

MOST_ROWS = 50_000  # of all parts together
MOST_OUTPUTS = 500_000  # numbers that the network gives for them
MOST_FEATURES = 100  # of a plane
MOST_PRODUCTS = 2e9  # of a network on all cells of a plane, which take a tenth of a second


def remove_predictions(directory: Path) -> None:
    """Removes the record of an earlier session, whose weights were others."""
    with machine_errors(f"cannot remove {directory / PREDICTIONS}"):
        (directory / PREDICTIONS).unlink(missing_ok=True)


def record_predictions(directory: Path, task: Task, network: Network) -> None:
    """Writes what the network predicts, for the plots and the page of the run; nothing if that is large or slow.

    A network that cannot predict on the way leaves no record, and the run is as good without one.
    """
    rows = sum(len(part.y) for name in PARTS if (part := getattr(task.data, name)) is not None)
    is_large = rows > MOST_ROWS or rows * max(1, task.classes) > MOST_OUTPUTS
    if is_large or isinstance(task.data.table.features, LazyRows):
        return
    stream = torch.get_rng_state()  # a user's module may draw from it in evaluation, too
    try:
        content = to_bytes(predictions_of(task, network))
        (directory / PREDICTIONS).write_bytes(content)  # not forced to the disk: its digest tells whether it is whole
    except Exception as error:  # of the user's network, on rows that are no rows of the data, or of a full disk
        log.info("no record of predictions: %s", error)
        remove_predictions(directory)
    finally:
        torch.set_rng_state(stream)


def predictions_of(task: Task, network: Network) -> RunPredictions:
    """Returns what the network predicts for all rows, and over features where that is cheap."""
    present = [name for name in PARTS if getattr(task.data, name) is not None]
    return RunPredictions(data_facts_of(task), predicted_parts(task, network, present), *over_features(task, network))


def over_features(task: Task, network: Network) -> tuple[Plane | None, FeatureCurve | None]:
    """Returns the plane of a classifier or the curve of a regression, if they suit the data and are cheap."""
    parameters = sum(parameter.numel() for parameter in network.module.parameters())
    if len(task.data.table.feature_names) > MOST_FEATURES or task.data.table.shape is not None:
        return None, None
    try:
        if not task.classes:
            return None, feature_curve_of(task, network, None, place="")
        if parameters * CELLS**2 > MOST_PRODUCTS:
            return None, None
        return plane_of(task, network, None, place=""), None
    except InputError:  # a single feature
        return None, None
