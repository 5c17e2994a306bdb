"""Large text files without anything unusual, read by polars: the same cells as by our own reader, in less time.

Whatever may be unusual is left to our own reader, which knows all layouts and names the line and column of a mistake.
"""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ch12cli.data.columns import is_missing
from ch12cli.data.notation import Decimal
from ch12cli.data.sheets.cells import MANY_TEXTS, Cells, Keep, Numbers, Texts, texts_as_numbers
from ch12cli.data.sheets.text_sheet import Sheet, Ways
from ch12cli.data.text_file import REMARK, SEPARATORS, Layout

if TYPE_CHECKING:
    import polars

LARGE = 2**22  # bytes from which a file is worth importing polars
HEAD = 2**18  # bytes from which the types of columns are guessed
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
    kept = ways(names)
    frame = _frame(content, SEPARATORS[layout.separator], names, kept)
    if frame is None:
        return None
    rows = frame.height
    if rows != count_bytes(content, b"\n") - content.endswith(b"\n"):  # blank lines
        return None
    if count_bytes(content, SEPARATORS[layout.separator].encode()) != (rows + 1) * (len(names) - 1):
        return None  # rows with more cells than columns
    columns: dict[str, Cells] = dict.fromkeys(names, Numbers(np.empty(0)))
    further: dict[str, list[str]] = {name: [] for name in names}
    for name in list(frame.columns):
        series = frame.drop_in_place(name)  # its memory is free when its cells are made
        if kept[name] == "rows":
            further[name] = [text.lstrip(" ") for text in series.fill_null("").to_list()]
        elif kept[name] != "nothing":
            cells = _cells(series, kept[name], decimal)
            if cells is None:
                return None
            columns[name] = cells
    lines = np.arange(2, rows + 2)
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


def _frame(content: bytes, separator: str, names: list[str], kept: Mapping[str, Keep]) -> "polars.DataFrame | None":
    """The columns that are needed, of numbers or of texts; None if a cell does not fit, or a row may lack some."""
    try:
        import polars
    except ImportError:
        return None
    options: dict[str, Any] = {"has_header": False, "separator": separator, "quote_char": None, "skip_rows": 1}
    try:
        head = io.BytesIO(content[: content.rfind(b"\n", 0, HEAD) + 1])
        guessed = polars.read_csv(head, infer_schema_length=None, **options).dtypes
        schema = {
            name: polars.Float64 if kept[name] == "numbers" and kind.is_numeric() else polars.String
            for name, kind in zip(names, guessed, strict=True)
        }
        wanted = [place for place, name in enumerate(names) if kept[name] != "nothing" or name == names[-1]]
        frame = polars.read_csv(io.BytesIO(content), schema=schema, columns=wanted, **options)
    except (polars.exceptions.PolarsError, ValueError):
        return None
    return frame if frame.height and not frame[names[-1]].null_count() else None


def _cells(series: "polars.Series", keep: Keep, decimal: Decimal) -> Cells | None:
    """The cells of a column; None if our own reader might take them for others."""
    import polars

    if series.dtype == polars.Float64:
        missing = series.null_count()
        if missing == len(series):
            return Texts([""], np.zeros(len(series), np.int32))
        values = (series.fill_null(np.nan) if missing else series).to_numpy()
        finite = np.count_nonzero(np.isfinite(values))
        return Numbers(values, [""] * missing) if finite + missing == len(values) else None
    series = series.fill_null("")
    distinct = series.unique(maintain_order=True)
    if keep != "texts" and len(distinct) > MANY_TEXTS:
        return None
    codes = series.cast(polars.Enum(distinct)).to_physical().to_numpy()
    index: dict[str, int] = {}
    places = [index.setdefault(text.strip(), len(index)) for text in distinct.to_list()]
    cells = Texts(list(index), np.array(places, np.int32)[codes])
    is_empty = all(is_missing(text, category=False) for text in index)
    numbers = texts_as_numbers(cells, None, decimal) if keep == "numbers" and not is_empty else None
    return cells if numbers is None else numbers
