"""Images in a folder as rows of pixels, each with its class."""

import io
import math
import os
import re
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from ch12cli.data.arguments import choice_problems, integer_problems
from ch12cli.data.new_rows import NewRows
from ch12cli.data.pictures.augmentation import augmented
from ch12cli.data.pictures.image_file import SUFFIXES, ImageFileError, ImageShape, pixels_of, require_pillow
from ch12cli.data.pictures.picture_rows import PictureRows, digest_of_files, identity_of_files, refuse_bad
from ch12cli.data.pictures.pixel_cache import PixelCache, file_of_pictures
from ch12cli.data.streaming.budget import budget_of, describe_size
from ch12cli.data.streaming.lazy_rows import Features
from ch12cli.data.synthetic import IMAGES, write_images
from ch12cli.data.table import Floats, Table
from ch12cli.data.text_file import count_with_noun, list_names, similar_file
from ch12cli.errors import InputError, MachineError, Problem
from ch12cli.rules import LARGEST_SIDE

Labels = Literal["auto", "folder", "name"]
Cache = Literal["auto", "none", "memory", "disk"]

LARGEST_VALUES = 2**28  # pixels and channels of all images to predict: 1 GiB
FLOAT = 4  # bytes
FEW = 2000  # images that are decoded before training, which takes seconds; scaling is fitted to so many of more
LEADING_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, eq=False)
class NewImages(NewRows):
    """Images to predict. The only further column is the file's name."""

    def location(self, row: int) -> str:
        return f"{self.source}, {self.copied[0][row]}"


class Listing(NamedTuple):
    """The files of a folder. names: of images, relative to it; left_out: other files, and folders that are deeper."""

    names: list[str]
    left_out: list[str]


def image_folder(
    folder: str | None = None,
    *,
    labels: Labels = "auto",
    height: int = 24,
    width: int = 24,
    colour: bool = False,
    augment: Mapping[str, Any] | Callable[..., Any] | None = None,
    cache: Cache = "auto",
    memory: int | str = "auto",
) -> Table:
    """Images as rows of pixels, (rows, channels * height * width) float32 in [0, 1], and their classes.

    folder: holds the files, or a folder of files for each class; None: generated discs and squares. labels: folder
    takes the name of a file's folder as its class, name the letters that the file's name begins with; auto takes the
    folder if there are folders. height, width: pixels, from 1 to 512, to which every image is resized. colour: three
    channels in place of one. augment: random changes of the training part, the fields of Augmentation by name, or a
    callable of one's own. cache: what becomes of decoded pictures: memory and disk keep them, none decodes them in each
    epoch; auto decodes a few pictures at once, and keeps more in memory if they fit. memory: for them, in bytes or as
    2GB; auto: half of what is free. InputError with everything that is wrong.
    """
    problems = choice_problems("dataset.labels", labels, get_args(Labels))
    problems += integer_problems("dataset.height", height, low=1, high=LARGEST_SIDE)
    problems += integer_problems("dataset.width", width, low=1, high=LARGEST_SIDE)
    problems += choice_problems("dataset.cache", cache, get_args(Cache))
    if not isinstance(colour, bool):
        problems.append(Problem("dataset.colour", str(colour), "must be true or false"))
    if not (folder is None or (isinstance(folder, str) and folder)):
        problems.append(Problem("dataset.folder", str(folder), "must be the path of a folder, or null"))
    if problems:
        raise InputError(problems)
    require_pillow()
    shape = (3 if colour else 1, height, width)
    allowed = budget_of(memory)
    if folder is not None:
        named = {"key": f"dataset.folder={folder}", "source": f"images in {folder}"}
        return _table(Path(folder), labels, shape, augment, cache, allowed, **named)
    try:
        with tempfile.TemporaryDirectory(prefix="ch12-") as generated:
            write_images(Path(generated))
            named = {"key": "dataset.folder=null", "source": f"{IMAGES} drawn images"}
            return _table(Path(generated), labels, shape, augment, "auto", sys.maxsize, **named)
    except OSError as error:
        raise MachineError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror or error}") from error


def _table(
    folder: Path,
    labels: Labels,
    shape: ImageShape,
    augment: object,
    cache: Cache,
    allowed: int,
    *,
    key: str,
    source: str,
) -> Table:
    found = find_images(folder, key)
    classes = _classes_of(found, labels, key)
    names = tuple(sorted(set(classes)))
    index = {name: position for position, name in enumerate(names)}
    many = len(found.names) > FEW
    return Table(
        augmented(_features(folder, found.names, shape, cache, allowed), shape, augment),
        np.array([index[name] for name in classes]),
        feature_names=pixel_names(shape),
        target_name="class",
        class_names=names,
        source=source,
        shape=shape,
        fitted_rows=FEW if many else None,
        known_digest=digest_of_files(folder, found.names, shape) if many else None,
        notes=tuple(
            f"{source}: left out, because they are not images: {list_names(found.left_out)}" for _ in found.left_out[:1]
        ),
    )


def _features(folder: Path, names: Sequence[str], shape: ImageShape, cache: Cache, allowed: int) -> Features:
    """The pixels of all images, or what decodes them when they are needed. allowed: bytes of memory."""
    values = math.prod(shape)
    size = len(names) * values
    if cache == "disk":
        path = file_of_pictures(identity_of_files(folder, names, shape))
        return PictureRows(folder, names, shape, cache=PixelCache(len(names), values, path))
    fits = cache == "auto" and size * FLOAT <= allowed
    if fits and len(names) <= FEW:
        return PictureRows(folder, names, shape, cache=None)[:]
    kept = cache != "none" and size <= allowed
    if cache == "memory" and not kept:
        rule = f"{len(names):,} images take {describe_size(size)}, and {describe_size(allowed)} are allowed"
        raise InputError(Problem("dataset.cache", cache, rule, "use dataset.cache=disk or none, or set dataset.memory"))
    return PictureRows(folder, names, shape, cache=PixelCache(len(names), values) if kept else None, fits=fits)


