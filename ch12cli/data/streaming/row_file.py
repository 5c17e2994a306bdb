"""Rows of numbers in a file, one after the other, of which any are read without mapping or holding the others."""

import mmap
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.streaming.lazy_rows import LazyRows, Rows, Values

ROWS = "rows"  # the name of a file of rows in its folder
WINDOW = 2**24  # bytes of the file that are mapped at once: bounds the memory that a reader is charged for
PAGE = mmap.ALLOCATIONGRANULARITY


class RowFile(LazyRows):
    """The rows of a file, (rows, features). stored: their dtype in the file, which holds them exactly."""

    def __init__(self, path: Path, shape: tuple[int, int], *, stored: npt.DTypeLike, dtype: npt.DTypeLike) -> None:
        self.path, self.shape = path, shape
        self.stored, self.dtype = np.dtype(stored), np.dtype(dtype)
        self.handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __reduce__(self) -> tuple[Any, ...]:  # to a process that is not forked
        further = {"why": self.why, "at_once": self.at_once, "is_slow": self.is_slow}
        return _opened, (self.path, self.shape, self.stored.str, self.dtype.str, further)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)

    @property
    def row_bytes(self) -> int:
        return self.shape[1] * self.stored.itemsize

    @property
    def file_bytes(self) -> int:
        return self.shape[0] * self.row_bytes

    def take(self, rows: Rows, epoch: int | None = None) -> Values:
        return self.raw(rows, epoch).astype(self.dtype, copy=False)

    def raw(self, rows: Rows, epoch: int | None = None) -> Values:
        """Some rows in the order asked, in the dtype of the file. They are read in the order of the file."""
        rows = rows.astype(np.int64, copy=False)  # they are multiplied below
        found = np.empty((len(rows), self.shape[1]), self.stored)
        if not len(rows):
            return found
        if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            self._read(found, int(rows[0]))
            return found
        places = np.argsort(rows)
        ordered = rows[places]
        per_window = max(1, WINDOW // self.row_bytes)
        cuts = np.flatnonzero(np.diff(ordered // per_window)) + 1
        item = np.dtype((np.void, self.row_bytes))  # a row is copied at once
        into = found.view(item)[:, 0]
        for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            first, last = int(ordered[start]), int(ordered[end - 1])
            begin = first * self.row_bytes // PAGE * PAGE
            with mmap.mmap(
                self.handle, (last + 1) * self.row_bytes - begin, mmap.MAP_SHARED, mmap.PROT_READ, offset=begin
            ) as window:
                held = np.frombuffer(window, item, last - first + 1, first * self.row_bytes - begin)
                into[places[start:end]] = held[ordered[start:end] - first]
                del held  # or the window cannot be closed
        return found

    def _read(self, into: Values, first: int) -> None:
        """Reads rows that follow each other in the file. into: (rows, features)."""
        view, offset = memoryview(into.data).cast("B"), first * self.row_bytes
        while view:
            count = os.preadv(self.handle, [view], offset)
            if not count:
                raise EOFError(f"{self.path}: is shorter than it was")
            view, offset = view[count:], offset + count


def _opened(path: Path, shape: tuple[int, int], stored: str, dtype: str, further: Mapping[str, Any]) -> RowFile:
    rows = RowFile(path, shape, stored=stored, dtype=dtype)
    vars(rows).update(further)
    return rows


def is_exact_in_float32(values: Values) -> bool:
    """Whether float32 holds all values exactly. NaN counts as held."""
    with np.errstate(over="ignore"):
        return bool(((values.astype(np.float32) == values) | np.isnan(values)).all())


def write_rows(path: Path, blocks: Iterable[Values], stored: npt.DTypeLike) -> None:
    """Writes rows to a new file and flushes them to disk. blocks: (rows, features) each."""
    with open(path, "xb") as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block, stored).data)
        file.flush()
        os.fsync(file.fileno())
