"""Pictures in a folder, each with its class, as rows of pixels."""

import io
import os
import re
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from ch12cli.data.arguments import choice_problems, whole_problems
from ch12cli.data.drawn_pictures import COUNT, draw_pictures
from ch12cli.data.picture_file import SUFFIXES, NoPictureError, Shape, pixels_of, read_picture, require_pillow
from ch12cli.data.rows_file import NamedRows
from ch12cli.data.table import Floats, Table
from ch12cli.data.text_file import neighbour
from ch12cli.errors import InputError, MachineError, Problem

Labels = Literal["auto", "folder", "name"]

LARGEST_SIDE = 512  # pixels
LARGEST_VALUES = 2**28  # pixels of all pictures, of all channels: 1 GiB
SHOWN = 5  # of what is wrong, and of what was left out
LEADING = re.compile(r"[^\W\d_]+")  # letters


@dataclass(frozen=True, eq=False)
class PictureRows(NamedRows):
    """Pictures whose class is asked for; the one further column is the file's name."""

    def place(self, row: int) -> str:
        return f"{self.source}, {self.cells[row][0]}"


class Found(NamedTuple):
    """What lies in a folder. names: of pictures, below it; left_out: what is none, or lies deeper."""

    names: list[str]
    left_out: list[str]


def image_folder(
    folder: str | None = None, *, labels: Labels = "auto", height: int = 24, width: int = 24, colour: bool = False
) -> Table:
    """Pictures as rows of pixels, (rows, channels * height * width) float32 in [0, 1], and their classes.

    folder: of files, or of folders of files; None: discs and squares, drawn for the purpose. labels: where the classes'
    names are: that of the folder that a file lies in, or the letters that its name begins with; auto: that of the
    folder, if the files lie in folders. Pictures are brought to one size, in three channels (colour) or one.
    """
    problems = choice_problems("dataset.labels", labels, get_args(Labels))
    problems += whole_problems("dataset.height", height, low=1, high=LARGEST_SIDE)
    problems += whole_problems("dataset.width", width, low=1, high=LARGEST_SIDE)
    if not isinstance(colour, bool):
        problems.append(Problem("dataset.colour", str(colour), "must be true or false"))
    if not (folder is None or (isinstance(folder, str) and folder)):
        problems.append(Problem("dataset.folder", str(folder), "must be the path of a folder, or null"))
    if problems:
        raise InputError(problems)
    require_pillow()
    shape = (3 if colour else 1, height, width)
    if folder is not None:
        return _table(Path(folder), labels, shape, key=f"dataset.folder={folder}", source=f"pictures in {folder}")
    try:
        with tempfile.TemporaryDirectory(prefix="ch12-") as drawn:
            draw_pictures(Path(drawn))
            return _table(Path(drawn), labels, shape, key="dataset.folder=null", source=f"{COUNT} drawn pictures")
    except OSError as error:
        raise MachineError(f"{tempfile.gettempdir()}: cannot be written: {error.strerror or error}") from error


def _table(folder: Path, labels: Labels, shape: Shape, *, key: str, source: str) -> Table:
    found = find_pictures(folder, key)
    classes = _classes_of(found, labels, key)
    names = tuple(sorted(set(classes)))
    number = {name: place for place, name in enumerate(names)}
    return Table(
        read_pictures(folder, found.names, shape, key),
        np.array([number[name] for name in classes]),
        feature_names=pixel_names(shape),
        target_name="class",
        class_names=names,
        source=source,
        shape=shape,
        notes=tuple(f"{source}: left out, as no pictures: {_listed(found.left_out)}" for _ in found.left_out[:1]),
    )


def pixel_names(shape: Shape) -> tuple[str, ...]:
    """A name for each pixel of each channel, in the order of the features."""
    channels, height, width = shape
    colours = ("red_", "green_", "blue_") if channels == 3 else ("",)
    return tuple(f"{colour}y{y}_x{x}" for colour in colours for y in range(height) for x in range(width))


def find_pictures(folder: Path, key: str) -> Found:
    """The pictures in a folder and in its folders, in sorted order; hidden files are passed over.

    key: what names the folder, for messages. InputError if there are none, or links that lead out of the folder.
    """
    entries = deque(_entries(folder, key))
    root = os.path.realpath(folder)
    names, left_out, links = [], [], []
    while entries:
        path, is_folder = entries.popleft()
        is_picture = path.lower().endswith(SUFFIXES)
        if (is_folder or is_picture) and not Path(os.path.realpath(folder / path)).is_relative_to(root):
            links.append(path)
        elif is_folder and "/" not in path:
            entries += [(f"{path}/{name}", deeper) for name, deeper in _entries(folder / path, str(folder / path))]
        elif is_folder or not is_picture:
            left_out.append(f"{path}/" if is_folder else path)
        else:
            names.append(path)
    _refuse([f"{folder / path}: is a link that leads out of {folder}; put the picture itself there" for path in links])
    if not names:
        there = f"; it has {_listed(left_out)}" if left_out else ""
        raise InputError(f"{key}: holds no pictures ({', '.join(suffix[1:] for suffix in SUFFIXES)}){there}")
    return Found(sorted(names), left_out)


