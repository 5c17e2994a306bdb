"""A user's text file in columns: its header and its records; of any other file, what it is and what to do."""

import csv
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ch12cli.data.notation import is_number
from ch12cli.errors import InputError

SHOWN = 5  # names, or problems of one kind, listed in a message
LONGEST = 40  # characters of a cell in a message
REMARK = "#"  # what a line of remarks begins with
QUOTED_OR_NOT = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')  # a cell of a file whose columns blanks part
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
OTHER_FORMATS = {  # first bytes: what the file is, and what to do
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; export it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; export it as CSV",
    b"\x1f\x8b": "compressed; unpack it first",
    b"PAR1": "a Parquet file; export it as CSV",
    b"%PDF": "a PDF document; export its table as CSV",
    b"\x89PNG": "an image; give a CSV file",
    b"\xff\xd8\xff": "an image; give a CSV file",
    b"GIF8": "an image; give a CSV file",
}
FILE_KINDS = {  # all but regular files
    stat.S_IFDIR: "is a directory; give a CSV file",
    stat.S_IFIFO: "is a pipe, not a file; give - and send it to standard input",
    stat.S_IFSOCK: "is a socket, not a file; give a CSV file",
    stat.S_IFCHR: "is a device, not a file; give a CSV file",
    stat.S_IFBLK: "is a device, not a file; give a CSV file",
}


@dataclass(frozen=True)
class Layout:
    """How a file is laid out. separator: a key of SEPARATORS; space stands for any number of blanks.

    header: whether a line names the columns; else they are column_1, column_2, …; skip_lines: lines before the header.
    """

    separator: str = "comma"
    header: bool = True
    skip_lines: int = 0


