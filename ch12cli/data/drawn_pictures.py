"""Small pictures of discs and squares, for who has none at hand."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

COUNT = 200
SIDE = 24  # pixels, each way
RADII = (6.0, 10.0)  # of a disc, in pixels
GREY = np.array([0.299, 0.587, 0.114])  # of red, green and blue, as Pillow makes grey of them: ITU-R BT.601
CONTRAST = 0.3  # by which a figure is lighter than its ground, at least, of the whole range
NOISE = 0.05  # at most, of the whole range
HALF_SIDE = np.sqrt(np.pi) / 2  # of a square as large as a disc of radius 1
CLASSES = ("disc", "square")


def draw_pictures(folder: Path) -> None:
    """Writes PNG files into a folder, disc-000.png, square-001.png and so on: the same at every call."""
    from PIL import Image

    random = np.random.RandomState(1)  # its stream is frozen: the same pictures with every version of numpy
    for number in range(COUNT):
        name = CLASSES[number % 2]
        Image.fromarray(_figure(name, random)).save(folder / f"{name}-{number:03}.png")


def _figure(name: str, random: np.random.RandomState) -> npt.NDArray[np.uint8]:
    """A figure at a random place on a darker ground, each in a colour of its own, (SIDE, SIDE, 3)."""
    radius = random.uniform(*RADII)
    across, down = np.abs(np.arange(SIDE) - random.uniform(radius, SIDE - 1 - radius, (2, 1)))  # (SIDE,) each
    if name == "disc":
        inside = across**2 + down[:, None] ** 2 <= radius**2
    else:
        inside = np.maximum(across, down[:, None]) <= HALF_SIDE * radius
    ground, figure = random.uniform(0, 1, (2, 3))
    while GREY @ (figure - ground) < CONTRAST:
        ground, figure = random.uniform(0, 1, (2, 3))
    picture = np.where(inside[:, :, None], figure, ground) + random.uniform(-NOISE, NOISE, (SIDE, SIDE, 1))
    values: npt.NDArray[np.uint8] = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return values
