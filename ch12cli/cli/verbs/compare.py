"""`ch12 compare`: shows what differs between runs side by side, or the combinations of a sweep."""

import csv
import io
import json
from collections.abc import Collection, Sequence
from typing import Any

from ch12cli.catalogue.best_setting import with_planned_seeds
from ch12cli.catalogue.comparison import (
    Compared,
    ComparisonTable,
    are_comparable,
    best_of,
    folded,
    read_compared,
    rows_of_runs,
    run_differences,
)
from ch12cli.catalogue.formatting import cut_text
from ch12cli.catalogue.keys_of_settings import is_repetition
from ch12cli.catalogue.summary import fold_alike, varying
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, sweep_monitor
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.help.page import cut_mark, page_width, printable
from ch12cli.cli.text.tables import GAP, format_table
from ch12cli.errors import InputError, first_few
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.run_directory import RESULT
from ch12cli.files.sweep_csv import SweepRow, is_sweep
from ch12cli.rules import LARGEST, IntegerRule
from ch12cli.shell import shell_line

MAX_COLUMNS = 4  # runs side by side; more become rows if few keys differ
MAX_KEYS = 6  # that differ, for runs to become rows
MIN_COLUMN = 12  # characters of a run's column
BEST_MARK = "*"
MARKED_ROWS = ("", "objective")  # the best run is marked in these


def parser() -> Arguments:
    arguments = Arguments("compare")
    arguments.add_argument(
        "--format", choices=["table", "md", "csv", "json"], default="table", help="output format; md: a Markdown table"
    )
    arguments.add_number(
        "--limit", IntegerRule(0, LARGEST), metavar="N", help="show only the first N combinations of a sweep"
    )
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if not options.operands:
        raise InputError("compare: no run given; name a sweep, or two or more runs: ch12 compare @1 @2")
    paths = [find_run(word) for word in options.operands]
    sweeps = [path for path in paths if is_sweep(path)]
    if sweeps and len(paths) > 1:
        raise InputError(f"{sweeps[0]}: a sweep is compared by itself; name one of its runs, such as {sweeps[0]}/0")
    if sweeps:
        rows = read_rows_as_planned(sweeps[0])
        monitor = sweep_monitor(sweeps[0], rows) or "valid_loss"
        show_many(with_planned_seeds(sweeps[0], rows), monitor, options.format, options.limit)
        return 0
    if len(paths) == 1:
        two = shell_line(["ch12", "compare", str(paths[0]), "@1"])
        raise InputError(f"{paths[0]}: is a single run; name two or more, or a sweep: {two}")
    runs = undamaged([read_compared(path) for path in paths])
    if len(runs) > MAX_COLUMNS and are_comparable(runs) and len(swept(records := rows_of_runs(runs))) <= MAX_KEYS:
        show_many(records, str(runs[0].results.get("monitor") or "valid_loss"), options.format, options.limit)
        if options.format == "table":
            print("\n".join(["", *format_table([[str(index), run.name] for index, run in enumerate(runs)])]))
        return 0
    show_side_by_side(runs, options.format)
    return 0


def undamaged(runs: Sequence[Compared]) -> list[Compared]:
    """The runs that are not damaged, with a warning for the others. InputError if fewer than two are left."""
    from ch12cli.cli.text.problems import print_warnings

    damaged = {run.name: run.results["status"] for run in runs if run.results["status"] in ("damaged", "unreadable")}
    left = [run for run in runs if run.name not in damaged]
    if len(left) < 2:
        raise InputError(
            first_few(
                [
                    f"{name}: its {RESULT} is {status}; fewer than two runs are left to compare"
                    for name, status in damaged.items()
                ]
            )
        )
    print_warnings(
        first_few([f"{name}: its {RESULT} is {status}; the run is left out" for name, status in damaged.items()])
    )
    return left


def swept(records: Sequence[SweepRow]) -> list[str]:
    """The keys, other than seeds, in which the runs differ."""
    return [key for key in varying(records) if not is_repetition(key)]


