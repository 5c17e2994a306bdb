"""`ch12 compare`: only what differs between runs, side by side; a sweep, or many runs, with their seeds folded."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ch12cli.catalogue.comparison import (
    Compared,
    Table,
    alike,
    best_of,
    differences,
    folded,
    read_compared,
    rows_of_runs,
)
from ch12cli.catalogue.summary import fold, is_seed, varying
from ch12cli.catalogue.sweep_jobs import read_sweep_rows, sweep_monitor
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.help.page import page_width, printable
from ch12cli.cli.text.tables import GAP, format_table
from ch12cli.cli.verbs.runs import whole
from ch12cli.errors import InputError
from ch12cli.files.objective import minimised
from ch12cli.files.run_directory import RESULT
from ch12cli.files.sweep_csv import SweepRow, is_sweep

SIDE_BY_SIDE = 4  # runs, at most; more become rows, where that says what they are
KEYS = 6  # that differ, at most, for a row to say it
CELL = 12  # characters of a run's column, at least
BEST = "*"
MARKED = ("", "objective")  # rows in which the best run is marked


def parser() -> Arguments:
    arguments = Arguments("compare")
    arguments.add_argument(
        "--format", choices=["table", "md", "csv", "json"], default="table", help="md: a table for a text in Markdown"
    )
    arguments.add_argument("--limit", type=whole, metavar="N", help="combinations of a sweep: the first N alone")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("compare: no run given; name a sweep, or two or more runs: ch12 compare @1 @2")
    paths = [find_run(word) for word in options.operands]
    sweeps = [path for path in paths if is_sweep(path)]
    if sweeps and len(paths) > 1:
        raise InputError(
            f"{sweeps[0]}: is a sweep, which is compared by itself; give one of its runs, as {sweeps[0]}/0"
        )
    if sweeps:
        rows = read_sweep_rows(sweeps[0])
        show_many(rows, sweep_monitor(sweeps[0], rows) or "valid_loss", options.format, options.limit)
        return 0
    if len(paths) == 1:
        raise InputError(f"{paths[0]}: a single run; give two or more, or a sweep: ch12 compare {paths[0]} @1")
    runs = whole_ones([read_compared(path) for path in paths])
    if len(runs) > SIDE_BY_SIDE and alike(runs) and len(swept(records := rows_of_runs(runs))) <= KEYS:
        show_many(records, str(runs[0].results.get("monitor") or "valid_loss"), options.format, options.limit)
        if options.format == "table":
            print("\n".join(["", *format_table([[str(place), run.name] for place, run in enumerate(runs)])]))
        return 0
    show_side_by_side(runs, options.format)
    return 0


def whole_ones(runs: Sequence[Compared]) -> list[Compared]:
    """The runs that are not damaged; which are is said. InputError if fewer than two are left."""
    from ch12cli.cli.text.problems import print_warnings

    damaged = [run.name for run in runs if run.results["status"] == "damaged"]
    left = [run for run in runs if run.results["status"] != "damaged"]
    if len(left) < 2:
        raise InputError([f"{name}: its {RESULT} is damaged; there are not two runs to compare" for name in damaged])
    print_warnings(f"{name}: its {RESULT} is damaged; passed over" for name in damaged)
    return left


def swept(records: Sequence[SweepRow]) -> list[str]:
    """The keys but seeds in which runs differ."""
    return [key for key in varying(records) if not is_seed(key)]


def show_side_by_side(runs: Sequence[Compared], form: str) -> None:
    """All that differs, a row each, and a column a run; as many tables as it takes, where there is no room for all."""
    table, best = differences(runs), best_of(runs)
    if form == "json":
        print(json.dumps({str(row[0]): dict(zip(table[0][1:], row[1:], strict=True)) for row in table[1:]}, indent=2))
        return
    if len(table) == 1:
        print("no difference")
        return
    if best is not None and form in ("table", "md"):
        table = [
            [*row[: best + 1], f"{cell(row[best + 1])} {BEST}", *row[best + 2 :]] if row[0] in MARKED else row
            for row in table
        ]
    if form == "table":
        print("\n\n".join("\n".join(piece) for piece in side_by_side(table, page_width())))
    else:
        print_table(table, form)


def side_by_side(table: Table, width: int) -> list[list[str]]:
    """The table in lines of no more than that many characters, in pieces with some of the runs each."""
    texts = [[cell(value) for value in row] for row in table]
    first = min(max(len(row[0]) for row in texts), width // 3)
    count = len(texts[0]) - 1
    each = max(1, min(count, (width - first) // (CELL + len(GAP))))
    room = (width - first) // each - len(GAP)
    pieces = []
    for start in range(1, count + 1, each):
        lines = [[short(row[0], first), *(short(text, room) for text in row[start : start + each])] for row in texts]
        pieces.append(format_table(lines))
    return pieces


def show_many(rows: Sequence[SweepRow], monitor: str, form: str, limit: int | None) -> None:
    """Many runs: what differed, best first, seeds folded."""
    if form == "table":
        from ch12cli.catalogue.formatting import format_failures
        from ch12cli.catalogue.summary import failures
        from ch12cli.cli.text.screen import Screen
        from ch12cli.cli.text.sweep_report import ROWS, styled_summary

        with Screen() as screen:
            summary = styled_summary(
                rows,
                monitor=monitor,
                width=screen.console.width,
                ascii_only=screen.ascii_only,
                limit=max(1, ROWS if limit is None else limit),
                rest="--limit N shows more",
                mark=f" {BEST}",
            )
            screen.print(summary or ["no run finished"])
            screen.print(format_failures(failures(rows)))
        return
    metrics = ["objective", *dict.fromkeys(name for row in rows for name in row.metrics if name.startswith("test_"))]
    if form == "md":
        print_table(with_intervals(rows, monitor, metrics, limit), form)
        return
    table = folded(rows, metrics, minimise=minimised(monitor))
    table = table if limit is None else table[: limit + 1]
    if form == "json":
        print(json.dumps([dict(zip(table[0], row, strict=True)) for row in table[1:]], indent=2))
    else:
        print_table(table, form)


def with_intervals(rows: Sequence[SweepRow], monitor: str, metrics: Sequence[str], limit: int | None) -> Table:
    """A row for each combination as a text has it: each metric with its interval, the best marked."""
    from ch12cli.catalogue.formatting import format_interval

    found = fold(rows, varying(rows), metrics, minimise=minimised(monitor))
    names = [monitor if metric == "objective" else metric for metric in metrics]
    table: Table = [[*(found[0].values if found else ()), *names, "runs", "best run"]]
    for place, each in enumerate(found[:limit]):
        figures = [
            format_interval(name.partition("_")[2], each.mean[metric], each.half_width[metric], ascii_only=False)
            for metric, name in zip(metrics, names, strict=True)
        ]
        if place == 0 and each.best is not None:
            figures[0] += f" {BEST}"
        table.append([*(value or None for value in each.values.values()), *figures, each.runs, each.best])
    return table


def print_table(table: Table, form: str) -> None:
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [["" if v is None else v for v in row] for row in printed(table)]
        )
        print(text.getvalue().rstrip("\n"))
        return
    texts = [[cell(value).replace("|", r"\|") for value in row] for row in table]
    lines = [texts[0], ["---"] * len(texts[0]), *texts[1:]]
    print("\n".join(f"| {' | '.join(row)} |" for row in lines))


def printed(table: Table) -> Table:
    return [[printable(value) if isinstance(value, str) else value for value in row] for row in table]


def cell(value: Any) -> str:
    """A value as people read it: numbers to six digits."""
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return printable(text)


def short(text: str, room: int) -> str:
    """Of a text that is too long the end, where paths and digests of one kind differ."""
    return text if len(text) <= room else f"…{text[1 - room :]}"
