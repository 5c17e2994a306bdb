"""The pictures of `ch12 plot`, from what runs and sweeps have written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ch12cli.catalogue.names import OUTPUTS
from ch12cli.catalogue.summary import Record, fold, is_seed, overrides, varying
from ch12cli.catalogue.sweep_jobs import monitor_of, read_jobs
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.sweep_report import short_names
from ch12cli.cli.verbs.show import keys_of
from ch12cli.errors import InputError
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.objective import minimised
from ch12cli.files.run_directory import METRICS
from ch12cli.files.sweep_csv import is_sweep
from ch12cli.plots.curves import PARTS, Rows, learning_curves
from ch12cli.plots.plot import SERIES, Picture
from ch12cli.plots.sweeps import distribution, heatmap, importance, results_of, slices

NAME = 40  # characters of a run's values, beyond which its own name is shorter
TITLES = {"boundary": "decision boundary", "confusion": "confusion matrix", "line": "regression line"}
METRICS_IN_WORDS = {"r2": "R²"}

Groups = dict[tuple[tuple[str, str], ...], list[Rows]]  # the curves of the runs that have the same values of keys


def default_kind(sweep: Path) -> str:
    """What shows best what differs between the jobs of a sweep."""
    keys = [key for key in varying(read_jobs(sweep)) if not is_seed(key)]
    return ("distribution", "slice")[len(keys)] if len(keys) < 2 else "heatmap"


def of_a_sweep(
    paths: Sequence[Path], kind: str, *, metric: str | None = None, x: str | None = None, y: str | None = None
) -> Picture:
    """A heat map, slice, importance or distribution of a sweep's jobs, or of runs taken together."""
    rows, monitor, name = records(paths)
    column = metric or "objective"
    what = in_words(monitor if column == "objective" else column)
    minimise = minimised(monitor if column == "objective" else column)
    results = results_of(rows, metric=column, what=what, minimise=minimise)
    if kind == "heatmap":
        return heatmap(results, title=f"{name}: {what} by two keys", x=x, y=y)
    if kind == "slice":
        return slices(results, title=f"{name}: {what} by one key", x=x)
    if kind == "importance":
        return importance(results, title=f"{name}: what {what} depends on")
    return distribution(results, title=f"{name}: {what} of {len(results.values)} runs")


def records(paths: Sequence[Path], *, apart: bool = True) -> tuple[list[Record], str, str]:
    """The rows of a sweep, or of runs as if they were one, what its objective is, and its name.

    apart: InputError for runs whose objectives have nothing to do with each other.
    """
    if len(paths) == 1 and is_sweep(paths[0]):
        rows: list[Record] = list(read_jobs(paths[0]))
        return rows, monitor_of(paths[0], rows) or "valid_loss", name_of(paths[0])
    from ch12cli.catalogue.comparison import alike, as_records
    from ch12cli.cli.verbs.compare import compared

    runs = [compared(path) for path in paths]
    if apart and not alike(runs):
        raise InputError(
            f"{runs[0].name}: and the others are not of one metric on the same data; draw them by --kind curve"
        )
    return as_records(runs), str(runs[0].results.get("monitor") or "valid_loss"), f"{len(runs)} runs"


def in_words(column: str) -> str:
    """A column as people call it: validation loss, test accuracy."""
    part, _, metric = column.partition("_")
    words = {**PARTS, "test": "test"}
    return f"{words[part]} {METRICS_IN_WORDS.get(metric, metric)}" if part in words and metric else column


def name_of(path: Path) -> str:
    return printable(str(path).removeprefix(f"{OUTPUTS}/"))


def subject(path: Path) -> str:
    """What a run was trained on and what it is: iris, mlp; its name if that is not known."""
    keys = keys_of(path)
    known = [str(keys[key]) for key in ("dataset", "model") if keys.get(key) not in (None, "null")]
    return printable(", ".join(known)) if known else name_of(path)