def show_side_by_side(runs: Sequence[Compared], form: str) -> None:
    """Prints all differences, one row each, with a column for each run; several tables if one is too wide."""
    table, best = run_differences(runs), best_of(runs)
    if form == "json":
        print(json.dumps({str(row[0]): dict(zip(table[0][1:], row[1:], strict=True)) for row in table[1:]}, indent=2))
        return
    if len(table) == 1:
        print("no difference")
        return
    marked = {(number, best) for number, row in enumerate(table) if row[0] in MARKED_ROWS and best is not None}
    if form == "table":
        print("\n\n".join("\n".join(piece) for piece in side_by_side(table, page_width(), marked=marked)))
        return
    if form == "md":
        for number, column in marked:
            table[number][column + 1] = f"{cell_for_people(table[number][column + 1])} {BEST_MARK}"
    print_table(table, form)


def side_by_side(table: ComparisonTable, width: int, *, marked: Collection[tuple[int, int]] = ()) -> list[list[str]]:
    """The table as lines of at most `width` characters, split into tables of some of the runs each.

    marked: (row, run) of the cells that get the mark of the best.
    """
    texts = [[cell_for_people(value) for value in row] for row in table]
    first = min(max(len(row[0]) for row in texts), width // 3)
    count = len(texts[0]) - 1
    each = max(1, min(count, (width - first) // (MIN_COLUMN + len(GAP))))
    room = (width - first) // each - len(GAP)

    def fitted_cell(number: int, column: int) -> str:
        end = f" {BEST_MARK}" if (number, column) in marked else ""
        return tail_of(texts[number][column + 1], room - len(end)) + end

    pieces = []
    for start in range(0, count, each):
        columns = range(start, min(start + each, count))
        lines = [
            [tail_of(row[0], first), *(fitted_cell(number, column) for column in columns)]
            for number, row in enumerate(texts)
        ]
        pieces.append(format_table(lines))
    return pieces


def show_many(rows: Sequence[SweepRow], monitor: str, form: str, limit: int | None) -> None:
    """Prints the combinations of many runs, best first, averaged over seeds."""
    if form == "table":
        from ch12cli.catalogue.formatting import format_failures
        from ch12cli.catalogue.summary import failures
        from ch12cli.cli.text.screen import Screen
        from ch12cli.cli.text.sweep_report import ROWS, styled_summary

        with Screen() as screen:
            summary = styled_summary(
                rows,
                varying(rows),
                monitor=monitor,
                width=screen.console.width,
                ascii_only=screen.ascii_only,
                limit=max(1, ROWS if limit is None else limit),
                rest="--limit N shows more",
                mark=f" {BEST_MARK}",
            )
            screen.print(summary or ["no run finished"])
            screen.print(screen.wrapped(format_failures(failures(rows))))
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


def with_intervals(
    rows: Sequence[SweepRow], monitor: str, metrics: Sequence[str], limit: int | None
) -> ComparisonTable:
    """One row for each combination: each metric with its interval, the best one marked."""
    from ch12cli.catalogue.formatting import format_interval

    found = fold_alike(rows, varying(rows), metrics, minimise=minimised(monitor))
    names = [monitor if metric == "objective" else metric for metric in metrics]
    table: ComparisonTable = [[*(found[0].values if found else ()), *names, "runs", "best run"]]
    for index, each in enumerate(found[:limit]):
        values = [
            format_interval(name.partition("_")[2], each.mean[metric], each.half_width[metric], ascii_only=False)
            for metric, name in zip(metrics, names, strict=True)
        ]
        if index == 0 and each.best is not None:
            values[0] += f" {BEST_MARK}"
        table.append([*(value or None for value in each.values.values()), *values, each.runs, each.best])
    return table


def print_table(table: ComparisonTable, form: str) -> None:
    """Prints a table as CSV or Markdown."""
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [["" if v is None else v for v in row] for row in escaped_table(table)]
        )
        print(text.getvalue().rstrip("\n"))
        return
    texts = [[cell_for_people(value).replace("|", r"\|") for value in row] for row in table]
    lines = [texts[0], ["---"] * len(texts[0]), *texts[1:]]
    print("\n".join(f"| {' | '.join(row)} |" for row in lines))


def escaped_table(table: ComparisonTable) -> ComparisonTable:
    """The table with control characters as escapes."""
    return [[printable(value) if isinstance(value, str) else value for value in row] for row in table]


def cell_for_people(value: Any) -> str:
    """A value for people: numbers with six digits."""
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return printable(text)


def tail_of(text: str, room: int) -> str:
    """The end of a text that is too long, as there paths and digests differ; a number rounded."""
    return cut_text(text, room, mark=cut_mark(), from_start=True)
