"""The contents of `ch12 report`'s page, from the files of a run or a sweep."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ch12cli.catalogue.best_setting import best_setting, with_planned_seeds
from ch12cli.catalogue.comparison import read_compared
from ch12cli.catalogue.damage import read_or_note
from ch12cli.catalogue.entries import Entry
from ch12cli.catalogue.final_numbers import AT_END
from ch12cli.catalogue.formatting import (
    count_of,
    format_failures,
    format_interval,
    format_seconds,
    metric_label,
    other_metrics,
    result_rows,
)
from ch12cli.catalogue.front import is_search, recorded_objectives
from ch12cli.catalogue.keys_of_settings import is_repetition, repetitions_in_words
from ch12cli.catalogue.summary import Folded, failures, fold_alike, varying
from ch12cli.errors import InputError
from ch12cli.files.command import commands_of
from ch12cli.files.compact.run_files import recorded_job
from ch12cli.files.hydra_folder import NAMES_A_KEY, is_ensemble, read_keys
from ch12cli.files.metrics_csv import SEVERAL, minimised, read_metrics
from ch12cli.files.plan_json import is_inside
from ch12cli.files.result_json import Result, describe_ending, read_result
from ch12cli.files.run_directory import HYDRA, METRICS, RESULT
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots import recorded
from ch12cli.plots.plot import Plot
from ch12cli.plots.sweeps import results_of, useful_keys
from ch12cli.report import page
from ch12cli.report.page_data import cell_text, columns_of_jobs, run_data, sweep_data
from ch12cli.shell import shell_word

MAX_COMBINATIONS = 30  # rows of the table of combinations, at most
PRINTED_JOBS = 25  # rows of the table of jobs in print, at most; page.css hides the others
STATIC_JOBS = 100  # rows of the table of jobs without a script, at most


class Served(NamedTuple):
    """What makes a page one of the board. links: HTML above it; live: for its script; job_address: of a job's page."""

    links: str
    live: Mapping[str, Any]
    job_address: Callable[[SweepRow], str]


def run_page(
    entry: Entry,
    *,
    trust: str = "",
    plots: Sequence[Plot] = (),
    errors: Sequence[Sequence[str]] = (),
    data: Mapping[str, str] | None = None,
    served: Served | None = None,
) -> bytes:
    """The page about a run.

    trust: the option that its commands need, after a blank. plots: of its network, to show after the learning curves.
    errors: a header, and the rows that it gets most wrong. data: facts about its data. served: of the board, which
    shows charts alone.
    """
    problems: list[str] = []
    result: Result | None = read_or_note(lambda: read_result(entry.path / RESULT), problems)
    rows = read_or_note(lambda: read_metrics(entry.path / METRICS), problems) or []
    run = read_compared(entry.path)
    title = recorded.subject(entry.path)
    sections = [served.links] if served else []
    sections += [
        page_heading(title, entry),
        *(f"<p class='failed'>{page.as_html(problem)}</p>" for problem in problems),
    ]
    if reason := describe_ending(result) if result else "":
        sections.append(f"<p>{page.as_html(reason)}</p>")
    sections.append(page.highlights(run_highlights(entry)))
    if rows or served:
        sections.append(page.explorer())
    if rows and not served:
        sections.append(page.gallery([recorded.run_curves([entry.path], None)], replaced=True))
    sections.append(page.gallery(plots))
    if results := result_rows(result) if result else []:
        metrics = list(dict.fromkeys(n for row in results for n in row if n not in ("row", "part", "epoch")))
        header = ["", "part", "epoch", *map(metric_label, metrics)]
        table = [
            [row["row"], row["part"], row["epoch"], *(cell_text(row.get(name)) for name in metrics)] for row in results
        ]
        sections += ["<h2>Results</h2>", page.table(header, table)]
    if len(errors) > 1:
        sections += ["<h2>Largest errors</h2>", page.table(errors[0], errors[1:])]
    if facts := {**({} if result is None else {"source": result.data.get("source")}), **(data or {})}:
        sections += ["<h2>Data</h2>", page.facts({name: fact for name, fact in facts.items() if fact})]
    commands = commands_of(entry.path, result.history if result else {})
    lines = [("Then:" if index else "Train it again:", command) for index, command in enumerate(commands)]
    name = shell_word(str(entry.path))
    if not is_ensemble(run.settings):
        lines.append(("Train it again and compare the results:", f"ch12 repro {name}{trust}"))
    classes = any("accuracy" in row for row in results)
    lines += [(f"Metrics on the test part{', by class' * classes}:", f"ch12 eval {name}{trust}")]
    sections += ["<h2 id='commands'>Commands</h2>", page.commands(lines)]
    sections += ["<h2>Configuration</h2>", page.facts(known_settings(run.settings))]
    if run.environment:
        sections += ["<h2>Environment</h2>", page.facts(run.environment)]
    if rows:
        epochs = page.table(list(rows[0]), ([cell_text(value) for value in row.values()] for row in rows))
        sections += ["<h2>Epochs</h2>", page.details(count_of(len(rows), "epoch"), epochs)]
    curves = run_data(rows, str(result.monitor) if result and result.monitor else "") if rows or served else None
    return page.document(title, sections, with_live(curves, served), served=served is not None)


