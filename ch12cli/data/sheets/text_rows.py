"""The rows of a text file in batches: cut at its separators many at once, or record by record where quotes need it."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.sheets.plain_numbers import Positions, plain_numbers, without_blanks
from ch12cli.data.text_file import QUOTED_OR_NOT, SEPARATORS, Layout, Record
from ch12cli.errors import InputError

CHARACTERS = 2**19  # of a block of the file
RECORDS = 4096  # in a batch
NEWLINE = ord("\n")
Odd = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LineNumbers(Sequence[int]):
    """The line of each row, of which most follow each other. starts: the rows with which runs of lines begin.

    firsts: the lines of these rows. Both are (runs,); rows: how many there are.
    """

    starts: Positions
    firsts: Positions
    rows: int

    @classmethod
    def counted(cls, first: int, rows: int) -> "LineNumbers":
        """So many lines from `first` on."""
        return cls(np.zeros(min(rows, 1), np.int64), np.full(min(rows, 1), first, np.int64), rows)

    @classmethod
    def of(cls, lines: Iterable[int] | Positions) -> "LineNumbers":
        """Those of a list or an array, (rows,)."""
        numbers = np.asarray(lines, np.int64)
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 2) != 1)
        return cls(starts, numbers[starts], len(numbers))

    @classmethod
    def joined(cls, parts: Sequence["LineNumbers"]) -> "LineNumbers":
        """Those of several, one after the other."""
        ends = np.cumsum([0, *(part.rows for part in parts)])
        starts = [np.empty(0, np.int64), *(part.starts + end for part, end in zip(parts, ends[:-1], strict=True))]
        firsts = [np.empty(0, np.int64), *(part.firsts for part in parts)]
        return cls(np.concatenate(starts), np.concatenate(firsts), int(ends[-1]))

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: Any) -> Any:
        """The line of a row, or an array with those of some, (rows,)."""
        if isinstance(row, slice):
            row = np.arange(*row.indices(self.rows))
        run = np.searchsorted(self.starts, row, "right") - 1
        return self.firsts[run] + row - self.starts[run]

    def __iter__(self) -> Iterator[int]:
        found: list[int] = self[:].tolist()
        return iter(found)

    def select(self, kept: npt.NDArray[np.bool_]) -> "LineNumbers":
        """Those of some rows. kept: (rows,)."""
        return LineNumbers.of(self[np.flatnonzero(kept)])


@dataclass(frozen=True, eq=False)
class CutRows:
    """Rows cut at their separators. starts, ends: of each cell in the content, (rows, columns); line: the first."""

    content: bytes
    starts: Positions
    ends: Positions
    line: int

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lines(self) -> "LineNumbers":
        """The line of each row."""
        return LineNumbers.counted(self.line, len(self.ends))

    def keys(self, column: int) -> Sequence[bytes]:
        places = zip(self.starts[:, column].tolist(), self.ends[:, column].tolist(), strict=True)
        return [self.content[start:end] for start, end in places]

    def text(self, key: bytes) -> str:
        return key.decode().lstrip(" ")

    def cell(self, row: int, column: int) -> str:
        return self.text(self.content[self.starts[row, column] : self.ends[row, column]])

    def numbers(self, columns: Sequence[int], point: str) -> tuple[npt.NDArray[np.float64], Odd]:
        data = np.frombuffer(self.content, np.uint8)
        starts, ends = (places.T[columns].ravel() for places in (self.starts, self.ends))
        values, odd = plain_numbers(data, *without_blanks(data, starts, ends), point)
        return values.reshape(len(columns), -1), odd.reshape(len(columns), -1)


class RecordRows:
    """Rows as records, which all have the same number of cells."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.lines = LineNumbers.of([record.line for record in records])
        self.columns = list(zip(*(record.cells for record in records), strict=True))

    def __len__(self) -> int:
        return len(self.lines)

    def keys(self, column: int) -> Sequence[str]:
        return self.columns[column]

    def text(self, key: str) -> str:
        return key

    def cell(self, row: int, column: int) -> str:
        return str(self.columns[column][row])

    def numbers(self, columns: Sequence[int], point: str) -> tuple[npt.NDArray[np.float64], Odd]:
        found = [self.numbers_of(self.columns[column], point) for column in columns]
        return np.stack([values for values, _ in found]), np.stack([odd for _, odd in found])

    def numbers_of(self, cells: Sequence[str], point: str) -> tuple[npt.NDArray[np.float64], Odd]:
        """The numbers of a column, and which cells are to be read one by one, (rows,) each."""
        joined = "\n".join((*cells, "")).encode("latin-1", "replace")  # a byte for each character
        data = np.frombuffer(joined, np.uint8)
        lengths = np.fromiter(map(len, cells), np.int64, len(cells))
        ends = np.cumsum(lengths + 1) - 1
        return plain_numbers(data, *without_blanks(data, ends - lengths, ends), point)


