"""What a network predicts for the rows of its data, as numpy values that need no torch."""

from collections.abc import Iterable

import numpy as np
import torch

from ch12cli.files.predictions.predictions_npz import DataFacts, PredictedPart
from ch12cli.run.task import Task, tensors
from ch12cli.training.loop import EVALUATED
from ch12cli.training.metrics import predicted_classes, probabilities
from ch12cli.training.network import Network

MOST_FEATURES = 20  # features that are named


@torch.no_grad()
def predictions(network: Network, x: torch.Tensor) -> torch.Tensor:
    """Returns the network's outputs in evaluation mode, (rows, outputs). x: (rows, features)."""
    network.train(False)
    rows = max(1, EVALUATED // max(1, x.shape[1]))
    prediction = torch.cat([network(block) for block in x.split(rows)])
    network.train(True)
    return prediction


def outputs_of_part(task: Task, network: Network, name: str) -> torch.Tensor:
    """Returns the network's outputs for the rows of a part, (rows, outputs)."""
    part = tensors(getattr(task.data, name), task, dtype=network.dtype, device=network.device)
    rows = max(1, EVALUATED // max(1, part.values))
    return torch.cat([predictions(network, x) for x, _ in part.blocks(rows, runs=None)])


def predicted_part(task: Task, network: Network, name: str) -> PredictedPart:
    """Returns the predictions of a part: probabilities of classes, or values in the units of the data."""
    part, given = getattr(task.data, name), outputs_of_part(task, network, name)
    actual, rows = part.y.reshape(-1).astype(np.float64), task.data.table.numbers_of(part.rows)
    if task.classes:
        found = predicted_classes(given, output=task.output).cpu().numpy().astype(np.int64)
        return PredictedPart(rows, actual, probabilities(given, output=task.output).cpu().numpy(), found)
    learned, scaling = given[:, :1].cpu().double().numpy(), task.data.target_scaling
    values = learned if scaling is None else np.asarray(scaling.restore(learned), np.float64)
    return PredictedPart(rows, actual, values, np.zeros(0, np.int64))


def predicted_parts(task: Task, network: Network, names: Iterable[str]) -> dict[str, PredictedPart]:
    """Returns the predictions of parts by name."""
    return {name: predicted_part(task, network, name) for name in names}


def data_facts_of(task: Task) -> DataFacts:
    """Returns what the data of a run are, for its plots."""
    table = task.data.table
    features = () if table.shape else tuple(table.feature_names[:MOST_FEATURES])
    names = tuple(table.class_names or map(str, range(task.classes)))
    return DataFacts(
        names, features, len(table.feature_names), table.target_name, table.unit or "", tuple(table.shape or ())
    )
