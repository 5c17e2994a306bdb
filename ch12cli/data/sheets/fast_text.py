"""Large text files without anything unusual, read by polars: the same cells as by our own reader, in less time.

Whatever may be unusual is left to our own reader, which knows all layouts and names the line and column of a mistake.
"""

import io
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ch12cli.data.columns import is_missing, number
from ch12cli.data.notation import Decimal, usual_notation
from ch12cli.data.sheets.cells import MANY_TEXTS, Cells, Keep, Numbers, Texts, texts_as_numbers
from ch12cli.data.sheets.text_rows import LineNumbers
from ch12cli.data.sheets.text_sheet import Sheet, Ways
from ch12cli.data.text_file import REMARK, SEPARATORS, Layout

if TYPE_CHECKING:
    import polars

LARGE = 2**22  # bytes from which a file is worth importing polars
HEAD = 2**18  # bytes from which the types of columns are guessed
MISSING = ["NA", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "?", "-"]  # the usual marks of missing numbers
COUNTED = 2**18  # bytes that are compared at once
UNUSUAL = (b'"', b"\0", b"\r")  # quotes, other ends of lines


def fast_sheet(content: bytes, layout: Layout, *, source: str, decimal: Decimal, ways: Ways) -> Sheet | None:
    """The columns of a text file; None if it is small, if it may be unusual, or without polars.

    The arguments are those of read_sheet.
    """
    if len(content) < LARGE or layout.separator == "space" or not layout.header or layout.skip_lines:
        return None
    names = _names(content, SEPARATORS[layout.separator])
    if names is None or decimal == "comma" or not _is_usual(content):
        return None
    kept, reader = ways(names), _Reader(content, SEPARATORS[layout.separator], names)
    frame = reader.frame(kept)
    if frame is None:
        return None
    rows = frame.height
    if rows != count_bytes(content, b"\n") - content.endswith(b"\n"):  # blank lines
        return None
    if count_bytes(content, SEPARATORS[layout.separator].encode()) != (rows + 1) * (len(names) - 1):
        return None  # rows with more cells than columns
    columns: dict[str, Cells] = dict.fromkeys(names, Numbers(np.empty(0)))
    further: dict[str, list[str]] = {name: [] for name in names}
    refused: dict[str, polars.Series] = {}  # columns in which polars does not take each cell for a finite number
    for name in list(frame.columns):
        series = frame.drop_in_place(name)  # its memory is free when its cells are made
        if kept[name] == "rows":
            further[name] = [text.lstrip(" ") for text in series.fill_null("").to_list()]
        elif kept[name] != "nothing":
            cells = _cells(series, kept[name], decimal, is_strict=reader.is_strict)
            if cells is None:
                refused[name] = series
            else:
                columns[name] = cells
    if refused:
        texts = reader.texts(list(refused))
        if texts is None:
            return None
        columns |= {
            name: _cells_with_texts(numbers, texts.drop_in_place(name), decimal) for name, numbers in refused.items()
        }
    lines = LineNumbers.counted(2, rows)
    return Sheet(source, 1, names, frozenset(), columns, lines, [], [], further)


def count_bytes(content: bytes, wanted: bytes) -> int:
    """How often a single byte occurs; several times as fast as bytes.count."""
    found, code = np.frombuffer(content, np.uint8), wanted[0]
    blocks = range(0, len(found), COUNTED)
    return sum(int(np.count_nonzero(found[start : start + COUNTED] == code)) for start in blocks)


def _names(content: bytes, separator: str) -> list[str] | None:
    """The names of the columns; None if the first line may be another than the header."""
    try:
        names = [name.strip() for name in content[: max(0, content.find(b"\n"))].decode().split(separator)]
    except UnicodeDecodeError:
        return None
    usual = len(names) > 1 and all(names) and len(set(names)) == len(names)
    return names if usual and not names[0].startswith((REMARK, "\ufeff")) else None


def _is_usual(content: bytes) -> bool:
    """Whether a text is UTF-8 and has no quotes, carriage returns, or blanks at its end."""
    if any(sign in content for sign in UNUSUAL) or content[-2:].removesuffix(b"\n")[-1:].isspace():
        return False
    try:
        return content.isascii() or bool(content.decode())
    except UnicodeDecodeError:
        return False


