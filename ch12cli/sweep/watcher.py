"""Who looks on while a run trains, and what becomes of the run when they fail."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ch12cli.errors import MachineError


class Watcher(Protocol):
    """Who looks on while a run trains: a display, or nobody."""

    def begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None: ...
    def epoch(self, row: Mapping[str, float | int]) -> None: ...
    def message(self, text: str, *, warning: bool = False) -> None: ...
    def end(self, result: Mapping[str, Any], rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None: ...


class Steadfast:
    """A watcher that may fail, because nobody reads its output any more or its disk is full: the run goes on."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.error: OSError | None = None

    def begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        self._tell(lambda: self.watcher.begin(facts, epochs=epochs, directory=directory))

    def epoch(self, row: Mapping[str, float | int]) -> None:
        self._tell(lambda: self.watcher.epoch(row))

    def message(self, text: str, *, warning: bool = False) -> None:
        self._tell(lambda: self.watcher.message(text, warning=warning))

    def end(self, result: Mapping[str, Any], rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None:
        self._tell(lambda: self.watcher.end(result, rows, directory=directory))
        if isinstance(self.error, BrokenPipeError):
            raise self.error
        if self.error is not None:
            raise MachineError(
                f"cannot write the output: {self.error.strerror or self.error}; the run itself is whole in {directory}"
            ) from self.error

    def _tell(self, tell: Callable[[], None]) -> None:
        if self.error is None:
            try:
                tell()
            except OSError as error:
                self.error = error
