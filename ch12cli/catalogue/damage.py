"""Damaged records: what reading them raises becomes a problem, not a traceback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ch12cli.errors import InputError
from ch12cli.files.sealed_json import NewerFormatError

# What code raises that reads a result of the wrong form.
WRONG_FORM = (TypeError, ValueError, KeyError, AttributeError, ArithmeticError)


@contextmanager
def refuse_wrong_form(path: Path) -> Iterator[None]:
    """Raises InputError in place of any error that comes of values of the wrong form. path: the run or sweep."""
    try:
        yield
    except WRONG_FORM as error:
        raise InputError(f"{path}: was not written by ch12, or is corrupt ({error})") from error


def read_or_note(read: Callable[[], Any], problems: list[str]) -> Any:
    """The contents of a file; None if it is damaged, with the reason added to `problems`."""
    try:
        return read()
    except NewerFormatError:
        raise
    except InputError as error:
        problems += error.messages
        return None
