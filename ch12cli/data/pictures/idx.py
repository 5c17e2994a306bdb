"""Files of the MNIST family: pictures of one size, and their classes, as unsigned bytes."""

import gzip
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ch12cli.data.new_rows import NewRows
from ch12cli.data.pictures.augmentation import augmented
from ch12cli.data.pictures.image_file import ImageShape
from ch12cli.data.pictures.image_folder import pixel_names
from ch12cli.data.table import Floats, Table
from ch12cli.data.text_file import read_content, similar_file
from ch12cli.errors import InputError, Problem
from ch12cli.rules import LARGEST_SIDE

GZIP = b"\x1f\x8b"
MAGIC = b"\0\0"  # what a file begins with; then the type of its numbers, and the number of dimensions
UNSIGNED = 8
TYPES = {UNSIGNED: "unsigned bytes", 9: "signed bytes", 11: "shorts", 12: "integers", 13: "floats", 14: "doubles"}
MOST_BYTES = 2**31  # of a file, unpacked
PICTURES, LABELS = 3, 1  # dimensions
HELD = {PICTURES: "pictures (3 dimensions)", LABELS: "labels (1 dimension)"}

Bytes = npt.NDArray[np.uint8]


class NewPictures(NewRows):
    """Pictures of one file to predict, without further columns."""

    def location(self, row: int) -> str:
        return f"{self.source}, picture {self.lines[row]}"


def idx(
    folder: str,
    *,
    train_images: str = "train-images-idx3-ubyte",
    train_labels: str = "train-labels-idx1-ubyte",
    test_images: str | None = "t10k-images-idx3-ubyte",
    test_labels: str | None = "t10k-labels-idx1-ubyte",
    class_names: Sequence[str] | None = None,
    augment: Mapping[str, Any] | Callable[..., Any] | None = None,
) -> Table:
    """Grey pictures as rows of pixels, (rows, height * width) float32 in [0, 1], and their classes.

    The names are those of files in the folder, or of such a file with .gz after it. test_images, test_labels: the rows
    of the test part; None: there are none of its own. class_names: in the order of the labels; None: the labels.
    augment: random changes of the training part, the fields of Augmentation by name, or a callable of one's own.
    InputError for the first file that is wrong.
    """
    if (test_images is None) != (test_labels is None):
        raise InputError("dataset.test_images, dataset.test_labels: one is null; both must be files, or both null")
    pairs = [(train_images, train_labels)]
    if test_images is not None and test_labels is not None:
        pairs.append((test_images, test_labels))
    parts = [_part(Path(folder), *names) for names in pairs]
    sizes = [pixels.shape[1:] for pixels, _ in parts]
    if sizes[0] != sizes[-1]:
        (height, width), (other_height, other_width) = sizes
        raise InputError(
            f"{folder}: the pictures are of {height} x {width} to train on, of {other_height} x {other_width} to test"
        )
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    numbers, target = np.unique(labels, return_inverse=True)
    if class_names is not None and len(class_names) != len(numbers):
        rule = f"are {len(class_names)} names, and there are {len(numbers)} classes ({numbers[0]} to {numbers[-1]})"
        raise InputError(Problem("dataset.class_names", ",".join(class_names), rule))
    shape = (1, *sizes[0])
    return Table(
        augmented(as_features(pixels), shape, augment),
        target.astype(np.int64),
        feature_names=pixel_names(shape),
        target_name="class",
        class_names=tuple(map(str, numbers)) if class_names is None else tuple(class_names),
        source=f"pictures in {folder}",
        shape=shape,
        test_rows=len(parts[1][0]) if len(parts) > 1 else 0,
    )


def _part(folder: Path, images: str, labels: str) -> tuple[Bytes, Bytes]:
    """The pictures, (rows, height, width), and the labels, (rows,), of two files."""
    image_path, label_path = _found(folder / images), _found(folder / labels)
    pixels = read_idx(read_content(image_path), PICTURES, source=str(image_path))
    numbers = read_idx(read_content(label_path), LABELS, source=str(label_path))
    if len(pixels) != len(numbers):
        raise InputError(f"{label_path}: has {len(numbers):,} labels, and {image_path} {len(pixels):,} pictures")
    return pixels, numbers


