"""What a run's page shows of its network and data, from its predictions: figures, the largest errors, a summary."""

import numpy as np

from ch12cli.catalogue.formatting import count_of
from ch12cli.errors import in_list
from ch12cli.files.predictions.predictions_npz import RunPredictions
from ch12cli.plots.plot import Plot
from ch12cli.plots.predictions import PART_WORDS, boundary, chosen_parts, confusion, regression_line, residuals

MOST_ERRORS = 15  # rows of the table of errors
MOST_NAMES = 20  # features or classes that are named
DIGITS = 6


def network_figures(found: RunPredictions, name: str) -> list[Plot]:
    """Returns the confusion matrix and the boundary of a classifier, or residuals and the line of a regression."""
    figures = []
    if parts := chosen_parts(found.parts, None):
        over, title = (confusion, "confusion matrix") if found.facts.class_names else (residuals, "residuals")
        figures.append(over(parts, found.facts, title=f"{name}: {title}", place=name))
    if found.plane is not None:
        figures.append(boundary(found.plane, found.facts, title=f"{name}: boundary"))
    if found.curve is not None:
        figures.append(regression_line(found.curve, found.facts, title=f"{name}: regression line"))
    return figures


def largest_errors(found: RunPredictions) -> list[list[str]]:
    """Returns a header, and the held-out rows that the network is most wrong about, the worst first."""
    parts = chosen_parts(found.parts, None)
    if not parts:
        return []
    ((name, part),) = parts.items()
    row_number = f"row, from 0 ({PART_WORDS[name]} part)"
    if names := found.facts.class_names:
        actual = part.actual.astype(np.int64)
        wrong = np.flatnonzero(actual != part.found)
        order = wrong[np.argsort(-part.outputs[wrong, part.found[wrong]], kind="stable")][:MOST_ERRORS]
        header = [row_number, "true class", "predicted class", "probability"]
        texts = [
            [str(part.rows[n]), names[actual[n]], names[part.found[n]], f"{part.outputs[n, part.found[n]]:.4f}"]
            for n in order.tolist()
        ]
        return [header, *texts]
    true, guess = part.actual, part.outputs[:, 0]
    order = np.argsort(-np.abs(true - guess), kind="stable")[:MOST_ERRORS]
    target = found.facts.target_name
    header = [row_number, f"true {target}", f"predicted {target}", "difference"]
    values = [(true[n], guess[n], true[n] - guess[n]) for n in order.tolist()]
    lines = zip(order.tolist(), values, strict=True)
    return [header, *([str(part.rows[n]), *(f"{each:.{DIGITS}g}" for each in three)] for n, three in lines)]


def summary(found: RunPredictions) -> dict[str, str]:
    """Returns facts about a run's data by name: its rows by part, features, and classes."""
    data, parts = found.facts, found.parts
    rows = ", ".join(f"{len(part.rows):,} {PART_WORDS[name]}" for name, part in parts.items())
    facts = {"rows": f"{sum(len(part.rows) for part in parts.values()):,}: {rows}"}
    if data.shape:
        facts["pictures"] = " by ".join(map(str, data.shape[1:])) + f", {count_of(data.shape[0], 'channel')}"
    else:
        names = data.feature_names[:MOST_NAMES]
        more = f", and {data.features - len(names):,} more" if data.features > len(names) else ""
        facts["features"] = f"{data.features:,}: {', '.join(map(in_list, names))}{more}"
    values = np.concatenate([part.actual for part in parts.values()])
    if data.class_names:
        counts = np.bincount(values.astype(np.int64), minlength=len(data.class_names)).tolist()
        pairs = [f"{name} {count:,}" for name, count in zip(data.class_names, counts, strict=True)]
        more = f", and {len(pairs) - MOST_NAMES} more" if len(pairs) > MOST_NAMES else ""
        facts["classes"] = f"{', '.join(pairs[:MOST_NAMES])}{more}"
    else:
        spread = f"mean {values.mean():.4g}, from {values.min():.4g} to {values.max():.4g}"
        facts[f"target {data.target_name}"] = spread
    return facts
