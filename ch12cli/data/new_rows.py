"""New rows for a trained network, from a CSV file or a data frame whose columns are found by their names."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.columns import Column, features_of, has_text, is_missing, missing_problem, number
from ch12cli.data.notation import Decimal, is_number, usual_notation
from ch12cli.data.sheets.cells import Keep, Numbers
from ch12cli.data.sheets.files import sheet_of
from ch12cli.data.sheets.text_sheet import Sheet
from ch12cli.data.table import Floats
from ch12cli.data.text_file import (
    Layout,
    first_ones,
    list_names,
    list_values,
    other_separator,
    refuse,
    short,
    width_problem,
)
from ch12cli.errors import InputError, describe_error, first_few

UNSEEN = "--allow-unseen"  # the option of `ch12 predict`


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows to predict. features: (rows, features) float64, in the network's order; lines: of each row, from 1.

    further: names of the other columns of the file; copied: the texts of each, a list for each column. notes: for the
    user.
    """

    source: str
    features: Floats
    lines: Sequence[int]
    further: list[str]
    copied: list[list[str]]
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
    layout = (layout or Layout()).of_file(source)
    decimal = _decimal(columns)
    by_name = {column.name.strip(): column for column in columns}

    def ways(names: Sequence[str]) -> dict[str, Keep]:
        return {name: _keep(by_name[name], decimal) if name in by_name else "rows" for name in names}

    sheet = sheet_of(content, layout, source=source, decimal=decimal, ways=ways)
    header = sheet.names
    positions = _positions(sheet, [column.name for column in columns], layout)
    problems = [(row.line, -1, width_problem(row.line, row.cells, len(header))) for row in sheet.ragged]
    unseen: list[tuple[int, int, str]] = []
    features: list[Floats] = []
    for index, (column, position) in enumerate(zip(columns, positions, strict=True) if sheet.rows else ()):
        cells = sheet.columns[header[position]]
        if isinstance(cells, Numbers):
            features.append(cells.values)
            faults = {text: missing_problem(text) for text in cells.gaps} if not allow_missing else {}
            wrong = np.isnan(cells.values) & bool(faults)
        else:
            found = [
                _features(column, text, allow_missing=allow_missing, allow_unseen=allow_unseen)
                for text in cells.distinct
            ]
            faults = {text: value for text, value in zip(cells.distinct, found, strict=True) if isinstance(value, str)}
            empty = [math.nan] * len(column.features)
            features.append(np.array([empty if isinstance(value, str) else value for value in found])[cells.codes])
            wrong = np.array([text in faults for text in cells.distinct])[cells.codes]
            if column.levels is not None:
                new = np.array([has_text(text) and text not in column.levels for text in cells.distinct])[cells.codes]
                for row in np.flatnonzero(new).tolist():
                    where = sheet.location(row, column.name)
                    unseen.append((row, index, f"{short(cells.text(row))!r} ({where})"))
        for row in np.flatnonzero(wrong).tolist():
            problems.append(
                (int(sheet.lines[row]), index, f"{sheet.location(row, column.name)}: {faults[cells.text(row)]}")
            )
    refuse([problem for *_, problem in sorted(problems)], source)
    if not sheet.rows:
        raise InputError(f"{source}: has no rows below its header (line {sheet.line})")
    further = [name for position, name in enumerate(header) if position not in positions]
    texts = first_ones([text for *_, text in sorted(unseen)])
    notes = [f"{source}: did not occur in training, encoded as none of the known texts: {texts}"] if unseen else []
    return NewRows(
        source,
        np.column_stack(features),
        sheet.lines,
        ["" if name in sheet.unnamed else name for name in further],
        [sheet.further[name] for name in further],
        (*sheet.notes, *notes),
    )


def names_of_frame(rows: Any) -> list[str] | None:
    """The names of the columns of a frame of pandas or polars, or a table of Arrow; None for what has no names.

    InputError for a frame whose rows are not computed yet.
    """
    if type(rows).__name__ == "LazyFrame":  # whose names polars computes too, with a warning
        raise InputError("rows: a LazyFrame; collect() it first")
    try:
        names = list(rows.column_names if hasattr(rows, "column_names") else rows.columns)
    except (AttributeError, TypeError):
        return None
    return names if names and all(isinstance(name, str) for name in names) else None


