"""One picture out of a file: its pixels as numbers, or what is wrong with it."""

import os
import stat
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from ch12cli.data.table import Floats
from ch12cli.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # those of Pillow's that are tried; others could be anything
Shape = tuple[int, int, int]  # (channels, height, width)


class NoPictureError(Exception):
    """What is wrong with a picture's file, to complete the sentence "FILE: …"."""


def require_pillow() -> None:
    """InputError if Pillow, which reads pictures, is not there."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise InputError("Pillow is not installed, which reads pictures: pip install 'ch12[images]'") from error


def read_picture(path: Path, shape: Shape) -> Floats:
    """The pixels of a regular file; anything else is refused, and never waited for."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NoPictureError("is not a regular file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may have become a pipe since
        with open(handle, "rb") as file:
            return pixels_of(file, shape)
    except OSError as error:
        raise NoPictureError(f"cannot be read: {error.strerror or error}") from error


def pixels_of(file: IO[bytes], shape: Shape) -> Floats:
    """A picture brought to a shape, (channels * height * width,) float32 in [0, 1], row after row of each channel.

    It is turned as its camera says, what is transparent is white, and of several pictures in a file it is the first.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oddities that do no harm
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                return _brought_to(image, shape)
        except (NoPictureError, MemoryError):
            raise
        except UnidentifiedImageError as error:
            raise NoPictureError("is no picture that can be read, whatever it is called") from error
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            most = f"{Image.MAX_IMAGE_PIXELS:,}"
            raise NoPictureError(f"has more than {most} pixels, a trap perhaps") from error
        except Exception as error:  # Pillow raises many kinds for what it cannot decode
            said = next(iter(str(error).splitlines()), type(error).__name__)
            raise NoPictureError(f"is damaged ({said})") from error


def _brought_to(image: "Picture", shape: Shape) -> Floats:
    from PIL import Image, ImageOps

    channels, height, width = shape
    if image.mode.startswith(("I", "F")):  # Pillow would cut off what is above 255
        raise NoPictureError(f"has pixels of more than 8 bits (mode {image.mode})")
    upright = ImageOps.exif_transpose(image)
    if "A" in upright.getbands() or "transparency" in upright.info:
        clear = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    plain = upright.convert("RGB" if channels == 3 else "L").resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(plain, dtype=np.float32) / 255  # (height, width), or (height, width, 3)
    return (pixels.transpose(2, 0, 1) if channels == 3 else pixels).reshape(-1)
