"""The cells of a column: its different texts with a code for each row, or numbers."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ch12cli.data.columns import is_missing, number
from ch12cli.data.notation import Decimal, Notation, usual_notation
from ch12cli.data.sheets.stored_arrays import Kept, Pieces, keep_array, looked_up, pieces_of

# How a column is kept. numbers: as numbers if it holds no other text. few: as texts, unless they are many different
# plain numbers. texts: as texts. rows: the text of each row, blanks included. nothing: its cells are not needed.
Keep = Literal["numbers", "few", "texts", "rows", "nothing"]

MANY_TEXTS = 1000  # different plain numbers of a column, above which their texts are not kept


@dataclass(frozen=True, eq=False)
class Texts:
    """Cells as texts. distinct: without blanks around, in order of first appearance; kept: of each row, (rows,)."""

    distinct: list[str]
    kept: Kept

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """The position of each row's text in `distinct`, (rows,); from disk if they are kept there."""
        return self.kept[:]

    def select(self, rows: npt.NDArray[np.bool_]) -> "Texts":
        """The cells of some rows. rows: (rows,), whether each is kept."""
        found, first, codes = np.unique(self.codes[rows], return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order))
        return Texts([self.distinct[code] for code in found[order]], keep_array(rank[codes]))

    def missing(self, *, category: bool) -> npt.NDArray[np.bool_]:
        """Whether each cell holds no value, (rows,). category: whether the column holds categories."""
        flags = [is_missing(text, category=category) for text in self.distinct]
        return looked_up(np.array(flags, np.bool_), self.kept)

    def text(self, row: int) -> str:
        """The text of a cell."""
        return self.distinct[int(self.kept[row : row + 1][0])]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Cells that are all numbers or missing. kept: (rows,), NaN where missing; gaps: the missing cells' texts.

    notation: of a column whose type the file gives, as of dates. None: they are written in usual_notation(decimal),
    with the decimal that the file was read with.
    """

    kept: Kept
    gaps: list[str] = field(default_factory=list)
    notation: Notation | None = None

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The number of each row, (rows,); from disk if they are kept there."""
        return self.kept[:]

    def select(self, rows: npt.NDArray[np.bool_]) -> "Numbers":
        """The cells of some rows. rows: (rows,), whether each is kept."""
        values = self.values
        kept = rows[np.isnan(values)] if self.gaps else ()
        gaps = [text for text, keep in zip(self.gaps, kept, strict=True) if keep]
        return Numbers(keep_array(values[rows]), gaps, self.notation)

    def missing(self, *, category: bool) -> npt.NDArray[np.bool_]:
        """Whether each cell holds no value, (rows,)."""
        return np.concatenate([np.zeros(0, np.bool_), *map(np.isnan, pieces_of(self.kept))])

    def text(self, row: int) -> str:
        """The text of a missing cell."""
        return self.gaps[np.searchsorted(self.gap_rows, row)]

    @cached_property
    def gap_rows(self) -> npt.NDArray[np.int64]:
        """The rows whose cells are missing, in order."""
        return np.flatnonzero(self.missing(category=False))


Cells = Texts | Numbers


def texts_as_numbers(cells: Texts, notation: Notation | None, decimal: Decimal) -> Numbers | None:
    """Texts as numbers; None if one is neither a number nor marks a missing value."""
    written, found = notation or usual_notation(decimal), []
    for text in cells.distinct:
        value = number(text, written)
        if isinstance(value, str):
            return None
        found.append(value)
    values = np.array(found, np.float64)[cells.codes]
    return Numbers(keep_array(values), [cells.text(row) for row in np.flatnonzero(np.isnan(values)).tolist()], notation)