def rows_of_frame(
    frame: Any, columns: Sequence[Column], *, allow_missing: bool = False, allow_unseen: bool = False
) -> NewRows:
    """The rows of a data frame that has at least these columns, or else all of their features.

    allow_missing, allow_unseen: as in read_rows. InputError with everything that is wrong.
    """
    names = names_of_frame(frame) or []
    by_name = {name.strip(): name for name in names}
    if {column.name.strip() for column in columns} - set(by_name) and set(features_of(columns)) <= set(by_name):
        columns = [Column(name) for name in features_of(columns)]
    expected = [column.name for column in columns]
    missing = [name for name in expected if name.strip() not in by_name]
    if len(missing) == len(expected):
        raise InputError(
            f"rows: have the columns {list_names(names)}; must have {list_names(expected)}, "
            "or no names, with the columns in the order of training (rows.to_numpy())"
        )
    free = [name for name in names if name not in expected]
    problems = [f"rows: have no column {name}{_hint(name, free)}" for name in missing]
    twice = [name for name in expected if [each.strip() for each in names].count(name.strip()) > 1]
    problems += [f"rows: have the column {name} more than once" for name in twice]
    if problems:
        raise InputError(first_few(problems))
    features: list[Floats] = []
    unseen: list[str] = []
    for column in columns:
        try:
            cells = np.asarray(frame[by_name[column.name.strip()]])
        except Exception as error:  # whatever a frame of another kind raises
            raise InputError(f"rows: column {column.name} cannot be read ({describe_error(error)})") from error
        if not len(cells):
            raise InputError("rows: there are none")
        if column.levels is None and (numbers := _numbers_in(cells)) is not None:
            features.append(numbers)
            gaps = [] if allow_missing else np.flatnonzero(np.isnan(numbers)).tolist()
            problems += [f"rows, line {row + 1}, column {column.name}: {missing_problem('')}" for row in gaps]
            continue
        texts = [_text_of(cell, column) for cell in cells]
        found = {
            text: _features(
                column, text, allow_missing=allow_missing, allow_unseen=allow_unseen, unseen="allow_unseen=True"
            )
            for text in dict.fromkeys(texts)
        }
        faults = {text: value for text, value in found.items() if isinstance(value, str)}
        new = {text for text in found if column.levels is not None and has_text(text) and text not in column.levels}
        for row, text in enumerate(texts, start=1) if faults or new else ():
            if text in faults:
                problems.append(f"rows, line {row}, column {column.name}: {faults[text]}")
            elif text in new:
                unseen.append(f"{short(text)!r} (rows, line {row}, column {column.name})")
        empty = [math.nan] * len(column.features)
        features.append(np.array([empty if text in faults else found[text] for text in texts], np.float64))
    if problems:
        raise InputError(first_few(problems))
    notes = [f"rows: did not occur in training, encoded as none of the known texts: {first_ones(unseen)}"]
    joined = np.column_stack(features)
    return NewRows("rows", joined, range(1, len(joined) + 1), [], [], tuple(notes) if unseen else ())


def _numbers_in(cells: npt.NDArray[Any]) -> Floats | None:
    """The numbers in the cells of a frame's column, NaN for a missing value; None if it holds anything else."""
    if cells.dtype.kind == "O":
        values = [math.nan if _is_gap(cell) else cell for cell in cells]
        if not all(isinstance(value, Number) and not isinstance(value, complex) for value in values):
            return None
        return np.array(values, np.float64)
    return cells.astype(np.float64) if cells.dtype.kind in "biuf" and cells.ndim == 1 else None


def _is_gap(cell: Any) -> bool:
    """Whether a cell of a frame holds no value."""
    return not isinstance(cell, str) and str(cell) in ("None", "nan", "<NA>", "NaT")


def _text_of(cell: Any, column: Column) -> str:
    """A cell of a frame as the text that a file would have in its place."""
    if _is_gap(cell):
        return ""
    text = str(cell)
    if isinstance(cell, float | np.floating) and text not in (column.levels or ()) and float(cell).is_integer():
        return str(int(cell))  # of whole numbers, pandas makes such with a point where a value is missing
    return text


def _decimal(columns: Sequence[Column]) -> Decimal:
    """The decimal sign with which the training data were read."""
    chosen: tuple[Decimal, ...] = ("point", "comma")
    used = {column.notation for column in columns if column.levels is None}
    return next((decimal for decimal in chosen if usual_notation(decimal) in used), "auto")


def _keep(column: Column, decimal: Decimal) -> Keep:
    return "numbers" if column.levels is None and column.notation == usual_notation(decimal) else "texts"


def _features(
    column: Column, text: str, *, allow_missing: bool, allow_unseen: bool, unseen: str = UNSEEN
) -> list[float] | str:
    """The features of a cell, or what is wrong with it. unseen: what to add for a text that is not known."""
    if is_missing(text, category=column.levels is not None) and not allow_missing:
        return missing_problem(text, category=column.levels is not None)
    if column.levels is None:
        value = number(text, column.notation)
        return value if isinstance(value, str) else [value]
    if text in column.levels or allow_unseen or not has_text(text):
        return [float(text == level) for level in column.levels]
    near = get_close_matches(text, column.levels, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; it may be {list_values(column.levels)}"
    return f"{short(text)!r} did not occur in training{hint}; or add {unseen}"


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
    other = other_separator([name for name in header if name not in sheet.unnamed], layout)
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
