"""The pages of the board and their data: the list of runs, a run, a sweep, and several runs side by side."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from ch12cli.board.folder import ACTIVE, Folder
from ch12cli.catalogue.best_setting import with_planned_seeds
from ch12cli.catalogue.comparison import Compared, are_comparable, read_compared, rows_of_runs, run_differences
from ch12cli.catalogue.entries import Entry, entry_at
from ch12cli.catalogue.formatting import count_of, format_seconds, format_standing
from ch12cli.catalogue.summary import varying
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, sweep_monitor
from ch12cli.catalogue.sweep_progress import SweepFollower
from ch12cli.errors import InputError
from ch12cli.files.compact.run_files import run_exists
from ch12cli.files.metrics_csv import SEVERAL, read_metrics
from ch12cli.files.plan_json import PLAN, is_inside
from ch12cli.files.run_directory import METRICS, RESULT, SWEEP
from ch12cli.files.sweep_csv import SweepRow, is_sweep
from ch12cli.files.unfinished.progress_json import PROGRESS
from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.recorded import column_in_words, readable_metrics, records_of, run_name
from ch12cli.report import page
from ch12cli.report.contents import (
    Served,
    best_row,
    job_directory,
    most_important,
    run_highlights,
    run_page,
    sweep_highlights,
    sweep_page,
)
from ch12cli.report.page_data import Record, cell_text, columns_of_jobs, curves_data, run_data, sweep_data

PAGE_SIZE = 100  # runs of the list
LIVE_CURVES = 64  # curves that a sweep's page begins with; the others are asked for
MOST_COMPARED = 64  # runs side by side
WATCHED = (SWEEP, PLAN, PROGRESS, METRICS, RESULT)  # files whose change makes data new


class Pages:
    """The pages about a folder. write: whether tags may be changed."""

    def __init__(self, folder: Folder, *, write: bool) -> None:
        self.folder, self.write = folder, write
        self.followers: dict[Path, SweepFollower] = {}

    def list_page(self) -> bytes:
        """The page with the list of runs and sweeps, which its script fills."""
        title = f"Runs in {run_name(self.folder.root.absolute())}"
        sections = [f"<h1>{page.as_html(title)}</h1>", said(), page.explorer()]
        sections.append("<noscript><p>The board needs scripts; `ch12 runs` lists the same.</p></noscript>")
        return page.document(title, sections, {"kind": "board", "write": self.write, "live": {}}, served=True)

    def found_runs(self, text: str, *, sort: str, down: bool, number: int) -> Record:
        """A page of the list. number: which, from 0."""
        found = self.folder.find(text, sort=sort, down=down, start=number * PAGE_SIZE, size=PAGE_SIZE)
        rows = [self.list_row(entry) for entry in found.entries]
        return {"rows": rows, "matching": found.matching, "all": found.total, "size": PAGE_SIZE}

    def list_row(self, entry: Entry) -> dict[str, str]:
        """A line of the list, as texts."""
        values = entry.values
        objective, monitor = values.get("objective"), values.get("monitor")
        shown = f"{column_in_words(str(monitor))} {objective:.4g}" if isinstance(objective, int | float) else ""
        tested = [
            f"{name.removeprefix('test_')} {value:.4g}"
            for name, value in values.items()
            if name.startswith("test_") and isinstance(value, int | float)
        ]
        seconds = values.get("seconds")
        texts = {
            "path": self.folder.relative(entry.location),
            "kind": entry.kind,
            "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.when)),
            "status": entry.status,
            "epochs": cell_text(values.get("epochs") or None)
            if entry.kind != "sweep"
            else count_of(values.get("jobs", 0), "job"),
            "objective": shown,
            "test_accuracy": ", ".join(tested),
            "seconds": format_seconds(seconds) if isinstance(seconds, int | float) else "",
            "tags": str(values.get("tags", "")),
        }
        return {name: escape_controls(text) if name != "path" else text for name, text in texts.items()}

    def entry_page(self, path: Path) -> bytes:
        """The page about a run or a sweep."""
        entry = entry_at(path)
        relative = quote(self.folder.relative(path))
        live = {"data": f"/api/data/{relative}", "curves": f"/api/curves/{relative}", **self.live_state(entry)}
        links = {"/": "All runs", f"/report/{relative}": "All figures, as `ch12 report` draws them"}
        for parent in path.relative_to(self.folder.root).parents:
            if parent.parts and is_sweep(self.folder.root / parent):
                links[f"/run/{quote(parent.as_posix())}"] = f"Sweep {parent.as_posix()}"
        served = Served(above(links) + said(), live, lambda row: self.job_address(path, row))
        return (sweep_page if entry.kind == "sweep" else run_page)(entry, served=served)

    def job_address(self, sweep: Path, row: SweepRow) -> str:
        """The address of a job's page; empty if there is no record of the job inside the sweep."""
        inside = is_inside(row.directory) and run_exists(sweep / row.directory)
        return f"/run/{quote(self.folder.relative(sweep / row.directory))}" if inside else ""

    def data(self, path: Path) -> Record:
        """The data of a page about a run or a sweep, as they are now."""
        entry = entry_at(path)
        state = {"live": self.live_state(entry)}
        if entry.kind != "sweep":
            return {**run_data(read_metrics(path / METRICS), str(entry.values.get("monitor") or "")), **state}
        rows, monitor, _, final = records_of([path])
        columns, _ = columns_of_jobs(rows, varying(rows), monitor, final=final)
        found = sweep_data(
            path, rows, columns, monitor=monitor, first=most_important(rows, monitor), curves=LIVE_CURVES
        )
        return {**found, **state, "links": [self.job_address(path, row) for row in rows]}

    def live_state(self, entry: Entry) -> Record:
        """What a page says about a run or a sweep while it trains."""
        running, standing = entry.status in ACTIVE, ""
        if entry.kind == "sweep":
            rows = read_rows_as_planned(entry.path)
            highlights = sweep_highlights(entry, rows, sweep_monitor(entry.path, rows) or "valid_loss")
            if running:
                follower = self.followers.setdefault(entry.path, SweepFollower(entry.path))
                standing = escape_controls(format_standing(follower.read()))
        else:
            highlights = run_highlights(entry)
        return {
            "version": stamp_of(entry.path, entry.status),
            "running": running,
            "status": escape_controls(entry.status),
            "highlights": [[escape_controls(label), escape_controls(text)] for label, text in highlights],
            "standing": standing,
        }

    def curves(self, sweep: Path, jobs: Sequence[str]) -> Record:
        """The learning curves of jobs of a sweep, by number."""
        rows = {str(row.job): row for row in read_rows_as_planned(sweep)}
        chosen = {job: rows[job] for job in jobs if job in rows and is_inside(rows[job].directory)}
        monitor = sweep_monitor(sweep, list(rows.values())) or "valid_loss"
        return curves_data({job: readable_metrics(sweep / row.directory) for job, row in chosen.items()}, monitor)

    def comparison_page(self, paths: Sequence[Path]) -> bytes:
        """The page about several runs: what differs between them, a chart, and their curves."""
        if not 2 <= len(paths) <= MOST_COMPARED:
            raise InputError(f"choose 2 to {MOST_COMPARED} runs to compare")
        note = "Of a sweep, the best job of its best setting." if any(is_sweep(path) for path in paths) else ""
        paths = list(dict.fromkeys(best_job_of(path) if is_sweep(path) else path for path in paths))
        runs = [read_compared(path) for path in paths]
        pairs = zip(paths, runs, strict=True)
        named = [Compared(self.folder.relative(path), r.settings, r.results, r.environment) for path, r in pairs]
        rows = rows_of_runs(named)
        monitor = str(runs[0].results.get("monitor") or "valid_loss") if are_comparable(runs) else SEVERAL
        columns, same = columns_of_jobs(rows, varying(rows), monitor)
        columns[0] = columns[0]._replace(name="run", label="run", values=[run.name for run in named])
        curves = {run.name: readable_metrics(path) for run, path in zip(named, paths, strict=True)}
        data = sweep_data(Path(), [], columns, monitor=monitor, first=None)
        data |= {"curves": {**curves_data(curves, monitor), "absent": ""}, "live": {}}
        data["links"] = [f"/run/{quote(run.name)}" for run in named]
        differences = run_differences(named)
        table = [[cell_text(value) for value in row] for row in differences[1:]]
        title = f"{len(paths)} runs compared"
        sections = [
            above({"/": "All runs"}),
            said(),
            f"<h1>{title}</h1>",
            f"<p class='dim'>{note}</p>" if note else "",
            page.explorer(),
            f"<p class='dim'>In every run: {page.as_html(', '.join(same))}.</p>" if same else "",
            page.jobs_table([column.name for column in columns], []),
            "<h2>What differs</h2>",
            page.table([cell_text(name) for name in differences[0]], table) if table else "<p>Nothing.</p>",
        ]
        return page.document(title, sections, data, served=True)


