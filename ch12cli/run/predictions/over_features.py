"""What a network predicts over the plane of two features, or along one, with the other features at their mean."""

from typing import NamedTuple

import numpy as np
import torch

from ch12cli.config.targets import call
from ch12cli.data.table import Floats
from ch12cli.errors import InputError
from ch12cli.files.predictions.predictions_npz import PARTS, FeatureCurve, Plane, PlanePoints, Values
from ch12cli.run.predictions.of_rows import predictions
from ch12cli.run.task import Task
from ch12cli.suggest import did_you_mean
from ch12cli.training.metrics import predicted_classes, probabilities
from ch12cli.training.network import Network

CELLS = 300  # grid cells along each axis
MARGIN = 0.08  # fraction of the data's range added on each side
MAX_NAMES = 12  # maximum number of features in a message
AT_ONCE = 2**22  # features of the rows of the grid that are held at once


class FeatureChoice(NamedTuple):
    """The data columns to show. Other columns are fixed at their mean over the training part."""

    columns: list[int]
    names: list[str]
    fixed: Values
    others: int


def plane_of(task: Task, network: Network, features: str | None, *, place: str) -> Plane:
    """Returns the predicted class over the plane of two features.

    features: two names separated by a comma; by default the two that separate the classes best. place: of the run, for
    messages. Raises InputError for a regression, images, or data with a single feature.
    """
    table = task.data.table
    if not task.classes:
        raise InputError(f"{place}: has no classes, so no boundary between them; try --kind line")
    if table.shape is not None:
        raise InputError(f"{place}: its rows are images, and two pixels show little; try --kind confusion")
    if len(table.feature_names) < 2:
        raise InputError(f"{place}: its data have a single feature; a boundary needs a plane of two")
    choice = choose(task, features, count=2)
    x_range, y_range = (padded_range(task.data.features[:, column]) for column in choice.columns)
    xs, ys = (np.linspace(low, high, CELLS) for low, high in (x_range, y_range))
    found, sure = [], []
    step = max(1, AT_ONCE // (CELLS * len(choice.fixed)))
    for start in range(0, CELLS, step):
        some = ys[start : start + step]
        rows = np.tile(choice.fixed, (CELLS * len(some), 1))
        rows[:, choice.columns[0]] = np.tile(xs, len(some))
        rows[:, choice.columns[1]] = np.repeat(some, CELLS)
        prediction = outputs_of_rows(task, network, rows)
        sure.append(probabilities(prediction, output=task.output).cpu().numpy().max(1))
        found.append(predicted_classes(prediction, output=task.output).cpu().numpy().astype(np.int64))
    points = []
    for name in PARTS:
        part = getattr(task.data, name)
        if part is not None:
            positions = task.data.features[part.rows].astype(np.float64)
            first, second = (positions[:, column] for column in choice.columns)
            classes = part.y.reshape(-1).astype(np.int64)
            points.append(PlanePoints(name, first, second, classes))
    return Plane(
        (choice.names[0], choice.names[1]),
        x_range,
        y_range,
        np.concatenate(found).reshape(CELLS, CELLS),
        np.concatenate(sure).reshape(CELLS, CELLS),
        tuple(points),
        choice.others,
    )


def feature_curve_of(task: Task, network: Network, features: str | None, *, place: str) -> FeatureCurve:
    """Returns the predicted value along one feature. place: of the run, for messages.

    Raises InputError for a classifier.
    """
    if task.classes:
        raise InputError(f"{place}: is a classifier, so it has no regression line; try --kind boundary")
    choice = choose(task, features, count=1)
    xs = np.linspace(*padded_range(task.data.features[:, choice.columns[0]]), CELLS)
    rows = np.tile(choice.fixed, (CELLS, 1))
    rows[:, choice.columns[0]] = xs
    learned, scaling = outputs_of_rows(task, network, rows)[:, 0].cpu().double().numpy(), task.data.target_scaling
    points = []
    for name in PARTS:
        part = getattr(task.data, name)
        if part is not None:
            positions = task.data.features[part.rows][:, choice.columns[0]].astype(np.float64)
            points.append(PlanePoints(name, positions, part.y.reshape(-1).astype(np.float64), np.zeros(0, np.int64)))
    ys = learned if scaling is None else np.asarray(scaling.restore(learned), np.float64)
    return FeatureCurve(choice.names[0], xs, ys, tuple(points), choice.others)


def choose(task: Task, features: str | None, *, count: int) -> FeatureChoice:
    """Returns the columns with the given names.

    By default: the columns that separate the classes best, or the first ones for a regression. Raises InputError for an
    unknown name or a wrong number of names.
    """
    data = task.data
    available = list(data.table.feature_names)
    separating = [available[column] for column in most_separating(task, count)] if task.classes else available[:count]
    names = [name.strip() for name in features.split(",")] if features else separating
    for name in names:
        if name not in available:
            raise InputError(
                f"--features {name}: the data have {', '.join(available[:MAX_NAMES])}{did_you_mean(name, available)}"
            )
    if len(names) != count or len(set(names)) < count:
        example = ",".join(available[:count])
        raise InputError(f"--features {features}: must be {count} of the features, as in --features '{example}'")
    fixed = data.features[data.train.rows].mean(0, dtype=np.float64)
    return FeatureChoice([available.index(name) for name in names], names, fixed, len(available) - count)


def most_separating(task: Task, count: int) -> list[int]:
    """Returns the columns with the largest Fisher ratio, in the order of the data.

    The ratio is the variance between the class means divided by the variance within the classes.
    """
    x = task.data.features[task.data.train.rows].astype(np.float64)  # (rows, features)
    classes = task.data.train.y.reshape(-1).astype(np.int64)  # (rows,)
    within, between = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):  # where a feature decides the class, and of huge values
        for each in np.unique(classes):
            rows = x[classes == each]
            within += ((rows - rows.mean(0)) ** 2).sum(0)
            between += len(rows) * (rows.mean(0) - x.mean(0)) ** 2
        ratio = between / np.maximum(within, np.finfo(np.float64).tiny)
    return sorted(np.argsort(-ratio, kind="stable")[:count].tolist())


def padded_range(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = (high - low) * MARGIN or 1.0
    return low - margin, high + margin


def outputs_of_rows(task: Task, network: Network, rows: Values) -> torch.Tensor:
    """Returns the network's outputs for unscaled rows, (rows, outputs)."""
    scaled = task.data.scaling.apply(rows.astype(task.data.table.features.dtype))
    x = torch.from_numpy(scaled).to(network.dtype).to(network.device)
    given = call("model", predictions, {}, network, x)
    assert isinstance(given, torch.Tensor)
    return given
