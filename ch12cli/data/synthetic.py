"""Data sets that are generated: points in two classes, points on a line or a curve, small images.

Each depends on its arguments alone. numpy.random.RandomState draws the same numbers in every version of numpy.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import choice_problems, integer_problems, number_problems, seed_problems
from ch12cli.data.table import Floats, Table
from ch12cli.errors import InputError, Problem
from ch12cli.rules import LARGEST_NOISE, LARGEST_SIZE

Shape = Literal["xor", "moons", "circles", "spirals", "blobs"]
Kind = Literal["chapter", "line", "curve"]
Points = npt.NDArray[np.float64]  # (points, 2)
Classes = npt.NDArray[np.int64]  # (points,)

SPIRAL_TURNS = 1.5  # turns of an arm round the centre
SPIRAL_START = 0.1  # radius where the arms begin; at 0 they would meet
INNER_CIRCLE = 0.5  # radius; the outer circle has radius 1
BLOB_CENTRES = np.array([[-0.5, -0.5], [0.5, 0.5]])  # (classes, 2)
BLOB_DEVIATION = 0.2  # of each coordinate round its centre

CHAPTER_Y = (1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0)  # at x = 0, 1, ..., 9
SLOPE, INTERCEPT = 2.0, 1.0  # of the line

IMAGES = 200
IMAGE_SIDE = 24  # pixels, in each direction
IMAGE_CLASSES = ("disc", "square")
RADII = (6.0, 10.0)  # of a disc, in pixels
HALF_SIDE = np.sqrt(np.pi) / 2  # of a square with the area of a disc of radius 1
GREY = np.array([0.299, 0.587, 0.114])  # weights of red, green and blue in ITU-R BT.601, which Pillow uses
CONTRAST = 0.3  # least difference in grey between figure and background, of the whole range
PIXEL_NOISE = 0.05  # largest, of the whole range


def two_class(shape: Shape = "xor", size: int = 200, *, noise: float = 0.0, seed: int = 1) -> Table:
    """size points in two classes, features (size, 2) float64.

    shape: xor with its default arguments is the chapter's data. In the other shapes the classes alternate, so that
    every part of the rows is balanced. noise: standard deviation added to each coordinate after the class is fixed.
    InputError with everything that is wrong with the arguments.
    """
    problems = choice_problems("dataset.shape", shape, get_args(Shape))
    problems += integer_problems("dataset.size", size, low=2, high=LARGEST_SIZE)
    problems += number_problems("dataset.noise", noise, low=0, high=LARGEST_NOISE)
    problems += seed_problems("dataset.seed", seed)
    if problems:
        raise InputError(problems)
    random = np.random.RandomState(seed)
    points, target = _xor(random, size) if shape == "xor" else _alternating(random, size, draw=DRAW[shape])
    if noise > 0:
        points = points + random.normal(0, noise, points.shape)
    return Table(
        points,
        target,
        feature_names=("x1", "x2"),
        target_name="class",
        class_names=("0", "1"),
        source=f"two_class, drawn: shape {shape}, size {size}, noise {noise:g}, seed {seed}",
    )


def _xor(random: np.random.RandomState, size: int) -> tuple[Points, Classes]:
    """Points uniform in [-1, 1) x [-1, 1); class 0 where the signs of the coordinates differ."""
    points = random.uniform(-1, 1, (size, 2))
    return points, np.where(points[:, 0] * points[:, 1] < 0, 0, 1)


def _alternating(
    random: np.random.RandomState, size: int, *, draw: Callable[[np.random.RandomState, Classes], Points]
) -> tuple[Points, Classes]:
    target = np.arange(size) % 2
    return draw(random, target), target


def _moons(random: np.random.RandomState, target: Classes) -> Points:
    """Two half circles of radius 1; the second is turned upside down and moved so that they interlock."""
    angle = random.uniform(0, np.pi, len(target))
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.where(target[:, None] == 0, upper, [1, 0.5] - upper)


def _circles(random: np.random.RandomState, target: Classes) -> Points:
    """Two circles round the origin; class 1 is the inner one."""
    angle = random.uniform(0, 2 * np.pi, len(target))
    return _polar(np.where(target == 0, 1, INNER_CIRCLE), angle)


def _spirals(random: np.random.RandomState, target: Classes) -> Points:
    """Two arms that wind round the origin, half a turn apart."""
    radius = random.uniform(SPIRAL_START, 1, len(target))
    return _polar(radius, 2 * np.pi * SPIRAL_TURNS * radius + np.pi * target)


def _blobs(random: np.random.RandomState, target: Classes) -> Points:
    """A round normal cloud for each class."""
    return BLOB_CENTRES[target] + random.normal(0, BLOB_DEVIATION, (len(target), 2))


def _polar(radius: npt.NDArray[Any], angle: npt.NDArray[Any]) -> Points:
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


DRAW: dict[str, Callable[[np.random.RandomState, Classes], Points]] = {
    "moons": _moons,
    "circles": _circles,
    "spirals": _spirals,
    "blobs": _blobs,
}


def toy_regression(kind: Kind = "chapter", size: int = 10, *, noise: float = 0.0, seed: int = 1) -> Table:
    """Points with one feature, (size, 1), and one value to learn, (size,).

    kind: chapter is the chapter's ten points, float32; they are fixed, so another size or noise is refused and seed has
    no effect. line is y = 2 x + 1, curve is y = sin(pi x), both float64 with x uniform in [-1, 1). noise: standard
    deviation added to y. InputError with everything that is wrong with the arguments.
    """
    problems = choice_problems("dataset.kind", kind, get_args(Kind))
    problems += integer_problems("dataset.size", size, low=2, high=LARGEST_SIZE)
    problems += number_problems("dataset.noise", noise, low=0, high=LARGEST_NOISE)
    problems += seed_problems("dataset.seed", seed)
    if kind == "chapter":
        problems = problems or _fixed_problems(size, noise)
    if problems:
        raise InputError(problems)
    if kind == "chapter":
        ten = np.arange(len(CHAPTER_Y), dtype=np.float32)
        return _curve(ten, np.array(CHAPTER_Y, dtype=np.float32), source="the chapter's ten points")
    random = np.random.RandomState(seed)
    x = random.uniform(-1, 1, size)
    y = SLOPE * x + INTERCEPT if kind == "line" else np.sin(np.pi * x)
    y = y + random.normal(0, noise, size)
    return _curve(x, y, source=f"toy_regression, drawn: {kind}, size {size}, noise {noise:g}, seed {seed}")


def _fixed_problems(size: int, noise: float) -> list[Problem]:
    """The arguments that do not fit the chapter's points and would otherwise be ignored silently."""
    points = len(CHAPTER_Y)
    problems = []
    if size != points:
        rule = f"must be {points} with dataset.kind=chapter"
        problems.append(Problem("dataset.size", str(size), rule, "line and curve take any size"))
    if noise != 0:
        rule = "must be 0 with dataset.kind=chapter"
        problems.append(Problem("dataset.noise", str(noise), rule, "line and curve take noise"))
    return problems