def best_job_of(sweep: Path) -> Path:
    """The directory of the best job of a sweep. Raises InputError if there is none."""
    rows = read_rows_as_planned(sweep)
    best = best_row(with_planned_seeds(sweep, rows), sweep_monitor(sweep, rows) or "valid_loss")
    directory = job_directory(sweep, best) if best else None
    if directory is None:
        raise InputError(f"{sweep}: no job of this sweep has finished, so that none can be compared")
    return directory


def message_page(text: str) -> bytes:
    """The page that says why there is no other."""
    return page.document("ch12 board", [above({"/": "All runs"}), f"<h1>{page.as_html(text)}</h1>"], served=True)


def stamp_of(path: Path, status: str) -> str:
    """A text that changes with what the files of a run or sweep say."""
    stamps = [status]
    for name in WATCHED:
        try:
            found = os.stat(path / name)
            stamps.append(f"{found.st_mtime_ns:x}.{found.st_size:x}")
        except OSError:
            stamps.append("-")
    return " ".join(stamps)


def above(links: dict[str, str]) -> str:
    """The links above a page. links: texts by address."""
    found = "".join(f"<a href='{page.as_html(address)}'>{page.as_html(text)}</a>" for address, text in links.items())
    return f"<nav aria-label='Board'>{found}</nav>"


def said() -> str:
    """The elements in which a page's script shows the progress of a sweep and its errors."""
    return "<p id='standing' aria-live='polite'></p><p id='said' class='failed' role='status'></p>"
