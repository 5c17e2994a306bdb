"""Tables of metrics as text. These functions return lines and print nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from ch12cli.catalogue.formatting import format_number, metric_label, result_rows
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
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    least = [min(width, MIN_CELL) if index < columns else width for index, width in enumerate(widths)]
    return sum(least) + len(GAP) * (len(widths) - 1)


def cut_cells(table: Sequence[Sequence[str]], columns: int, *, width: int, ascii_only: bool) -> list[list[str]]:
    """Returns the table, header first, with the widest of its first `columns` columns cut until it fits `width`."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    floors = [max([MIN_CELL, *map(len, column)]) for column in zip(*table[1:], strict=True)]  # the header is cut first
    for floor in (floors, [MIN_CELL] * columns):
        while excess > 0 and (shrinkable := [index for index in range(columns) if widths[index] > floor[index]]):
            widths[max(shrinkable, key=lambda index: widths[index])] -= 1
            excess -= 1
    return [[cut(cell, room, ascii_only=ascii_only) for cell, room in zip(row, widths, strict=True)] for row in table]


def cut(cell: str, room: int, *, ascii_only: bool) -> str:
    """Returns the cell cut to `room` characters. A path keeps its end, where paths differ."""
    mark = "~" if ascii_only else "…"
    if len(cell) <= room:
        return cell
    return mark + cell[1 - room :] if "/" in cell else cell[: room - 1] + mark
