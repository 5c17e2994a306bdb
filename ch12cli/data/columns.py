"""Columns of text: the value in a cell, and the features that a column becomes.

A column of numbers is one feature. A column of categories is one feature for each of its levels (one-hot).
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ch12cli.data.notation import (
    PLAIN_NOTATION,
    Notation,
    is_number,
    notation_as_plain,
    notation_from_plain,
)
from ch12cli.data.text_file import short
from ch12cli.errors import InputError

NO_TEXT = {"", "nan", "na", "n/a", "null", "?", "#n/a"}  # how files mark a missing value
NO_NUMBER = NO_TEXT | {"none", "-", "nil"}  # the same in a column of numbers: these may be the name of a category
INFINITE = re.compile(r"[+-]?(inf|infinity|∞)", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")  # or a decimal comma with three digits behind it
EXACT = 2.0**53  # whole numbers up to it are exact in float64
ROUNDED = 0.01  # rounding, relative to the range of a column, from which on it matters


@dataclass(frozen=True)
class Column:
    """A column of a file. levels: the texts of a category, in the order of its features; None: a column of numbers.

    notation: how its numbers are written.
    """

    name: str
    levels: tuple[str, ...] | None = None
    notation: Notation = PLAIN_NOTATION

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features: the column's own name, or `name=level` for each level."""
        return (self.name,) if self.levels is None else tuple(f"{self.name}={level}" for level in self.levels)


def features_of(columns: Sequence[Column]) -> tuple[str, ...]:
    """The names of all features, in order."""
    return tuple(chain.from_iterable(column.features for column in columns))


def columns_as_plain(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Columns as plain values, exact in JSON."""
    return [
        {
            "name": column.name,
            "levels": None if column.levels is None else list(column.levels),
            "notation": notation_as_plain(column.notation),
        }
        for column in columns
    ]


def columns_from_plain(plain: object, feature_names: Sequence[str], name: str) -> list[Column]:
    """The columns that columns_as_plain wrote. name: of their file, for messages.

    plain: None stands for a column of numbers for each feature. InputError if they are damaged, or do not make up these
    features.
    """
    if plain is None:
        return [Column(feature) for feature in feature_names]
    valid = isinstance(plain, list) and all(
        isinstance(each, Mapping)
        and isinstance(each.get("name"), str)
        and _is_levels(each.get("levels"))
        and notation_from_plain(each.get("notation"))
        for each in plain
    )
    columns = [
        Column(
            each["name"],
            None if each["levels"] is None else tuple(each["levels"]),
            notation_from_plain(each.get("notation")) or PLAIN_NOTATION,  # 0.1.0 wrote none
        )
        for each in (cast(list[Any], plain) if valid else [])
    ]
    if not valid or features_of(columns) != tuple(feature_names):
        raise InputError(f"{name}: its columns are damaged; they must have names and levels, and make up its features")
    return columns


def number(cell: str, notation: Notation = PLAIN_NOTATION) -> float | str:
    """The number in a cell, NaN for a missing value; or a text that says what is wrong with the cell."""
    text = cell.strip()
    value = notation.value(text)
    if value is not None:
        return f"{short(text)} is too large for a number" if math.isinf(value) else value
    if is_missing(text, category=False):
        return math.nan
    if INFINITE.fullmatch(text):
        return f"{text} is not finite"
    if notation != PLAIN_NOTATION:
        return f"{short(text)!r} is not a number{notation.described}"
    hint = f"; write {text.replace(',', '.')}" if DECIMAL_COMMA.fullmatch(text) else ""
    if hint and THOUSANDS.fullmatch(text):  # of which nobody but the user knows what it is
        hint += f" or {text.replace(',', '')}, whichever it is"
    if any(sign.isdecimal() and not sign.isascii() for sign in text):
        hint = "; write its digits as 0 to 9"
    return f"{short(text)!r} is not a number{hint}"


def has_text(cell: str) -> bool:
    """Whether a cell of a category holds a value."""
    return cell.strip().casefold() not in NO_TEXT


def is_missing(cell: str, *, category: bool) -> bool:
    """Whether a cell holds no value. category: whether its column holds categories."""
    return cell.strip().casefold() in (NO_TEXT if category else NO_NUMBER)


def missing_problem(cell: str, *, category: bool = False) -> str:
    """The message for a cell without a value in a column where every row needs one."""
    text, kind = cell.strip(), "text" if category else "number"
    return f"{f'{text} is not a {kind}' if text else 'is empty'}; every row needs a value"


def rounding_hint(pieces: Iterable[npt.NDArray[Any]]) -> str:
    """What to do about a column of numbers so large and so close that float64 rounds them; empty if it does not.

    pieces: of the column, (rows,) each, NaN for a missing value.
    """
    low, high = np.inf, -np.inf
    for values in pieces:
        low, high = np.fmin.reduce(values, initial=low), np.fmax.reduce(values, initial=high)
    largest = float(max(-low, high))
    if not EXACT <= largest < np.inf or np.spacing(largest) <= ROUNDED * (high - low):
        return ""
    return (
        f"its numbers are about {largest:.4g}, and double precision rounds them to multiples of "
        f"{np.spacing(largest):.4g}; subtract what they have in common, or leave the column out"
    )


def similar_texts(texts: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of texts that differ only in capitals, blanks, a full stop, or how Unicode or a number is written."""
    first: dict[str, str] = {}
    found = [(first.setdefault(_spoken(text), text), text) for text in texts]
    return [(one, other) for one, other in found if one != other]


def _spoken(text: str) -> str:
    """A text as it is read aloud."""
    if is_number(text):
        return str((Decimal(text.strip().replace("\N{MINUS SIGN}", "-")) + 0).normalize())  # -0 becomes 0
    seen = "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf")
    return " ".join(re.split(r"[\s_.-]+", seen.casefold())).strip()


def _is_levels(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(level, str) for level in value))
