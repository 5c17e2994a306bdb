"""Handling of SIGINT and SIGTERM while a run or a sweep starts, trains and ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ch12cli.errors import InputError


@contextmanager
def sigterm_held() -> Iterator[None]:
    """Delays SIGTERM until the block ends, so that a write is completed.

    Does nothing outside the main thread.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        signal.raise_signal(signal.SIGTERM)


class Terminated(BaseException):
    """Raised on SIGTERM. The run then ends as it does after Ctrl-C."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Makes SIGTERM raise Terminated within the block.

    Does nothing outside the main thread, where Python cannot set signal handlers.
    """

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raises KeyboardInterrupt at the end of the block if one was swallowed within it.

    Imports of large packages swallow it.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except BaseException as error:
        if received and not isinstance(error, KeyboardInterrupt):  # the error that an import turned it into
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt


@contextmanager
def termination_exits() -> Iterator[None]:
    """Exits with code 143 on Terminated, and raises InputError if user code called sys.exit.

    Terminated arrives here if SIGTERM came too late, or a second time, for the run to end by itself.
    """
    try:
        yield
    except Terminated:
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as error:
        if error.code == 128 + signal.SIGTERM:
            raise
        raise InputError(f"code of your own called sys.exit({error.code!r}), which ended the run") from error