class _Reader:
    """Reads columns of a text by polars. is_strict: whether a cell that is not a number was refused, else left out."""

    def __init__(self, content: bytes, separator: str, names: Sequence[str]) -> None:
        self.content, self.names = content, names
        self.options: dict[str, Any] = {"has_header": False, "separator": separator, "quote_char": None, "skip_rows": 1}
        self.is_strict, self.may_lack_cells = True, True

    def frame(self, kept: Mapping[str, Keep]) -> "polars.DataFrame | None":
        """The columns that are needed, of numbers or of texts; None if a row may lack some."""
        try:
            import polars
        except ImportError:
            return None
        head = io.BytesIO(self.content[: self.content.rfind(b"\n", 0, HEAD) + 1])
        try:
            guessed = polars.read_csv(head, infer_schema_length=None, null_values=MISSING, **self.options).dtypes
        except (polars.exceptions.PolarsError, ValueError):
            return None
        if len(guessed) != len(self.names):
            return None
        numeric = {
            name
            for name, kind in zip(self.names, guessed, strict=True)
            if kept[name] == "numbers" and kind.is_numeric()
        }
        wanted = [name for name in self.names if kept[name] != "nothing" or name == self.names[-1]]
        frame = self._read(wanted, numeric)
        if frame is None:
            self.is_strict = False
            frame = self._read(wanted, numeric, ignore_errors=True)
        last = self.names[-1]
        self.may_lack_cells = len(wanted) < len(self.names)  # else polars refuses a row with more cells than columns
        if frame is None or not frame.height:
            return None
        if self.may_lack_cells and frame[last].null_count() and (self.is_strict or last not in numeric):
            return None
        return frame

    def texts(self, names: Sequence[str]) -> "polars.DataFrame | None":
        """Columns as texts; None if the last has an empty cell, so that a row may lack it."""
        frame, last = self._read(names, set()), self.names[-1]
        lacks = frame is not None and self.may_lack_cells and last in names and frame[last].null_count()
        return None if lacks else frame

    def _read(self, wanted: Sequence[str], numeric: Container[str], **further: Any) -> "polars.DataFrame | None":
        import polars

        schema = {name: polars.Float64 if name in numeric else polars.String for name in self.names}
        places = [place for place, name in enumerate(self.names) if name in wanted]
        try:
            return polars.read_csv(io.BytesIO(self.content), schema=schema, columns=places, **self.options, **further)
        except (polars.exceptions.PolarsError, ValueError):
            return None


def _cells(series: "polars.Series", keep: Keep, decimal: Decimal, *, is_strict: bool) -> Cells | None:
    """The cells of a column; None if they are numbers to polars that our own reader might take for others."""
    import polars

    if series.dtype != polars.Float64:
        return _cells_of_texts(series, keep, decimal)
    missing = series.null_count()
    if missing and not is_strict:
        return None
    if missing == len(series):
        return Texts([""], np.zeros(len(series), np.int32))
    values = (series.fill_null(np.nan) if missing else series).to_numpy()
    finite = np.count_nonzero(np.isfinite(values))
    return Numbers(values, [""] * missing) if finite + missing == len(values) else None


def _cells_with_texts(numbers: "polars.Series", texts: "polars.Series", decimal: Decimal) -> Cells:
    """The cells of a column in which polars takes some for numbers. Only the others are looked at one by one."""
    values = np.array(numbers.fill_null(np.nan), np.float64)
    rows = np.flatnonzero(~np.isfinite(values))
    others = [text.strip() for text in texts.gather(rows).fill_null("").to_list()]
    found = {text: number(text, usual_notation(decimal)) for text in set(others)}
    if any(isinstance(value, str) for value in found.values()):
        return _texts(texts)
    if all(is_missing(text, category=False) for text in found) and len(rows) == len(values):
        return _texts(texts)
    values[rows] = [found[text] for text in others]
    return Numbers(values, [text for text in others if is_missing(text, category=False)])


def _cells_of_texts(series: "polars.Series", keep: Keep, decimal: Decimal) -> Cells:
    """The cells of a column of texts, as our own reader keeps them."""
    cells = _texts(series)
    is_empty = all(is_missing(text, category=False) for text in cells.distinct)
    may_be_numbers = keep == "numbers" or (keep == "few" and len(cells.distinct) > MANY_TEXTS)
    numbers = texts_as_numbers(cells, None, decimal) if may_be_numbers and not is_empty else None
    return cells if numbers is None else numbers


def _texts(series: "polars.Series") -> Texts:
    import polars

    series = series.fill_null("")
    distinct = series.unique(maintain_order=True)
    codes = series.cast(polars.Enum(distinct)).to_physical().to_numpy()
    index: dict[str, int] = {}
    places = [index.setdefault(text.strip(), len(index)) for text in distinct.to_list()]
    return Texts(list(index), np.array(places, np.int32)[codes])
