"""Columns of text: the value in a cell, and the features that a column becomes.

A column of numbers is one feature. A column of categories is one feature for each of its levels (one-hot).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from ch12cli.data.text_file import short
from ch12cli.errors import InputError

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # stricter than float(): no nan, no 1_000
WHOLE = re.compile(r"[+-]?[0-9]+")
NO_TEXT = {"", "nan", "na", "n/a", "null", "?", "#n/a"}  # how files mark a missing value
NO_NUMBER = NO_TEXT | {"none", "-", "nil"}  # the same in a column of numbers: these may be the name of a category
INFINITE = re.compile(r"[+-]?(inf|infinity|∞)", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
WITH_COMMAS = re.compile(r"[+-]?[0-9]+([.,][0-9]+)*")  # 5,1 and 1,084.5


@dataclass(frozen=True)
class Column:
    """A column of a file. levels: the texts of a category, in the order of its features; None: a column of numbers."""

    name: str
    levels: tuple[str, ...] | None = None

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
        {"name": column.name, "levels": None if column.levels is None else list(column.levels)} for column in columns
    ]


def columns_from_plain(plain: object, feature_names: Sequence[str], name: str) -> list[Column]:
    """The columns that columns_as_plain wrote. name: of their file, for messages.

    plain: None stands for a column of numbers for each feature. InputError if they are damaged, or do not make up these
    features.
    """
    if plain is None:
        return [Column(feature) for feature in feature_names]
    valid = isinstance(plain, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) and _is_levels(each.get("levels"))
        for each in plain
    )
    columns = [
        Column(each["name"], None if each["levels"] is None else tuple(each["levels"]))
        for each in (cast(list[Any], plain) if valid else [])
    ]
    if not valid or features_of(columns) != tuple(feature_names):
        raise InputError(f"{name}: its columns are damaged; they must have names and levels, and make up its features")
    return columns


def number(cell: str) -> float | str:
    """The number in a cell, NaN for a missing value; or a text that says what is wrong with the cell."""
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


def is_number(cell: str) -> bool:
    """Whether a cell holds a number."""
    return NUMBER.fullmatch(cell.strip()) is not None


def has_text(cell: str) -> bool:
    """Whether a cell of a category holds a value."""
    return cell.strip().casefold() not in NO_TEXT


def is_missing(cell: str, *, category: bool) -> bool:
    """Whether a cell holds no value. category: whether its column holds categories."""
    if category:
        return not has_text(cell)
    value = number(cell)
    return isinstance(value, float) and math.isnan(value)


def missing_problem(cell: str, *, category: bool = False) -> str:
    """The message for a cell without a value in a column where every row needs one."""
    text, kind = cell.strip(), "text" if category else "number"
    return f"{f'{text} is not a {kind}' if text else 'is empty'}; every row needs a value"


def number_with_comma(cells: Iterable[str]) -> str | None:
    """A cell of a column whose values are numbers written with commas; None for any other column."""
    values = [cell for cell in cells if has_text(cell)]
    return next((cell for cell in values if "," in cell), None) if all(map(WITH_COMMAS.fullmatch, values)) else None


def _is_levels(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(level, str) for level in value))
