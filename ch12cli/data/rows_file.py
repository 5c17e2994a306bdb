"""Rows of a user's CSV file whose columns are found by name; what is wrong with it is said with line and column."""

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

import numpy as np

from ch12cli.data.table import Floats
from ch12cli.errors import InputError

SHOWN = 5  # mistakes of one kind that are named one by one
LONGEST = 40  # characters of a cell in a message
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")  # what float() takes besides is no data
ABSENT = {"", "nan", "na", "n/a", "null", "none", "?", "-", "nil", "#n/a"}  # how files say that there is no value
INFINITE = re.compile(r"[+-]?(inf|infinity|∞)", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
FOREIGN = {  # first bytes: what the file is, and what to do
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; export it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; export it as CSV",
    b"\x1f\x8b": "compressed; unpack it first",
    b"PAR1": "a Parquet file; export it as CSV",
    b"%PDF": "a PDF document; export its table as CSV",
    b"\x89PNG": "a picture; give a CSV file",
    b"\xff\xd8\xff": "a picture; give a CSV file",
    b"GIF8": "a picture; give a CSV file",
}
KINDS = {  # of what is no regular file
    stat.S_IFDIR: "is a directory; give a CSV file",
    stat.S_IFIFO: "is a pipe, not a file; give - and send it to standard input",
    stat.S_IFSOCK: "is a socket, not a file; give a CSV file",
    stat.S_IFCHR: "is a device, not a file; give a CSV file",
    stat.S_IFBLK: "is a device, not a file; give a CSV file",
}


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


def read_content(path: Path) -> bytes:
    """The bytes of a regular file; anything else is refused, and never waited for."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: {KINDS.get(stat.S_IFMT(mode), 'is not a file; give a CSV file')}")
        # what has become a pipe since then would not let go of who opens it
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file{neighbour(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def read_rows(content: bytes, names: Sequence[str], *, source: str) -> NamedRows:
    """The rows of a CSV file in UTF-8 with a header. names: of the columns that must be there, and hold numbers.

    source: the file's name, for messages. InputError with everything that is wrong, each with its line and column.
    """
    records = _records(_decoded(content, source), source)
    _, header = next(records, (1, []))
    header = [name.strip() for name in header]
    places = _places(header, names, source)
    features: list[list[float]] = []
    lines: list[int] = []
    cells: list[list[str]] = []
    problems: list[str] = []
    further = [place for place in range(len(header)) if place not in places]
    for line, record in records:
        if len(record) != len(header):
            wrong = "is empty" if not record else f"has {_counted(len(record), 'column')}"
            problems.append(f"line {line}: {wrong}, must have {len(header)} as the header has")
            continue
        numbers = [_number(record[place]) for place in places]
        problems += [
            f"line {line}, column {name}: {number}"
            for name, number in zip(names, numbers, strict=True)
            if isinstance(number, str)
        ]
        if not problems:  # else nothing will come of it
            features.append([float(number) for number in numbers])
            lines.append(line)
            cells.append([record[place] for place in further])
    _refuse(problems, source)
    if not lines:
        raise InputError(f"{source}: has no rows below its header (line 1)")
    return NamedRows(source, np.array(features), lines, [header[place] for place in further], cells)


def _decoded(content: bytes, source: str) -> str:
    """The text; what is no UTF-8 is refused with the place."""
    for start, what in FOREIGN.items():
        if content.startswith(start):
            raise InputError(f"{source}: is {what}")
    if b"\0" in content:
        wide = content[1:2] == b"\0" or content[:1] == b"\0"
        hint = "; it may be UTF-16 text: save it as UTF-8" if wide else ", which no text has; write the file anew"
        raise InputError(f"{source}, {_where(content, content.index(0))}: a NUL byte{hint}")
    try:
        text = content.decode("utf-8-sig")  # with or without the mark that Excel puts in front
    except UnicodeDecodeError as error:
        # the mark, if there is one, is not counted in the error's place
        place = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        raise InputError(
            f"{source}, {_where(content, place)}: the byte 0x{content[place]:02x} is not UTF-8; "
            "save the file as UTF-8 (it may be Latin-1 or Windows-1252)"
        ) from None
    if not text.strip():
        raise InputError(f"{source}: is empty; must have a header and rows below it")
    return text


def _where(content: bytes, place: int) -> str:
    """The line and the place in it of a byte, both from 1."""
    newlines = content.count(b"\n", 0, place)
    start = content.rfind(b"\n", 0, place)  # -1 in the first line
    return f"line {newlines + 1}, byte {place - start}"


def _records(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins, and its cells; blank lines at the end are left out."""
    reader = csv.reader(io.StringIO(text.rstrip(), newline=""), strict=True)
    line = 1
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            said = str(error)
            if "unexpected end" in said:
                said = 'a quote (") is opened and not closed'
            elif "expected after" in said:
                said = 'text after a closing quote; write a quote inside of quotes twice ("")'
            raise InputError(f"{source}, line {line}: {said}") from None
        yield line, record
        line = reader.line_num + 1


def _places(header: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """Where each of the names stands in the header."""
    if not any(header):
        raise InputError(f"{source}, line 1: is empty; must name the columns, {_listed(names)} among them")
    twice = [name or "an empty name" for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{source}, line 1: {_listed(twice)} more than once; columns must have names that differ")
    by_name = {name: place for place, name in enumerate(header)}
    missing = [name for name in names if name.strip() not in by_name]
    if not missing:
        return [by_name[name.strip()] for name in names]
    if all(NUMBER.fullmatch(name) for name in header):
        raise InputError(f"{source}, line 1: holds numbers; must name the columns, {_listed(names)} among them")
    for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and separator in header[0]:
            raise InputError(f"{source}, line 1: columns are parted by {called}; must be by commas")
    free = [name for name in header if name and name not in names]
    _refuse([f"line 1: has no column {name}{_hint(name, free)}" for name in missing], source)
    return []


def _hint(name: str, there: Sequence[str]) -> str:
    """Which column may be meant; else which there are."""
    folded = {re.sub(r"[\W_]+", "_", other.casefold()): other for other in there}
    near = get_close_matches(re.sub(r"[\W_]+", "_", name.casefold()), folded, n=1)
    if near:
        return f"; if {folded[near[0]]} is meant, rename it"
    return f"; columns not asked for are {_listed(there)}" if there else ""


def _number(cell: str) -> float | str:
    """The number in a cell, or what is wrong with it."""
    text = cell.strip()
    if NUMBER.fullmatch(text):
        number = float(text)
        return number if abs(number) != float("inf") else f"{_short(text)} is too large for a number"
    if text.casefold() in ABSENT:
        return f"{'is empty' if not text else text + ' is no number'}; every row needs a value"
    if INFINITE.fullmatch(text):
        return f"{text} is not finite"
    hint = f"; write {text.replace(',', '.')}" if DECIMAL_COMMA.fullmatch(text) else ""
    return f"{_short(text)!r} is not a number{hint}"


def _refuse(problems: Sequence[str], source: str) -> None:
    if len(problems) > SHOWN:
        problems = [*problems[: SHOWN - 1], f"and {len(problems) - SHOWN + 1} more like these"]
    if problems:
        raise InputError([f"{source}, {problem}" for problem in problems])


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_short, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def neighbour(path: Path) -> str:
    """Which file beside it may be meant."""
    try:
        near = get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    except OSError:
        return ""
    return f"; is it {path.with_name(near[0])}?" if near else ""