class Batch(Protocol):
    """Some rows of a file."""

    def keys(self, column: int) -> Sequence[Any]:
        """The cells of a column, as objects that are equal if the cells are."""

    def text(self, key: Any) -> str:
        """The text of a cell."""

    def numbers(self, columns: Sequence[int], point: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """The numbers of columns, and which cells are to be read one by one: (columns, rows) each."""

    def cell(self, row: int, column: int) -> str:
        """The text of a cell."""


class ColumnBuilder:
    """Collects the cells of a column from batches of rows. notation: of numbers."""

    def __init__(self, keep: Keep, notation: Notation) -> None:
        self.keep, self.notation = keep, notation
        self.undecided = keep == "numbers"
        self.failed = False  # a column of numbers has another text
        self.by_key: dict[Any, int] = {}
        self.by_text: dict[str, int] = {}
        self.plain = True  # whether all texts up to `checked` are plain numbers or missing
        self.checked = 0
        self.codes, self.values = Pieces(np.int32), Pieces(np.float64)
        self.gaps: list[str] = []
        self.rows: list[str] = []

    @property
    def wants_numbers(self) -> bool:
        return self.keep == "numbers" and not self.undecided and not self.failed

    def add(self, batch: Batch, column: int) -> None:
        """Adds a batch to a column that is not kept as numbers."""
        if self.keep == "nothing" or self.failed:
            return
        keys = batch.keys(column)
        if self.keep == "rows":
            self.rows += map(batch.text, keys)
            return
        for key in dict.fromkeys(keys):
            if key not in self.by_key:
                self.by_key[key] = self.by_text.setdefault(batch.text(key).strip(), len(self.by_text))
        self.codes.append(np.fromiter(map(self.by_key.__getitem__, keys), np.int32, len(keys)))
        if self.undecided:
            self.undecided = False
            if not self.all_plain() or all(is_missing(text, category=False) for text in self.by_text):
                self.keep = "few"
            else:
                self.become_numbers()
        elif self.keep == "few" and len(self.by_text) > MANY_TEXTS and self.all_plain():
            self.become_numbers()

    def all_plain(self) -> bool:
        """Whether all texts so far are plain numbers, or mark missing values."""
        if self.plain:
            new = list(self.by_text)[self.checked :]
            self.checked = len(self.by_text)
            self.plain = all(isinstance(number(text, self.notation), float) for text in new)
        return self.plain

    def become_numbers(self) -> None:
        """Keeps numbers in place of the texts so far."""
        texts = list(self.by_text)
        values = np.array([number(text, self.notation) for text in texts], np.float64)
        gap = np.isnan(values)
        for codes in self.codes:
            self.values.append(values[codes])
            self.gaps += [texts[code] for code in codes[gap[codes]].tolist()]
        self.keep = "numbers"
        self.by_key, self.by_text = {}, {}
        self.codes.clear()

    def add_numbers(
        self, values: npt.NDArray[np.float64], odd: npt.NDArray[np.bool_], text: Callable[[int], str]
    ) -> None:
        """Adds a batch to a column of numbers. values, odd: (rows,); text: gives that of an odd cell, by its row."""
        if odd.any():
            for row in np.flatnonzero(odd).tolist():
                cell = text(row).strip()
                value = number(cell, self.notation)
                if isinstance(value, str):
                    self.failed, self.gaps = True, []
                    self.values.clear()
                    return
                values[row] = value
                if math.isnan(value):
                    self.gaps.append(sys.intern(cell))
        self.values.append(values)

    def cells(self) -> Cells:
        """The cells of all batches. Of a column whose cells are not needed, there are none."""
        if self.keep == "nothing":
            return Numbers(np.empty(0))
        if self.keep == "numbers" and not self.undecided:
            return Numbers(self.values.whole(), self.gaps)
        return Texts(list(self.by_text), self.codes.whole())


def add_batch(builders: Sequence[ColumnBuilder], batch: Batch) -> None:
    """Adds a batch to each column."""
    numeric = [position for position, builder in enumerate(builders) if builder.wants_numbers]
    for position, builder in enumerate(builders):
        if not builder.wants_numbers:
            builder.add(batch, position)
    if numeric:
        values, odd = batch.numbers(numeric, builders[0].notation.decimal)
        for index, position in enumerate(numeric):
            builders[position].add_numbers(values[index], odd[index], partial(batch.cell, column=position))
