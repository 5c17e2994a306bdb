"""A user's text file: its layout and its bytes; of any other file, what it is and what to do."""

import glob
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ch12cli.errors import InputError, first_few, in_list

SHOWN = 5  # names, or problems of one kind, listed in a message
LONGEST = 40  # characters of a cell in a message
REMARK = "#"  # what a line of remarks begins with
QUOTED_OR_NOT = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')  # a cell of a file whose columns are separated by blanks
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
TAB_NAME = re.compile(r"\.(tsv|tab)(\.[a-z0-9]+)?$", re.IGNORECASE)  # of a file whose columns are separated by tabs
OTHER_FORMATS = {  # first bytes: what the file is, and what to do
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; export it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; export it as CSV",
    b"\x1f\x8b": "compressed twice; unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed twice; unpack it first",
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
    """How a file is laid out. separator: a key of SEPARATORS, or auto: as the file's name says, see of_file.

    space stands for any number of blanks. header: whether a line names the columns; else they are column_1, column_2, …
    skip_lines: lines before the header.
    """

    separator: str = "auto"
    header: bool = True
    skip_lines: int = 0

    def of_file(self, name: str) -> "Layout":
        """The layout of a file with this name: tabs separate the columns of .tsv, commas those of others."""
        found = "tab" if TAB_NAME.search(name) else "comma"
        return replace(self, separator=found) if self.separator == "auto" else self


class Record(NamedTuple):
    """The cells of a row, and the line on which it begins, from 1."""

    line: int
    cells: list[str]


def matching_paths(file: str) -> list[Path]:
    """The files that a path stands for, in sorted order: all that match it if it has * ? or [, or the path itself.

    InputError if none matches.
    """
    if not glob.has_magic(file) or os.path.lexists(file):
        return [Path(file)]
    found = sorted(glob.glob(file))
    if not found:
        raise InputError(f"{file}: there is no such file, and none whose name matches")
    return [Path(name) for name in found]


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


def other_separator(header: Sequence[str], layout: Layout) -> str | None:
    """The separator that a file with a single column seems to use: a key of SEPARATORS, or None."""
    others = [word for word, sign in SEPARATORS.items() if word not in (layout.separator, "space")]
    return next((word for word in others if len(header) == 1 and SEPARATORS[word] in header[0]), None)


def width_problem(line: int, cells: int, columns: int) -> str:
    """The problem of a row that does not have a cell for each column. cells: how many it has."""
    wrong = "is empty" if not cells else f"has {count_with_noun(cells, 'column')}"
    return f"line {line}: {wrong}, must have {columns} as the header has"


def refuse(problems: Sequence[str], source: str) -> None:
    """Raises InputError with the first few problems of a file, if there are any."""
    if problems:
        raise InputError([f"{source}, {problem}" for problem in first_few(problems)])


def short(text: str) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def list_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    return first_ones([in_list(short(name)) for name in names])


def list_values(values: Sequence[str]) -> str:
    """The first few values of a column, in quotes, and how many more there are."""
    return first_ones([repr(short(value)) for value in values])


def first_ones(texts: Sequence[str]) -> str:
    """The first few texts, and how many more there are."""
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


def count_with_noun(number: int, what: str) -> str:
    """The number with its noun, in the plural unless it is 1."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def refuse_undecodable(content: bytes, source: str) -> None:
    """Raises InputError, with line and byte, if a file's content is not UTF-8 text, or is empty."""
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


def _location(content: bytes, position: int) -> str:
    """Line and byte of a position, both from 1."""
    newlines = content.count(b"\n", 0, position)
    start = content.rfind(b"\n", 0, position)  # -1 in the first line
    return f"line {newlines + 1}, byte {position - start}"


def similar_file(path: Path) -> str:
    """A hint that names the most similar file of the same folder; empty if there is none."""
    try:
        near = get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    except OSError:
        return ""
    return f"; is it {path.with_name(near[0])}?" if near else ""
