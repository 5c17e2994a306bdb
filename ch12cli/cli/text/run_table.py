"""A table of runs and sweeps, one row each, no wider than the terminal."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ch12cli.catalogue.entries import Entry
from ch12cli.catalogue.formatting import count_of, format_number, format_seconds, metric_label
from ch12cli.catalogue.names import OUTPUTS
from ch12cli.cli.help.page import cut_mark, page_width, printable
from ch12cli.cli.text.tables import format_table, table_width

COLUMNS = ("when", "run", "status", "epochs", "objective", "test", "time")
ALWAYS_SHOWN = ("run", "status")  # columns kept even if they are empty
LEFT_ALIGNED = ("when", *ALWAYS_SHOWN)
SPARE = ("time", "when", "test", "epochs")  # columns dropped in this order until the table fits
MIN_NAME = 20  # minimum characters of a run's name; a column is dropped before names are cut further
NONE = "-"

RunTable = list[list[str]]  # header first


def format_runs(listed: Sequence[Entry]) -> str:
    """Returns a table with one line for each entry.

    On a terminal, columns are dropped and long names are cut to fit its width.
    """
    table = without_empty([list(COLUMNS), *(cells(entry) for entry in listed)])
    width = page_width() if sys.stdout.isatty() else None
    if width is not None and table_width(table) > width:
        brief = [list(COLUMNS), *(cells(entry, brief=True) for entry in listed)]
        table = fitted(without_empty(with_common_words(brief)), width)
    return "\n".join(format_table(table, left=sum(name in LEFT_ALIGNED for name in table[0])))


def without_empty(table: RunTable) -> RunTable:
    """Returns the table without its empty columns."""
    columns = zip(*table, strict=True)
    kept = [
        index
        for index, (name, *rest) in enumerate(columns)
        if name in ALWAYS_SHOWN or any(cell != NONE for cell in rest)
    ]
    return table if len(kept) == len(table[0]) else [[row[index] for index in kept] for row in table]


def with_common_words(table: RunTable) -> RunTable:
    """Moves the metric's name from the cells of a column to its header if all cells share it."""
    for name in ("objective", "test"):
        index = COLUMNS.index(name)
        prefixes = {row[index].rpartition(" ")[0] for row in table[1:] if row[index] != NONE}
        if len(prefixes) == 1 and (prefix := prefixes.pop()):
            table[0][index] = prefix if name == "objective" else f"test {prefix}"
            for row in table[1:]:
                row[index] = row[index].rpartition(" ")[2]
    return table


def fitted(table: RunTable, width: int) -> RunTable:
    """Returns the table with columns dropped and names cut to fit `width` characters."""
    for name in SPARE:
        if table_width(with_names_cut(table, MIN_NAME)) <= width:
            break
        index = next((index for index, head in enumerate(table[0]) if head.startswith(name)), None)
        table = [row if index is None else [*row[:index], *row[index + 1 :]] for row in table]
    longest = max(len(row[table[0].index("run")]) for row in table)
    return with_names_cut(table, max(MIN_NAME, longest - max(0, table_width(table) - width)))


def with_names_cut(table: RunTable, room: int) -> RunTable:
    """Returns the table with long run names cut at the start.

    Names of runs of the same day differ at the end.
    """
    index, mark = table[0].index("run"), cut_mark()
    return [
        [*row[:index], mark + row[index][1 - room :], *row[index + 1 :]] if len(row[index]) > room else row
        for row in table
    ]


def cells(entry: Entry, *, brief: bool = False) -> list[str]:
    values = entry.values
    epochs = str(values.get("epochs") or NONE)
    objective = objective_of(values)
    if entry.kind == "sweep":
        ended, jobs = sum(entry.jobs.values()), values.get("jobs", 0)
        epochs = count_of(jobs, "job") if ended == jobs else f"{ended:,}/{count_of(jobs, 'job')}"
        if not brief:
            objective = describe(entry.jobs) + (f", best {objective}" if objective != NONE else "")
    seconds = values.get("seconds")
    duration = format_seconds(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else NONE
    when = NONE if entry.kind == "job" else minute(int(entry.when // 60))
    name = entry.location.removeprefix(f"{OUTPUTS}/")  # commands also find the run by this shorter name
    found = (when[5:] or NONE if brief else when, name, entry.status, epochs, objective, test_of(values), duration)
    return [text if text.isascii() and text.isprintable() else printable(text) for text in found]


def objective_of(values: Mapping[str, Any]) -> str:
    """Returns the monitored metric and its value: `valid loss 0.1234`."""
    monitor, objective = str(values.get("monitor") or ""), values.get("objective")
    if not isinstance(objective, int | float):
        return NONE
    return f"{monitor.replace('_', ' ')} {format_number(monitor.partition('_')[2] or 'loss', objective)}".lstrip()


def test_of(values: Mapping[str, Any]) -> str:
    """Returns the first test metric other than the loss: `accuracy 0.9667`."""
    name = first_test_metric(tuple(values))
    if not isinstance(value := values.get(name), int | float):
        return NONE
    metric = name.removeprefix("test_")
    return f"{metric_label(metric, ascii_only=True)} {format_number(metric, value)}"


@lru_cache(maxsize=256)
def first_test_metric(names: Sequence[str]) -> str:
    return next((name for name in names if name.startswith("test_") and name != "test_loss"), "")


@lru_cache(maxsize=4096)
def minute(minutes: int) -> str:
    """Returns the local time of a minute, counted from the Unix epoch."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(60 * minutes))


def describe(jobs: Mapping[str, int]) -> str:
    """Returns the counts of a sweep's jobs by status: `2 failed, 98 finished`."""
    return ", ".join(f"{count:,} {status}" for status, count in sorted(jobs.items())) or NONE
