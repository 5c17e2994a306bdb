"""Images in folders against arrays made by hand; what is wrong with a folder, as whole messages."""

import os
import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ch12cli.data import image_folder
from ch12cli.data.pictures.image_folder import read_new_images
from ch12cli.errors import InputError

Pixels = npt.NDArray[np.uint8]


def noise(number: int, *shape: int) -> Pixels:
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: Pixels, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def some_images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        save(folder / os.fsdecode(name.encode()), noise(number, 4, 5))  # UTF-8 on the disk, whatever the locale


def problems(read: Callable[[], object]) -> list[str]:
    with pytest.raises(InputError) as refused:
        read()
    return refused.value.messages


def test_grey_pixels_become_features_row_by_row_in_0_to_1(folder: Path) -> None:
    some_images(folder / "p", "cat-02.png", "dog.3.png", "cat-01.png")
    table = image_folder("p", height=4, width=5)
    assert table.features.dtype == np.float32
    wanted = [noise(number, 4, 5).reshape(-1) / np.float32(255) for number in (2, 0, 1)]  # sorted by name
    assert np.array_equal(table.features, np.array(wanted, np.float32))
    assert table.target.tolist() == [0, 0, 1]
    assert table.class_names == ("cat", "dog")
    assert table.shape == (1, 4, 5)
    assert table.feature_names[:6] == ("y0_x0", "y0_x1", "y0_x2", "y0_x3", "y0_x4", "y1_x0")
    assert table.notes == ()


def test_colours_become_three_channels_one_after_another(folder: Path) -> None:
    for name in ("a", "b"):
        save(folder / "p" / name / "1.png", noise(1, 4, 5, 3))
    table = image_folder("p", height=4, width=5, colour=True)
    assert table.shape == (3, 4, 5)
    for channel in range(3):
        wanted = noise(1, 4, 5, 3)[:, :, channel].reshape(-1) / np.float32(255)
        assert np.array_equal(table.features[0, channel * 20 : (channel + 1) * 20], wanted)
    assert [table.feature_names[20 * channel + 7] for channel in range(3)] == ["red_y1_x2", "green_y1_x2", "blue_y1_x2"]


def test_a_colour_image_becomes_grey_with_the_weights_of_bt_601(folder: Path) -> None:
    for name in ("a1.png", "b1.png"):
        save(folder / "p" / name, noise(1, 4, 5, 3))
    wanted = noise(1, 4, 5, 3).astype(float) @ [0.299, 0.587, 0.114] / 255  # ITU-R BT.601
    assert np.abs(image_folder("p", height=4, width=5).features[0] - wanted.reshape(-1)).max() < 1.01 / 255


def test_images_are_resized_by_averaging_pixels(folder: Path) -> None:
    flat = np.full((30, 50), 51, np.uint8)
    halves = np.repeat([[0, 255]], 30, axis=0).repeat(20, axis=1).astype(np.uint8)
    save(folder / "p" / "a.png", flat)
    save(folder / "p" / "b.png", halves)
    table = image_folder("p", height=6, width=4)
    assert np.array_equal(table.features[0], np.full(24, 0.2, np.float32))
    rows = table.features[1].reshape(6, 4)
    assert (rows == rows[0]).all()
    assert rows[0, 0] < 0.1 < 0.9 < rows[0, 3]
    assert rows[0, 0] + rows[0, 3] == pytest.approx(1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "PNG", "JPG"])
def test_each_format_is_read(folder: Path, suffix: str) -> None:
    flat = np.full((8, 8, 3), 102, np.uint8)
    save(folder / "p" / f"a.{suffix}", flat)
    save(folder / "p" / f"b.{suffix}", flat)
    assert np.abs(image_folder("p", height=8, width=8, colour=True).features - 0.4).max() < 0.01