class TextLines:
    """The lines of a text, without the blanks at its end. number: of lines that were read.

    Where tabs separate cells, a tab at the end is kept: it separates the last cell from an empty one.
    """

    def __init__(self, text: io.TextIOBase, layout: Layout) -> None:
        self.number = 0
        self.blanks = " \r\n\v\f" if layout.separator == "tab" else None
        self.blocks = self.blocks_of(text)
        self.block = io.StringIO(newline="")

    def blocks_of(self, text: io.TextIOBase) -> Iterator[str]:
        """The text in blocks of whole lines. The last line that is not blank is held back, since it may be the last."""
        held = ""
        while added := text.read(CHARACTERS):
            if "\0" in added:
                raise UnicodeError
            held += added
            kept = held.rstrip(self.blanks)
            end = max(kept.rfind("\n"), kept.rfind("\r")) + 1
            if end:
                yield held[:end]
                held = held[end:]
        yield held.rstrip(self.blanks)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.block.readline()
        while not line:
            self.block = io.StringIO(next(self.blocks), newline="")
            line = self.block.readline()
        self.number += 1
        return line

    def of_block(self) -> Iterator[str]:
        """The lines that are left in the present block."""
        while line := self.block.readline():
            self.number += 1
            yield line

    def next_block(self) -> str | None:
        """The lines that are left in the present block, or the next block; None at the end. They count as unread."""
        text = self.block.read() or next(self.blocks, None)
        self.block = io.StringIO(text or "", newline="")
        return text


def row_batches(lines: TextLines, layout: Layout, source: str, columns: int) -> Iterator[CutRows | list[Record]]:
    """The rows that are left, in order. Those that have this number of columns may come as CutRows."""
    while text := lines.next_block():
        if layout.separator == "space" or '"' in text:
            break
        rows = cut_rows(text, SEPARATORS[layout.separator], columns, line=lines.number + 1)
        if rows is None:
            yield list(records(lines.of_block(), layout, source, before=lines.number))
        else:
            lines.block = io.StringIO(newline="")
            lines.number += len(rows)
            yield rows
    found = records(lines, layout, source, before=lines.number)
    while batch := list(islice(found, RECORDS)):
        yield batch


def cut_rows(text: str, separator: str, columns: int, *, line: int) -> CutRows | None:
    """The rows of a text without quotes; None unless each of its lines has a cell for each column."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            return None
    content = (text if text.endswith("\n") else f"{text}\n").encode()
    data = np.frombuffer(content, np.uint8)
    cuts = np.flatnonzero((data == ord(separator)) | (data == NEWLINE))
    if len(cuts) % columns:
        return None
    starts = np.concatenate([[0], cuts[:-1] + 1]).reshape(-1, columns)
    ends = cuts.reshape(-1, columns)
    rows = len(ends)
    if np.count_nonzero(data == NEWLINE) != rows or (data[ends[:, -1]] != NEWLINE).any():
        return None
    return CutRows(content, starts, ends, line)


def records(lines: Iterable[str], layout: Layout, source: str, *, before: int) -> Iterator[Record]:
    """The records in lines, each with its first line, from 1. before: the number of lines before these."""
    if layout.separator == "space":
        for number, row in enumerate(lines, start=before + 1):
            found = QUOTED_OR_NOT.findall(row) if '"' in row else []
            cells = [bare or quoted.replace('""', '"') for quoted, bare in found]
            yield Record(number, cells if found else row.split())
        return
    reader = csv.reader(lines, strict=True, delimiter=SEPARATORS[layout.separator], skipinitialspace=True)
    line = before + 1
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if "unexpected end" in reason:
                reason = 'a quote (") is opened and not closed'
            elif "expected after" in reason:
                reason = 'text or a blank after a closing quote; write a quote inside quotes twice ("")'
            raise InputError(f"{source}, line {line}: {reason}") from None
        yield Record(line, record)
        line = before + reader.line_num + 1
