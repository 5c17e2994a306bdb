"""`ch12 compare`: only what differs between runs, side by side; a sweep, or many runs, with their seeds folded."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ch12cli.cli.arguments import Arguments
from ch12cli.cli.page import page_width, printable
from ch12cli.cli.tables import format_table
from ch12cli.errors import InputError
from ch12cli.runs.catalogue import entries, monitor_of, run_entry
from ch12cli.runs.comparison import Compared, Table, as_records, best_of, differences, folded
from ch12cli.runs.directory import HYDRA, RESULT, read_result
from ch12cli.runs.names import OUTPUTS, find
from ch12cli.runs.objective import minimised
from ch12cli.runs.summary import Record
from ch12cli.runs.table import SWEEP, read_table

SIDE_BY_SIDE = 4  # runs, at most; more become rows
BEST = "*"
RENAMED = {"epochs": "epochs done"}  # results that are called as a setting is
MARKED = ("", "objective")  # rows in which the best run is marked


def parser() -> Arguments:
    arguments = Arguments("compare")
    arguments.add_argument(
        "--format", choices=["table", "md", "csv", "json"], default="table", help="md: a table for a text in Markdown"
    )
    arguments.add_argument("words", nargs="*")
    return arguments


def run(words: Sequence[str]) -> int:
    options = parser().read(words)
    if not options.words:
        raise InputError("compare: what? give a sweep, or two runs or more: ch12 compare @1 @2")
    paths = [find(word) for word in options.words]
    sweeps = [path for path in paths if (path / SWEEP).exists()]
    if sweeps and len(paths) > 1:
        raise InputError(
            f"{sweeps[0]}: is a sweep, which is compared by itself; give one of its runs, as {sweeps[0]}/0"
        )
    if sweeps:
        rows = read_table(sweeps[0] / SWEEP)
        show_many(rows, monitor_of(sweeps[0], rows) or "valid_loss", options.format)
        return 0
    if len(paths) == 1:
        raise InputError(f"{paths[0]}: a single run; give two or more, or a sweep: ch12 compare {paths[0]} @1")
    runs = [compared(path) for path in paths]
    if len(runs) > SIDE_BY_SIDE:
        monitor = str(runs[0].results.get("monitor") or "valid_loss")
        show_many(as_records(runs), monitor, options.format)
        if options.format == "table":
            print("\n".join(["", *format_table([[str(place), run.name] for place, run in enumerate(runs)])]))
        return 0
    table, best = differences(runs), best_of(runs)
    if options.format == "json":
        print(json.dumps({str(row[0]): dict(zip(table[0][1:], row[1:], strict=True)) for row in table[1:]}, indent=2))
    elif len(table) == 1:
        print("no difference")
    else:
        if best is not None and options.format in ("table", "md"):
            table = [
                [*row[: best + 1], f"{cell(row[best + 1])} {BEST}", *row[best + 2 :]] if row[0] in MARKED else row
                for row in table
            ]
        print_table(table, options.format, left=1)
    return 0


def compared(path: Path) -> Compared:
    """A run as it is compared. InputError if it is none, or damaged."""
    from ch12cli.config.recorded import read_keys

    if path not in [entry.path for entry in entries(path)]:
        raise InputError(f"{path}: is no run; `ch12 runs` lists what there is")
    result = read_result(path / RESULT) or {}
    entry = run_entry(path)
    environment, data = result.get("environment"), result.get("data")
    return Compared(
        printable(str(path).removeprefix(f"{OUTPUTS}/")),
        read_keys(path / HYDRA),
        {"status": entry.status, **{RENAMED.get(name, name): value for name, value in entry.values.items()}},
        {
            **(environment if isinstance(environment, dict) else {}),
            **({"data": data.get("digest")} if isinstance(data, dict) else {}),
        },
    )


def show_many(rows: Sequence[Record], monitor: str, form: str) -> None:
    """Many runs: what differed, best first, seeds folded."""
    if form == "table":
        from ch12cli.cli.screen import Screen
        from ch12cli.cli.sweep_report import format_failures, styled_summary
        from ch12cli.runs.summary import failures

        with Screen() as screen:
            width, ascii_only = screen.console.width, screen.ascii_only
            summary = styled_summary(rows, monitor=monitor, width=width, ascii_only=ascii_only)
            screen.print(summary or ["no run finished"])
            screen.print(format_failures(failures(rows)))
        return
    metrics = ["objective", *(name for name in (rows[0] if rows else ()) if name.startswith("test_"))]
    table = folded(rows, metrics, minimise=minimised(monitor))
    if form == "json":
        print(json.dumps([dict(zip(table[0], row, strict=True)) for row in table[1:]], indent=2))
    else:
        print_table(table, form, left=0)


def print_table(table: Table, form: str, *, left: int) -> None:
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [["" if v is None else v for v in row] for row in printed(table)]
        )
        print(text.getvalue().rstrip("\n"))
        return
    texts = [[cell(value) for value in row] for row in table]
    if form == "md":
        rule = ["---"] * len(texts[0])
        print(
            "\n".join(
                f"| {' | '.join(value.replace('|', chr(92) + '|') for value in row)} |"
                for row in (texts[0], rule, *texts[1:])
            )
        )
        return
    room = max(12, page_width() // max(2, len(texts[0])))
    print("\n".join(format_table([[short(value, room) for value in row] for row in texts], left=left)))


def printed(table: Table) -> Table:
    return [[printable(value) if isinstance(value, str) else value for value in row] for row in table]


def cell(value: Any) -> str:
    """A value as people read it: numbers to six digits."""
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return printable(text)


def short(text: str, room: int) -> str:
    """Of a text that is too long the end, where paths and digests of one kind differ."""
    return text if len(text) <= room else f"…{text[1 - room :]}"
