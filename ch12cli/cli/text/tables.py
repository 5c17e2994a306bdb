"""Numbers, times and the figures of a run as text. Everything here returns; nothing prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from ch12cli.catalogue.formatting import format_number, metric_label, result_rows
from ch12cli.files.result_json import Result

PARTS = {"train": "train", "valid": "validation", "test": ""}
MIN_CELL = 6  # characters to which a cell may be cut
GAP = "  "  # between columns
NUMBER = 9  # characters: 1.234e-05


def format_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Lines with aligned columns: the first `left` to the left, the others to the right; no blanks at the end."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:left], widths[:left], strict=True)]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[left:], widths[left:], strict=True)]
        lines.append(GAP.join(cells).rstrip())
    return lines


def table_width(table: Sequence[Sequence[str]]) -> int:
    """Characters of the widest line of `format_table`, blanks at its end included."""
    columns = list(zip(*table, strict=True))
    return sum(max(map(len, column)) for column in columns) + len(GAP) * (len(columns) - 1)


def format_result(result: Result, *, ascii_only: bool = False) -> list[str]:
    """The figures of a run as a table, its header first; no lines if there are none."""
    rows = result_rows(result)
    if not rows:
        return []
    metrics = list(dict.fromkeys(name for row in rows for name in row if name not in ("row", "part", "epoch")))
    table = [["", "", "epoch", *(metric_label(metric, ascii_only=ascii_only) for metric in metrics)]]
    before = ""
    for row in rows:
        name = row["row"] if row["row"] != before else ""
        epoch = "" if row["epoch"] is None else f"{row['epoch']}"
        figures = [format_number(metric, row[metric]) if metric in row else "" for metric in metrics]
        table.append([name, PARTS[row["part"]], epoch, *figures])
        before = row["row"]
    return format_table(table, left=2)


def epoch_columns(row: Mapping[str, Any], *, width: int, verbose: bool) -> list[str]:
    """The columns of metrics.csv for a line an epoch: losses and metrics, and time and learning rate if verbose.

    What is missed least goes first where the width is not enough: time, learning rate, then the training part's metrics
    and the validation part's, but for the losses.
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
    """The line above the lines of `format_epoch`."""
    return GAP.join(f"{_header(name, ascii_only=ascii_only):>{_width(name)}}" for name in columns)


def format_epoch(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """One epoch in a line."""
    cells = [
        f"{row['epoch']}" if name == "epoch" else format_number(name.partition("_")[2] or name, row.get(name))
        for name in columns
    ]
    return GAP.join(f"{cell:>{_width(name)}}" for cell, name in zip(cells, columns, strict=True))


def _header(column: str, *, ascii_only: bool = False) -> str:
    """`train loss` for train_loss, but `accuracy` for train_accuracy: it stands beside it."""
    part, _, metric = column.partition("_")
    if not metric:
        return column
    label = metric_label(metric, ascii_only=ascii_only)
    return f"{part} {label}" if metric == "loss" else label


def _width(column: str) -> int:
    return len(column) if column == "epoch" else max(NUMBER, len(_header(column)))


def cut_cells(table: Sequence[Sequence[str]], columns: int, *, width: int, ascii_only: bool) -> list[list[str]]:
    """The table, header first, with cells of its first columns cut until it fits, the widest first."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    floors = [max([MIN_CELL, *map(len, column)]) for column in zip(*table[1:], strict=True)]  # first the header is cut
    for floor in (floors, [MIN_CELL] * columns):
        while excess > 0 and (wide := [place for place in range(columns) if widths[place] > floor[place]]):
            widths[max(wide, key=lambda place: widths[place])] -= 1
            excess -= 1
    return [[cut(cell, room, ascii_only=ascii_only) for cell, room in zip(row, widths, strict=True)] for row in table]


def cut(cell: str, room: int, *, ascii_only: bool) -> str:
    """The cell in at most so many characters; of a path the end, where paths differ."""
    mark = "~" if ascii_only else "…"
    if len(cell) <= room:
        return cell
    return mark + cell[1 - room :] if "/" in cell else cell[: room - 1] + mark
