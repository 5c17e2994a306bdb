"""`ch12 runs`: the runs and sweeps below a folder, newest first."""

import csv
import io
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ch12cli.cli.arguments import Arguments
from ch12cli.cli.page import page_width, printable
from ch12cli.cli.tables import format_number, format_seconds, format_table, metric_label
from ch12cli.config.suggest import did_you_mean
from ch12cli.errors import InputError
from ch12cli.runs.catalogue import Entry, entries, job_entries, row_of
from ch12cli.runs.directory import HYDRA
from ch12cli.runs.names import OUTPUTS, find
from ch12cli.runs.query import Query
from ch12cli.runs.table import SWEEP

SPARE = ("when", "time", "test")  # columns that are left out where a terminal is too narrow for them
COLUMNS = ("when", "run", "status", "epochs", "objective", "test", "time")
FIRST = ("path", "kind", "when", "status", "jobs", "epochs", "monitor", "objective")


def parser() -> Arguments:
    arguments = Arguments("runs")
    arguments.add_argument("--filter", metavar="TEXT", help='such as "test_accuracy>0.95 and optimizer.lr<0.1"')
    arguments.add_argument("--sort", metavar="KEY", help="by a result or a configuration key, smallest first")
    arguments.add_argument("--reverse", action="store_true", help="the other way round")
    arguments.add_argument("--limit", type=whole, metavar="N", help="the first N alone")
    arguments.add_argument(
        "--format", choices=["table", "csv", "json"], default="table", help="how to print it; csv and json in full"
    )
    arguments.add_argument("words", nargs="*")
    return arguments


def whole(text: str) -> int:
    if not text.isdigit():
        raise InputError(f"--limit {text}: must be a whole number from 0")
    return int(text)


def run(words: Sequence[str]) -> int:
    options = parser().read(words)
    if len(options.words) > 1:
        raise InputError(f"{options.words[1]}: one word too many; see `ch12 runs --help`")
    query = Query(options.filter) if options.filter is not None else None
    wanted = [*(query.names if query else []), *([options.sort] if options.sort else [])]
    listed = listed_below(options.words[0] if options.words else None)
    rows = [(entry, row_of(entry)) for entry in listed]
    if not {name for _, row in rows for name in row}.issuperset(wanted):
        rows = [(entry, {**keys_of(entry), **row}) for entry, row in rows]
    require_known(wanted, [row for _, row in rows], options.filter)
    if query is not None:
        rows = [(entry, row) for entry, row in rows if query.matches(row)]
    rows.sort(key=lambda pair: pair[0].when, reverse=True)
    if options.sort:
        rows.sort(key=lambda pair: rank(pair[1].get(options.sort)))
    rows = (rows[::-1] if options.reverse else rows)[: options.limit]
    if options.format == "table":
        print(format_runs(rows, none=f"no runs below {options.words[0] if options.words else f'{OUTPUTS}/'}"))
    else:
        print(as_json(rows) if options.format == "json" else as_csv(rows))
    return 0


def listed_below(word: str | None) -> list[Entry]:
    """The runs and sweeps below a folder; of a sweep its jobs, from its table."""
    if word is None:
        return list(entries(OUTPUTS))
    path = find(word)
    if not path.is_dir():
        raise InputError(f"{path}: is a file; give a folder, or a sweep")
    if not (path / SWEEP).exists():
        return list(entries(path))
    return job_entries(path)


def keys_of(entry: Entry) -> dict[str, Any]:
    """A run's configuration by dotted keys, which takes longer to read."""
    from ch12cli.config.recorded import read_keys

    return read_keys(entry.path / HYDRA) if entry.kind != "sweep" else {}


def require_known(names: Sequence[str], rows: Sequence[Mapping[str, Any]], text: str | None) -> None:
    """InputError for a name that no run has, with the nearest that there is."""
    from ch12cli.config.choices import known_keys

    there = dict.fromkeys(name for row in rows for name in row)
    unknown = [name for name in dict.fromkeys(names) if name not in there and name not in known_keys()]
    if unknown and rows:
        option = f"--filter {text!r}" if text and any(name in text for name in unknown) else "--sort"
        hints = (f"{name}: no run has it{did_you_mean(name, [*there, *known_keys()])}" for name in unknown)
        raise InputError([f"{option}: {hint}" for hint in hints])


def rank(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words, then what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return (2, 0.0, "")
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def format_runs(rows: Sequence[tuple[Entry, Mapping[str, Any]]], *, none: str) -> str:
    """A line an entry, or the words for no entry at all."""
    if not rows:
        return none
    table = [list(COLUMNS), *(cells(entry) for entry, _ in rows)]
    for name in SPARE:
        lines = format_table(table, left=table[0].index("epochs"))
        if not sys.stdout.isatty() or max(map(len, lines)) <= page_width():
            break
        place = table[0].index(name)
        table = [[*row[:place], *row[place + 1 :]] for row in table]
    return "\n".join(format_table(table, left=table[0].index("epochs")))


def cells(entry: Entry) -> list[str]:
    values = entry.values
    epochs = str(values.get("epochs") or "-")
    monitor, objective = str(values.get("monitor") or ""), values.get("objective")
    metric = monitor.partition("_")[2] or "loss"
    shown = "-"
    if isinstance(objective, int | float):
        shown = f"{monitor.replace('_', ' ')} {format_number(metric, objective)}".strip()
    tests = [(name[5:], value) for name, value in values.items() if name.startswith("test_") and name != "test_loss"]
    test = "-"
    if tests and isinstance(tests[0][1], int | float):
        test = f"{metric_label(tests[0][0], ascii_only=True)} {format_number(tests[0][0], tests[0][1])}"
    if entry.kind == "sweep":
        best = f", best {shown}" if shown != "-" else ""
        epochs, shown = f"{values.get('jobs', 0):,} jobs", describe(entry.jobs) + best
    seconds = values.get("seconds")
    spent = format_seconds(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else "-"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.when)) if entry.kind != "job" else "-"
    name = str(entry.path).removeprefix(f"{OUTPUTS}/")  # by which it is found just as well
    return [printable(text) for text in (when, name, entry.status, epochs, shown, test, spent)]


def describe(jobs: Mapping[str, int]) -> str:
    """How a sweep's jobs ended: `2 failed, 98 finished`."""
    return ", ".join(f"{count:,} {status}" for status, count in sorted(jobs.items())) or "-"


def as_json(rows: Sequence[tuple[Entry, Mapping[str, Any]]]) -> str:
    plain = [{name: finite(value) for name, value in row.items()} for _, row in rows]
    return json.dumps(plain, indent=2)


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(rows: Sequence[tuple[Entry, Mapping[str, Any]]]) -> str:
    names = dict.fromkeys((*FIRST, *(name for _, row in rows for name in row)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(printable, names))
    for _, row in rows:
        values = [row.get(name, "") for name in names]
        writer.writerow([printable(value) if isinstance(value, str) else value for value in values])
    return text.getvalue().rstrip("\n")
