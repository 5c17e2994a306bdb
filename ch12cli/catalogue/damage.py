"""Converts errors from reading damaged records to InputError or messages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError
from ch12cli.files.sealed_json import NewerFormatError

# Errors raised while reading values of the wrong form.
WRONG_FORM = (TypeError, ValueError, KeyError, AttributeError, ArithmeticError)


@contextmanager
def refuse_wrong_form(path: Path) -> Iterator[None]:
    """Re-raises errors caused by values of the wrong form as InputError. path: the run or sweep."""
    try:
        yield
    except WRONG_FORM as error:
        raise InputError(f"{path}: was not written by ch12, or is corrupt ({error})") from error


def read_or_note(read: Callable[[], Any], problems: list[str]) -> Any:
    """Returns the result of `read`. If it raises InputError, adds the messages to `problems` and returns None.

    NewerFormatError is passed on.
    """
    try:
        return read()
    except NewerFormatError:
        raise
    except InputError as error:
        problems += error.messages
        return None
