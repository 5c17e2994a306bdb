"""Text for a finished run: its status, metrics and learning curves."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.text import Text

from ch12cli.catalogue.formatting import count_of, format_rate, format_seconds, metric_label, part_metrics
from ch12cli.cli.text.console import wrap
from ch12cli.cli.text.tables import format_result
from ch12cli.files.result_json import Result
from ch12cli.plots.text_curve import MIN_WIDTH, curve_spans

CURVE_WIDTH, CURVE_HEIGHT = 80, 12  # maximum characters and lines
WIDE = 100  # width in characters from which two curves are drawn side by side
BETWEEN = 4  # blanks between two curves
PART_STYLES = {"train": "cyan", "valid": "magenta"}  # for metrics and learning curves
STATUS_STYLES = {
    "finished": "bold green",
    "interrupted": "bold yellow",
    "submitted": "bold yellow",
}  # any other status is an error


def format_status(result: Result, epochs: int, *, width: int | None = None, reason: str = "") -> list[Text]:
    """Returns the run's status as lines: `finished  100 epochs in 3.2 s, 31 epochs/s`.

    epochs: the number planned. With a width, the reason follows on lines of its own, wrapped to that width. Without a
    width, it follows on the same line.
    """
    status, done, seconds = result.status, result.epochs or 0, result.seconds
    text = f"{done:,} of {epochs:,} epochs" if done < epochs else count_of(done, "epoch")
    if seconds is not None:
        text += f" in {format_seconds(seconds)}"
    if status == "finished":
        text += f", {format_rate(done / seconds)}" if done and seconds else ""
    else:
        text = f"after {text}"
    if reason and width is None:
        text += f": {reason}"
    lines = [Text.assemble((status, STATUS_STYLES.get(status, "bold red")), "  ", text)]
    if reason and width is not None:
        indent = " " * (len(status) + 2)
        lines += [Text(indent + line) for line in wrap(reason, width - len(indent))]
    return lines


def styled_result(result: Result, *, ascii_only: bool) -> list[Text]:
    """Returns the table of `format_result` with a dim header and bold test metrics."""
    lines = [Text(line) for line in format_result(result, ascii_only=ascii_only)]
    for number, line in enumerate(lines):
        if number == 0:
            line.stylize("dim")
        elif line.plain.startswith("test"):
            line.stylize("bold")
    return lines


def styled_curves(
    rows: Sequence[Mapping[str, Any]], epochs: int, *, width: int, height: int, ascii_only: bool
) -> list[Text]:
    """Returns the loss curves as text, with the next metric beside them if it fits.

    rows: of all epochs, or of evenly spaced ones. The list is empty if there are fewer than two.
    """
    metrics = list(dict.fromkeys(metric for row in rows for part in PART_STYLES for metric in part_metrics(row, part)))
    metrics = metrics[: 2 if width >= WIDE else 1]
    if len(rows) < 2 or not metrics or width < MIN_WIDTH:
        return []
    each = min(CURVE_WIDTH, (width - BETWEEN * (len(metrics) - 1)) // len(metrics))
    height = min(height, CURVE_HEIGHT)
    drawings = [
        _styled_curve(rows, epochs, metric, width=each, height=height, ascii_only=ascii_only) for metric in metrics
    ]
    lines = []
    for left, *right in zip_longest(*drawings, fillvalue=Text()):
        line = left.copy()
        for piece in right:
            line.append(" " * (each + BETWEEN - len(line))).append_text(piece)
        lines.append(line)
    return lines


def _styled_curve(
    rows: Sequence[Mapping[str, Any]], epochs: int, metric: str, *, width: int, height: int, ascii_only: bool
) -> list[Text]:
    """Returns the curves of one metric for every part that has it."""
    label = metric_label(metric, ascii_only=ascii_only)
    parts = [part for part in PART_STYLES if any(f"{part}_{metric}" in row for row in rows)]
    series = {f"{part} {label}": [_number(row.get(f"{part}_{metric}")) for row in rows] for part in parts}
    styles: dict[str | None, str] = {name: PART_STYLES[part] for name, part in zip(series, parts, strict=True)}
    spans = curve_spans(series, last=epochs, width=width, height=height, ascii_only=ascii_only)
    return [Text.assemble(*((text, styles.get(name, "dim")) for text, name in line)) for line in spans]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
