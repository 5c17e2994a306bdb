"""A call in a process of its own, which a user's code may end without ending the sweep."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from ch12cli.errors import MachineError

Result = TypeVar("Result")


class DiedError(Exception):
    """The process ended before it had a result."""


def call_in_subprocess(function: Callable[..., Result], *arguments: Any) -> Result:
    """function(*arguments), called in a copy of this process. DiedError if that dies; MachineError as here."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        result: Result | MachineError = ours.recv()
    except EOFError:
        process.join()
        raise DiedError(how_it_died(process.exitcode)) from None
    finally:
        ours.close()
    process.join()
    if isinstance(result, MachineError):
        raise result
    return result


def send(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send(function(*arguments))
    except MachineError as error:
        pipe.send(error)


def how_it_died(code: int | None) -> str:
    """A process's exit code in words."""
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