class Record(NamedTuple):
    """The cells of a row, and the line on which it begins, from 1."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Sheet:
    """The rows of a file. line: of the header; names: of the columns, column_1, column_2, … where it gives none.

    unnamed: those of the names that the header does not give. notes: what was left out of the file.
    """

    source: str
    line: int
    names: list[str]
    unnamed: frozenset[str]
    records: list[Record]
    notes: list[str]

    def cells(self, name: str) -> list[str]:
        """The cells of a column, (rows,), without blanks around them."""
        index = self.names.index(name)
        return [record.cells[index].strip() for record in self.records]

    def location(self, row: int, name: str) -> str:
        """Line and column of a cell, for messages."""
        return f"line {self.records[row].line}, column {name}"


def read_content(path: Path) -> bytes:
    """The bytes of a regular file. InputError for anything else; a pipe is refused without waiting for it."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: {FILE_KINDS.get(stat.S_IFMT(mode), 'is not a file; give a CSV file')}")
        # if it has become a pipe since, open() would block
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file{similar_file(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_sheet(content: bytes, layout: Layout, *, source: str, hint: str = "") -> Sheet:
    """The header of a file and the rows below it, which may differ in their number of cells.

    Left out are blank lines, and lines that begin with # and do not have a cell for each column. If every row has one
    cell more than the header, it is empty, or the first, which names the row as R does. source: the file's name, for
    messages; hint: what to do if the header is a row.
    InputError if the file is not UTF-8 text, or its columns do not have different names.
    """
    found = list(_records(_decoded(content, source), layout, source))
    start = _first_row(found, layout)
    if start is None:
        raise InputError(f"{source}: is empty below line {layout.skip_lines}; must have a header and rows below it")
    first = found[start]
    columns = len(first.cells)
    rest = [*found[:start], *found[start + layout.header :]]
    blank = [record for record in rest if _is_blank(record) and len(record.cells) != columns]
    remarks = [record for record in rest if _is_remark(record) and len(record.cells) != columns]
    left_out = {record.line for record in [*found[: start * layout.header], *blank, *remarks]}
    records = [record for record in rest if record.line not in left_out]
    given = [name.strip() for name in first.cells] if layout.header else [""] * columns
    given, records = _same_width(given, records)
    names = [name or f"column_{number}" for number, name in enumerate(given, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if layout.header and not any(given):
        raise InputError(f"{source}, line {first.line}: is empty; must name the columns")
    if twice:
        raise InputError(
            f"{source}, line {first.line}: {list_names(twice)} more than once; columns must have different names{hint}"
        )
    unnamed = frozenset(name for name, own in zip(names, given, strict=True) if layout.header and not own)
    notes = [
        f"{source}: {count_with_noun(len(lines), what)} left out (line {list_names([str(line) for line in lines])})"
        for what, lines in {
            "blank line": [record.line for record in blank],
            "remark": sorted(left_out - {record.line for record in blank}),
        }.items()
        if lines
    ]
    return Sheet(source, first.line, names, unnamed, records, notes)


def _first_row(found: Sequence[Record], layout: Layout) -> int | None:
    """The position of the header, or of the first row if there is none; None if all lines are blank.

    It is the first line that is no remark; or a remark before it that has as many cells, unless the line names columns.
    """
    rows = [position for position, record in enumerate(found) if not _is_blank(record)]
    first = next((position for position in rows if not _is_remark(found[position])), rows[0] if rows else None)
    if first is None:
        return None
    same = [p for p in rows if p < first and len(found[p].cells) == len(found[first].cells)]
    if same and layout.header:
        return first if _names_columns(found[first:]) else same[-1]
    return same[0] if same else first


def _names_columns(records: Sequence[Record]) -> bool:
    """Whether the first record seems to be a header: it has no number, and the next has."""
    return len(records) > 1 and [any(map(is_number, record.cells)) for record in records[:2]] == [False, True]


def _is_blank(record: Record) -> bool:
    return not any(map(str.strip, record.cells))


def _is_remark(record: Record) -> bool:
    return bool(record.cells) and record.cells[0].strip().startswith(REMARK)


def _same_width(names: list[str], records: list[Record]) -> tuple[list[str], list[Record]]:
    """Header and rows without empty columns at the end that have no name, and with a name for that of R's row names."""
    columns = len(names)
    if records and all(len(record.cells) == columns + 1 for record in records):
        if any(record.cells[-1].strip() for record in records):
            firsts = {record.cells[0].strip() for record in records}
            named = len(firsts) == len(records) and not _names_columns(records)
            return (["", *names] if named else names, records)
        names, columns = [*names, ""], columns + 1
    while columns > 1 and not names[-1]:
        if any(len(record.cells) != columns or record.cells[-1].strip() for record in records):
            break
        names, columns = names[:-1], columns - 1
        records = [Record(record.line, record.cells[:-1]) for record in records]
    return names, records


def other_separator(header: Sequence[str], layout: Layout) -> str | None:
    """The separator that a file with a single column seems to use: a key of SEPARATORS, or None."""
    others = [word for word, sign in SEPARATORS.items() if word not in (layout.separator, "space")]
    return next((word for word in others if len(header) == 1 and SEPARATORS[word] in header[0]), None)


def width_problem(record: Record, columns: int) -> str | None:
    """The problem of a record that does not have a cell for each column, or None."""
    if len(record.cells) == columns:
        return None
    wrong = "is empty" if not record.cells else f"has {count_with_noun(len(record.cells), 'column')}"
    return f"line {record.line}: {wrong}, must have {columns} as the header has"


def refuse(problems: Sequence[str], source: str) -> None:
    """Raises InputError with the first few problems of a file, if there are any."""
    if len(problems) > SHOWN:
        problems = [*problems[: SHOWN - 1], f"and {len(problems) - SHOWN + 1} more like these"]
    if problems:
        raise InputError([f"{source}, {problem}" for problem in problems])


def short(text: str) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def list_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(map(short, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def count_with_noun(number: int, what: str) -> str:
    """The number with its noun, in the plural unless it is 1."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _decoded(content: bytes, source: str) -> str:
    """The text of a file. InputError with line and byte if it is not UTF-8."""
    for start, what in OTHER_FORMATS.items():
        if content.startswith(start):
            raise InputError(f"{source}: is {what}")
    if b"\0" in content:
        wide = content[1:2] == b"\0" or content[:1] == b"\0"
        hint = (
            "; it may be UTF-16 text: save it as UTF-8" if wide else ", which text does not have; write the file again"
        )
        raise InputError(f"{source}, {_location(content, content.index(0))}: a NUL byte{hint}")
    try:
        text = content.decode("utf-8-sig")  # with or without the byte order mark of Excel
    except UnicodeDecodeError as error:
        # the error's position does not count a byte order mark
        position = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        raise InputError(
            f"{source}, {_location(content, position)}: the byte 0x{content[position]:02x} is not UTF-8; "
            "save the file as UTF-8 (it may be Latin-1 or Windows-1252)"
        ) from None
    if not text.strip():
        raise InputError(f"{source}: is empty; must have a header and rows below it")
    return text


def _location(content: bytes, position: int) -> str:
    """Line and byte of a position, both from 1."""
    newlines = content.count(b"\n", 0, position)
    start = content.rfind(b"\n", 0, position)  # -1 in the first line
    return f"line {newlines + 1}, byte {position - start}"


def _records(text: str, layout: Layout, source: str) -> Iterator[Record]:
    """The records, each with its first line. Blank lines at the end are ignored."""
    # a tab at the end parts the last cell from another, which is empty
    lines = io.StringIO(text.rstrip(" \r\n\v\f" if layout.separator == "tab" else None), newline="")
    for _ in range(layout.skip_lines):
        lines.readline()
    if layout.separator == "space":
        for number, row in enumerate(lines, start=layout.skip_lines + 1):
            found = QUOTED_OR_NOT.findall(row) if '"' in row else []
            cells = [bare or quoted.replace('""', '"') for quoted, bare in found]
            yield Record(number, cells if found else row.split())
        return
    reader = csv.reader(lines, strict=True, delimiter=SEPARATORS[layout.separator], skipinitialspace=True)
    line = layout.skip_lines + 1
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
        line = layout.skip_lines + reader.line_num + 1


def similar_file(path: Path) -> str:
    """A hint that names the most similar file of the same folder; empty if there is none."""
    try:
        near = get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    except OSError:
        return ""
    return f"; is it {path.with_name(near[0])}?" if near else ""
