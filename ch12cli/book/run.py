"""Runs the chapter's items from the `items` folder and compares their output with the book."""

import ast
import contextlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from ch12cli.book.printed import ITEMS, Printed

FOLDER = Path(__file__).parent / "items"
# The tokens compared: numbers with all their digits, and words. Blanks and brackets are typesetting.
TOKEN = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?|[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Ran:
    """The result of running an item.

    same: whether its output matches the book. error: why it did not complete.
    """

    number: int
    printed: Printed
    about: str
    code: str
    output: str
    same: bool
    error: str = ""


def item_source(number: int) -> tuple[str, str]:
    """Returns an item's description and its code."""
    text = (FOLDER / f"item_{number:02}.py").read_text(encoding="utf-8")
    body = ast.parse(text).body
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)
    return str(body[0].value.value), "\n".join(text.splitlines()[body[0].end_lineno or 1 :]).strip() + "\n"


def run_item(number: int, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Ran:
    """Runs an item and compares its output with the book.

    device, dtype: used for items that do not fix them.
    """
    printed = ITEMS[number]
    about, code = item_source(number)
    output, error = io.StringIO(), ""
    with settings(device if printed.plain else "cpu", dtype if printed.plain else torch.float32):
        try:
            with contextlib.redirect_stdout(output):
                execute(code, f"item_{number:02}.py")
        except ImportError as missing:
            error = (
                f"{missing.name} is not installed: pip install 'ch12[images]'"
                if missing.name == "PIL"
                else str(missing)
            )
        except Exception as raised:  # such as an unsupported device or dtype: report it and continue with the next item
            error = f"{type(raised).__name__}: {raised}".splitlines()[0]
    text = output.getvalue().rstrip("\n")
    return Ran(number, printed, about, code, text, not error and agrees(text, printed), error)


def execute(code: str, name: str) -> None:
    """Runs code as a temporary module in sys.modules, where pickle finds its classes."""
    module = ModuleType(f"ch12_{name.removesuffix('.py')}")
    sys.modules[module.__name__] = module
    try:
        exec(compile(code, name, "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]


@contextlib.contextmanager
def settings(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Sets torch to its initial state with this device and dtype, then restores the previous state.

    The state of the random generator is restored too. One thread is used, as the items are too small for more.
    """
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.seed()
        torch.set_default_dtype(dtype)
        torch.set_num_threads(1)
        try:
            with torch.device(device):
                yield
        finally:
            torch.set_default_dtype(before)
            torch.set_num_threads(threads)


def agrees(output: str, printed: Printed) -> bool:
    """Returns whether the output matches the book to the last digit, or in shape and range for "uniform" items."""
    if printed.kind == "uniform":
        numbers = [float(token) for token in TOKEN.findall(output) if token[0].isdigit()]
        return len(numbers) == 6 and all(0 <= number <= 1 for number in numbers)  # 1.0000 is a rounded one below 1
    return TOKEN.findall(output) == TOKEN.findall(printed.text)
