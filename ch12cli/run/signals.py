"""Ctrl-C and SIGTERM while a run or a sweep starts, trains and ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ch12cli.errors import InputError


@contextmanager
def sigterm_held() -> Iterator[None]:
    """Keeps a SIGTERM that comes within until the end: what is being written is written."""
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
    """SIGTERM was received: the run ends as it does after Ctrl-C."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Makes SIGTERM raise Terminated, where the program may say so (in its main thread)."""

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
    """Raises KeyboardInterrupt at its end if one was swallowed on the way, as imports of large packages do."""
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
        if received and not isinstance(error, KeyboardInterrupt):  # what an import made of it
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt


@contextmanager
def termination_exits() -> Iterator[None]:
    """Ends the program with 143 where a SIGTERM came too late, or for the second time, for the run to end by itself;
    says so where a user's own code ended it."""
    try:
        yield
    except Terminated:
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit as error:
        if error.code == 128 + signal.SIGTERM:
            raise
        raise InputError(f"code of your own called sys.exit({error.code!r}), which ended the run") from error
