"""A user's file of text in columns: its header and records, and where it is none, what it is and what to do."""

import csv
import io
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ch12cli.errors import InputError

SHOWN = 5  # mistakes of one kind that are named one by one
LONGEST = 40  # characters of a cell in a message
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
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


@dataclass(frozen=True)
class Layout:
    """How a file is laid out. header: whether a line names the columns, else they are column_1, column_2, …;
    skip_lines: lines before all that; separator: a word of SEPARATORS; space: any number of blanks."""

    separator: str = "comma"
    header: bool = True
    skip_lines: int = 0


class Record(NamedTuple):
    """The cells of a row, and the line on which it begins, from 1."""

    line: int
    cells: list[str]


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


def read_header(content: bytes, layout: Layout, *, source: str) -> tuple[list[str], Iterator[Record]]:
    """The names of the columns, and the records below them. source: the file's name, for messages.

    InputError with line and column for what is not text in UTF-8, or not in columns of names that differ.
    """
    records = _records(_decoded(content, source), layout, source)
    first = next(records, Record(1, []))
    if not layout.header:
        return [f"column_{number}" for number in range(1, len(first.cells) + 1)], _with(first, records)
    names = [name.strip() for name in first.cells]
    twice = [name or "an empty name" for name, count in Counter(names).items() if count > 1]
    if not any(names):
        raise InputError(f"{source}, line {first.line}: is empty; must name the columns")
    if twice:
        raise InputError(
            f"{source}, line {first.line}: {listed(twice)} more than once; columns must have names that differ"
        )
    return names, records


def other_separator(header: Sequence[str], layout: Layout) -> str | None:
    """What parts the columns of a file that has but one, if that can be seen: a word of SEPARATORS."""
    others = [word for word, sign in SEPARATORS.items() if word not in (layout.separator, "space")]
    return next((word for word in others if len(header) == 1 and SEPARATORS[word] in header[0]), None)


def width_problem(record: Record, columns: int) -> str | None:
    """What is wrong with a record that has not a cell for each column, or None."""
    if len(record.cells) == columns:
        return None
    wrong = "is empty" if not record.cells else f"has {counted(len(record.cells), 'column')}"
    return f"line {record.line}: {wrong}, must have {columns} as the header has"


def refuse(problems: Sequence[str], source: str) -> None:
    """InputError with the problems of a file, the first few of them, if there are any."""
    if len(problems) > SHOWN:
        problems = [*problems[: SHOWN - 1], f"and {len(problems) - SHOWN + 1} more like these"]
    if problems:
        raise InputError([f"{source}, {problem}" for problem in problems])


def short(text: str) -> str:
    """As much of a cell as goes into a message."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def listed(names: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join(map(short, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _with(first: Record, rest: Iterator[Record]) -> Iterator[Record]:
    if first.cells:
        yield first
    yield from rest


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


def _records(text: str, layout: Layout, source: str) -> Iterator[Record]:
    """The records, each with the line on which it begins; blank lines at the end are none."""
    lines = io.StringIO(text.rstrip(), newline="")
    for _ in range(layout.skip_lines):
        lines.readline()
    if layout.separator == "space":
        for number, blank_parted in enumerate(lines, start=layout.skip_lines + 1):
            yield Record(number, blank_parted.split())
        return
    reader = csv.reader(lines, strict=True, delimiter=SEPARATORS[layout.separator])
    line = layout.skip_lines + 1
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
        yield Record(line, record)
        line = layout.skip_lines + reader.line_num + 1


def neighbour(path: Path) -> str:
    """Which file beside it may be meant."""
    try:
        near = get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    except OSError:
        return ""
    return f"; is it {path.with_name(near[0])}?" if near else ""
