"""Points of the plane in two classes, drawn in five shapes that are easy to see and more or less hard to learn."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ch12cli.data.arguments import (
    LARGEST_NOISE,
    LARGEST_SIZE,
    choice_problems,
    number_problems,
    seed_problems,
    whole_problems,
)
from ch12cli.data.table import Table
from ch12cli.errors import InputError

Shape = Literal["xor", "moons", "circles", "spirals", "blobs"]
Points = npt.NDArray[np.float64]  # (points, 2)
Classes = npt.NDArray[np.int64]  # (points,)

SPIRAL_TURNS = 1.5  # how often an arm goes round the centre
SPIRAL_START = 0.1  # radius where the arms begin, for they meet at 0
INNER_CIRCLE = 0.5  # its radius; the outer one's is 1
BLOB_CENTRES = np.array([[-0.5, -0.5], [0.5, 0.5]])  # (classes, 2)
BLOB_DEVIATION = 0.2  # of each coordinate round its centre


def two_class(shape: Shape = "xor", size: int = 200, *, noise: float = 0.0, seed: int = 1) -> Table:
    """size points of two classes, float64.

    noise: standard deviation of what is added to each coordinate after the classes are settled. xor with its default
    arguments is the chapter's data. The other shapes take the classes in turn: they are balanced in every run of rows.
    """
    problems = choice_problems("dataset.shape", shape, get_args(Shape))
    problems += whole_problems("dataset.size", size, low=2, high=LARGEST_SIZE)
    problems += number_problems("dataset.noise", noise, low=0, high=LARGEST_NOISE)
    problems += seed_problems("dataset.seed", seed)
    if problems:
        raise InputError(problems)
    random = np.random.RandomState(seed)  # its stream is frozen: the same points with every version of numpy
    points, target = _xor(random, size) if shape == "xor" else _in_turn(random, size, draw=DRAW[shape])
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
    """Points uniform in [-1, 1) x [-1, 1); class 0 where the coordinates' signs differ."""
    points = random.uniform(-1, 1, (size, 2))
    return points, np.where(points[:, 0] * points[:, 1] < 0, 0, 1)


def _in_turn(
    random: np.random.RandomState, size: int, *, draw: Callable[[np.random.RandomState, Classes], Points]
) -> tuple[Points, Classes]:
    target = np.arange(size) % 2
    return draw(random, target), target


def _moons(random: np.random.RandomState, target: Classes) -> Points:
    """Two half circles of radius 1, the second upside down and moved so that each reaches into the other."""
    angle = random.uniform(0, np.pi, len(target))
    upper = np.column_stack([np.cos(angle), np.sin(angle)])
    return np.where(target[:, None] == 0, upper, [1, 0.5] - upper)


def _circles(random: np.random.RandomState, target: Classes) -> Points:
    """Two circles round 0, class 1 the inner one."""
    angle = random.uniform(0, 2 * np.pi, len(target))
    return _polar(np.where(target == 0, 1, INNER_CIRCLE), angle)


def _spirals(random: np.random.RandomState, target: Classes) -> Points:
    """Two arms that wind round 0 together, half a turn apart."""
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
