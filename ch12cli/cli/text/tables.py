"""Numbers, times and the figures of a run as text. Everything here returns; nothing prints."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LABELS = {"mae": "MAE", "r2": "R²"}  # the other metrics are called what they are
SHARES = ("accuracy", "r2")  # at most 1: a number of decimals; for the others a number of digits
PARTS = {"train": "train", "valid": "validation", "test": ""}
MIN_CELL = 6  # characters to which a cell may be cut
GAP = "  "  # between columns
NUMBER = 9  # characters: 1.234e-05


def format_number(metric: str, value: float | None) -> str:
    """A metric's value: 4 decimals for accuracy and R², 4 digits for anything else, "-" where there is none."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return f"{value}"
    if metric in SHARES and abs(value) < 1000:
        return f"{value:.4f}"
    if metric in ("lr", "seconds"):
        return f"{value:.4g}"
    return f"{value:#.4g}".rstrip(".")


def format_seconds(seconds: float) -> str:
    """A length of time to about two digits: 0.31 s, 4.2 s, 31 s, 2 min 05 s, 3 h 07 min."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_time_left(seconds: float) -> str:
    """A length of time that can be watched running down: 0:07, 12:30, 3:05:00."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def format_rate(rate: float) -> str:
    """Epochs in a second, or the time of an epoch if that is more than a second."""
    if rate < 1:
        return f"{format_seconds(1 / rate)}/epoch"
    return f"{rate:.0f} epochs/s" if rate >= 10 else f"{rate:.1f} epochs/s"


def metric_label(metric: str, *, ascii_only: bool = False) -> str:
    """What a person calls a metric."""
    label = LABELS.get(metric, metric)
    return label.replace("²", "2") if ascii_only else label


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


def part_metrics(row: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The metrics of one part (train, valid), by their names without it: {"loss": …, "accuracy": …}."""
    return {name.removeprefix(f"{part}_"): value for name, value in row.items() if name.startswith(f"{part}_")}


def result_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures of a run, as far as it got: rows with `row` (final, best, test), `part`, `epoch` and the metrics.

    The best epoch is shown on the validation part, if there is one: there it is the best.
    """
    final, best, test = (result.get(name) or {} for name in ("final", "best", "test"))
    rows = [
        {"row": "final", "part": part, "epoch": final.get("epoch"), **part_metrics(final, part)}
        for part in ("train", "valid")
    ]
    part = "valid" if part_metrics(best, "valid") else "train"
    rows.append({"row": "best", "part": part, "epoch": best.get("epoch"), **part_metrics(best, part)})
    rows.append({"row": "test", "part": "test", "epoch": None, **test})
    return [row for row in rows if len(row) > 3]  # 3: row, part, epoch, but no metrics


def format_result(result: Mapping[str, Any], *, ascii_only: bool = False) -> list[str]:
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
