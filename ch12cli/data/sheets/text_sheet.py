"""A user's text file in columns: its header, and the cells of each column."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ch12cli.data.notation import Decimal, Notation, is_number, usual_notation
from ch12cli.data.sheets.cells import Cells, ColumnBuilder, Keep, Texts, add_batch
from ch12cli.data.sheets.text_rows import CutRows, LineNumbers, RecordRows, TextLines, records, row_batches
from ch12cli.data.text_file import (
    OTHER_FORMATS,
    REMARK,
    Layout,
    Record,
    count_with_noun,
    list_names,
    refuse_undecodable,
)
from ch12cli.errors import InputError

Open = Callable[[], IO[bytes]]
Ways = Callable[[Sequence[str]], Mapping[str, Keep]]  # from the names of the columns to how each is kept


class Ragged(NamedTuple):
    """A row that does not have a cell for each column. line: from 1; cells: how many it has."""

    line: int
    cells: int


@dataclass(frozen=True, eq=False)
class Sheet:
    """The rows of a file. line: of the header; names: of the columns, column_1, column_2, … where it gives none.

    unnamed: those of the names that the header does not give. columns: the cells of each; lines: of each row, (rows,),
    from 1. further: the text in each row of the columns that are kept as rows. ragged: the rows that are left out
    because they have more or fewer cells. notes: what else was left out of the file. place: what `lines` count.
    files: of a table in several files, their names; file_of: the index of each row's file, (rows,).
    """

    source: str
    line: int
    names: list[str]
    unnamed: frozenset[str]
    columns: dict[str, Cells]
    lines: LineNumbers
    ragged: list[Ragged]
    notes: list[str]
    further: dict[str, list[str]] = field(default_factory=dict)
    place: str = "line"
    files: tuple[str, ...] = ()
    file_of: npt.NDArray[np.int32] | None = None

    @property
    def rows(self) -> int:
        return len(self.lines)

    def location(self, row: int | np.integer[Any], name: str) -> str:
        """Line and column of a cell, for messages; with the file if there are several."""
        file = "" if self.file_of is None else f"{self.files[self.file_of[row]]}, "
        return f"{file}{self.place} {self.lines[row]}, column {name}"

    def select(self, rows: npt.NDArray[np.bool_], names: Iterable[str]) -> "Sheet":
        """Some rows of some columns. rows: (rows,), whether each is kept."""
        columns = {name: self.columns[name].select(rows) for name in names}
        file_of = None if self.file_of is None else self.file_of[rows]
        return replace(self, columns=columns, lines=self.lines.select(rows), file_of=file_of)


def read_sheet(
    open_file: Open,
    layout: Layout,
    *,
    source: str,
    hint: str = "",
    decimal: Decimal = "auto",
    ways: Ways = lambda names: dict.fromkeys(names, "numbers"),
) -> Sheet:
    """The header of a file and the rows below it.

    Left out are blank lines, and lines that begin with # and do not have a cell for each column. If every row has one
    cell more than the header, it is empty, or the first, which names the row as R does. source: the file's name, for
    messages; hint: what to do if the header is a row; decimal: of the columns that are kept as numbers.
    InputError if the file is not UTF-8 text, or its columns do not have different names.
    """
    refuse_other_formats(open_file, source)
    failed: set[str] = set()  # columns that are not numbers after all

    def keep(names: Sequence[str]) -> dict[str, Keep]:
        return {**ways(names), **dict.fromkeys(failed, "texts")}

    names: list[str] = []  # of the columns, as far as they are known
    seen: set[tuple[object, ...]] = set()  # names, and the number of failed columns, after each pass
    while True:
        reading = Reading(layout, source, names, keep)
        try:
            with open_file() as file:
                found = reading.read(file, usual_notation(decimal))
        except UnicodeError:
            found = False
        if not found:
            with open_file() as file:
                refuse_undecodable(file.read(), source)
            below = f"is empty below line {layout.skip_lines}; must have a header and rows below it"
            raise InputError(f"{source}: {below}")
        sheet = reading.sheet(hint)
        if not reading.builders or (not reading.failed and reading.kept(sheet.names) == keep(sheet.names)):
            return sheet
        names = sheet.names
        failed.update(reading.failed)
        state = (*names, len(failed))
        if state in seen:  # another pass would find the same
            count = f"the header has {len(reading.first.cells)} cells, and a row has {reading.width}"
            raise InputError(f"{source}: {count}; give each column a name")
        seen.add(state)


def refuse_other_formats(open_file: Open, source: str) -> None:
    """Raises InputError if a file begins as one that is no text."""
    with open_file() as file:
        start = file.read(max(map(len, OTHER_FORMATS)))
    for first_bytes, what in OTHER_FORMATS.items():
        if start.startswith(first_bytes):
            raise InputError(f"{source}: is {what}")


class Reading:
    """One pass through a text file. known: names of columns that are known already."""

    def __init__(self, layout: Layout, source: str, known: Sequence[str], ways: Ways) -> None:
        self.layout, self.source, self.known, self.ways = layout, source, known, ways
        self.first = Record(1, [])  # the header, or the first row if there is none
        self.width = 0  # cells of a row; 0 before the first is read
        self.names: list[str] = []  # of so many columns, as far as the first row tells
        self.builders: list[ColumnBuilder] = []
        self.given_ways: list[Keep] = []  # how each column was to be kept
        self.lines: list[LineNumbers] = []
        self.first_rows: list[bool] = []  # whether the first two rows have a number
        self.ragged: list[Ragged] = []
        self.blank: list[int] = []
        self.remarks: list[int] = []
        self.nameless: list[int] = []  # lines of empty cells where the header may be

    @property
    def given(self) -> list[str]:
        """The names in the header; empty ones if there is none."""
        return [name.strip() if self.layout.header else "" for name in self.first.cells]

    @property
    def failed(self) -> list[str]:
        """The columns that were to be kept as numbers and have other texts."""
        return [name for name, builder in zip(self.names, self.builders, strict=True) if builder.failed]

    def kept(self, names: Sequence[str]) -> dict[str, Keep]:
        """How columns were to be kept; without those that have another name than it seemed."""
        found = zip(names, self.names, self.given_ways, strict=False)
        return {name: keep for name, supposed, keep in found if name == supposed}

    def read(self, file: IO[bytes], notation: Notation) -> bool:
        """Reads all rows. Returns False if there is none, and no header. notation: of columns kept as numbers."""
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            return self.read_lines(TextLines(text, self.layout), notation)
        finally:
            text.detach()  # the caller closes the file

    def read_lines(self, lines: TextLines, notation: Notation) -> bool:
        layout = self.layout
        for _ in range(layout.skip_lines):
            next(lines, None)
        head = head_of(records(lines, layout, self.source, before=lines.number))
        start = first_row(head, layout)
        if start is None:
            return False
        self.first = head[start]
        if layout.header:
            self.leave_out(head[:start])
        rest = head[start + 1 :] if layout.header else head
        for batch in chain([rest], row_batches(lines, layout, self.source, len(self.first.cells))):
            if isinstance(batch, CutRows) and self.width in (0, len(self.first.cells)):
                self.add(batch, notation)
            elif isinstance(batch, CutRows):
                self.ragged += [Ragged(line, len(self.first.cells)) for line in batch.lines]
            else:
                self.add_records(batch, notation)
        return True

    def leave_out(self, before: Sequence[Record]) -> None:
        """Notes the lines before the header."""
        for record in before:
            is_as_wide = len(record.cells) == len(self.first.cells)
            empty = self.nameless if is_as_wide else self.blank
            (empty if is_blank(record) else self.remarks).append(record.line)

    def add_records(self, batch: Sequence[Record], notation: Notation) -> None:
        """Adds the records that have a cell for each column, and notes the others."""
        columns = len(self.first.cells)
        kept = []
        for record in batch:
            cells = len(record.cells)
            if cells != columns and is_blank(record):
                self.blank.append(record.line)
            elif cells != columns and is_remark(record):
                self.remarks.append(record.line)
            else:
                self.width = self.width or (cells if cells == columns + 1 else columns)
                if cells == self.width:
                    kept.append(record)
                else:
                    self.ragged.append(Ragged(record.line, cells))
        if kept:
            self.add(RecordRows(kept), notation)

    def add(self, rows: CutRows | RecordRows, notation: Notation) -> None:
        self.width = self.width or len(self.first.cells)
        for row in range(min(len(rows), 2 - len(self.first_rows))):
            self.first_rows.append(any(is_number(rows.cell(row, column)) for column in range(self.width)))
        if not self.builders:
            given = self.given
            if self.width > len(given):
                given = [*given, ""] if not rows.cell(0, self.width - 1).strip() else ["", *given]
            names = names_of(given)
            self.names = [*self.known, *names[len(self.known) :]]
            while not self.known and len(given) > 1 and not given[-1] and not rows.cell(0, len(given) - 1).strip():
                given = given[:-1]
            ways = self.ways(self.known or names_of(given))
            self.builders = [ColumnBuilder(ways.get(name, "few"), notation) for name in self.names]
            self.given_ways = [builder.keep for builder in self.builders]
        add_batch(self.builders, rows)
        self.lines.append(rows.lines)

    def sheet(self, hint: str) -> Sheet:
        """What was read. hint: what to do if the header is a row."""
        lines = LineNumbers.joined(self.lines)
        cells = [builder.cells() for builder in self.builders]
        further = [builder.rows for builder in self.builders]
        given = self.named(cells, len(lines))
        if given is None:  # as many cells in each row, but not in the header
            given = self.given
            found = sorted([*self.ragged, *(Ragged(line, self.width) for line in lines)])
            self.ragged = [row for row in found if row.cells != len(given)]
            lines = LineNumbers.of([row.line for row in found if row.cells == len(given)])
        names = names_of(given)
        twice = [name for name, count in Counter(names).items() if count > 1]
        if self.layout.header and not any(given):
            raise InputError(f"{self.source}, line {self.first.line}: is empty; must name the columns")
        if twice:
            where = f"{self.source}, line {self.first.line}"
            raise InputError(f"{where}: {list_names(twice)} more than once; columns must have different names{hint}")
        unnamed = [name for name, own in zip(names, given, strict=True) if self.layout.header and not own]
        return Sheet(
            self.source,
            self.first.line,
            names,
            frozenset(unnamed),
            dict(zip(names, cells, strict=False)),
            lines,
            self.ragged,
            self.notes,
            dict(zip(names, further, strict=False)),
        )

    def named(self, cells: Sequence[Cells], rows: int) -> list[str] | None:
        """The names of the columns as the header gives them.

        Without empty columns at the end that have no name, and with an empty name for that of R's row names. None if
        the rows have a column that is neither.
        """
        given = self.given
        if rows and self.width == len(given) + 1:
            if self.ragged:
                return None
            if not is_empty(cells[-1]):
                named = all_differ(cells[0]) and self.first_rows != [False, True]
                return ["", *given] if named else None
            given = [*given, ""]
        while len(given) > 1 and not given[-1] and not (self.ragged or (cells and not is_empty(cells[len(given) - 1]))):
            given = given[:-1]
        return given

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        return [
            f"{self.source}: {count_with_noun(len(lines), what)} left out (line {list_names([str(n) for n in lines])})"
            for what, lines in (
                ("blank line", self.blank),
                ("nameless header", self.nameless),
                ("remark", sorted(self.remarks)),
            )
            if lines
        ]


def names_of(given: Sequence[str]) -> list[str]:
    """The names of columns, with column_1, column_2, … where none is given."""
    return [name or f"column_{number}" for number, name in enumerate(given, start=1)]


def head_of(found: Iterable[Record]) -> list[Record]:
    """The records up to the one after the first that is neither blank nor a remark."""
    head: list[Record] = []
    for record in found:
        head.append(record)
        if len(head) > 1 and not (is_blank(head[-2]) or is_remark(head[-2])):
            break
    return head


def first_row(found: Sequence[Record], layout: Layout) -> int | None:
    """The position of the header, or of the first row if there is none; None if all lines are blank.

    It is the first line that is no remark; or a remark before it that has as many cells, unless the line names columns.
    """
    rows = [position for position, record in enumerate(found) if not is_blank(record)]
    first = next((position for position in rows if not is_remark(found[position])), rows[0] if rows else None)
    if first is None:
        return None
    same = [p for p in rows if p < first and len(found[p].cells) == len(found[first].cells)]
    if same and layout.header:
        return first if names_columns(found[first:]) else same[-1]
    return same[0] if same else first


def names_columns(found: Sequence[Record]) -> bool:
    """Whether the first record seems to be a header: it has no number, and the next has."""
    return len(found) > 1 and [any(map(is_number, record.cells)) for record in found[:2]] == [False, True]


def is_blank(record: Record) -> bool:
    return not any(map(str.strip, record.cells))


def is_remark(record: Record) -> bool:
    return bool(record.cells) and record.cells[0].strip().startswith(REMARK)


def is_empty(cells: Cells) -> bool:
    """Whether no cell of a column has any text."""
    return isinstance(cells, Texts) and not any(cells.distinct)


def all_differ(cells: Cells) -> bool:
    """Whether each cell of a column is different from all others."""
    if isinstance(cells, Texts):
        return len(cells.distinct) == len(cells.kept)
    return not cells.gaps and len(np.unique(cells.values)) == len(cells.values)