def test_transparent_pixels_become_white_and_exif_rotation_is_applied(folder: Path) -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    clear[0, 0, 3] = 255  # one black point that can be seen
    save(folder / "p" / "a.png", clear)
    turned = Image.Exif()
    turned[0x0112] = 3  # orientation: upside down
    save(folder / "p" / "b.png", np.arange(16, dtype=np.uint8).reshape(4, 4), exif=turned)
    table = image_folder("p", height=4, width=4)
    assert table.features[0].tolist() == [0, *[1] * 15]
    assert np.array_equal(table.features[1] * np.float32(255), np.arange(15, -1, -1, dtype=np.float32))


def png(bits: int, colour: int, pixels: bytes, transparent: bytes) -> bytes:
    """A PNG of one line of four pixels, by the specification. colour: 0 is grey, 2 RGB."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, colour, 0, 0, 0))
    data = chunk(b"tRNS", transparent) + chunk(b"IDAT", zlib.compress(b"\0" + pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + data


@pytest.mark.parametrize(
    ("bits", "colour", "pixels", "transparent", "wanted"),
    [
        (1, 0, bytes([0b01010000]), [0], [255, 255, 255, 255]),
        (2, 0, bytes([0b00011011]), [1], [0, 255, 170, 255]),
        (4, 0, bytes([0x05, 0xAF]), [5], [0, 255, 170, 255]),
        (8, 0, bytes([0, 5, 170, 255]), [5], [0, 255, 170, 255]),
        (8, 2, bytes([1, 2, 3] * 2 + [9] * 6), [1, 2, 3], [255, 255, 9, 9]),
        (16, 0, struct.pack(">4H", 300, 301, 300, 0x0909), [300], [255, 1, 255, 9]),
        (16, 2, struct.pack(">12H", *[0x8000] * 6, *[0x0909] * 6), [0x8000] * 3, [255, 255, 9, 9]),
        (16, 2, struct.pack(">12H", *[300, 600, 900] * 2, *[0x0909] * 6), [300, 600, 900], [255, 255, 9, 9]),
    ],
)
def test_the_transparent_colour_of_a_png_becomes_white(
    bits: int, colour: int, pixels: bytes, transparent: list[int], wanted: list[int]
) -> None:
    content = png(bits, colour, pixels, struct.pack(f">{len(transparent)}H", *transparent))
    rows = read_new_images(content, (1, 1, 4), source="a.png")
    assert (rows.features[0] * 255).round().tolist() == wanted


def test_labels_come_from_folders_if_there_are_any_and_else_from_file_names(folder: Path) -> None:
    some_images(folder / "in_folders", "cats/dog1.png", "dogs/cat1.png", "dogs/cat2.png")
    some_images(folder / "by_name", "Über-1.png", "b.2.png", "b3.png")
    options: dict[str, Any] = {"height": 4, "width": 5}
    assert image_folder("in_folders", **options).class_names == ("cats", "dogs")
    assert image_folder("in_folders", **options).target.tolist() == [0, 1, 1]
    assert image_folder("in_folders", labels="folder", **options).class_names == ("cats", "dogs")
    named = image_folder("in_folders", labels="name", **options)
    assert (named.class_names, named.target.tolist()) == (("cat", "dog"), [1, 0, 0])
    assert image_folder("by_name", **options).class_names == ("b", "Über")


def test_bytes_of_a_name_that_are_not_utf8_are_marked(folder: Path) -> None:
    some_images(folder / "p", "Ü1.png")
    (folder / "p" / os.fsdecode("Ü1.png".encode())).rename(folder / "p" / os.fsdecode(b"a\xff.png"))
    assert read_new_images(None, (1, 4, 5), source="p").copied == [["a\ufffd.png"]]


def test_files_that_are_not_images_are_left_out_with_a_note(folder: Path) -> None:
    some_images(folder / "p", "a/1.png", "b/1.png", "b/deeper/1.png", ".hidden/1.png", "a/._1.png")
    (folder / "p" / "labels.csv").write_text("x\n")
    table = image_folder("p", height=4, width=5)
    assert table.rows == 2
    assert table.notes == ("images in p: left out, because they are not images: labels.csv, b/deeper/",)


def test_without_a_folder_the_same_discs_and_squares_are_generated_each_time() -> None:
    one, two = image_folder(), image_folder()
    assert (one.rows, one.class_names, one.shape) == (200, ("disc", "square"), (1, 24, 24))
    assert np.bincount(one.target).tolist() == [100, 100]
    assert np.array_equal(one.features, two.features)
    assert len({row.tobytes() for row in one.features}) == 200
    lit = one.features > (one.features.min(1, keepdims=True) + one.features.max(1, keepdims=True)) / 2
    sides = [lit[row].reshape(24, 24).any(axis).sum() for row in range(200) for axis in (0, 1)]
    corners = [inner.reshape(24, 24)[np.ix_(*map(ends, (1, 0), [inner] * 2))].all() for inner in lit]
    assert 10 <= min(sides) < max(sides) <= 24
    assert corners == [bool(number) for number in one.target]  # a square is lit in the corners of its box


def ends(axis: int, lit: npt.NDArray[np.bool_]) -> list[int]:
    """The first and the last line that a figure lies in."""
    lines = np.flatnonzero(lit.reshape(24, 24).any(axis))
    return [lines[0], lines[-1]]


def test_all_wrong_arguments_of_image_folder_are_named_at_once() -> None:
    assert problems(lambda: image_folder("", labels="folders", height=0, width=513, colour=1)) == [  # type: ignore[arg-type]
        "dataset.labels=folders: must be one of auto, folder, name; did you mean folder?",
        "dataset.height=0: must be a whole number from 1 to 512",
        "dataset.width=513: must be a whole number from 1 to 512",
        "dataset.colour=1: must be true or false",
        "dataset.folder=: must be the path of a folder, or null",
    ]


def test_a_folder_without_usable_images_is_refused(folder: Path) -> None:
    some_images(folder / "cats", "cat1.png", "cat2.png", "cat3.png")
    some_images(folder / "mixed", "cat1.png", "dogs/1.png")
    some_images(folder / "capitals", "cat1.png", "Cat2.png", "dog1.png")
    (folder / "empty").mkdir()
    (folder / "none").mkdir()
    (folder / "none" / "notes.txt").write_text("x")
    wanted = {
        "cast": "there is no such folder; is it cats?",
        "cats/cat1.png": "is not a folder; give the one that holds the images",
        "empty": "holds no images (png, jpg, jpeg, bmp, gif, webp, tif, tiff)",
        "none": "holds no images (png, jpg, jpeg, bmp, gif, webp, tif, tiff); it has notes.txt",
        "cats": "3 images of one class, cat; there must be at least two, given by folders or by the "
        "letters that file names begin with (dataset.labels)",
        "mixed": "holds images (cat1.png) and folders of images (dogs/1.png); keep only one kind, or use "
        "dataset.labels=name",
        "capitals": "classes Cat and cat differ only in capitals; rename one of them",
    }
    (nul,) = problems(lambda: image_folder("a\0b"))
    assert re.fullmatch("dataset.folder=a\0b: cannot be read: .*embedded null .*", nul)  # the words are Python's
    for name, message in wanted.items():
        assert problems(lambda name=name: image_folder(name)) == [f"dataset.folder={name}: {message}"]
    assert problems(lambda: image_folder("cats", labels="folder")) == [
        "dataset.labels=folder: the images (cat1.png) are not in a folder of their class; use dataset.labels=name, or "
        "make a folder for each class"
    ]


def test_a_file_name_must_begin_with_the_letters_of_its_class(folder: Path) -> None:
    some_images(folder / "p", "01.png", "_cat.png", "cat1.png", "dog1.png")
    assert problems(lambda: image_folder("p")) == [
        "01.png: does not begin with letters, which would name its class; rename it",
        "_cat.png: does not begin with letters, which would name its class; rename it",
    ]


def test_all_unreadable_images_are_named_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some_images(folder / "p", "cat1.png", "dog1.png")
    whole = (folder / "p" / "cat1.png").read_bytes()
    (folder / "p" / "cat2.png").write_bytes(whole[: len(whole) - 25])
    (folder / "p" / "cat3.png").write_text("hello\n")
    (folder / "p" / "cat4.png").write_bytes(b"")
    Image.fromarray(noise(1, 4, 5).astype(np.int32)).save(folder / "p" / "cat5.tif")
    os.mkfifo(folder / "p" / "cat6.png")
    advice = "; repair it, or leave it out"
    assert problems(lambda: image_folder("p")) == [
        f"p/cat2.png: is damaged (image file is truncated){advice}",
        f"p/cat3.png: is not a readable image, despite its name{advice}",
        f"p/cat4.png: is not a readable image, despite its name{advice}",
        f"p/cat5.tif: has pixels of 32 bits (mode I), of unknown range; save it with 8 or 16 bits{advice}",
        f"p/cat6.png: is not a regular file{advice}",
    ]
    for number in (7, 8):
        (folder / "p" / f"cat{number}.png").write_text("hello\n")
    assert problems(lambda: image_folder("p"))[3:] == [
        f"p/cat5.tif: has pixels of 32 bits (mode I), of unknown range; save it with 8 or 16 bits{advice}",
        "and 3 more like these",
    ]


def test_a_decompression_bomb_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some_images(folder / "p", "cat1.png", "dog1.png")
    save(folder / "p" / "dog2.png", np.zeros((11, 10), np.uint8))  # between the limit, and twice as much
    save(folder / "p" / "dog3.png", np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert problems(lambda: image_folder("p")) == [
        f"p/dog{number}.png: has more than 100 pixels; it may be a decompression bomb; repair it, or leave it out"
        for number in (2, 3)
    ]


def test_links_are_followed_only_within_the_folder(folder: Path) -> None:
    some_images(folder / "p", "a/1.png", "b/1.png")
    some_images(folder / "outside", "1.png")
    (folder / "p" / "a" / "2.png").symlink_to(folder / "p" / "a" / "1.png")
    assert image_folder("p", height=4, width=5).rows == 3
    (folder / "p" / "a" / "3.png").symlink_to(folder / "outside" / "1.png")
    (folder / "p" / "c").symlink_to(folder / "outside")
    assert problems(lambda: image_folder("p")) == [
        "p/c: is a link that leads out of p; put the image itself there",
        "p/a/3.png: is a link that leads out of p; put the image itself there",
    ]
    for name in ("a/3.png", "c"):
        (folder / "p" / name).unlink()
    (folder / "p" / "a" / "4.png").symlink_to("4.png")
    assert problems(lambda: image_folder("p")) == [
        "p/a/4.png: cannot be read: Too many levels of symbolic links; repair it, or leave it out"
    ]
    (folder / "linked").symlink_to(folder / "p" / "b")  # what the user names may be a link
    save(folder / "p" / "b" / "x1.png", noise(1, 4, 5))
    save(folder / "p" / "b" / "y1.png", noise(1, 4, 5))
    (folder / "p" / "b" / "1.png").unlink()
    assert image_folder("linked", height=4, width=5).class_names == ("x", "y")


def test_too_many_pixels_to_predict_are_refused_before_any_file_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_images(folder / "p", "cat1.png", "dog1.png")
    (folder / "p" / "dog2.png").write_text("no image")
    monkeypatch.setattr("ch12cli.data.pictures.image_folder.LARGEST_VALUES", 5_000)
    assert problems(lambda: read_new_images(None, (3, 24, 24), source="p")) == [
        "p: 3 images of 3 x 24 x 24 are 5,184 numbers; must be 5,000 at most: predict fewer at once"
    ]


def test_without_pillow_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert problems(image_folder) == ["images are read by Pillow, which is not installed: pip install 'ch12[images]'"]
