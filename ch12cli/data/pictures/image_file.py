"""One image file: its pixels as numbers, or what is wrong with it."""

import os
import stat
import warnings
from typing import IO, TYPE_CHECKING

import numpy as np

from ch12cli.data.table import Floats
from ch12cli.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # what Pillow may try; its other decoders are less tested
PNG_BITS = 24  # where a PNG file has the byte with the bits of a channel
ImageShape = tuple[int, int, int]  # (channels, height, width)


class ImageFileError(Exception):
    """A file cannot be used as an image; its text goes on after the file's name."""


def require_pillow() -> None:
    """Raises InputError if Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise InputError("images are read by Pillow, which is not installed: pip install 'ch12[images]'") from error


def read_image(path: str, shape: ImageShape) -> Floats:
    """The pixels of a regular file, (channels * height * width,). ImageFileError for anything else.

    A pipe or a device is refused without waiting for it.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageFileError("is not a regular file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # it may have become a pipe since the check
        with open(handle, "rb") as file:
            return pixels_of(file, shape)
    except OSError as error:
        raise ImageFileError(f"cannot be read: {error.strerror or error}") from error


def pixels_of(file: IO[bytes], shape: ImageShape) -> Floats:
    """The pixels of an image, resized, (channels * height * width,) float32 in [0, 1]: channel, row, column.

    It is rotated as its EXIF data say, transparent pixels become white, and only the first image of a file is used.
    Grey images of 16 bits keep them; Pillow brings other images to 8 bits for each channel.
    ImageFileError if it cannot be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # harmless oddities of the file
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                if image.format == "PNG" and "transparency" in image.info:
                    _adjust_transparency(image, file)
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


def _adjust_transparency(image: "Image", file: IO[bytes]) -> None:
    """Brings the transparent colour of a PNG to the 8 bits to which Pillow brings the pixels alone."""
    colour = image.info["transparency"]
    if image.mode == "P":
        return
    place = file.tell()  # from which Pillow goes on
    file.seek(PNG_BITS)
    bits = file.read(1)[0]
    file.seek(place)
    if bits < 8:
        image.info["transparency"] = colour * 255 // (2**bits - 1)
    elif bits == 16 and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _resized(image: "Image", shape: ImageShape) -> Floats:
    import PIL.Image
    from PIL import ImageOps

    channels, height, width = shape
    if image.format != "JPEG" or "exif" in image.info or "xmp" in image.info:  # without them a JPEG is upright
        ImageOps.exif_transpose(image, in_place=True)
    upright = image
    if image.mode.startswith(("I", "F")):
        plain = _of_many_bits(upright, image.format)
    else:
        if upright.mode == "LAB":  # which Pillow converts to RGB alone
            upright = upright.convert("RGB")
        if "A" in upright.getbands() or "transparency" in upright.info:
            clear = upright.convert("RGBA")
            upright = PIL.Image.alpha_composite(PIL.Image.new("RGBA", clear.size, "white"), clear)
        mode = "RGB" if channels == 3 else "L"
        plain = upright if upright.mode == mode else upright.convert(mode)
    found = np.asarray(plain.resize((width, height), PIL.Image.Resampling.BILINEAR))  # (height, width[, 3])
    pixels = np.empty((channels, height, width), np.float32)
    planes = found.transpose(2, 0, 1) if found.ndim == 3 else found
    np.divide(planes, np.float32(1 if plain.mode == "F" else 255), out=pixels)
    return pixels.reshape(-1)


def _of_many_bits(image: "Image", kind: str | None) -> "Image":
    """A grey image of 16 bits as one of numbers from 0 to 1. ImageFileError for other numbers.

    Pillow would cut off what is above 255. kind: the file's format.
    """
    import PIL.Image

    if not (image.mode.startswith("I;16") or (image.mode == "I" and kind == "PNG")):  # Pillow 10 reads PNG as I
        raise ImageFileError(f"has pixels of 32 bits (mode {image.mode}), of unknown range; save it with 8 or 16 bits")
    values = np.asarray(image.convert("F"))  # (height, width)
    clear = values == image.info.get("transparency", -1)
    return PIL.Image.fromarray(np.where(clear, np.float32(1), values / np.float32(2**16 - 1)))