def _curve(x: Floats, y: Floats, *, source: str) -> Table:
    return Table(x.reshape(-1, 1), y, feature_names=("x",), target_name="y", source=source)


def write_images(folder: Path) -> None:
    """Writes PNG files of discs and squares: disc-000.png, square-001.png and so on, the same at every call."""
    from PIL import Image

    random = np.random.RandomState(1)
    for index in range(IMAGES):
        name = IMAGE_CLASSES[index % 2]
        Image.fromarray(_draw_shape(name, random)).save(folder / f"{name}-{index:03}.png")


def _draw_shape(name: str, random: np.random.RandomState) -> npt.NDArray[np.uint8]:
    """A figure at a random position on a darker background, (IMAGE_SIDE, IMAGE_SIDE, 3), both in random colours."""
    radius = random.uniform(*RADII)
    across, down = np.abs(np.arange(IMAGE_SIDE) - random.uniform(radius, IMAGE_SIDE - 1 - radius, (2, 1)))
    if name == "disc":
        inside = across**2 + down[:, None] ** 2 <= radius**2  # (IMAGE_SIDE, IMAGE_SIDE)
    else:
        inside = np.maximum(across, down[:, None]) <= HALF_SIDE * radius
    background, foreground = random.uniform(0, 1, (2, 3))
    while GREY @ (foreground - background) < CONTRAST:
        background, foreground = random.uniform(0, 1, (2, 3))
    image = np.where(inside[:, :, None], foreground, background)
    image = image + random.uniform(-PIXEL_NOISE, PIXEL_NOISE, (IMAGE_SIDE, IMAGE_SIDE, 1))
    values: npt.NDArray[np.uint8] = (image.clip(0, 1) * 255).round().astype(np.uint8)
    return values