def _entries(folder: Path, key: str) -> list[tuple[str, bool]]:
    """What lies in a folder, in sorted order, and whether it is a folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, os.path.isdir(entry)) for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        raise InputError(f"{key}: there is no such folder{neighbour(folder)}") from None
    except NotADirectoryError:
        raise InputError(f"{key}: is not a folder; give the one that the pictures lie in") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise InputError(f"{key}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _classes_of(found: Found, labels: Labels, key: str) -> list[str]:
    """The name of each picture's class. InputError where there is none, or only one."""
    own = [name for name in found.names if "/" not in name]
    inner = [name for name in found.names if "/" in name]
    if own and inner and labels != "name":
        raise InputError(
            f"{key}: holds pictures ({own[0]}) and folders of pictures ({inner[0]}); keep only one kind, or use "
            "dataset.labels=name"
        )
    if own and labels == "folder":
        raise InputError(
            f"dataset.labels=folder: the pictures ({own[0]}) lie in no folder of their class; "
            "use dataset.labels=name, or make a folder for each class"
        )
    if inner and labels != "name":
        classes = [as_text(name).partition("/")[0] for name in found.names]
    else:
        matches = [LEADING.match(as_text(name).rpartition("/")[2]) for name in found.names]
        nameless = [name for name, match in zip(found.names, matches, strict=True) if match is None]
        _refuse([f"{name}: begins with no letters, which would name its class; rename it" for name in nameless])
        classes = [match[0] for match in matches if match]
    _refuse_classes(classes, key)
    return classes


def _refuse_classes(classes: Sequence[str], key: str) -> None:
    names = sorted(set(classes))
    if len(names) == 1:
        raise InputError(
            f"{key}: all {len(classes)} pictures are of one class, {names[0]}; there must be two at least, told apart "
            "by folders or by the letters that their names begin with (dataset.labels)"
        )
    by_folded: dict[str, str] = {}
    for name in names:
        other = by_folded.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(f"{key}: classes {other} and {name} differ only in capitals; rename one of them")


def as_text(name: str) -> str:
    """A file's name as the UTF-8 that it is, also where the locale is ASCII's; bytes that are none are marked."""
    return os.fsencode(name).decode("utf-8", "replace")


def read_pictures(folder: Path, names: Sequence[str], shape: Shape, key: str) -> Floats:
    """The pixels of all pictures, (pictures, channels * height * width) float32. InputError with all that are bad."""
    channels, height, width = shape
    values = len(names) * channels * height * width
    if values > LARGEST_VALUES:
        raise InputError(
            f"{key}: {len(names)} pictures of {channels} x {height} x {width} are {values:,} numbers; must be "
            f"{LARGEST_VALUES:,} at most: make dataset.height and dataset.width smaller, or leave pictures out"
        )
    pixels = np.empty((len(names), channels * height * width), dtype=np.float32)
    problems = []
    for row, name in enumerate(names):
        try:
            pixels[row] = read_picture(folder / name, shape)
        except NoPictureError as error:
            problems.append(f"{folder / name}: {error}; mend it, or leave it out")
    _refuse(problems)
    return pixels


def new_pictures(content: bytes | None, shape: Shape, *, source: str) -> PictureRows:
    """A picture, of this content, or those in a folder (None) as rows. source: the file's or folder's name."""
    require_pillow()
    if content is None:
        names = find_pictures(Path(source), source).names
        pixels = read_pictures(Path(source), names, shape, source)
    else:
        names = [Path(source).name]
        try:
            pixels = pixels_of(io.BytesIO(content), shape)[np.newaxis]  # (1, channels * height * width)
        except NoPictureError as error:
            raise InputError(
                f"{source}: {error}; the run was trained on pictures: give one, or a folder of them"
            ) from error
    return PictureRows(source, pixels, list(range(1, len(names) + 1)), ["file"], [[as_text(name)] for name in names])


def _refuse(problems: list[str]) -> None:
    if len(problems) > SHOWN:
        problems = [*problems[:SHOWN], f"and {len(problems) - SHOWN} more"]
    if problems:
        raise InputError(problems)


def _listed(names: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
