"""New rows for a trained network, from a CSV file whose columns are found by their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from ch12cli.data.columns import Column, has_text, is_missing, missing_problem, number
from ch12cli.data.notation import is_number
from ch12cli.data.table import Floats
from ch12cli.data.text_file import Layout, Sheet, list_names, other_separator, read_sheet, refuse, short, width_problem
from ch12cli.errors import InputError

UNSEEN = "--allow-unseen"  # the option of `ch12 predict`


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows to predict. features: (rows, features) float64, in the network's order; lines: of each row, from 1.

    further: names of the other columns of the file; cells: their text, a list for each row. notes: for the user.
    """

    source: str
    features: Floats
    lines: list[int]
    further: list[str]
    cells: list[list[str]]
    notes: tuple[str, ...] = ()

    def location(self, row: int) -> str:
        """File and line of a row, for messages."""
        return f"{self.source}, line {self.lines[row]}"


def read_rows(
    content: bytes,
    columns: Sequence[Column],
    *,
    source: str,
    layout: Layout | None = None,
    allow_missing: bool = False,
    allow_unseen: bool = False,
) -> NewRows:
    """The rows of a CSV file that has at least these columns.

    source: the file's name, for messages; allow_missing: a missing number is NaN, a missing category none of its
    levels; allow_unseen: so is a category that did not occur in training. InputError with everything that is wrong,
    with line and column.
    """
    layout = layout or Layout()
    sheet = read_sheet(content, layout, source=source)
    header = sheet.names
    positions = _positions(sheet, [column.name for column in columns], layout)
    features: list[list[float]] = []
    lines: list[int] = []
    cells: list[list[str]] = []
    problems: list[str] = []
    unseen: list[str] = []
    further = [position for position in range(len(header)) if position not in positions]
    for record in sheet.records:
        problem = width_problem(record, len(header))
        if problem:
            problems.append(problem)
            continue
        row: list[float] = []
        for column, position in zip(columns, positions, strict=True):
            cell = record.cells[position]
            values = _features(column, cell, allow_missing=allow_missing, allow_unseen=allow_unseen)
            if isinstance(values, str):
                problems.append(f"line {record.line}, column {column.name}: {values}")
                continue
            row += values
            if column.levels is not None and has_text(cell) and not any(values):
                unseen.append(f"{short(cell.strip())!r} (line {record.line}, column {column.name})")
        if not problems:  # otherwise the rows are not used
            features.append(row)
            lines.append(record.line)
            cells.append([record.cells[position] for position in further])
    refuse(problems, source)
    if not lines:
        raise InputError(f"{source}: has no rows below its header (line {sheet.line})")
    names = ["" if header[position] in sheet.unnamed else header[position] for position in further]
    notes = [f"{source}: did not occur in training, encoded as none of the known texts: {list_names(unseen)}"]
    return NewRows(source, np.array(features), lines, names, cells, (*sheet.notes, *(notes if unseen else ())))


def _features(column: Column, cell: str, *, allow_missing: bool, allow_unseen: bool) -> list[float] | str:
    """The features of a cell, or what is wrong with it."""
    if is_missing(cell, category=column.levels is not None) and not allow_missing:
        return missing_problem(cell, category=column.levels is not None)
    if column.levels is None:
        value = number(cell, column.notation)
        return value if isinstance(value, str) else [value]
    text = cell.strip()
    if text in column.levels or allow_unseen or not has_text(cell):
        return [float(text == level) for level in column.levels]
    near = get_close_matches(text, column.levels, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; it may be {list_names(column.levels)}"
    return f"{short(text)!r} did not occur in training{hint}; or add {UNSEEN}"


def _positions(sheet: Sheet, names: Sequence[str], layout: Layout) -> list[int]:
    """The position of each name in the header, from 0. InputError if one is not there."""
    header = sheet.names
    by_name = {name: position for position, name in enumerate(header)}
    missing = [name for name in names if name.strip() not in by_name]
    if not missing:
        return [by_name[name.strip()] for name in names]
    place = f"{sheet.source}, line {sheet.line}"
    if layout.header and all(map(is_number, header)):
        raise InputError(f"{place}: holds numbers; must name the columns, with {list_names(names)} among them")
    other = other_separator(header, layout)
    if other:
        raise InputError(f"{place}: columns are separated by {other}s; must be by {layout.separator}s")
    free = [name for name in header if name not in (*sheet.unnamed, *names)]
    refuse([f"line {sheet.line}: has no column {name}{_hint(name, free)}" for name in missing], sheet.source)
    return []


def _hint(name: str, present: Sequence[str]) -> str:
    """A hint: the most similar name that is present, else the names that are."""
    folded = {re.sub(r"[\W_]+", "_", other.casefold()): other for other in present}
    near = get_close_matches(re.sub(r"[\W_]+", "_", name.casefold()), folded, n=1)
    if near:
        return f"; if {folded[near[0]]} is meant, rename it"
    return f"; its other columns are {list_names(present)}" if present else ""
