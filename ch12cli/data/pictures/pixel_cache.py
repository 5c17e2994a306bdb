"""Decoded pictures, kept as bytes in memory that forked processes share, or in a file of the user's cache."""

import mmap
import os
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.streaming.cache_folder import cache_folder
from ch12cli.data.table import Floats
from ch12cli.errors import MachineError

SUM = 4  # bytes of a checksum, which is written after the pixels; 0 where there are none


class PixelCache:
    """Pictures of so many values each, by row. What is damaged, or written in part, counts as not there.

    path: of a file, whose rows several processes may write; None: memory, shared with processes that are forked.
    """

    def __init__(self, rows: int, values: int, path: Path | None = None) -> None:
        self.rows, self.values, self.path = rows, values, path
        self.row_bytes = values + SUM
        if path is None:
            self.held = mmap.mmap(-1, rows * self.row_bytes)  # anonymous and shared; a page takes memory when written
        else:
            self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __reduce__(self) -> tuple[Any, ...]:  # to a process that is not forked
        return PixelCache, (self.rows, self.values, self.path)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)

    def get(self, row: int) -> Floats | None:
        """The pixels of a picture, (values,) float32 from 0 to 1; None if they are not there."""
        start = row * self.row_bytes
        if self.path is None:
            record = self.held[start : start + self.row_bytes]
        else:
            record = os.pread(self.handle, self.row_bytes, start)
        if len(record) < self.row_bytes or not any(record[self.values :]):
            return None
        pixels = record[: self.values]
        if sum_of(pixels) != record[self.values :]:
            return None
        return np.frombuffer(pixels, np.uint8) / np.float32(255)

    def put(self, row: int, pixels: Floats) -> None:
        """Keeps the pixels of a picture, unless bytes do not hold them, or the disk is full."""
        as_bytes: npt.NDArray[np.uint8] = np.rint(pixels * 255).astype(np.uint8)
        if not np.array_equal(as_bytes / np.float32(255), pixels):
            return
        content = as_bytes.tobytes()
        start, record = row * self.row_bytes, content + sum_of(content)
        if self.path is None:
            self.held[start : start + self.row_bytes] = record
            return
        try:
            os.pwrite(self.handle, record, start)
        except OSError:
            return


def sum_of(content: bytes) -> bytes:
    return (zlib.crc32(content) or 1).to_bytes(SUM, "little")


def file_of_pictures(identity: str) -> Path:
    """The file in the user's cache for pictures of this identity. MachineError if there can be none."""
    name = sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:40]
    try:
        return cache_folder("pictures") / f"{name}.pixels"
    except (OSError, RuntimeError) as error:
        raise MachineError(f"dataset.cache=disk: the cache cannot be written: {error}") from error
