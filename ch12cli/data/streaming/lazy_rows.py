"""Features that are read or computed when they are needed, by rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.floating[Any]]
# An array (rows, features), or LazyRows in its place. Any, because most functions index both alike.
Features = npt.NDArray[np.floating[Any]] | Any

READ_AT_ONCE = 2**20  # values
CHANGED_AT_ONCE = 2**18  # values
ALIGNMENT = 64  # bytes


def index_type(rows: int) -> np.dtype[Any]:
    """The integers that number so many rows. Where they are not held in memory, their numbers take much of it."""
    return np.dtype(np.int32 if rows < 2**31 else np.int64)


def aligned_empty(shape: tuple[int, int], dtype: np.dtype[Any]) -> Values:
    """A new array that lies in memory as a tensor of torch does, which then needs no copy of it."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return cast(Values, memory[start : start + size].view(dtype).reshape(shape))


class LazyRows(ABC):
    """Features of a data set, (rows, features), that are not held in memory.

    An index of rows gives an array, as that of an array does. take: may be called in forked processes, and several at
    once, so that it must not share an open file's position. shape, dtype: of all rows. why: a line for the user.
    at_once: how many values are best taken at once in training; 0: those of a batch. alone: why a run is not stacked.
    fits: whether the rows may be held in memory after all, which a sweep does.
    sequential: whether rows can only be taken in their own order. is_slow: whether taking them in another order is so
    slow that they are better copied into the order that is needed.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    why: str = ""
    at_once: int = 0
    fits: bool = False
    sequential: bool = False
    is_slow: bool = False
    alone: str = "its rows are read when they are needed, in an order of its own for each run"

    @abstractmethod
    def take(self, rows: Rows, epoch: int | None = None) -> Values:
        """Some rows in the order asked, a new array. epoch: of training, counted from 0; None: in evaluation."""

    def raw(self, rows: Rows, epoch: int | None = None) -> Values:
        """The same in the dtype in which they are held, if that takes less memory."""
        return self.take(rows, epoch)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Rows) -> Values:
        return self.take(np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows)

    def blocks(self) -> Iterator[Values]:
        """All rows in order, some at a time."""
        for start in range(0, len(self), at_once := max(1, READ_AT_ONCE // max(1, self.shape[1]))):
            yield self[start : start + at_once]


def as_they_are(values: Values) -> Values:
    return values


class SelectedRows(LazyRows):
    """Some rows of others, each changed in the same way. rows: their indices, (selected,)."""

    def __init__(self, source: LazyRows, rows: Rows, change: Callable[[Values], Values]) -> None:
        self.source, self.rows, self.change = source, rows, change
        self.shape, self.dtype = (len(rows), source.shape[1]), source.dtype
        self.why, self.at_once, self.sequential = source.why, source.at_once, source.sequential
        self.is_slow = source.is_slow
        self.computed = source.dtype  # in which the rows are changed

    def rounded_to(self, dtype: npt.DTypeLike) -> "SelectedRows":
        """The same rows, changed as these are, and then rounded to another dtype."""
        rows = copy(self)
        rows.dtype = np.dtype(dtype)
        return rows

    def take(self, rows: Rows, epoch: int | None = None) -> Values:
        return self.changed(self.source.raw(self.rows[rows], epoch))

    def changed(self, raw: Values) -> Values:
        """Rows of the source, (rows, features), changed."""
        if self.change is as_they_are and raw.dtype == self.dtype:
            return raw
        found = aligned_empty(raw.shape, self.dtype)
        at_once = max(1, CHANGED_AT_ONCE // max(1, self.shape[1]))  # changing takes further memory
        for start in range(0, len(raw), at_once):
            block = slice(start, start + at_once)
            changed = self.change(raw[block].astype(self.computed, copy=False))
            with np.errstate(over="ignore"):  # as torch rounds
                found[block] = changed
        return found


class SelectedColumns(LazyRows):
    """Some columns of others. columns: their indices, (selected,)."""

    def __init__(self, source: LazyRows, columns: npt.NDArray[np.int64]) -> None:
        self.source, self.columns = source, columns
        self.shape, self.dtype = (len(source), len(columns)), source.dtype
        self.why, self.at_once, self.is_slow = source.why, source.at_once, source.is_slow

    def take(self, rows: Rows, epoch: int | None = None) -> Values:
        return self.raw(rows, epoch).astype(self.dtype, copy=False)

    def raw(self, rows: Rows, epoch: int | None = None) -> Values:
        return np.ascontiguousarray(self.source.raw(rows, epoch)[:, self.columns])