def _found(path: Path) -> Path:
    """The file of this name, or of this name with .gz. InputError if there is neither."""
    for candidate in (path, path.with_name(f"{path.name}.gz")):
        if candidate.exists():
            if not candidate.is_file():
                raise InputError(f"{candidate}: is not a file; must be one of the MNIST family")
            return candidate
    if not path.parent.is_dir():
        raise InputError(f"dataset.folder={path.parent}: there is no such folder{similar_file(path.parent)}")
    raise InputError(f"{path}: there is no such file, nor {path.name}.gz{similar_file(path)}")


def read_idx(content: bytes, dimensions: int, *, source: str) -> Bytes:
    """The array in a file of the MNIST family, which may be compressed by gzip. InputError if it is another file.

    dimensions: 3 for pictures, 1 for labels. source: the file's name, for messages.
    """
    stream: Any = BytesIO(content)
    if content.startswith(GZIP):
        stream = gzip.GzipFile(fileobj=stream)
    try:
        return _array(stream, dimensions, source)
    except EOFError:
        raise InputError(f"{source}: ends too early for gzip; it may not have been fetched to its end") from None
    except (OSError, zlib.error) as error:
        raise InputError(f"{source}: is damaged ({error}); fetch it again") from None


def _array(stream: Any, dimensions: int, source: str) -> Bytes:
    start = stream.read(4)
    if len(start) < 4 or not start.startswith(MAGIC) or start[2] not in TYPES:
        raise InputError(f"{source}: is no file of the MNIST family, which begins with 00 00 08, but {_hex(start)}")
    if start[2] != UNSIGNED:
        raise InputError(f"{source}: holds {TYPES[start[2]]}; must hold unsigned bytes")
    if start[3] != dimensions:
        holds = HELD.get(start[3], f"{start[3]} dimensions")
        raise InputError(f"{source}: holds {holds}; must hold {HELD[dimensions]}")
    header = stream.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise InputError(f"{source}: ends within its header; fetch it again")
    shape = tuple(int.from_bytes(header[place : place + 4], "big") for place in range(0, len(header), 4))
    said = math.prod(shape)
    if max(shape[1:], default=0) > LARGEST_SIDE or said > MOST_BYTES:
        most = f"pictures of at most {LARGEST_SIDE} x {LARGEST_SIDE}, {MOST_BYTES:,} bytes in all"
        raise InputError(f"{source}: says that it has {_times(shape)} bytes; must be {most}")
    values = stream.read(said + 1)
    if len(values) != said or not said:
        has = "more" if len(values) > said else f"{len(values):,}"
        raise InputError(f"{source}: says that it has {_times(shape)} bytes, and has {has}; fetch it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(f"{size:,}" for size in shape)


def _hex(content: bytes) -> str:
    return content.hex(" ") or "nothing"


def as_features(pixels: Bytes) -> Floats:
    """Pictures, (rows, height, width), as numbers from 0 to 1, (rows, height * width) float32."""
    return pixels.reshape(len(pixels), -1) / np.float32(255)


def read_new_idx(content: bytes, shape: ImageShape, *, source: str) -> NewPictures:
    """Pictures to predict. content: of a file of the MNIST family. InputError if they are of another shape."""
    pixels = read_idx(content, PICTURES, source=source)
    if (1, *pixels.shape[1:]) != shape:
        raise InputError(f"{source}: its pictures are of {_times(pixels.shape[1:])}; must be of {_times(shape[1:])}")
    return NewPictures(source, as_features(pixels), range(1, len(pixels) + 1), [], [])


def is_idx(content: bytes) -> bool:
    """Whether a file, which may be compressed by gzip, begins as one of the MNIST family does."""
    if content.startswith(GZIP):
        try:
            content = gzip.GzipFile(fileobj=BytesIO(content)).read(4)
        except (EOFError, OSError, zlib.error):
            return False
    return content.startswith(MAGIC) and content[2:4] == bytes([UNSIGNED, PICTURES])