def with_live(data: Mapping[str, Any] | None, served: Served | None) -> Mapping[str, Any] | None:
    """The data of a page with what its script needs to ask the board."""
    return data if data is None or served is None else {**data, "live": served.live}


def sweep_page(entry: Entry, *, trust: str = "", served: Served | None = None) -> bytes:
    """The page about a sweep. trust: the option that its commands need, after a blank. served: of the board."""
    rows, monitor, _, final = recorded.records_of([entry.path])
    keys = varying(rows)
    finished = [row for row in rows if row.status == "finished"]
    title = recorded.run_name(entry.path)
    sections = [served.links] if served else []
    sections += [page_heading(title, entry), page.highlights(sweep_highlights(entry, rows, monitor))]
    parts = {"comparison": "Comparison"} if finished else {}
    sections.append(page.links({**parts, "explore": "Explore", "jobs": "Jobs", "commands": "Commands"}))
    if not served:
        sections.append(page.gallery(sweep_plots(entry.path, keys, finished)))
    if finished:
        metrics = ["objective", *other_metrics(finished, monitor)]
        found = fold_alike(with_planned_seeds(entry.path, rows), keys, metrics, minimise=minimised(monitor))
        named = [f"{key}{AT_END}" if key in final else key for key in found[0].values]
        header = [monitor, *named, *metrics[1:], "runs", "best job"]
        table = []
        for each in found[:MAX_COMBINATIONS]:
            objective, *others = (mean_with_interval(each, name, monitor) for name in metrics)
            table.append([objective, *each.values.values(), *others, each.runs, each.best])
        note = (
            f"Mean ± 95 % confidence interval over the {over}, best first."
            if (over := repetitions_in_words(keys))
            else "Best first."
        )
        more = f" The first {MAX_COMBINATIONS} of {len(found)}." if len(found) > MAX_COMBINATIONS else ""
        sections += [
            "<h2 id='comparison'>Comparison</h2>",
            f"<p class='dim'>{note}{more}</p>",
            page.table(header, table, best=0),
        ]
    if bad := format_failures(failures(rows)):
        sections += ["<h2>What went wrong</h2>", *(f"<p>{page.as_html(line)}</p>" for line in bad)]
    sections.append(page.explorer())
    columns, same = columns_of_jobs(rows, keys, monitor, final=final)
    common = f"<p class='dim'>In every job: {page.as_html(', '.join(same))}.</p>" if same else ""
    if final:
        named_keys = ", ".join(final)
        common += f"<p class='dim'>{page.as_html(named_keys)}: the numbers of each run at its end.</p>"
    jobs = list(zip(*(column.texts[:STATIC_JOBS] for column in columns), strict=True))
    table_of_jobs = page.jobs_table([column.name for column in columns], jobs)
    first = f"<p class='printed'>The first {PRINTED_JOBS} of {len(rows):,}; all are in sweep.csv.</p>"
    first *= len(rows) > PRINTED_JOBS
    rest = f"<noscript><p>The first {STATIC_JOBS} of {len(rows):,}.</p></noscript>" * (len(rows) > STATIC_JOBS)
    sections += ["<section class='wide'><h2 id='jobs'>Jobs</h2>", common, table_of_jobs, first, rest, "</section>"]
    best = best_row(rows, monitor)
    name = shell_word(str(entry.path))
    lines = [("Train the best job as a single run:", best.command)] if best else []
    if entry.status != "running":
        lines.append(("Train the jobs that are missing:", f"ch12 resume {name}{trust}"))
    lines.append(("Compare its jobs:", f"ch12 compare {name}"))
    sections += ["<h2 id='commands'>Commands</h2>", page.commands(lines)]
    if best and (directory := job_directory(entry.path, best)):
        run = read_compared(directory)
        shared = {key: value for key, value in known_settings(run.settings).items() if key not in keys}
        sections += ["<h2>Configuration shared by all jobs</h2>", page.facts(shared)]
        sections += ["<h2>Environment</h2>", page.facts(run.environment)]
    data = sweep_data(entry.path, rows, columns, monitor=monitor, first=most_important(rows, monitor))
    if served:
        data["links"] = [served.job_address(row) for row in rows]
    return page.document(title, sections, with_live(data, served), served=served is not None)


def sweep_highlights(entry: Entry, rows: Sequence[SweepRow], monitor: str) -> list[tuple[str, str]]:
    """The few numbers that say most about a sweep: (label, text) each."""
    counts = [(status, f"{count:,}") for status, count in sorted(entry.jobs.items())]
    return [
        ("jobs", f"{max(entry.values.get('jobs', 0), len(rows)):,}"),
        *counts,
        *best_highlight(with_planned_seeds(entry.path, rows), monitor),
    ]


