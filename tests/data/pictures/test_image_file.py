"""Pictures of every mode against what Pillow converts, and against numbers by hand where Pillow loses some."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from ch12cli.data.pictures.image_file import ImageFileError, pixels_of

NOISE = np.random.default_rng(1).integers(0, 256, (6, 4, 4), dtype=np.uint8)  # (height, width, channels)
DEEP = np.random.default_rng(2).integers(0, 2**16, (6, 4), dtype=np.uint16)


def encoded(image: Image.Image, kind: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def on_white(image: Image.Image) -> Image.Image:
    """An image with transparency over white, by Pillow's paste."""
    ground = Image.new("RGBA", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def picture(mode: str) -> Image.Image:
    """Noise in a mode."""
    if mode == "P":
        return Image.fromarray(NOISE[:, :, :3]).quantize(16)
    if mode == "1":
        return Image.fromarray(NOISE[:, :, 0]).convert("1")
    colours = Image.fromarray(NOISE[:, :, :3])
    return colours.convert(mode) if mode in ("LAB", "YCbCr") else Image.frombytes(mode, (4, 6), raw(mode))


def raw(mode: str) -> bytes:
    return NOISE[:, :, : len(Image.new(mode, (1, 1)).getbands())].tobytes()


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("P", "GIF"), ("LA", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"),
        ("RGBA", "WEBP"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("LAB", "TIFF"), ("RGBA", "TIFF"),
    ],
)  # fmt: skip
def test_pictures_of_every_mode_are_converted_as_pillow_does(mode: str, kind: str, colour: bool) -> None:
    file = encoded(picture(mode), kind, **({"lossless": True} if kind == "WEBP" else {}))
    found = pixels_of(file, (3 if colour else 1, 6, 4))
    read: Image.Image = Image.open(io.BytesIO(file.getvalue()))
    if "A" in read.mode.replace("LAB", ""):
        read = on_white(read.convert("RGBA"))
    wanted = np.asarray(read.convert("RGB").convert("RGB" if colour else "L"), np.float32) / 255
    wanted = wanted.transpose(2, 0, 1).reshape(-1) if colour else wanted.reshape(-1)
    assert np.abs(found - wanted).max() <= 1.01 / 255 * (mode in ("LA", "RGBA", "1", "P", "YCbCr"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_of_exif_is_brought_upright(orientation: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = orientation
    grey = Image.fromarray(NOISE[:, :, 0])
    upright = np.asarray(ImageOps.exif_transpose(Image.open(encoded(grey, "PNG", exif=tag))))
    by_hand: dict[int, npt.NDArray[np.uint8]] = {1: NOISE[:, :, 0], 3: NOISE[::-1, ::-1, 0], 6: NOISE[::-1, :, 0].T}
    assert np.array_equal(by_hand.get(orientation, upright), upright)
    height, width = upright.shape
    found = pixels_of(encoded(grey, "PNG", exif=tag), (1, height, width))
    assert np.array_equal(found, upright.reshape(-1) / np.float32(255))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_pictures_of_16_bits_keep_them(kind: str) -> None:
    wanted = (DEEP / (2**16 - 1)).reshape(-1)
    found = pixels_of(encoded(Image.fromarray(DEEP), kind), (1, 6, 4))
    assert np.abs(found - wanted).max() < 1e-7
    assert len(np.unique(found)) == len(np.unique(DEEP))
    assert np.array_equal(pixels_of(encoded(Image.fromarray(DEEP), kind), (3, 6, 4)), np.tile(found, 3))
    smaller = pixels_of(encoded(Image.fromarray(DEEP), kind), (1, 3, 2))
    bytes_alone = pixels_of(encoded(Image.fromarray((DEEP >> 8).astype(np.uint8)), kind), (1, 3, 2))
    assert 0 < np.abs(smaller - bytes_alone).max() < 1.01 / 255


def test_pictures_of_numbers_without_a_known_range_are_refused() -> None:
    for pixels in (DEEP.astype(np.int32), DEEP.astype(np.float32)):
        with pytest.raises(ImageFileError, match="has pixels of 32 bits"):
            pixels_of(encoded(Image.fromarray(pixels), "TIFF"), (1, 6, 4))
