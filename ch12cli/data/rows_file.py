"""Rows of a user's CSV file for a trained network, whose columns are found by their names."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from ch12cli.data.cells import absent, has_text, is_number, number
from ch12cli.data.columns import Column
from ch12cli.data.table import Floats
from ch12cli.data.text_file import (
    Layout,
    listed,
    other_separator,
    read_header,
    refuse,
    short,
    width_problem,
)
from ch12cli.errors import InputError


@dataclass(frozen=True, eq=False)
class NamedRows:
    """Rows as they stand in a file. features: (rows, features) float64, in the order asked for; lines: (rows,), from 1.

    further: the names of the columns that were not asked for; cells: their text, a list a row.
    """

    source: str
    features: Floats
    lines: list[int]
    further: list[str]
    cells: list[list[str]]

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.source}, line {self.lines[row]}"


def read_rows(
    content: bytes, columns: Sequence[Column], *, source: str, layout: Layout | None = None, gaps: bool = False
) -> NamedRows:
    """The rows of a file of text in columns, of which these must be there.

    source: the file's name, for messages; gaps: whether values may be missing (NaN; of a category, none of its levels).
    InputError with everything that is wrong, each with its line and column.
    """
    layout = layout or Layout()
    header, records = read_header(content, layout, source=source)
    places = _places(header, [column.name for column in columns], layout, source)
    features: list[list[float]] = []
    lines: list[int] = []
    cells: list[list[str]] = []
    problems: list[str] = []
    further = [place for place in range(len(header)) if place not in places]
    for record in records:
        problem = width_problem(record, len(header))
        if problem:
            problems.append(problem)
            continue
        row: list[float] = []
        for column, place in zip(columns, places, strict=True):
            values = _features(column, record.cells[place], gaps=gaps)
            if isinstance(values, str):
                problems.append(f"line {record.line}, column {column.name}: {values}")
            else:
                row += values
        if not problems:  # else nothing will come of it
            features.append(row)
            lines.append(record.line)
            cells.append([record.cells[place] for place in further])
    refuse(problems, source)
    if not lines:
        raise InputError(f"{source}: has no rows below its header (line {layout.skip_lines + 1})")
    return NamedRows(source, np.array(features), lines, [header[place] for place in further], cells)


def _features(column: Column, cell: str, *, gaps: bool) -> list[float] | str:
    """What a cell of a column becomes, or what is wrong with it."""
    if column.levels is None:
        value = number(cell)
        if isinstance(value, str):
            return value
        return absent(cell) if math.isnan(value) and not gaps else [value]
    text = cell.strip()
    if text in column.levels:
        return [float(text == level) for level in column.levels]
    if not has_text(cell):
        return [0.0] * len(column.levels) if gaps else absent(cell, kind="text")
    near = get_close_matches(text, column.levels, n=1)
    meant = f"; did you mean {near[0]}?" if near else f"; it may be {listed(column.levels)}"
    return f"{short(text)!r} was not seen in training{meant}"


def _places(header: Sequence[str], names: Sequence[str], layout: Layout, source: str) -> list[int]:
    """Where each of the names stands in the header."""
    by_name = {name: place for place, name in enumerate(header)}
    missing = [name for name in names if name.strip() not in by_name]
    if not missing:
        return [by_name[name.strip()] for name in names]
    line = layout.skip_lines + 1
    if layout.header and all(map(is_number, header)):
        raise InputError(f"{source}, line {line}: holds numbers; must name the columns, {listed(names)} among them")
    other = other_separator(header, layout)
    if other:
        raise InputError(f"{source}, line {line}: columns are parted by {other}s; must be by {layout.separator}s")
    free = [name for name in header if name and name not in names]
    refuse([f"line {line}: has no column {name}{_hint(name, free)}" for name in missing], source)
    return []


def _hint(name: str, there: Sequence[str]) -> str:
    """Which column may be meant; else which there are."""
    folded = {re.sub(r"[\W_]+", "_", other.casefold()): other for other in there}
    near = get_close_matches(re.sub(r"[\W_]+", "_", name.casefold()), folded, n=1)
    if near:
        return f"; if {folded[near[0]]} is meant, rename it"
    return f"; columns not asked for are {listed(there)}" if there else ""