def most_important(rows: Sequence[SweepRow], monitor: str) -> str | None:
    """The key that explains most of the objective, of those that all jobs have; None if there is none."""
    with suppress(InputError):
        return next(
            iter(useful_keys(results_of(rows, metric="objective", label="", minimise=minimised(monitor)))), None
        )
    return None


def page_heading(title: str, entry: Entry) -> str:
    """The title, the status, the start and the directory, as HTML."""
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.when))
    status = page.as_html(entry.status)
    return (
        f"<h1>{page.as_html(title)}</h1><p><span id='status' class='status {status}'>{status}</span> "
        f"<span class='dim'>began {began} in {page.as_html(entry.path)}</span></p>"
    )


def run_highlights(entry: Entry) -> list[tuple[str, str]]:
    """The few numbers that say most about a run: (label, text) each. An ensemble has no epochs."""
    values, trained = entry.values, not is_ensemble(read_keys(entry.path / HYDRA))
    final, best = (", final weights", ", best epoch") if trained else ("", "")
    found = [
        (f"{recorded.column_in_words(name)}{final}", f"{value:.4g}")
        for name, value in values.items()
        if is_test_metric(name, value)
    ]
    if isinstance(values.get("objective"), int | float):
        found.append((f"{recorded.column_in_words(str(values.get('monitor')))}{best}", f"{values['objective']:.4g}"))
    found += [("epochs", f"{values.get('epochs') or 0:,}")] if trained else []
    if isinstance(values.get("seconds"), int | float):
        found.append(("time", format_seconds(values["seconds"])))
    if values.get("parameters") is not None:
        found.append(("parameters", f"{values['parameters']:,}"))
    return found


def is_test_metric(name: str, value: object) -> bool:
    """Whether a value is a metric on the test part."""
    return name.startswith("test_") and isinstance(value, int | float)


def best_row(rows: Sequence[SweepRow], monitor: str) -> SweepRow | None:
    """The row of the best job of the best setting; None if no job has finished, or if they have different metrics."""
    best = None if monitor == SEVERAL else best_setting(rows, monitor)
    return None if best is None else next(row for row in rows if row.job == best.job)


def best_highlight(rows: Sequence[SweepRow], monitor: str) -> list[tuple[str, str]]:
    """The mean objective of the best setting of a sweep and its best job, as a highlight; nothing if there is none."""
    best = None if monitor == SEVERAL else best_setting(rows, monitor)
    if best is None:
        return []
    label, kind = f"best {recorded.column_in_words(monitor)}", monitor.partition("_")[2]
    if best.runs == 1:
        return [(f"{label}, job {best.job}", f"{best.mean:.4g}")]
    interval = format_interval(kind, best.mean, best.half_width, ascii_only=False)
    return [(f"{label}, job {best.job}'s setting, mean of {best.runs} {best.repetitions or 'runs'}", interval)]


def sweep_plots(sweep: Path, keys: Sequence[str], finished: Sequence[Any]) -> list[Plot]:
    """The plots of a sweep: over its keys, their importance, the distribution, the learning curves.

    A search has its history and, of several objectives, its front, too.
    """
    if not finished:
        return []
    several = [key for key in keys if not is_repetition(key)]
    kinds = ["heatmap", "importance"] if len(several) > 1 else ["slice"] if several else []
    if is_search(sweep):
        kinds = ["history", *(["pair"] if recorded_objectives(sweep) else []), *kinds]
    makers: list[Callable[[], Plot]] = [partial(recorded.sweep_plot, [sweep], kind) for kind in kinds]
    makers += [partial(recorded.sweep_plot, [sweep], "distribution"), partial(recorded.sweep_curves, sweep)]
    found = []
    for make in makers:
        with suppress(InputError):  # too few runs that are comparable, or no job has its metrics.csv
            found.append(make())
    if found and len(found[-1].panels) > 1 and sum(len(plot.panels) for plot in found) % 2:
        found[-1] = replace(found[-1], panels=found[-1].panels[:1])  # none is left alone in its row
    return found


def job_directory(sweep: Path, row: SweepRow) -> Path | None:
    """The directory of a job; None if it is gone, a link, or outside the sweep."""
    directory = Path(row.directory)
    return (
        sweep / directory
        if is_inside(row.directory)
        and not (sweep / directory).is_symlink()
        and ((sweep / directory / ".hydra").is_dir() or recorded_job(sweep / directory) is not None)
        else None
    )


def known_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without Hydra's own and those that are not set. A reference to another key becomes its value."""
    named = {key: NAMES_A_KEY.fullmatch(str(value)) for key, value in settings.items()}
    values = {key: settings.get(found[1]) if (found := named[key]) else value for key, value in settings.items()}
    return {key: value for key, value in values.items() if not key.startswith("hydra") and value not in (None, "null")}


def mean_with_interval(folded: Folded, metric: str, monitor: str) -> str:
    """The mean of a metric and its 95 % confidence interval."""
    name = (monitor if metric == "objective" else metric).partition("_")[2]
    return format_interval(name, folded.mean[metric], folded.half_width[metric], ascii_only=False)
