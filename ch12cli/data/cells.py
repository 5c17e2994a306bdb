"""What a cell of a text file says: a number, a category, or nothing."""

import math
import re
from collections.abc import Iterable

from ch12cli.data.text_file import short

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # what float() takes besides is no data
WHOLE = re.compile(r"[+-]?[0-9]+")
NO_TEXT = {"", "nan", "na", "n/a", "null", "?", "#n/a"}  # how files say that there is no value
NO_NUMBER = NO_TEXT | {"none", "-", "nil"}  # the same where a number belongs: these may be the name of a category
INFINITE = re.compile(r"[+-]?(inf|infinity|∞)", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
WITH_COMMAS = re.compile(r"[+-]?[0-9]+([.,][0-9]+)*")  # 5,1 and 1,084.5


def number(cell: str) -> float | str:
    """The number in a cell, NaN where there is none, or what is wrong with it."""
    text = cell.strip()
    if NUMBER.fullmatch(text):
        value = float(text)
        return f"{short(text)} is too large for a number" if math.isinf(value) else value
    if text.casefold() in NO_NUMBER:
        return math.nan
    if INFINITE.fullmatch(text):
        return f"{text} is not finite"
    hint = f"; write {text.replace(',', '.')}" if DECIMAL_COMMA.fullmatch(text) else ""
    return f"{short(text)!r} is not a number{hint}"


def absent(cell: str, *, kind: str = "number") -> str:
    """What is said of a cell without a value where there must be one. kind: number or text."""
    text = cell.strip()
    return f"{f'{text} is no {kind}' if text else 'is empty'}; every row needs a value"


def is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell.strip()) is not None


def with_comma(cells: Iterable[str]) -> str | None:
    """One of the cells of a column of numbers that are written with commas; None if the column holds anything else."""
    told = [cell for cell in cells if has_text(cell)]
    return next((cell for cell in told if "," in cell), None) if all(map(WITH_COMMAS.fullmatch, told)) else None


def has_text(cell: str) -> bool:
    """Whether there is a value in the cell of a category."""
    return cell.strip().casefold() not in NO_TEXT
