"""Pictures in files as rows of pixels that are decoded when they are needed."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from ch12cli.data.pictures.image_file import ImageFileError, ImageShape, read_image
from ch12cli.data.pictures.pixel_cache import PixelCache
from ch12cli.data.streaming.lazy_rows import LazyRows, Rows, aligned_empty
from ch12cli.data.table import Floats
from ch12cli.errors import InputError, first_few


class PictureRows(LazyRows):
    """The pictures of a folder, (pictures, channels * height * width) float32 from 0 to 1, by their order in `names`.

    cache: keeps what was decoded; None: nothing is kept. fits: whether all rows may be held in memory.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], picture: ImageShape, *, cache: PixelCache | None, fits: bool = False
    ) -> None:
        self.folder, self.names, self.picture, self.cache, self.fits = folder, names, picture, cache, fits
        self.shape, self.dtype = (len(names), int(np.prod(picture))), np.dtype(np.float32)

    def take(self, rows: Rows, epoch: int | None = None) -> Floats:
        pixels = aligned_empty((len(rows), self.shape[1]), self.dtype)
        problems = []
        for place, row in enumerate(rows.tolist()):
            try:
                pixels[place] = self._decoded(row)
            except ImageFileError as error:
                problems.append(f"{self.folder / self.names[row]}: {error}; repair it, or leave it out")
        refuse_bad(problems)
        return pixels

    def _decoded(self, row: int) -> Floats:
        held = None if self.cache is None else self.cache.get(row)
        if held is not None:
            return held
        pixels = read_image(os.path.join(self.folder, self.names[row]), self.picture)
        if self.cache is not None:
            self.cache.put(row, pixels)
        return pixels


def refuse_bad(problems: list[str]) -> None:
    """InputError with the first few problems, if there are any."""
    if problems:
        raise InputError(first_few(problems))


def digest_of_files(folder: Path, names: Sequence[str], picture: ImageShape) -> str:
    """SHA-256 of the names and sizes of the files, in hexadecimal: what can be known without reading them."""
    listing = [f"{name}\0{size_of(folder / name)}" for name in names]
    return sha256("\n".join([repr(picture), *listing]).encode("utf-8", "surrogateescape")).hexdigest()


def identity_of_files(folder: Path, names: Sequence[str], picture: ImageShape) -> str:
    """What changes when a file of the folder does: its place, and its files' names, sizes and times."""
    listing = [f"{name}\0{size_of(folder / name)}\0{time_of(folder / name)}" for name in names]
    return "\n".join([str(folder.resolve()), repr(picture), *listing])


def size_of(path: Path) -> int:
    """The bytes of a file; -1 if it cannot be looked at, which decoding it reports."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def time_of(path: Path) -> int:
    """When a file was changed, in nanoseconds; -1 if it cannot be looked at."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1
