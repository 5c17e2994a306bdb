"""How the columns of a table of text become features: a number as it is, a category as one feature for each level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from ch12cli.errors import InputError


@dataclass(frozen=True)
class Column:
    """A column of a file. levels: the texts that a category takes, in the order of its features; None: numbers."""

    name: str
    levels: tuple[str, ...] | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features it becomes: its own, or `name=level` for each level."""
        return (self.name,) if self.levels is None else tuple(f"{self.name}={level}" for level in self.levels)


def features_of(columns: Sequence[Column]) -> tuple[str, ...]:
    """The names of all features, in order."""
    return tuple(chain.from_iterable(column.features for column in columns))


def as_plain(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Columns as plain values, exact in JSON."""
    return [
        {"name": column.name, "levels": None if column.levels is None else list(column.levels)} for column in columns
    ]


def from_plain(plain: object, feature_names: Sequence[str], name: str) -> list[Column]:
    """The columns that as_plain wrote; None: each feature is a column of numbers. name: of what holds them."""
    if plain is None:
        return [Column(feature) for feature in feature_names]
    sound = isinstance(plain, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("name"), str) and _is_levels(each.get("levels"))
        for each in plain
    )
    columns = [
        Column(each["name"], None if each["levels"] is None else tuple(each["levels"]))
        for each in (cast(list[Any], plain) if sound else [])
    ]
    if not sound or features_of(columns) != tuple(feature_names):
        raise InputError(f"{name}: its columns are damaged; they must have names and levels, and make up its features")
    return columns


def _is_levels(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(level, str) for level in value))
