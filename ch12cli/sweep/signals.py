"""SIGTERM as an exception, so that a run or a sweep ends by it as it does by Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
