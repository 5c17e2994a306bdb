"""Tables of metrics as text. These functions return lines and print nothing."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ch12cli.catalogue.formatting import (
    cut_text,
    format_number,
    is_numeral,
    metric_label,
    result_rows,
    roundings,
)
from ch12cli.files.result_json import Result

PARTS = {"train": "train", "valid": "validation", "test": ""}
MIN_CELL = 6  # minimum characters of a cut cell
GAP = "  "  # between columns
NUMBER = 9  # characters: 1.234e-05


def format_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Returns lines with aligned columns, without trailing blanks.

    The first `left` columns are left-aligned, the others right-aligned.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:left], widths[:left], strict=True)]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[left:], widths[left:], strict=True)]
        lines.append(GAP.join(cells).rstrip())
    return lines


def table_width(table: Sequence[Sequence[str]]) -> int:
    """Returns the width of the widest line of `format_table`, including trailing blanks."""
    columns = list(zip(*table, strict=True))
    return sum(max(map(len, column)) for column in columns) + len(GAP) * (len(columns) - 1)


def format_result(result: Result, *, ascii_only: bool = False) -> list[str]:
    """Returns the metrics of a run as a table, header first. The list is empty if there are none."""
    rows = result_rows(result)
    if not rows:
        return []
    metrics = list(dict.fromkeys(name for row in rows for name in row if name not in ("row", "part", "epoch")))
    table = [["", "", "epoch", *(metric_label(metric, ascii_only=ascii_only) for metric in metrics)]]
    before = ""
    for row in rows:
        name = row["row"] if row["row"] != before else ""
        epoch = "" if row["epoch"] is None else f"{row['epoch']}"
        values = [format_number(metric, row[metric]) if metric in row else "" for metric in metrics]
        table.append([name, PARTS[row["part"]], epoch, *values])
        before = row["row"]
    return format_table(table, left=2)


def epoch_columns(row: Mapping[str, Any], *, width: int, verbose: bool) -> list[str]:
    """Returns the columns of metrics.csv to print for each epoch.

    They are the losses and metrics, and the time and learning rate if `verbose`. Columns are dropped to fit `width`:
    first the time, then the learning rate, the training metrics and the validation metrics. Losses are kept.
    """
    columns = [name for name in row if name == "epoch" or name.startswith(("train_", "valid_"))]
    spare = [
        name for part in ("valid_", "train_") for name in columns if name.startswith(part) and name != f"{part}loss"
    ]
    for name in ("lr", "seconds"):
        if name in row and verbose:
            columns.append(name)
            spare.append(name)
    while spare and len(format_epoch_header(columns)) > width:
        columns.remove(spare.pop())
    return columns


def format_epoch_header(columns: Sequence[str], *, ascii_only: bool = False) -> str:
    """Returns the header for the lines of `format_epoch`."""
    return GAP.join(f"{_header(name, ascii_only=ascii_only):>{_width(name)}}" for name in columns)


def format_epoch(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Returns one epoch as a line."""
    cells = [
        f"{row['epoch']}" if name == "epoch" else format_number(name.partition("_")[2] or name, row.get(name))
        for name in columns
    ]
    return GAP.join(f"{cell:>{_width(name)}}" for cell, name in zip(cells, columns, strict=True))


def _header(column: str, *, ascii_only: bool = False) -> str:
    """Returns a column's label: `train loss` for train_loss, but `accuracy` for train_accuracy, which is beside it."""
    part, _, metric = column.partition("_")
    if not metric:
        return column
    label = metric_label(metric, ascii_only=ascii_only)
    return f"{part} {label}" if metric == "loss" else label


def _width(column: str) -> int:
    return len(column) if column == "epoch" else max(NUMBER, len(_header(column)))


def narrowest_width(table: Sequence[Sequence[str]], columns: int) -> int:
    """Returns the least width that `cut_cells` can give a table, whose first `columns` columns it may cut."""
    widths = [
        max(map(narrowest_cell if index < columns else len, column))
        for index, column in enumerate(zip(*table, strict=True))
    ]
    return sum(widths) + len(GAP) * (len(widths) - 1)


