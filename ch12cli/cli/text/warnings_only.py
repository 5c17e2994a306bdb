"""A display that prints nothing but warnings: standard output is left to the JSON that follows."""

from pathlib import Path
from typing import Any

from ch12cli.cli.text.problems import print_warnings


class WarningsOnly:
    """Callback of a run or a sweep. directory: that of the run or sweep; None before it begins."""

    def __init__(self) -> None:
        self.directory: Path | None = None

    def on_begin(self, _subject: Any, *, directory: Path, epochs: int = 0) -> None:
        self.directory = directory

    def on_message(self, text: str, *, warning: bool = False) -> None:
        """Prints a warning to standard error."""
        if warning:
            print_warnings([text])

    def on_step(self, done: int, steps: int) -> None: ...
    def on_epoch_end(self, row: Any) -> None: ...
    def on_end(self, result: Any, rows: Any, *, directory: Path) -> None: ...
    def on_progress(self, item: Any, progress: Any) -> None: ...
    def on_job_end(self, done: Any, job: Any) -> None: ...
