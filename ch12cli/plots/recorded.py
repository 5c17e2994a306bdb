"""Plots of the files written by runs and sweeps."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ch12cli.catalogue.best_setting import with_planned_seeds
from ch12cli.catalogue.comparison import are_comparable, read_compared, rows_of_runs
from ch12cli.catalogue.ensembles import no_curve
from ch12cli.catalogue.entries import tags_of
from ch12cli.catalogue.final_numbers import AT_END, with_final_numbers
from ch12cli.catalogue.formatting import count_of, short_names
from ch12cli.catalogue.front import is_search, objective_column, recorded_objectives
from ch12cli.catalogue.keys_of_settings import is_repetition
from ch12cli.catalogue.names import OUTPUTS
from ch12cli.catalogue.query import Query
from ch12cli.catalogue.summary import LEFT, fold_seeds, trained_alike, varying
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, rows_to_come, sweep_monitor
from ch12cli.errors import InputError
from ch12cli.files.compact.run_files import run_exists
from ch12cli.files.hydra_folder import is_ensemble, read_keys
from ch12cli.files.metrics_csv import minimised, read_metrics
from ch12cli.files.plan_json import is_inside
from ch12cli.files.run_directory import HYDRA, METRICS
from ch12cli.files.sweep_csv import TRAINED, SweepRow, is_sweep
from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.curves import AXIS_LABELS, PART_NAMES, EpochRows, learning_curves
from ch12cli.plots.parallel import parallel_coordinates
from ch12cli.plots.plot import SERIES, Plot
from ch12cli.plots.sweeps import Results, distribution, heatmap, history, importance, pair, results_of, slices
from ch12cli.suggest import did_you_mean

MAX_NAME = 40  # maximum characters of a line's label; if one is longer, run names are used

BY_KEY = ("heatmap", "slice", "parallel", "importance")  # kinds of plot that show keys
Setting = tuple[tuple[str, str], ...]  # (key, value) pairs


def default_kind(sweep: Path, where: str | None = None, *, by_keys: bool = False) -> str:
    """Returns the default plot kind for a sweep: of a search its history, of others by the number of keys that vary.

    where: a filter of its jobs. by_keys: a plot over keys, of a search too.
    """
    rows = read_rows_as_planned(sweep)
    rows = rows if where is None else rows_where(rows, where, sweep)
    keys = [key for key in varying(rows) if not is_repetition(key)]
    if len(keys) < 2:
        return ("distribution", "slice")[len(keys)]
    return "history" if is_search(sweep) and not by_keys else "heatmap"


class SweepChoice(NamedTuple):
    """What a plot of a sweep shows.

    metric: a column of sweep.csv, or two separated by a comma for a pair. x, y, by, facet: keys. where: a filter of the
    jobs. every: each run in place of intervals. pooled: averages over the keys that are not shown. log: whether the
    metric's axis is logarithmic; by default, if its range asks for it.
    """

    metric: str | None = None
    x: str | None = None
    y: str | None = None
    by: str | None = None
    facet: str | None = None
    where: str | None = None
    every: bool = False
    pooled: bool = False
    log: bool | None = None


EVERYTHING = SweepChoice()  # all jobs, and the default keys and metric


def sweep_plot(paths: Sequence[Path], kind: str, choice: SweepChoice = EVERYTHING) -> Plot:
    """Returns a plot of the results of a sweep's jobs, or of several runs. kind: that of `ch12 plot`."""
    rows, monitor, name, final = records_of(paths)
    if kind == "history" and is_sweep(paths[0]):
        rows = [*rows, *rows_to_come(paths[0], rows)]
    if choice.where is not None:
        rows = rows_where(rows, choice.where, paths[0])
        name += f", {choice.where}"
    if kind == "pair":
        columns = pair_of_metrics(choice.metric, paths, monitor)
        found = [row_results(rows, column, monitor, final) for column in columns]
        plot = pair(found[0], found[1], title=f"{name}: {found[1].label} against {found[0].label}", log=choice.log)
        plot.notes.extend(dict.fromkeys(meaning(column, monitor) for column in columns))
        return plot
    column = choice.metric or "objective"
    results = row_results(rows, column, monitor, final)
    x, y, by, facet = (full_key(results, name) for name in (choice.x, choice.y, choice.by, choice.facet))
    choice = choice._replace(x=x, y=y, by=by, facet=facet)
    label = results.label
    if kind == "heatmap":
        title = f"{name}: {label} by two keys"
        plot = heatmap(results, title=title, x=choice.x, y=choice.y, pooled=choice.pooled)
    elif kind == "slice":
        keys = {key: getattr(choice, key) for key in ("x", "by", "facet", "every", "pooled", "log")}
        plot = slices(results, title=f"{name}: {label} by one key", **keys)
    elif kind == "parallel":
        plot = parallel_coordinates(results, title=f"{name}: {label} by all keys", log=choice.log)
    elif kind == "history":
        plot = history(results, title=f"{name}: best {label} so far", log=choice.log)
    elif kind == "importance":
        plot = importance(results, title=f"{name}: what {label} depends on")
    else:
        title = f"{name}: {label} of {count_of(len(results.values), 'run')}"
        plot = distribution(results, title=title, log=choice.log)
    plot.notes.append(meaning(column, monitor))
    plot.notes.extend(final_note(rows) if final and kind in BY_KEY else [])
    return plot


