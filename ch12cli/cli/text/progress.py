"""The picture of a run while it trains: a bar, the rate, the time left, the latest figures."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ch12cli.cli.text.tables import format_number, format_rate, format_time_left, metric_label, part_metrics

BAR_WIDTH = 32  # characters, at most
MIN_BAR = 6  # characters; where there is less room there is no bar
SPEED_WIDTH = 28  # characters kept for "  31 epochs/s  1:02:03 left", so that the bar keeps its length
PART_STYLES = {"train": "cyan", "valid": "magenta"}  # of the live figures and of the learning curves


def format_progress(
    row: Mapping[str, Any],
    epochs: int,
    *,
    done: float,
    rate: float | None,
    width: int,
    label_width: int,
    ascii_only: bool,
) -> Text:
    """One line, and one for each part; none wider than `width`. row: the latest of metrics.csv, or empty; done: epochs,
    the share of the one at hand among them."""
    epoch = row.get("epoch", 0)
    count = f"{epoch}/{epochs}".ljust(len(f"{epochs}/{epochs}"))
    line = Text.assemble((f"{'epoch':<{label_width}}", "dim"), f"  {count}")
    speed = f"  {format_rate(rate)}  {format_time_left((epochs - done) / rate)} left" if rate else ""
    room = min(BAR_WIDTH, width - line.cell_len - 2 - max(SPEED_WIDTH, len(speed)))
    if room >= MIN_BAR:
        bar = min(room, int(room * done / epochs))
        full, rest = ("=", "-") if ascii_only else ("━", "─")
        line.append("  ").append(full * bar, "green").append(rest * (room - bar), "dim")
    line.append(speed, "dim")
    lines = [line, *(_format_part(row, part, label_width, ascii_only=ascii_only) for part in PART_STYLES)]
    lines = [line for line in lines if line]
    for line in lines:
        line.truncate(width)
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _format_part(row: Mapping[str, Any], part: str, label_width: int, *, ascii_only: bool) -> Text:
    """The figures of a part; empty if there are none."""
    line = Text()
    for metric, value in part_metrics(row, part).items():
        label = metric_label(metric, ascii_only=ascii_only)
        line.append(f"  {label} ", "dim").append(f"{format_number(metric, value):<9}")
    return Text.assemble((f"{part:<{label_width}}", PART_STYLES[part]), line) if line else line