def narrowest_cell(cell: str) -> int:
    """Returns the characters that a cell has at least: those of a number with one digit, some of any other text."""
    return len(roundings(cell)[-1]) if is_numeral(cell) else min(len(cell), MIN_CELL)


def cut_cells(table: Sequence[Sequence[str]], columns: int, *, width: int, ascii_only: bool) -> list[list[str]]:
    """Returns the table, header first, with the widest of its first `columns` columns cut until it fits `width`.

    Numbers are rounded in place of being cut. The table stays wider if its columns have no less to show.
    """
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    cuttable = list(zip(*table, strict=True))[:columns]
    floors = [max([MIN_CELL, *map(len, column[1:])]) for column in cuttable]  # the header is cut first
    for floor in (floors, [max(map(narrowest_cell, column)) for column in cuttable]):
        while excess > 0 and (shrinkable := [index for index in range(columns) if widths[index] > floor[index]]):
            widths[max(shrinkable, key=lambda index: widths[index])] -= 1
            excess -= 1
    return [[cut(cell, room, ascii_only=ascii_only) for cell, room in zip(row, widths, strict=True)] for row in table]


def cut(cell: str, room: int, *, ascii_only: bool) -> str:
    """Returns the cell cut to `room` characters. A path keeps its end, where paths differ."""
    return cut_text(cell, room, mark="~" if ascii_only else "…", from_start="/" in cell)


def format_settings(
    table: Sequence[Sequence[str]],
    keys: Sequence[str],
    *,
    left: int,
    width: int,
    ascii_only: bool,
    first: int = 0,
    not_shown: Sequence[str] = (),
) -> list[str]:
    """Returns a table with columns of settings, no wider than `width`, and lines that name what it leaves out.

    table: header first. keys: of the columns from `first` on. left: columns that are left-aligned and may be cut.
    Where space lacks, settings that all rows share are left out first; then cells are cut, and the last settings left
    out, but for one. not_shown: further columns, which the caller has left out.
    """
    named = dict(enumerate(keys, start=first))
    shared = {
        index: f"{key}={table[1][index]}"
        for index, key in named.items()
        if len({row[index] for row in table[1:]}) == 1 < len(table) - 1
    }
    others = [index for index in named if index not in shared]
    kept = (others or list(named))[:1]
    spare, further = ([index for index in each if index not in kept] for each in (shared, others))
    columns = columns_that_fit(table, left, width=width, spare=spare, further=further)
    out = [index for index in named if index not in columns]
    left -= len(out)
    cells = cut_cells(only_columns(table, columns), left, width=width, ascii_only=ascii_only)
    return [
        *format_table(cells, left=left),
        *format_named("all of these", [shared[index] for index in out if index in shared], width=width),
        *format_named("not shown", [*(named[i] for i in out if i not in shared), *not_shown], width=width),
    ]


def columns_that_fit(
    table: Sequence[Sequence[str]], left: int, *, width: int, spare: Sequence[int], further: Sequence[int]
) -> list[int]:
    """Returns the indices of the columns that are shown within `width`.

    Columns of `spare` are left out, from the last one, while the whole table is too wide; then those of `further`,
    while it is too wide even with its first `left` columns cut.
    """
    columns = list(range(len(table[0])))
    for index in reversed(spare):
        if table_width(only_columns(table, columns)) > width:
            columns.remove(index)
    for index in reversed(further):
        if narrowest_width(only_columns(table, columns), left - len(table[0]) + len(columns)) > width:
            columns.remove(index)
    return columns


def only_columns(table: Sequence[Sequence[str]], columns: Sequence[int]) -> list[list[str]]:
    return [[row[index] for index in columns] for row in table]


def format_named(label: str, names: Sequence[str], *, width: int) -> list[str]:
    """Returns `label: name, name` as lines, broken between words; none without names."""
    text = f"{label}: {', '.join(names)}"
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False) if names else []
