"""The display of one run: its settings, progress and result."""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.text import Text

from ch12cli.catalogue.formatting import format_number, format_rate, format_time_left, metric_label, part_metrics
from ch12cli.cli.text.console import print_line, truncate_line
from ch12cli.cli.text.run_report import PART_STYLES, format_status, styled_curves, styled_result
from ch12cli.cli.text.screen import BAR_WIDTH, MIN_BAR, SPEED_WIDTH, Screen
from ch12cli.cli.text.tables import epoch_columns, format_epoch, format_epoch_header
from ch12cli.config.recorded import resume_line
from ch12cli.files.result_json import Result

DisplayedRow = Mapping[str, Any]  # a row of metrics.csv

RATE_OVER = 30  # number of redraws over which the rate is averaged
LABEL_WIDTH = 9  # characters: optimizer
LOG_LINES = 20  # maximum number of epoch lines without a live display
MIN_CURVE = 8  # minimum lines of a learning curve on a small terminal


class RunDisplay(Screen):
    """The display of one run: live on a terminal, plain lines elsewhere.

    verbosity: -1 prints only the directory; 1 prints every epoch if there is no live display.
    """

    def __init__(self, *, verbosity: int = 0, console: Console | None = None, errors: Console | None = None) -> None:
        super().__init__(verbosity=verbosity, console=console, errors=errors)
        self._epochs = 0
        self._label_width = LABEL_WIDTH
        self._row: DisplayedRow = {}  # the latest row
        self._done = 0.0  # epochs completed, including the fraction of the current epoch
        self._drawn: deque[tuple[float, float]] = deque(maxlen=RATE_OVER)  # (time, epochs) at each redraw
        self._stride = 0  # epochs between printed lines without a live display; 0: print no lines
        self._columns: list[str] = []  # columns of the printed lines
        self._logged = 0  # the latest epoch printed

    def on_begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        """Prints the (label, text) facts about the run and starts the progress display."""
        self._epochs = epochs
        if self.quiet:
            return
        facts = [*facts, ("directory", str(directory))] if self.verbose else facts
        self._label_width = max([LABEL_WIDTH, *(len(label) for label, _ in facts)])
        self.print_facts(facts, label_width=self._label_width)
        self.print([""])
        self.has_printed = False
        if not self.start(self._picture):
            self._stride = 1 if self.verbose else log_stride(epochs)

    def on_step(self, done: int, steps: int) -> None:
        """Records the steps completed in the current epoch and refreshes the display if it is due."""
        self._done = self._row.get("epoch", 0) + done / steps
        self.refresh()

    def on_epoch_end(self, row: DisplayedRow) -> None:
        """Records a finished epoch and refreshes the display if it is due."""
        self._row, self._done = row, float(row["epoch"])
        if self.live is not None:
            self.refresh()
        elif self._stride and (not self._columns or row["epoch"] % self._stride == 0):
            self._log(row)

    def on_end(self, result: Result, rows: Sequence[DisplayedRow], *, directory: Path) -> None:
        """Stops the live display and prints the status, metrics, learning curve and directory."""
        self.close()
        if not self.quiet:
            if self._stride and self._row and self._row["epoch"] != self._logged:
                self._log(self._row)
            width, height = self.console.size
            self.print([""] if self.has_printed else [])
            for block in (
                format_status(result, self._epochs, width=width, reason=result.error or ""),
                styled_result(result, ascii_only=self.ascii_only),
                styled_curves(
                    rows, len(rows), width=width, height=max(MIN_CURVE, height // 2), ascii_only=self.ascii_only
                ),
            ):
                self.print([*block, ""] if block else [])
        if result.status == "interrupted" and not self.quiet:
            self.print([f"continue with: {resume_line(directory)}"])
        if result.status != "finished" and not self.seen:
            print_line(self.errors, *format_status(result, self._epochs, reason=result.error or ""))
        self.print([str(directory)])

    def _picture(self) -> Text:
        if self._done:
            self._drawn.append((perf_counter(), self._done))
        (then, first), (now, last) = (self._drawn[0], self._drawn[-1]) if self._drawn else ((0.0, 0.0), (0.0, 0.0))
        return format_progress(
            self._row,
            self._epochs,
            done=self._done,
            rate=(last - first) / (now - then) if now > then and last > first else None,
            width=self.console.width,
            label_width=self._label_width,
            ascii_only=self.ascii_only,
        )

    def _log(self, row: DisplayedRow) -> None:
        """Prints an epoch as a line, with a header before the first one."""
        if not self._columns:
            self._columns = epoch_columns(row, width=self.console.width, verbose=self.verbose)
            self.print([format_epoch_header(self._columns, ascii_only=self.ascii_only)])
        self.print([format_epoch(row, self._columns)])
        self._logged = row["epoch"]
        self.has_printed = True


def log_stride(epochs: int) -> int:
    """Returns the least number of 1, 2, 5, 10, 20, … epochs between lines that gives at most LOG_LINES lines."""
    stride = 1
    while True:
        for factor in (1, 2, 5):
            if epochs <= LOG_LINES * stride * factor:
                return stride * factor
        stride *= 10


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
    """Returns the progress line and one line of metrics for each part, none wider than `width`.

    row: the latest row of metrics.csv, or an empty mapping. done: completed epochs, including the fraction of the
    current one.
    """
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
        truncate_line(line, width, ascii_only=ascii_only)
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _format_part(row: Mapping[str, Any], part: str, label_width: int, *, ascii_only: bool) -> Text:
    """Returns the metrics of one part as a line, empty if there are none."""
    line = Text()
    for metric, value in part_metrics(row, part).items():
        label = metric_label(metric, ascii_only=ascii_only)
        line.append(f"  {label} ", "dim").append(f"{format_number(metric, value):<9}")
    return Text.assemble((f"{part:<{label_width}}", PART_STYLES[part]), line) if line else line
