"""What a run's page shows of its network and data, from loading them once: figures, the largest errors, a summary."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.errors import InputError, MachineError
from ch12cli.plots.plot import Plot
from ch12cli.run.train import Job
from ch12cli.saved.evaluate import PARTS, evaluated_parts, loaded_job
from ch12cli.saved.model_plots import boundary_of, confusion_of_parts, regression_line
from ch12cli.saved.prediction_plots import PART_WORDS, class_shares, outputs_of_part

MOST_ERRORS = 15  # rows of the table of errors
MOST_NAMES = 20  # features or classes that are named
DIGITS = 6


class RunFigures(NamedTuple):
    """figures of the network. errors: a header, and the rows that the network gets most wrong; data: facts by name."""

    figures: list[Plot]
    errors: list[list[str]]
    data: dict[str, str]


def run_figures(directory: Path, name: str) -> RunFigures:
    """Returns what can be shown of a run: nothing without a checkpoint, or with classes of somebody's own."""
    try:
        with loaded_job(directory, best=False, trust=False) as (job, _, _):
            return RunFigures(figures_of(job, directory, name), largest_errors(job), summary_of(job))
    except (InputError, MachineError):
        return RunFigures([], [], {})


def figures_of(job: Job, directory: Path, name: str) -> list[Plot]:
    """Returns the confusion matrix and the boundary of a classifier, or the line of a regression, if they suit it."""
    makers: list[Callable[[], Plot]] = []
    if job.task.classes:
        makers.append(partial(confusion_of_parts, job, directory, title=f"{name}: confusion matrix", split=None))
    if not isinstance(job.task.data.table.features, LazyRows):  # these read all rows
        over, title = (boundary_of, "boundary") if job.task.classes else (regression_line, "regression line")
        makers.append(partial(over, job, directory, title=f"{name}: {title}", features=None))
    found = []
    for make in makers:
        try:
            found.append(make())
        except InputError:  # images, or a single feature
            continue
    return found


def largest_errors(job: Job) -> list[list[str]]:
    """Returns a header, and the held-out rows that the network is most wrong about, the worst first."""
    (part,) = evaluated_parts(job.task.data, None)
    rows = getattr(job.task.data, part).rows
    if job.task.classes:
        (found,) = class_shares(job, None)
        shares = found.shares if found.shares.shape[1] > 1 else np.column_stack([1 - found.shares, found.shares])
        actual, predicted = found.y.astype(np.int64), shares.argmax(1)
        wrong = np.flatnonzero(actual != predicted)
        order = wrong[np.argsort(-shares[wrong, predicted[wrong]], kind="stable")][:MOST_ERRORS]
        names = job.task.data.table.class_names or tuple(map(str, range(job.task.classes)))
        header = [f"row, from 0 ({PART_WORDS[part]} part)", "true class", "predicted class", "probability"]
        texts = [
            [str(rows[n]), names[actual[n]], names[predicted[n]], f"{shares[n, predicted[n]]:.4f}"]
            for n in order.tolist()
        ]
        return [header, *texts]
    learned, scaling = outputs_of_part(job, part)[:, 0].cpu().double().numpy(), job.task.data.target_scaling
    guess = learned if scaling is None else np.asarray(scaling.restore(learned), np.float64)
    true = getattr(job.task.data, part).y.reshape(-1).astype(np.float64)
    order = np.argsort(-np.abs(true - guess), kind="stable")[:MOST_ERRORS]
    target = job.task.data.table.target_name
    header = [f"row, from 0 ({PART_WORDS[part]} part)", f"true {target}", f"predicted {target}", "difference"]
    values = [(true[n], guess[n], true[n] - guess[n]) for n in order.tolist()]
    texts = [[str(rows[n]), *(f"{each:.{DIGITS}g}" for each in v)] for n, v in zip(order.tolist(), values, strict=True)]
    return [header, *texts]


def summary_of(job: Job) -> dict[str, str]:
    """Returns facts about a run's data by name: its rows by part, features, and classes."""
    table = job.task.data.table
    parts = {name: part for name in PARTS if (part := getattr(job.task.data, name)) is not None}
    rows = ", ".join(f"{len(part.y):,} {PART_WORDS[name]}" for name, part in parts.items())
    facts = {"rows": f"{sum(len(part.y) for part in parts.values()):,}: {rows}"}
    if table.shape is None:
        names = list(table.feature_names)
        more = f", and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
        facts["features"] = f"{len(names):,}: {', '.join(names[:MOST_NAMES])}{more}"
    else:
        facts["pictures"] = " by ".join(map(str, table.shape[1:])) + f", {table.shape[0]} channels"
    if job.task.classes:
        names = list(table.class_names or map(str, range(job.task.classes)))
        counts = sum(np.bincount(part.y.reshape(-1).astype(np.int64), minlength=len(names)) for part in parts.values())
        pairs = [f"{name} {count:,}" for name, count in zip(names, np.asarray(counts).tolist(), strict=True)]
        more = f", and {len(pairs) - MOST_NAMES} more" if len(pairs) > MOST_NAMES else ""
        facts["classes"] = f"{', '.join(pairs[:MOST_NAMES])}{more}"
    else:
        values = np.concatenate([part.y.reshape(-1).astype(np.float64) for part in parts.values()])
        spread = f"mean {values.mean():.4g}, from {values.min():.4g} to {values.max():.4g}"
        facts[f"target {table.target_name}"] = spread
    return facts
