"""Columns of a file that is larger than memory: arrays that are written to disk, and read one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FOLDER: ContextVar[Path | None] = ContextVar("folder of columns", default=None)
NUMBERS = count()  # names of files
READ = 2**19  # values that are read at once


@contextmanager
def arrays_on_disk(folder: Path) -> Iterator[None]:
    """Has keep_array and Pieces write to a folder, which the caller removes when it has no more use for them."""
    token = FOLDER.set(folder)
    try:
        yield
    finally:
        FOLDER.reset(token)


class StoredArray:
    """An array (rows,) in a file. A slice of it is read, and is a new array."""

    def __init__(self, folder: Path, dtype: npt.DTypeLike) -> None:
        self.path, self.dtype, self.rows = folder / str(next(NUMBERS)), np.dtype(dtype), 0
        self.path.touch(exist_ok=False)

    def append(self, values: npt.NDArray[Any]) -> None:
        with open(self.path, "ab") as file:
            file.write(np.ascontiguousarray(values, self.dtype).data)
        self.rows += len(values)

    def remove(self) -> None:
        self.path.unlink()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        start, stop, _ = rows.indices(self.rows)
        return np.fromfile(self.path, self.dtype, max(0, stop - start), offset=start * self.dtype.itemsize)


Kept: TypeAlias = npt.NDArray[Any] | StoredArray


def pieces_of(kept: Kept) -> Iterator[npt.NDArray[Any]]:
    """An array (rows,), so many values at a time that what is computed of them takes little memory."""
    for start in range(0, len(kept), READ):
        yield kept[start : start + READ]


def looked_up(values: npt.NDArray[Any], kept: Kept) -> npt.NDArray[Any]:
    """values[codes], (rows,), for the codes that are kept."""
    found = np.empty(len(kept), values.dtype)
    start = 0
    for codes in pieces_of(kept):
        found[start : start + len(codes)] = values[codes]
        start += len(codes)
    return found


def keep_array(values: npt.NDArray[Any]) -> Kept:
    """The array (rows,), on disk within arrays_on_disk."""
    folder = FOLDER.get()
    if folder is None:
        return values
    stored = StoredArray(folder, values.dtype)
    stored.append(values)
    return stored


def array_folder() -> Path | None:
    """The folder of arrays within arrays_on_disk, else None."""
    return FOLDER.get()


class Pieces:
    """An array that is collected piece by piece, on disk within arrays_on_disk."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        folder = FOLDER.get()
        self.dtype = np.dtype(dtype)
        self.held: list[npt.NDArray[Any]] = []
        self.stored = None if folder is None else StoredArray(folder, dtype)

    def append(self, piece: npt.NDArray[Any]) -> None:
        if self.stored is None:
            self.held.append(piece)
        else:
            self.stored.append(piece)

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        if self.stored is None:
            yield from self.held
        else:
            for start in range(0, len(self.stored), READ):
                yield self.stored[start : start + READ]

    def whole(self) -> Kept:
        """All pieces as one. The pieces are not held any more."""
        if self.stored is not None:
            return self.stored
        found = np.concatenate([np.empty(0, self.dtype), *self.held])
        self.held = []
        return found

    def clear(self) -> None:
        """Drops the pieces."""
        self.held = []
        if self.stored is not None:
            self.stored.remove()
            self.stored = StoredArray(self.stored.path.parent, self.dtype)
