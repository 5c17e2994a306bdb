"""Rows as CSV, as Python's csv module writes them: many of them by polars, in a fraction of the time."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars

MANY = 2**16  # rows from which polars is worth importing
AT_ONCE = 2**14  # rows that csv writes at once
QUOTED = '[,"\r\n]'  # what csv quotes a cell for
ALIKE = 1e-4, 1e16  # between which polars writes a number as Python does

CsvColumn = Sequence[str] | NDArray[np.float64]


def rows_as_csv(columns: Sequence[CsvColumn]) -> str:
    """The rows of these columns, all of one length, in full precision."""
    found = _by_polars(columns) if len(columns[0]) >= MANY else None
    return _by_csv(columns) if found is None else found


def _by_csv(columns: Sequence[CsvColumn]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for start in range(0, len(columns[0]), AT_ONCE):
        parts = [column[start : start + AT_ONCE] for column in columns]
        writer.writerows(zip(*(part.tolist() if isinstance(part, np.ndarray) else part for part in parts), strict=True))
    return text.getvalue()


def _by_polars(columns: Sequence[CsvColumn]) -> str | None:
    """The same; None without polars, and for cells that would be quoted."""
    try:
        import polars
    except ImportError:
        return None
    texts = [_texts(column) for column in columns]
    if len(texts) < 2 or any(series.str.contains(QUOTED).any() for series in texts):  # a single empty cell is quoted
        return None
    frame = polars.DataFrame({str(number): series for number, series in enumerate(texts)})
    return frame.write_csv(include_header=False, quote_style="never")


def _texts(column: CsvColumn) -> "polars.Series":
    import polars

    if not isinstance(column, np.ndarray):
        return polars.Series(values=column, dtype=polars.String)
    size = np.abs(column)
    other = np.flatnonzero(~((size >= ALIKE[0]) & (size < ALIKE[1])))
    series = polars.Series(values=column).cast(polars.String)
    return series.scatter(other, list(map(repr, column[other].tolist()))) if len(other) else series
