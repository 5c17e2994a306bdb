"""Arrays in numpy's .npz format, read as untrusted data: no array is larger than the file may hold."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

LARGEST = 2**26  # bytes of all arrays of a file together
KINDS = "iuf"  # of the numbers: signed, unsigned, floating
ENDING = ".npy"


class ArraysError(ValueError):
    """A file that does not hold arrays of numbers, or too large ones."""


def to_npz(arrays: Arrays) -> bytes:
    """Returns the content of a compressed file, the same for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            held = io.BytesIO()
            np.lib.format.write_array(held, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(name + ENDING)  # its date is 1980, whenever it is written
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, held.getvalue())
    return buffer.getvalue()


def from_npz(content: bytes) -> dict[str, NDArray[Any]]:
    """Returns the arrays in the content of a file. Raises ArraysError for anything else than arrays of numbers."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > LARGEST:
                raise ArraysError(f"holds more than {LARGEST:,} bytes")
            return {entry.filename.removesuffix(ENDING): _array_of(archive.read(entry)) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArraysError(f"holds no arrays: {error}") from error


def _array_of(content: bytes) -> NDArray[Any]:
    """Returns an array in numpy's .npy format, version 1. Raises ValueError."""
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ArraysError("has arrays in another format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in KINDS or dtype.hasobject or is_fortran:
        raise ArraysError(f"has an array of type {dtype}")
    return np.frombuffer(content[stream.tell() :], dtype).reshape(shape)
