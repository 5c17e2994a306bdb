"""One image file: its pixels as numbers, or what is wrong with it."""

import os
import stat
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from ch12cli.data.table import Floats
from ch12cli.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # what Pillow may try; its other decoders are less tested
PNG_HEADER, PNG_BITS = 25, 24  # bytes of the signature and the first chunk up to the bits of a channel; their position
ImageShape = tuple[int, int, int]  # (channels, height, width)


class ImageFileError(Exception):
    """A file cannot be used as an image; its text goes on after the file's name."""


def require_pillow() -> None:
    """Raises InputError if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise InputError("images are read by Pillow, which is not installed: pip install 'ch12[images]'") from error


def read_image(path: Path, shape: ImageShape) -> Floats:
    """The pixels of a regular file, (channels * height * width,). ImageFileError for anything else.

    A pipe or a device is refused without waiting for it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageFileError("is not a regular file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may have become a pipe since the check
        with open(handle, "rb") as file:
            return pixels_of(file, shape)
    except OSError as error:
        raise ImageFileError(f"cannot be read: {error.strerror or error}") from error


def pixels_of(file: IO[bytes], shape: ImageShape) -> Floats:
    """The pixels of an image, resized, (channels * height * width,) float32 in [0, 1]: channel, row, column.

    It is rotated as its EXIF data say, transparent pixels become white, and only the first image of a file is used.
    ImageFileError if it cannot be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # harmless oddities of the file
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            header = file.read(PNG_HEADER)
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                _adjust_transparency(image, header)
                return _resized(image, shape)
        except (ImageFileError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            raise ImageFileError("is not a readable image, despite its name") from error
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            most = f"{Image.MAX_IMAGE_PIXELS:,}"
            raise ImageFileError(f"has more than {most} pixels; it may be a decompression bomb") from error
        except Exception as error:  # Pillow raises many kinds for what it cannot decode
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ImageFileError(f"is damaged ({reason})") from error


def _adjust_transparency(image: "Image", header: bytes) -> None:
    """Brings the transparent colour of a PNG to the 8 bits to which Pillow brings the pixels alone."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or image.mode == "P" or colour is None:
        return
    bits = header[PNG_BITS]
    if bits < 8:
        image.info["transparency"] = colour * 255 // (2**bits - 1)
    elif bits == 16 and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _resized(image: "Image", shape: ImageShape) -> Floats:
    import PIL.Image
    from PIL import ImageOps

    channels, height, width = shape
    if image.mode.startswith(("I", "F")):  # Pillow would cut off what is above 255
        raise ImageFileError(f"has pixels of more than 8 bits (mode {image.mode})")
    upright = ImageOps.exif_transpose(image)
    if "A" in upright.getbands() or "transparency" in upright.info:
        clear = upright.convert("RGBA")
        upright = PIL.Image.alpha_composite(PIL.Image.new("RGBA", clear.size, "white"), clear)
    plain = upright.convert("RGB" if channels == 3 else "L").resize((width, height), PIL.Image.Resampling.BILINEAR)
    pixels = np.asarray(plain, dtype=np.float32) / 255  # (height, width), or (height, width, 3)
    return (pixels.transpose(2, 0, 1) if channels == 3 else pixels).reshape(-1)