def pixel_names(shape: ImageShape) -> tuple[str, ...]:
    """The names of the features: one for each pixel of each channel."""
    channels, height, width = shape
    colours = ("red_", "green_", "blue_") if channels == 3 else ("",)
    return tuple(f"{colour}y{y}_x{x}" for colour in colours for y in range(height) for x in range(width))


def find_images(folder: Path, key: str) -> Listing:
    """The images in a folder and in its folders, in sorted order. Hidden files are ignored.

    key: names the folder in messages. InputError if there are none, or if a link leads out of the folder.
    """
    entries = deque(_entries(folder, key))
    root = os.path.realpath(folder)
    names, left_out, links = [], [], []
    while entries:
        path, is_folder, is_link = entries.popleft()
        is_image = path.lower().endswith(SUFFIXES)
        if is_link and (is_folder or is_image) and not Path(os.path.realpath(folder / path)).is_relative_to(root):
            links.append(path)
        elif is_folder and "/" not in path:
            inner = _entries(folder / path, str(folder / path))
            entries += [(f"{path}/{name}", deeper, linked) for name, deeper, linked in inner]
        elif is_folder or not is_image:
            left_out.append(f"{path}/" if is_folder else path)
        else:
            names.append(path)
    refuse_bad([f"{folder / path}: is a link that leads out of {folder}; put the image itself there" for path in links])
    if not names:
        listing = f"; it has {list_names(left_out)}" if left_out else ""
        raise InputError(f"{key}: holds no images ({', '.join(suffix[1:] for suffix in SUFFIXES)}){listing}")
    return Listing(sorted(names), left_out)


def _entries(folder: Path, key: str) -> list[tuple[str, bool, bool]]:
    """(name, whether it is a folder, whether it is a link) of everything in a folder, in sorted order."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
            return sorted((entry.name, is_folder(entry), entry.is_symlink()) for entry in shown)
    except FileNotFoundError:
        raise InputError(f"{key}: there is no such folder{similar_file(folder)}") from None
    except NotADirectoryError:
        raise InputError(f"{key}: is not a folder; give the one that holds the images") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise InputError(f"{key}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry, or what it links to, is a folder; not if that cannot be found out."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _classes_of(found: Listing, labels: Labels, key: str) -> list[str]:
    """The name of each image's class. InputError if one has none, or all have the same."""
    own = [name for name in found.names if "/" not in name]
    inner = [name for name in found.names if "/" in name]
    if own and inner and labels != "name":
        raise InputError(
            f"{key}: holds images ({own[0]}) and folders of images ({inner[0]}); keep only one kind, or use "
            "dataset.labels=name"
        )
    if own and labels == "folder":
        raise InputError(
            f"dataset.labels=folder: the images ({own[0]}) are not in a folder of their class; "
            "use dataset.labels=name, or make a folder for each class"
        )
    if inner and labels != "name":
        classes = [as_text(name).partition("/")[0] for name in found.names]
    else:
        matches = [LEADING_LETTERS.match(as_text(name).rpartition("/")[2]) for name in found.names]
        nameless = [name for name, match in zip(found.names, matches, strict=True) if match is None]
        refuse_bad([f"{name}: does not begin with letters, which would name its class; rename it" for name in nameless])
        classes = [match[0] for match in matches if match]
    _refuse_classes(classes, key)
    return classes


def _refuse_classes(classes: Sequence[str], key: str) -> None:
    names = sorted(set(classes))
    if len(names) == 1:
        raise InputError(
            f"{key}: {count_with_noun(len(classes), 'image')} of one class, {names[0]}; there must be at least two, "
            "given by folders or by the letters that file names begin with (dataset.labels)"
        )
    by_folded: dict[str, str] = {}
    for name in names:
        other = by_folded.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(f"{key}: classes {other} and {name} differ only in capitals; rename one of them")


def as_text(name: str) -> str:
    """A file's name decoded as UTF-8, also in an ASCII locale. Bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def read_images(folder: Path, names: Sequence[str], shape: ImageShape, key: str) -> Floats:
    """The pixels of all images, (images, channels * height * width) float32. InputError names all that are bad."""
    channels, height, width = shape
    values = len(names) * channels * height * width
    if values > LARGEST_VALUES:
        raise InputError(
            f"{key}: {len(names)} images of {channels} x {height} x {width} are {values:,} numbers; must be "
            f"{LARGEST_VALUES:,} at most: predict fewer at once"
        )
    return PictureRows(folder, names, shape, cache=None)[:]


def read_new_images(content: bytes | None, shape: ImageShape, *, source: str) -> NewImages:
    """Images to predict. content: of an image file; None: all in a folder. source: name of the file or folder.

    InputError names all that are bad.
    """
    require_pillow()
    if content is None:
        names = find_images(Path(source), source).names
        pixels = read_images(Path(source), names, shape, source)
    else:
        names = [Path(source).name]
        try:
            pixels = pixels_of(io.BytesIO(content), shape)[np.newaxis]  # (1, channels * height * width)
        except ImageFileError as error:
            raise InputError(
                f"{source}: {error}; the run was trained on images: give one, or a folder of them"
            ) from error
    return NewImages(source, pixels, range(1, len(names) + 1), ["file"], [list(map(as_text, names))])
