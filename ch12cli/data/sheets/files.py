"""Tables in files of every format that is read: text, also compressed, Parquet, Arrow, and numpy's."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.notation import Decimal, Notation
from ch12cli.data.sheets.cells import MANY_TEXTS, Cells, Keep, Numbers, Texts
from ch12cli.data.sheets.fast_text import fast_sheet
from ch12cli.data.sheets.stored_arrays import keep_array
from ch12cli.data.sheets.text_rows import LineNumbers
from ch12cli.data.sheets.text_sheet import Sheet, Ways, read_sheet
from ch12cli.data.text_file import Layout, list_names
from ch12cli.errors import InputError

if TYPE_CHECKING:
    import polars

GZIP, ZSTD, NPY, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x93NUMPY", b"PK\x03\x04"
PARQUET, ARROW = b"PAR1", b"ARROW1"
DATE, TIME = Notation("date"), Notation("time")
Array = npt.NDArray[Any]
FLOAT_TYPES = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
COMPARED = 2**18  # values that are looked through at once


def sheet_of(
    content: bytes, layout: Layout, *, source: str, hint: str = "", decimal: Decimal = "auto", ways: Ways
) -> Sheet:
    """The columns of a file. What it is is found by its first bytes; the arguments are those of read_sheet.

    Other formats than text say the types of their columns: logical values are texts, dates are days since 1970, times
    are hours. InputError if the file cannot be read.
    """
    try:
        if content.startswith((PARQUET, ARROW)):
            frame = _frame(content, source)
            return sheet_of_frame(frame.columns, frame.__getitem__, frame.height, source, ways)
        if content.startswith(NPY):
            return _of_arrays(
                arrays_of_columns({"column": np.load(io.BytesIO(content), allow_pickle=False)}), source, ways
            )
        if content.startswith(ZIP) and (members := _npz(content)):
            return _of_arrays(arrays_of_columns(members), source, ways)
        if content.startswith(GZIP):
            content = gzip.decompress(content)
        elif content.startswith(ZSTD):
            content = _unpacked(content, source)
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, where cells are kept on it
            raise
        raise InputError(f"{source}: is damaged, or of a kind that cannot be read ({error})") from None
    found = fast_sheet(content, layout, source=source, decimal=decimal, ways=ways)
    return found or read_sheet(
        lambda: io.BytesIO(content), layout, source=source, hint=hint, decimal=decimal, ways=ways
    )


def _unpacked(content: bytes, source: str) -> bytes:
    """What zstd compressed, in one frame or several. EOFError if it is cut off, ValueError if it is damaged."""
    try:
        import zstandard
    except ImportError:
        raise not_installed(source, "zstandard") from None
    parts = []
    while content:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            parts.append(frame.decompress(content))
        except zstandard.ZstdError as error:
            raise ValueError(error) from None
        if not frame.eof:
            raise EOFError("it ends within the compressed data")
        content = frame.unused_data
    return b"".join(parts)


def not_installed(source: str, package: str) -> InputError:
    return InputError(f"{source}: is read by {package}, which is not installed: pip install 'ch12[tables]'")


def _npz(content: bytes) -> dict[str, Array]:
    """The arrays of an archive of numpy's, by name; none of another ZIP archive."""
    if b".npy" not in content:
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if not all(name.endswith(".npy") for name in archive.namelist()):
            return {}
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return dict(found)


def arrays_of_columns(found: Mapping[str, Array]) -> dict[str, Array]:
    """A column (rows,) for each field, or for each column of a matrix, of some arrays."""
    columns: dict[str, Array] = {}
    for name, array in found.items():
        if array.dtype.names:
            columns |= {field: array[field] for field in array.dtype.names}
        elif array.ndim == 2:
            columns |= {f"{name}_{number + 1}": array[:, number] for number in range(array.shape[1])}
        else:
            columns[name] = array
    return columns


def _of_arrays(arrays: Mapping[str, Array], source: str, ways: Ways) -> Sheet:
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or any(array.ndim != 1 for array in arrays.values()):
        what = "arrays of different lengths or shapes"
        raise InputError(f"{source}: holds {what}; each must be (rows,) or (rows, columns)")
    return sheet_of_arrays(list(arrays), arrays.__getitem__, len(next(iter(arrays.values()))), source, ways)


def sheet_of_arrays(names: Sequence[str], column: Callable[[str], Array], rows: int, source: str, ways: Ways) -> Sheet:
    """A sheet of arrays. column: gives the values of one, (rows,)."""
    makers = {name: lambda way, name=name: _of_array(column(name), way, name, source) for name in names}
    return _sheet(makers, source, rows, ways, lambda name: map(str, column(name).tolist()))


def _of_array(array: Array, way: Keep, name: str, source: str) -> Cells:
    """The cells of a column, from its values, (rows,)."""
    kind = array.dtype.kind
    if kind == "M":
        days = (array.astype("datetime64[us]") - np.datetime64(0, "us")) / np.timedelta64(1, "D")
        return _numbers(days, DATE)
    if kind in "iuf" and (way == "numbers" or (way == "few" and _are_many(array))):
        return _numbers(array, None)
    if kind not in "biufU":
        raise InputError(f"{source}, column {name}: holds {array.dtype}; must be numbers, texts or dates")
    return _texts(array)