def of_a_run(path: Path, kind: str, options: Any) -> tuple[Picture, list[str]]:
    """A boundary, a confusion matrix or a regression line, for which the run's network is made again."""
    from ch12cli.saved import model_plots as plane

    title = f"{subject(path)}: {TITLES[kind]}"
    best, trust = options.checkpoint == "best", options.trust
    if kind == "confusion":
        return plane.confusion(path, title=title, split=options.split, best=best, trust=trust)
    draw = plane.boundary if kind == "boundary" else plane.line
    return draw(path, title=title, features=options.features, best=best, trust=trust)


def curves(sweep: Path, *, metric: str | None = None) -> Picture:
    """The learning curves of a sweep: of each combination the mean and band of its seeds, the best ones if many."""
    rows, monitor, name = records([sweep])
    keys = [key for key in varying(rows) if not is_seed(key)]
    found = fold(rows, keys, minimise=minimised(monitor))
    groups: Groups = {tuple(folded.values.items()): [] for folded in found[:SERIES]}
    for row in rows:
        values = overrides(row)
        group = groups.get(tuple((key, values.get(key, "")) for key in keys))
        place = Path(row.get("directory") or row["job"])
        if group is not None and not place.is_absolute() and ".." not in place.parts:
            group.append(whole(sweep / place))
    picture = learning_curves(named(groups), title=f"{name}: learning curves", metric=metric)
    if len(found) > SERIES:
        first, *others = groups
        common = ", ".join(f"{key}={value}" for key, value in first if all((key, value) in group for group in others))
        alike = f"; all of these with {printable(common)}" if common else ""
        picture.notes.append(f"The best {SERIES} of {len(found)} combinations{alike}.")
    return picture


def curves_of_runs(paths: Sequence[Path], metric: str | None) -> Picture:
    """The learning curves of one run, or of several, each under what tells it from the others."""
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: is a file; give the directory of a run")
    if len(paths) == 1:
        curve = read_metrics(paths[0] / METRICS)
        return learning_curves([("", [curve])], title=f"{subject(paths[0])}: learning curves", metric=metric)
    rows, _, _ = records(paths, apart=False)
    changes = [overrides(row) for row in rows]
    title = f"Learning curves of {len(paths)} runs"
    if len(paths) <= SERIES:
        texts = labels_of(changes)
        if len(set(texts)) < len(texts) or not all(texts) or max(map(len, texts)) > NAME:
            texts = [name_of(path) for path in paths]
        alone = [(text, [read_metrics(path / METRICS)]) for text, path in zip(texts, paths, strict=True)]
        return learning_curves(alone, title=title, metric=metric)
    groups: Groups = {}
    for change, path in zip(
        changes, paths, strict=True
    ):  # too many to tell apart: what differs in the seed alone is one
        values = tuple((key, value) for key, value in change.items() if not is_seed(key))
        groups.setdefault(values, []).append(read_metrics(path / METRICS))
    return learning_curves(named(groups), title=title, metric=metric)


def named(groups: Groups) -> list[tuple[str, list[Rows]]]:
    """The runs of each line with what it is called."""
    return list(zip(labels_of([dict(values) for values in groups]), groups.values(), strict=True))


def whole(path: Path) -> list[dict[str, float]]:
    """The rows of a job's metrics.csv; none if they are damaged: the picture is of the others."""
    try:
        return read_metrics(path / METRICS)
    except InputError:
        return []


def labels_of(changes: Sequence[Mapping[str, str]]) -> list[str]:
    """What each line is called: the values in which it differs from another one, as lr=0.1, width=8."""
    keys = list(dict.fromkeys(key for change in changes for key in change))
    differing = [key for key in keys if len({change.get(key, "") for change in changes}) > 1]
    names = short_names(differing if len(changes) > 1 else keys)
    shown = dict(zip(differing if len(changes) > 1 else keys, names, strict=True))
    texts = (", ".join(f"{name}={change[key]}" for key, name in shown.items() if change.get(key)) for change in changes)
    return [printable(text) or "all" for text in texts]