def full_key(results: Results, name: str | None) -> str | None:
    """Returns the swept key with this last name, such as optimizer.lr for lr; the name itself if there is not one."""
    if f"{name}{AT_END}" in results.texts:
        return f"{name}{AT_END}"
    found = [key for key in results.texts if key.removesuffix(AT_END).rpartition(".")[2] == name]
    return found[0] if len(found) == 1 and name not in results.texts else name


def row_results(rows: Sequence[SweepRow], column: str, monitor: str, final: Sequence[str]) -> Results:
    """Returns the results of a column of sweep.csv. final: the keys whose values are those of the end of a run."""
    name = monitor if column == "objective" else column
    return results_of(rows, metric=column, label=column_in_words(name), minimise=minimised(name), final=final)


def final_note(rows: Sequence[SweepRow]) -> list[str]:
    """Returns which numbers of a population are shown."""
    changed = sum(bool(row.ancestry) for row in rows)
    return [f"The numbers are those at the end: they changed in {changed} of {count_of(len(rows), 'run')}."]


def meaning(column: str, monitor: str) -> str:
    """Returns which weights a column is about: those of the best epoch, or the final ones."""
    if column == "objective":
        label = column_in_words(monitor)
        return f"{label[0].upper()}{label[1:]}: that of each run's best epoch."
    if column.startswith(("train_", "valid_", "test_")):
        label = column_in_words(column)
        return f"{label[0].upper()}{label[1:]}: that of the final weights, not of the best epoch."
    return f"{column}: a column of sweep.csv."


def pair_of_metrics(metric: str | None, paths: Sequence[Path], monitor: str) -> list[str]:
    """Returns the two columns of a pair of metrics: by default, the objectives of a search.

    Raises InputError if two are not named.
    """
    objectives = [objective_column(name, monitor) for name in recorded_objectives(paths[0])][1::-1]
    names = metric.split(",") if metric else objectives or ["seconds", "objective"]
    if len(names) != 2:
        raise InputError(f"--metric {metric}: a pair needs two columns, as in --metric seconds,test_accuracy")
    return names


def rows_where(rows: Sequence[SweepRow], text: str, sweep: Path) -> list[SweepRow]:
    """Returns the rows of a sweep that a filter matches. Raises InputError for unknown names, or if none matches."""
    query = Query(text, option="--where")
    keys: list[dict[str, Any]] = [{**row.overrides, **row.values()} for row in rows]
    if any(name == "tags" for name, _, _ in query.comparisons):
        tags = [tags_of(f"{sweep}/{row.directory}") if is_inside(row.directory) else "" for row in rows]
        keys = [{**values, "tags": words} for values, words in zip(keys, tags, strict=True)]
    known = list(dict.fromkeys(name for values in keys for name in values))
    for name, _, _ in query.comparisons:
        if name not in known:
            raise InputError(f"--where {text!r}: no job has {name}{did_you_mean(name, known)}")
    found = [row for row, values in zip(rows, keys, strict=True) if query.matches(values)]
    if not found:
        none = "the only job does not match" if len(rows) == 1 else f"none of the {len(rows):,} jobs matches"
        raise InputError(f"--where {text!r}: {none}")
    return found


