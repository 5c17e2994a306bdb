"""Who looks on while a run or a sweep trains, and what becomes of it when they fail."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ch12cli.errors import MachineError


class Watcher(Protocol):
    """Who looks on while a run trains: a display, or nobody. step: so many of the steps of an epoch are done."""

    def begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None: ...
    def step(self, done: int, steps: int) -> None: ...
    def epoch(self, row: Mapping[str, float | int]) -> None: ...
    def message(self, text: str, *, warning: bool = False) -> None: ...
    def end(self, result: Mapping[str, Any], rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None: ...


class Nobody:
    """A watcher that does not look."""

    def begin(self, facts: Any, *, epochs: int, directory: Path) -> None: ...
    def step(self, done: int, steps: int) -> None: ...
    def epoch(self, row: Any) -> None: ...
    def message(self, text: str, *, warning: bool = False) -> None: ...
    def end(self, result: Any, rows: Any, *, directory: Path) -> None: ...


class Steadfast:
    """Tells a watcher that may fail, because nobody reads its output any more or its disk is full: the work goes on."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def tell(self, tell: Callable[[], None]) -> None:
        if self.error is None:
            try:
                tell()
            except OSError as error:
                self.error = error

    def raise_error(self, whole: str) -> None:
        """Raises what the watcher failed of, if it did. whole: what is nevertheless there, and where."""
        if isinstance(self.error, BrokenPipeError):
            raise self.error
        if self.error is not None:
            reason = self.error.strerror or self.error
            raise MachineError(f"cannot write the output: {reason}; {whole}") from self.error


class SteadfastRun(Steadfast):
    """A run's watcher that may fail."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        self.tell(lambda: self.watcher.begin(facts, epochs=epochs, directory=directory))

    def step(self, done: int, steps: int) -> None:
        self.tell(lambda: self.watcher.step(done, steps))

    def epoch(self, row: Mapping[str, float | int]) -> None:
        self.tell(lambda: self.watcher.epoch(row))

    def message(self, text: str, *, warning: bool = False) -> None:
        self.tell(lambda: self.watcher.message(text, warning=warning))

    def end(self, result: Mapping[str, Any], rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None:
        self.tell(lambda: self.watcher.end(result, rows, directory=directory))
        self.raise_error(f"the run itself is whole in {directory}")
