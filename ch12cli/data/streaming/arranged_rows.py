"""Rows of a file that does not fit into memory, copied into the order that is needed by reading it once in its own.

Reading rows all over such a file fetches most of it from disk for each batch. Here the file is read from its start to
its end, and each row is written to the bucket of its place in the order: buckets are parts of one further file. A batch
is then gathered from a bucket, which fits into memory. They are the same rows in the same batches.
"""

import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ch12cli.data.streaming.budget import describe_size
from ch12cli.data.streaming.cache_folder import cache_folder
from ch12cli.data.streaming.lazy_rows import LazyRows, Rows, SelectedRows, Values, index_type
from ch12cli.data.streaming.row_file import RowFile
from ch12cli.errors import MachineError, reason_of

FOLDER = "epochs"  # of ch12's cache
READ_AT_ONCE = 2**22  # values of the source
MOST_BUCKETS = 2**10
NOWHERE = -1
HINT = "free some, set XDG_CACHE_HOME to another disk, or allow more by dataset.memory"


class ArrangedRows(LazyRows):
    """Selected rows, which `arrange` copies into the order in which they are taken next.

    It belongs to one run. The DataLoader workers that the run forks after its first call of `arrange` see what further
    calls copy. The copy is in files without a name, so that nothing is left of them when the processes end. Rows that
    were not copied are taken from the source.
    """

    def __init__(self, selected: SelectedRows) -> None:
        self.selected = selected
        self.shape, self.dtype = selected.shape, selected.dtype
        self.why, self.at_once = selected.why, selected.at_once
        self.copy: Copy | None = None
        self.is_in_order = False  # the copy is that of an evaluation

    def take(self, rows: Rows, epoch: int | None = None) -> Values:
        places = None if self.copy is None else self.copy.places[rows]
        if self.copy is None or places is None or (places == NOWHERE).any():
            return self.selected.take(rows, epoch)
        return self.selected.changed(self.copy.rows.raw(places))

    def arrange(self, order: Rows, epoch: int | None) -> None:
        """Copies rows into the order in which they are taken next, (rows,). Some may be missing in it.

        The order of evaluation, with epoch None, is always the same and copied once.
        """
        if epoch is None and self.is_in_order:
            return
        try:
            if self.copy is None:
                self.copy = Copy(self.shape, self.selected.source.raw(np.arange(0)).dtype)
            self._write(self.copy, order)
        except OSError as error:
            raise MachineError(f"the rows of an epoch cannot be written to disk: {reason_of(error)}; {HINT}") from error
        self.is_in_order = epoch is None

    @cached_property
    def in_file(self) -> npt.NDArray[Any]:
        """The rows in the order of the file, (rows,)."""
        rows = self.selected.rows
        number = np.full(rows.max() + 1, NOWHERE, index_type(len(rows)))  # (rows of the file,)
        number[rows] = np.arange(len(rows), dtype=number.dtype)
        return cast(Rows, number[number != NOWHERE])

    def _write(self, copy: "Copy", order: Rows) -> None:
        """Copies the rows. The buckets are equally large; within one the rows are in the order of the file."""
        goals = np.full(len(self), NOWHERE, self.in_file.dtype)  # (rows,): places in the order
        goals[order] = np.arange(len(order), dtype=goals.dtype)
        per_bucket = max(1, self.at_once // self.shape[1], -(-len(order) // MOST_BUCKETS))
        buckets = -(-len(order) // per_bucket)
        ends = np.arange(buckets) * per_bucket  # (buckets,): of the rows that are written
        at_once = max(1, READ_AT_ONCE // self.shape[1])
        for start in range(0, len(self), at_once):
            rows = self.in_file[start : start + at_once]
            bucket = (goals[rows] // per_bucket).astype(np.int16)  # NOWHERE stays below 0
            by_bucket = np.argsort(bucket, kind="stable")
            rows, bucket = rows[by_bucket], bucket[by_bucket]
            first = int(np.searchsorted(bucket, 0))
            copy.places[rows[:first]] = NOWHERE
            rows, bucket = rows[first:], bucket[first:]
            cuts = np.searchsorted(bucket, np.arange(buckets + 1))
            copy.places[rows] = np.arange(len(rows)) + (ends - cuts[:-1])[bucket]
            values = self.selected.source.raw(self.selected.rows[rows])
            for number in np.flatnonzero(np.diff(cuts)):
                copy.write(values[cuts[number] : cuts[number + 1]], int(ends[number]))
            ends += np.diff(cuts)


class Copy:
    """A file of rows, and the place of each row in it: places, (rows,). The space is taken at once."""

    def __init__(self, shape: tuple[int, int], stored: np.dtype[Any]) -> None:
        folder = cache_folder(FOLDER)
        self.handle, name = tempfile.mkstemp(dir=folder)
        try:
            self.rows = RowFile(Path(name), shape, stored=stored, dtype=stored)
        finally:
            os.unlink(name)
        os.posix_fallocate(self.handle, 0, self.rows.file_bytes)
        with tempfile.TemporaryFile(dir=folder) as file:
            self.places = np.memmap(file, index_type(shape[0]), "w+", shape=shape[:1])

    def __del__(self) -> None:
        os.close(self.handle)

    def write(self, values: Values, place: int) -> None:
        """Writes rows, from a place on."""
        view, offset = memoryview(values.data).cast("B"), place * self.rows.row_bytes
        while view:
            count = os.pwrite(self.handle, view, offset)
            view, offset = view[count:], offset + count


def require_space(size: int) -> None:
    """Raises MachineError if the disk has no space for a copy of so many bytes."""
    folder = cache_folder(FOLDER)
    free = shutil.disk_usage(folder).free
    if free < size:
        what = f"{folder}: each epoch takes {describe_size(size)} of disk, and {describe_size(free)} are free"
        raise MachineError(f"{what}; {HINT}")
