"""The predictions of a saved run for its plots and its page, made again with its network and data."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.errors import InputError, MachineError
from ch12cli.files.predictions.predictions_npz import RunPredictions
from ch12cli.plots.plot import Pictures, Plot
from ch12cli.plots.predictions import PART_WORDS
from ch12cli.run.predictions.of_rows import data_facts_of, predicted_parts
from ch12cli.run.predictions.over_features import feature_curve_of, plane_of
from ch12cli.run.predictions.record import over_features
from ch12cli.saved.evaluate import evaluated_parts, loaded_job

MOST_PICTURES = 24


class Needed(NamedTuple):
    """What a plot shows. kind: of `ch12 plot`; split, features: of its options."""

    kind: str
    split: str | None = None
    features: str | None = None


def predict_again(directory: Path, needed: Needed, *, best: bool, trust: bool) -> tuple[RunPredictions, list[str]]:
    """Returns the predictions that a plot needs, and messages.

    best: of the weights of the best epoch instead of the last one. Raises InputError if the plot does not suit the run.
    """
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        task, network, place = job.task, job.network, str(directory)
        facts = data_facts_of(task)
        if needed.kind == "boundary":
            return RunPredictions(facts, plane=plane_of(task, network, needed.features, place=place)), messages
        if needed.kind == "line":
            return RunPredictions(facts, curve=feature_curve_of(task, network, needed.features, place=place)), messages
        names = evaluated_parts(task.data, needed.split)
        return RunPredictions(facts, predicted_parts(task, network, names)), messages


def predict_for_page(directory: Path) -> RunPredictions | None:
    """Returns what a run's page shows; None without a checkpoint, or with classes of somebody's own."""
    try:
        with loaded_job(directory, best=False, trust=False) as (job, _, _):
            names = evaluated_parts(job.task.data, "all")
            parts = predicted_parts(job.task, job.network, names)
            reads_all = isinstance(job.task.data.table.features, LazyRows)  # as a boundary would
            over = (None, None) if reads_all else over_features(job.task, job.network)
            return RunPredictions(data_facts_of(job.task), parts, *over)
    except (InputError, MachineError):
        return None


def pictures(directory: Path, *, title: str, split: str | None, best: bool, trust: bool) -> tuple[Plot, list[str]]:
    """Returns pictures with their predicted classes, the surest mistakes first, and messages."""
    with loaded_job(directory, best=best, trust=trust) as (job, _, messages):
        table = job.task.data.table
        if not job.task.classes or table.shape is None:
            raise InputError(f"{directory}: its rows are no pictures of classes; try --kind curve")
        names = data_facts_of(job.task).class_names
        panels, notes = list[Pictures](), list[str]()
        for name, part in predicted_parts(job.task, job.network, evaluated_parts(job.task.data, split)).items():
            found, actual, shares = part.found, part.actual.astype(np.int64), part.outputs
            wrong = np.flatnonzero(found != actual)
            surest = wrong[np.argsort(-shares[wrong, found[wrong]], kind="stable")]
            right = np.flatnonzero(found == actual)
            chosen = np.concatenate([surest, right])[:MOST_PICTURES]
            rows = getattr(job.task.data, name).rows[chosen]
            pixels = np.stack([np.asarray(table.features[row : row + 1], np.float64)[0] for row in rows.tolist()])
            captions = [
                (f"{names[found[row]]} {shares[row, found[row]]:.0%}",)
                + (() if found[row] == actual[row] else (f"is {names[actual[row]]}",))
                for row in chosen.tolist()
            ]
            is_wrong = frozenset(np.flatnonzero(found[chosen] != actual[chosen]).tolist())
            panels.append(
                Pictures(pixels.reshape(len(chosen), *table.shape), captions, is_wrong, part.rows[chosen].tolist())
            )
            notes.append(f"{PART_WORDS[name]} part: {len(wrong):,} of {len(found):,} wrong".capitalize())
        note = f"{'; '.join(notes)}. The surest mistakes come first, then pictures that are right."
        return Plot(title, list(panels), [note]), messages
