"""Callbacks of a run, and wrappers that keep a failing callback from ending it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ch12cli.errors import MachineError
from ch12cli.files.result_json import Result


class Callback(Protocol):
    """Receives the events of a run. Displays and trackers implement it.

    `on_step` is called after `done` of the `steps` steps of an epoch.
    """

    def on_begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None: ...
    def on_step(self, done: int, steps: int) -> None: ...
    def on_epoch_end(self, row: Mapping[str, float | int]) -> None: ...
    def on_message(self, text: str, *, warning: bool = False) -> None: ...
    def on_end(self, result: Result, rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None: ...


class NullCallback:
    """Callback that does nothing. Base class for callbacks that need only some of the methods."""

    def on_begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None: ...
    def on_step(self, done: int, steps: int) -> None: ...
    def on_epoch_end(self, row: Mapping[str, float | int]) -> None: ...
    def on_message(self, text: str, *, warning: bool = False) -> None: ...
    def on_end(self, result: Result, rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None: ...


class CallbackList:
    """Callback that calls several callbacks in order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(callbacks)

    def on_begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        for callback in self.callbacks:
            callback.on_begin(facts, epochs=epochs, directory=directory)

    def on_step(self, done: int, steps: int) -> None:
        for callback in self.callbacks:
            callback.on_step(done, steps)

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        for callback in self.callbacks:
            callback.on_epoch_end(row)

    def on_message(self, text: str, *, warning: bool = False) -> None:
        for callback in self.callbacks:
            callback.on_message(text, warning=warning)

    def on_end(self, result: Result, rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None:
        for callback in self.callbacks:
            callback.on_end(result, rows, directory=directory)


class FaultTolerant:
    """Calls a display until it raises OSError, then ignores it so that the work goes on.

    A display raises OSError if its reader has gone or its disk is full.
    """

    def __init__(self) -> None:
        self.error: OSError | None = None

    def notify(self, call: Callable[[], None]) -> None:
        if self.error is None:
            try:
                call()
            except OSError as error:
                self.error = error

    def raise_error(self, complete: str) -> None:
        """Raises the display's error, if there was one. `complete` says what was written all the same, and where."""
        if isinstance(self.error, BrokenPipeError):
            raise self.error
        if self.error is not None:
            reason = self.error.strerror or self.error
            raise MachineError(f"cannot write the output: {reason}; {complete}") from self.error


class FaultTolerantCallback(FaultTolerant):
    """Callback of a run whose errors do not end the run. `on_end` raises the first error."""

    def __init__(self, callback: Callback) -> None:
        super().__init__()
        self.callback = callback

    def on_begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        self.notify(lambda: self.callback.on_begin(facts, epochs=epochs, directory=directory))

    def on_step(self, done: int, steps: int) -> None:
        self.notify(lambda: self.callback.on_step(done, steps))

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        self.notify(lambda: self.callback.on_epoch_end(row))

    def on_message(self, text: str, *, warning: bool = False) -> None:
        self.notify(lambda: self.callback.on_message(text, warning=warning))

    def on_end(self, result: Result, rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None:
        self.notify(lambda: self.callback.on_end(result, rows, directory=directory))
        self.raise_error(f"the run itself is complete in {directory}")
