"""Plots of a saved run's network: decision boundary, regression line and confusion matrix."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ch12cli.config.targets import call
from ch12cli.data.table import Floats, Table
from ch12cli.errors import InputError
from ch12cli.plots.plot import Axis, Field, Grid, Line, Lines, Plot, Values
from ch12cli.run.train import Job
from ch12cli.saved.evaluate import PARTS, evaluate_part, evaluated_parts, loaded_job, predictions
from ch12cli.suggest import did_you_mean
from ch12cli.training.metrics import predicted_classes, probabilities

CELLS = 400  # grid cells along each axis
MARGIN = 0.08  # fraction of the data's range added on each side
MAX_NAMES = 12  # maximum number of features in a message
MANY_CLASSES = 12  # from so many on, a confusion matrix leaves its zeros out
HELD_OUT = ("valid", "test")


class FeatureChoice(NamedTuple):
    """The data columns to show. Other columns are fixed at their mean over the training part."""

    columns: list[int]
    names: list[str]
    fixed: Values
    others: int


def boundary_plot(
    directory: Path, *, title: str, features: str | None, best: bool, trust: bool
) -> tuple[Plot, list[str]]:
    """Returns a plot of the predicted class over the plane of two features, and messages. Shows the rows of the data.

    features: two names separated by a comma; by default the two that separate the classes best. Raises InputError for a
    regression, images, or data with a single feature.
    """
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        return boundary_of(job, directory, title=title, features=features), messages


def boundary_of(job: Job, directory: Path, *, title: str, features: str | None) -> Plot:
    """Returns the boundary plot of a network."""
    table = job.task.data.table
    if not job.task.classes:
        raise InputError(f"{directory}: has no classes, so no boundary between them; try --kind line")
    if table.shape is not None:
        raise InputError(f"{directory}: its rows are images, and two pixels show little; try --kind confusion")
    if len(table.feature_names) < 2:
        raise InputError(f"{directory}: its data have a single feature; a boundary needs a plane of two")
    choice = choose(job, features, count=2)
    x_range, y_range = (padded_range(job.task.data.features[:, column]) for column in choice.columns)
    xs, ys = (np.linspace(low, high, CELLS) for low, high in (x_range, y_range))
    rows = np.tile(choice.fixed, (CELLS * CELLS, 1))
    rows[:, choice.columns[0]] = np.tile(xs, CELLS)
    rows[:, choice.columns[1]] = np.repeat(ys, CELLS)
    prediction = outputs(job, rows)
    shares = probabilities(prediction, output=job.task.output).cpu().numpy()
    found = predicted_classes(prediction, output=job.task.output).cpu().numpy().astype(np.int64)
    points = []
    for name in PARTS:
        part = getattr(job.task.data, name)
        if part is not None:
            positions = job.task.data.features[part.rows].astype(np.float64)
            classes = part.y.reshape(-1).astype(np.int64)
            points.append((name, positions[:, choice.columns[0]], positions[:, choice.columns[1]], classes))
    field = Field(
        axis(table, choice.names[0]),
        axis(table, choice.names[1]),
        x_range,
        y_range,
        tuple(table.class_names or ()),
        found.reshape(CELLS, CELLS),
        shares.max(1).reshape(CELLS, CELLS),
        points,
    )
    present = [name for name, *_ in points]
    held_out = " and ".join({"valid": "validation", "test": "test"}[n] for n in HELD_OUT if n in present)
    legend = [f"Rows outlined in black: the {held_out} part, which was not trained on."] if held_out else []
    notes = []
    if choice.others:
        notes.append(f"The other {choice.others} feature{'s' * (choice.others > 1)} at the training rows' mean.")
    return Plot(title, [field], notes, legend)


def line(directory: Path, *, title: str, features: str | None, best: bool, trust: bool) -> tuple[Plot, list[str]]:
    """Returns a plot of a regression's output along one feature, with the rows of the data, and messages.

    Raises InputError for a classifier.
    """
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        return regression_line(job, directory, title=title, features=features), messages


def regression_line(job: Job, directory: Path, *, title: str, features: str | None) -> Plot:
    """Returns the regression line of a network."""
    table = job.task.data.table
    if job.task.classes:
        raise InputError(f"{directory}: is a classifier, so it has no regression line; try --kind boundary")
    choice = choose(job, features, count=1)
    xs = np.linspace(*padded_range(job.task.data.features[:, choice.columns[0]]), CELLS)
    rows = np.tile(choice.fixed, (CELLS, 1))
    rows[:, choice.columns[0]] = xs
    learned, scaling = outputs(job, rows)[:, 0].cpu().double().numpy(), job.task.data.target_scaling
    lines = [Line("network", xs, learned if scaling is None else scaling.restore(learned))]
    for name in PARTS:
        part = getattr(job.task.data, name)
        if part is not None:
            positions = job.task.data.features[part.rows][:, choice.columns[0]].astype(np.float64)
            label = {"train": "training rows", "valid": "validation rows", "test": "test rows"}[name]
            lines.append(Line(label, positions, part.y.reshape(-1).astype(np.float64), joined=False))
    others = f"The other {choice.others} features at the training rows' mean."
    panel = Lines(axis(table, choice.names[0]), Axis(table.target_name), lines)
    return Plot(title, [panel], [others] if choice.others else [])


def confusion(directory: Path, *, title: str, split: str | None, best: bool, trust: bool) -> tuple[Plot, list[str]]:
    """Returns a plot of the confusion matrix on parts of the data, and messages. Raises InputError for a regression."""
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        return confusion_of_parts(job, directory, title=title, split=split), messages


def confusion_of_parts(job: Job, directory: Path, *, title: str, split: str | None) -> Plot:
    """Returns the confusion matrix of a network on parts of its data."""
    class_names = job.task.data.table.class_names
    panels: list[Grid] = []
    for name in evaluated_parts(job.task.data, split):
        part = evaluate_part(job, name)
        if part.confusion is None or class_names is None:
            raise InputError(f"{directory}: has no classes, so no confusion matrix; try --kind line")
        counts = part.confusion.astype(np.float64)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        scale = f"{ {'train': 'training', 'valid': 'validation', 'test': 'test'}[name] } part: {part.rows} rows"
        classes = class_names
        few = len(classes) <= MANY_CLASSES
        texts = [[str(count) if count or few else "" for count in row] for row in part.confusion.tolist()]
        panels.append(
            Grid(
                Axis("true class", names=classes),
                Axis("predicted class", names=classes),
                counts,
                texts,
                scale,
                shares,
                bar=("0 %", "50 %", "100 %"),
            )
        )
    return Plot(title, list(panels), [], ["Shade: share of the true class's rows."])


def choose(job: Job, features: str | None, *, count: int) -> FeatureChoice:
    """Returns the columns with the given names.

    By default: the columns that separate the classes best, or the first ones for a regression. Raises InputError for an
    unknown name or a wrong number of names.
    """
    data = job.task.data
    available = list(data.table.feature_names)
    separating = (
        [available[column] for column in most_separating(job, count)] if job.task.classes else available[:count]
    )
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


def most_separating(job: Job, count: int) -> list[int]:
    """Returns the columns with the largest Fisher ratio, in the order of the data.

    The ratio is the variance between the class means divided by the variance within the classes.
    """
    x = job.task.data.features[job.task.data.train.rows].astype(np.float64)  # (rows, features)
    classes = job.task.data.train.y.reshape(-1).astype(np.int64)  # (rows,)
    within, between = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for each in np.unique(classes):
        rows = x[classes == each]
        within += ((rows - rows.mean(0)) ** 2).sum(0)
        between += len(rows) * (rows.mean(0) - x.mean(0)) ** 2
    ratio = between / np.maximum(within, np.finfo(np.float64).tiny)
    return sorted(np.argsort(-ratio, kind="stable")[:count].tolist())


def axis(table: Table, feature: str) -> Axis:
    label = feature.replace("_", " ")
    return Axis(f"{label} ({table.unit})" if table.unit else label)


def padded_range(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = (high - low) * MARGIN or 1.0
    return low - margin, high + margin


def outputs(job: Job, rows: Values) -> torch.Tensor:
    """Returns the network's outputs for unscaled rows, (rows, outputs)."""
    scaled = job.task.data.scaling.apply(rows.astype(job.task.data.table.features.dtype))
    x = torch.from_numpy(scaled).to(job.network.dtype).to(job.device)
    given = call("model", predictions, {}, job.network, x)
    assert isinstance(given, torch.Tensor)
    return given
