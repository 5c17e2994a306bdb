"""Tables in files that are larger than memory: read piece by piece, or column by column, with their cells on disk."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from ch12cli.data.notation import Decimal
from ch12cli.data.sheets.files import (
    ARROW,
    GZIP,
    NPY,
    PARQUET,
    ZIP,
    ZSTD,
    arrays_of_columns,
    not_installed,
    sheet_of,
    sheet_of_arrays,
    sheet_of_frame,
)
from ch12cli.data.sheets.stored_arrays import StoredArray, array_folder
from ch12cli.data.sheets.text_sheet import Sheet, Ways, read_sheet
from ch12cli.data.text_file import Layout
from ch12cli.errors import InputError

if TYPE_CHECKING:
    import polars

VALUES_AT_ONCE = 2**20  # of an array of numpy's
PACKED_AT_ONCE = 2**16  # bytes
TEXT_BYTES, PACKED_BYTES = 3, 15  # of memory for a byte of a text file, and of a compressed one, at most as a rule
COPIES = 3  # of the values of another file, which reading them takes


def memory_needed(path: Path) -> int:
    """About how many bytes of memory reading a file takes, as far as its size and its header tell."""
    try:
        if not path.is_file():
            return 0
        size, start = path.stat().st_size, first_bytes(path)
    except (OSError, ValueError):  # reading it says so
        return 0
    if start.startswith((PARQUET, ARROW)):
        return COPIES * _values_of_frame(path, start) or PACKED_BYTES * size
    if start.startswith(NPY):
        return COPIES * size
    return (PACKED_BYTES if start.startswith((GZIP, ZSTD, ZIP)) else TEXT_BYTES) * size


def first_bytes(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(8)


def _values_of_frame(path: Path, start: bytes) -> int:
    """The bytes of all values of a frame as float64; 0 if they cannot be told."""
    try:
        import polars

        frame = scan(path, start)
        rows = int(frame.select(polars.len()).collect().item())
        return rows * len(frame.collect_schema()) * 8
    except Exception:  # not installed, or damaged: reading it says so
        return 0


def scan(path: Path, start: bytes) -> "polars.LazyFrame":
    import polars

    return polars.scan_parquet(path) if start.startswith(PARQUET) else polars.scan_ipc(path)


def sheet_of_large(
    path: Path, layout: Layout, *, source: str, hint: str = "", decimal: Decimal = "auto", ways: Ways
) -> Sheet:
    """The columns of a file, as sheet_of gives them, within arrays_on_disk."""
    start = first_bytes(path)
    try:
        if start.startswith((PARQUET, ARROW)):
            return _of_scan(path, start, source, ways)
        if start.startswith(NPY):
            return _of_npy(path, source, ways)
        if start.startswith(ZIP):
            return sheet_of(path.read_bytes(), layout, source=source, hint=hint, decimal=decimal, ways=ways)

        def opened() -> IO[bytes]:
            if start.startswith(GZIP):
                return cast(IO[bytes], gzip.open(path))
            return _unpacking(path, source) if start.startswith(ZSTD) else open(path, "rb")

        return read_sheet(opened, layout, source=source, hint=hint, decimal=decimal, ways=ways)
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's
            raise
        raise InputError(f"{source}: is damaged, or of a kind that cannot be read ({error})") from None


def _unpacking(path: Path, source: str) -> IO[bytes]:
    """What zstd compressed, in one frame or several, unpacked as it is read."""
    try:
        import zstandard
    except ImportError:
        raise not_installed(source, "zstandard") from None

    def pieces() -> Iterator[bytes]:
        frame = None
        with open(path, "rb") as file:
            while packed := file.read(PACKED_AT_ONCE):
                while packed:
                    frame = frame or zstandard.ZstdDecompressor().decompressobj()
                    try:
                        yield frame.decompress(packed)
                    except zstandard.ZstdError as error:
                        raise ValueError(error) from None
                    packed, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        if frame is not None:
            raise EOFError("it ends within the compressed data")

    return cast(IO[bytes], io.BufferedReader(_PieceReader(pieces())))


class _PieceReader(io.RawIOBase):
    """Reads bytes that come in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.pieces, self.rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self.rest:
            found = next(self.pieces, None)
            if found is None:
                return 0
            self.rest = found
        count = min(len(into), len(self.rest))
        into[:count], self.rest = self.rest[:count], self.rest[count:]
        return count


def _of_scan(path: Path, start: bytes, source: str, ways: Ways) -> Sheet:
    """The columns of a frame, each read by itself."""
    try:
        import polars
    except ImportError:
        raise not_installed(source, "polars") from None
    try:
        frame = scan(path, start)
        names, rows = frame.collect_schema().names(), int(frame.select(polars.len()).collect().item())
        return sheet_of_frame(
            names, lambda name: frame.select(polars.nth(names.index(name))).collect()[name], rows, source, ways
        )
    except polars.exceptions.PolarsError as error:
        raise InputError(f"{source}: is damaged ({str(error).splitlines()[0]})") from None


def _of_npy(path: Path, source: str, ways: Ways) -> Sheet:
    """The columns of an array of numpy's, which is read once, some rows at a time."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read_header(file)
        start = file.tell()
    folder = array_folder()
    assert folder is not None
    if dtype.hasobject or not 1 <= len(shape) <= 2 or 0 in shape:
        return sheet_of(path.read_bytes(), Layout(), source=source, ways=ways)  # which is refused
    if by_columns and len(shape) == 2:
        places = {f"column_{number + 1}": start + number * shape[0] * dtype.itemsize for number in range(shape[1])}
        return sheet_of_arrays(
            list(places), lambda name: np.fromfile(path, dtype, shape[0], offset=places[name]), shape[0], source, ways
        )
    columns: dict[str, StoredArray] = {}
    at_once = max(1, VALUES_AT_ONCE // int(np.prod(shape[1:])))
    for row in range(0, shape[0], at_once):
        count = min(at_once, shape[0] - row) * int(np.prod(shape[1:]))
        offset = start + row * int(np.prod(shape[1:])) * dtype.itemsize
        block = np.fromfile(path, dtype, count, offset=offset).reshape(-1, *shape[1:])
        if block.size != count:
            raise ValueError("it ends before its last row")
        for name, values in arrays_of_columns({"column": block}).items():
            if name not in columns:
                columns[name] = StoredArray(folder, values.dtype)
            columns[name].append(values)
    return sheet_of_arrays(list(columns), lambda name: columns[name][:], shape[0], source, ways)
