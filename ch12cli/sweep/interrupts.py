"""Ctrl-C and SIGTERM where no run handles them: while things are imported, and while its end is being written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ch12cli.errors import InputError
from ch12cli.sweep.signals import Terminated


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