class Records(NamedTuple):
    """The rows of a sweep or of several runs, the monitored metric, and a name for them.

    final: the keys whose values are those with which the runs of a population ended.
    """

    rows: list[SweepRow]
    monitor: str
    name: str
    final: list[str]


def records_of(paths: Sequence[Path], *, comparable: bool = True) -> Records:
    """Returns the rows of a sweep or of several runs.

    comparable: raises InputError if the runs differ in their metric or data.
    """
    if len(paths) == 1 and is_sweep(paths[0]):
        sweep = paths[0]
        rows, final = with_final_numbers(read_rows_as_planned(sweep), lambda row: sweep / row.directory)
        return Records(rows, sweep_monitor(sweep, rows) or "valid_loss", run_name(sweep), final)
    runs = [read_compared(path) for path in paths]
    if comparable and not are_comparable(runs):
        raise InputError(f"{runs[0].name}: the runs differ in their metric or their data; plot them with --kind curve")
    monitor = str(runs[0].results.get("monitor") or "valid_loss")
    return Records(rows_of_runs(runs), monitor, count_of(len(runs), "run"), [])


def column_in_words(column: str) -> str:
    """Returns a column in words: `validation loss` for valid_loss."""
    part, _, metric = column.partition("_")
    parts = {**PART_NAMES, "test": "test"}
    if part in parts and metric:
        return f"{parts[part]} {AXIS_LABELS.get(metric, metric)}"
    return AXIS_LABELS.get(column, column)


def run_name(path: Path) -> str:
    """Returns the path of a run or a sweep without `outputs/`."""
    return escape_controls(str(path).removeprefix(f"{OUTPUTS}/"))


def subject(path: Path) -> str:
    """Returns the data set and model of a run, such as `iris, mlp`, or its name if both are unknown."""
    keys = read_keys(path / HYDRA)
    known = [str(keys[key]) for key in ("dataset", "model") if keys.get(key) is not None]
    return escape_controls(", ".join(known)) if known else run_name(path)


def sweep_curves(
    sweep: Path,
    *,
    metric: str | None = None,
    where: str | None = None,
    log: bool | None = None,
    what: str = "learning curves",
) -> Plot:
    """Returns the learning curves of a sweep: mean and band over the seeds of each combination.

    metric: columns of metrics.csv, as `learning_curves` takes them; what: they are, for the title. If there are more
    than SERIES combinations, only the best are plotted.
    """
    rows, monitor, name, final = records_of([sweep])
    if where is not None:
        rows = rows_where(rows, where, sweep)
        name += f", {where}"
    keys = [key for key in varying(rows) if not is_repetition(key)]
    rows, note = trained_alike(rows)
    found = fold_seeds(with_planned_seeds(sweep, rows), keys, minimise=minimised(monitor))
    lines: dict[Setting, list[SweepRow]] = {tuple(folded.values.items()): [] for folded in found[:SERIES]}
    for row in rows:
        line = lines.get(tuple((key, row.overrides.get(key, "")) for key in keys))
        if line is not None and is_inside(row.directory):
            line.append(row)
    plot = curves_of_lines(
        lines, lambda row: readable_metrics(sweep / row.directory), title=f"{name}: {what}", metric=metric, log=log
    )
    if len(found) > SERIES:
        first, *others = lines
        alike = [(key, value) for key, value in first if value and all((key, value) in other for other in others)]
        common = ", ".join(f"{key}={value}" for key, value in alike)
        shared = f"; all of them with {escape_controls(common)}" if common else ""
        plot.notes.append(f"The best {SERIES} of {len(found)} combinations{shared}.")
    plot.notes.extend([note] if note else [])
    plot.notes.extend(final_note(rows) if final else [])
    return plot