def _frame(content: bytes, source: str) -> "polars.DataFrame":
    try:
        import polars
    except ImportError:
        raise not_installed(source, "polars") from None
    try:
        read = polars.read_parquet if content.startswith(PARQUET) else polars.read_ipc
        return read(io.BytesIO(content))
    except polars.exceptions.PolarsError as error:
        raise InputError(f"{source}: is damaged ({str(error).splitlines()[0]})") from None


def sheet_of_frame(
    names: Sequence[str], column: "Callable[[str], polars.Series]", rows: int, source: str, ways: Ways
) -> Sheet:
    """A sheet of the columns of a data frame. column: gives one."""
    makers = {name: lambda way, name=name: _of_series(column(name), way, source) for name in names}
    return _sheet(makers, source, rows, ways, lambda name: (str(value) for value in column(name)))


def _of_series(series: "polars.Series", way: Keep, source: str) -> Cells:
    """The cells of a column of a data frame."""
    import polars

    kind = series.dtype
    if kind in (polars.Date, polars.Datetime):
        return _numbers(series.cast(polars.Datetime("us")).dt.timestamp("us").cast(polars.Float64) / 86400e6, DATE)
    if kind in (polars.Time, polars.Duration):
        nanoseconds = series.cast(polars.Duration("ns") if kind == polars.Duration else kind).to_physical()
        return _numbers(nanoseconds.cast(polars.Float64) / 3600e9, TIME)
    if kind.is_numeric() and (way == "numbers" or (way == "few" and series.n_unique() > MANY_TEXTS)):
        return _numbers(series.cast(polars.Float64), None)
    if kind.is_nested() or kind in (polars.Binary, polars.Object):
        raise InputError(
            f"{source}, column {series.name}: holds {kind}; must be numbers, texts or dates: leave it out with "
            "dataset.exclude"
        )
    if series.null_count() == 0 and (kind.is_integer() or kind == polars.Boolean):
        return _texts(series.to_numpy())
    texts = series.cast(polars.String).fill_null("")
    distinct = texts.unique(maintain_order=True)
    index: dict[str, int] = {}
    places = [index.setdefault(text.strip(), len(index)) for text in distinct.to_list()]
    codes = np.array(places, np.int32)[texts.cast(polars.Enum(distinct)).to_physical().to_numpy()]
    return Texts(list(index), keep_array(codes))


def _numbers(values: Any, notation: Notation | None) -> Numbers:
    found = np.asarray(values, np.float64)
    return Numbers(keep_array(found), [""] * int(np.count_nonzero(np.isnan(found))), notation)


def _texts(array: Array) -> Texts:
    """The texts of values, (rows,), some at a time: there may be many rows."""
    index: dict[str, int] = {}
    codes = np.empty(len(array), np.int32)
    for start in range(0, len(array), COMPARED):
        block = np.ascontiguousarray(array[start : start + COMPARED])
        bits = block.view(f"i{block.itemsize}") if block.dtype in FLOAT_TYPES else block  # -0.0 is another text
        _, first, inverse = np.unique(bits, return_index=True, return_inverse=True)
        of_block = np.empty(len(first), np.int32)
        for place in np.argsort(first):
            of_block[place] = index.setdefault(_text(block[first[place]].item()), len(index))
        codes[start : start + COMPARED] = of_block[inverse]
    return Texts(list(index), keep_array(codes))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _are_many(array: Array) -> bool:
    """Whether more values are different than are kept as texts."""
    found = array[:0]
    for start in range(0, len(array), COMPARED):
        found = np.union1d(found, array[start : start + COMPARED])
        if len(found) > MANY_TEXTS:
            return True
    return False


def _sheet(
    makers: Mapping[str, Callable[[Keep], Cells]],
    source: str,
    rows: int,
    ways: Ways,
    texts: Callable[[str], Any],
) -> Sheet:
    """A sheet of columns with types. makers: of each column, from how it is kept; texts: of a column's cells."""
    names = list(makers)
    if "" in names:
        raise InputError(f"{source}: has a column without a name; give it one")
    kept = ways(names)
    columns = {name: makers[name](kept[name]) for name in names if kept[name] not in ("rows", "nothing")}
    dates = [name for name, cells in columns.items() if isinstance(cells, Numbers) and cells.notation == DATE]
    times = [name for name, cells in columns.items() if isinstance(cells, Numbers) and cells.notation == TIME]
    notes = [
        f"{source}: {list_names(found)}: {what}"
        for found, what in ((dates, "dates are read as days since 1970-01-01"), (times, "times are read as hours"))
        if found
    ]
    further = {name: list(texts(name)) for name in names if kept[name] == "rows"}
    lines = LineNumbers.counted(1, rows)
    return Sheet(source, 0, names, frozenset(), columns, lines, [], notes, further, place="row")
