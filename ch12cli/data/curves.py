"""One number to be learned from another: the chapter's ten points, or points drawn on a line or a curve."""

from typing import Literal, get_args

import numpy as np

from ch12cli.data.arguments import (
    LARGEST_NOISE,
    LARGEST_SIZE,
    choice_problems,
    number_problems,
    seed_problems,
    whole_problems,
)
from ch12cli.data.table import Floats, Table
from ch12cli.errors import InputError, Problem

Kind = Literal["chapter", "line", "curve"]

CHAPTER_Y = (1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0)  # at x = 0, 1, ..., 9
SLOPE, INTERCEPT = 2.0, 1.0  # of the line


def toy_regression(kind: Kind = "chapter", size: int = 10, *, noise: float = 0.0, seed: int = 1) -> Table:
    """The chapter's ten points (float32), or size points of a line or a curve with x uniform in [-1, 1) (float64).

    The line is y = 2 x + 1, the curve y = sin(pi x). noise: standard deviation of what is added to y. The chapter's
    points are fixed: with them another size or a noise is refused, and seed changes nothing.
    """
    problems = choice_problems("dataset.kind", kind, get_args(Kind))
    problems += whole_problems("dataset.size", size, low=2, high=LARGEST_SIZE)
    problems += number_problems("dataset.noise", noise, low=0, high=LARGEST_NOISE)
    problems += seed_problems("dataset.seed", seed)
    if kind == "chapter":
        problems = problems or _fixed_problems(size, noise)
    if problems:
        raise InputError(problems)
    if kind == "chapter":
        ten = np.arange(len(CHAPTER_Y), dtype=np.float32)
        return _table(ten, np.array(CHAPTER_Y, dtype=np.float32), source="the chapter's ten points")
    random = np.random.RandomState(seed)  # its stream is frozen: the same points with every version of numpy
    x = random.uniform(-1, 1, size)
    y = SLOPE * x + INTERCEPT if kind == "line" else np.sin(np.pi * x)
    y = y + random.normal(0, noise, size)
    return _table(x, y, source=f"toy_regression, drawn: {kind}, size {size}, noise {noise:g}, seed {seed}")


def _fixed_problems(size: int, noise: float) -> list[Problem]:
    """What asks for other points than the chapter's, which would otherwise be ignored in silence."""
    points = len(CHAPTER_Y)
    problems = []
    if size != points:
        rule = f"must be {points} with dataset.kind=chapter"
        problems.append(Problem("dataset.size", str(size), rule, "line and curve take any size"))
    if noise != 0:
        rule = "must be 0 with dataset.kind=chapter"
        problems.append(Problem("dataset.noise", str(noise), rule, "line and curve take noise"))
    return problems


def _table(x: Floats, y: Floats, *, source: str) -> Table:
    return Table(x.reshape(-1, 1), y, feature_names=("x",), target_name="y", source=source)