def run_curves(
    paths: Sequence[Path], metric: str | None, *, log: bool | None = None, what: str = "learning curves"
) -> Plot:
    """Returns the learning curves of one run or of several, labelled by their differing settings.

    metric, what: as of `sweep_curves`. Raises InputError if a path is not a directory.
    """
    for path in paths:
        if path.is_file() or not run_exists(path):
            raise InputError(f"{path}: is a file; name the directory of a run")
    if len(paths) == 1:
        if is_ensemble(read_keys(paths[0] / HYDRA)):
            raise no_curve(str(paths[0]), read_compared(paths[0]).results)
        curve = read_metrics(paths[0] / METRICS)
        return learning_curves([("", [curve])], title=f"{subject(paths[0])}: {what}", metric=metric, log=log)
    rows = records_of(paths, comparable=False).rows
    changes = [row.overrides for row in rows]
    title = f"{what[0].upper()}{what[1:]} of {len(paths)} runs"
    if len(paths) <= SERIES:
        labels = labels_of(changes)
        if len(set(labels)) < len(labels) or not all(labels) or max(map(len, labels)) > MAX_NAME:
            labels = [run_name(path) for path in paths]
        single = [(label, [read_metrics(path / METRICS)]) for label, path in zip(labels, paths, strict=True)]
        lost = [[row.diverged_at if row.status == "diverged" else None] for row in rows]
        return learning_curves(single, title=title, metric=metric, diverged=lost, log=log)
    lines: dict[Setting, list[SweepRow]] = {}  # too many: average the runs that differ only in the seed
    for row in rows:
        values = tuple((key, value) for key, value in row.overrides.items() if not is_repetition(key))
        values += ((LEFT, f"epoch {row.left_at}"),) if row.left_at is not None else ()
        lines.setdefault(values, []).append(row)
    metrics = {row.job: path / METRICS for row, path in zip(rows, paths, strict=True)}
    return curves_of_lines(lines, lambda row: read_metrics(metrics[row.job]), title=title, metric=metric, log=log)


def curves_of_lines(
    lines: Mapping[Setting, Sequence[SweepRow]], read: Callable[[SweepRow], EpochRows], *, title: str,
    metric: str | None, log: bool | None,
) -> Plot:  # fmt: skip
    """Returns the learning curves of settings, each the mean of its runs.

    Runs that were interrupted or failed count only in a line without others, as nobody knows how they would go on.
    """
    kept = [[row for row in rows if row.status in TRAINED] or rows for rows in lines.values()]
    labels = labels_of([dict(values) for values in lines])
    groups = [(label, [read(row) for row in rows]) for label, rows in zip(labels, kept, strict=True)]
    diverged = [[row.diverged_at if row.status == "diverged" else None for row in rows] for rows in kept]
    plot = learning_curves(groups, title=title, metric=metric, diverged=diverged, log=log)
    if left_out := sum(map(len, lines.values())) - sum(map(len, kept)):
        plot.notes.append(f"Left out: {count_of(left_out, 'run')} that did not end.")
    return plot


def readable_metrics(path: Path) -> list[dict[str, float]]:
    """Returns the rows of a job's metrics.csv, or none if the file is damaged.

    The other jobs are then still plotted.
    """
    try:
        return read_metrics(path / METRICS)
    except InputError:
        return []


def labels_of(changes: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns a label for each line, made of the values that differ: `lr=0.1, width=8`."""
    keys = list(dict.fromkeys(key for change in changes for key in change))
    if len(changes) > 1:
        keys = [key for key in keys if len({change.get(key, "") for change in changes}) > 1]
    names = dict(zip(keys, short_names(keys), strict=True))
    labels = (
        ", ".join(f"{name}={change[key]}" for key, name in names.items() if change.get(key)) for change in changes
    )
    return [escape_controls(label) or "all" for label in labels]
