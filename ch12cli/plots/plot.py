"""What a plot shows, as values. Its neighbours draw it: `file` as PNG or SVG, `terminal` as text."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Span = tuple[str, str | None]  # a piece of a line of text, and its style in rich's words (None: plain)

SERIES = 8  # lines in one plot, at most: as many colours as can be told apart


class Axis(NamedTuple):
    """label: with its unit, if it has one; names: of the places 0, 1, …, for what is no number; whole: for what is
    counted, between whose values there is nothing."""

    label: str
    log: bool = False
    names: tuple[str, ...] | None = None
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Line:
    """Points (x, y), (n,) each, in the order of x. low, high: the edges of a band around them, or bars if they are not
    joined; NaN is a gap."""

    name: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    joined: bool = True
    faint: bool = False  # dots behind the others that are not named in the legend


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines over a common pair of axes."""

    x: Axis
    y: Axis
    lines: list[Line]


@dataclass(frozen=True, eq=False)
class Grid:
    """A number for each pair of a row and a column, (rows, columns); NaN: there is none.

    shades: what is shown as colour, in 0 … 1 or NaN, if that is not the number; texts: of the cells, by row; best: the
    cells (row, column) that are marked; scale: what the colour means.
    """

    rows: Axis
    columns: Axis
    values: Values
    texts: list[list[str]]
    scale: str
    shades: Values | None = None
    best: frozenset[tuple[int, int]] = frozenset()

    @property
    def shaded(self) -> Values:
        """What each cell shows as colour, from 0 (the lowest) to 1."""
        if self.shades is not None:
            return self.shades
        finite = self.values[np.isfinite(self.values)]
        if not len(finite) or finite.min() == finite.max():
            return np.where(np.isfinite(self.values), 0.5, np.nan)
        low, high = finite.min() / 2, finite.max() / 2  # in halves: the whole span of the largest floats is inf
        return np.asarray((self.values / 2 - low) / (high - low))


@dataclass(frozen=True, eq=False)
class Bars:
    """A named length each, 0 … 1, and what is written beside it. plain: those drawn in grey."""

    label: str
    names: list[str]
    values: Values
    texts: list[str]
    plain: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values lie between neighbouring edges: edges (n + 1,), counts (n,). marks: (name, value) each."""

    x: Axis
    label: str
    edges: Values
    counts: NDArray[np.int64]
    marks: list[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class Field:
    """Classes over a plane. found: number of the class at each (row, column), the first row at the bottom, (m, m);
    sure: its probability, (m, m); points: (part, x, y, class) of rows of the data."""

    x: Axis
    y: Axis
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    names: tuple[str, ...]
    found: NDArray[np.int64]
    sure: Values
    points: list[tuple[str, Values, Values, NDArray[np.int64]]]


Panel = Lines | Grid | Bars | Histogram | Field


@dataclass(frozen=True, eq=False)
class Plot:
    """Panels side by side under a title; notes stand below and say how it was made; legend: notes on what is to be seen
    in a file, but not in a terminal."""

    title: str
    panels: list[Panel]
    notes: list[str] = field(default_factory=list)
    legend: list[str] = field(default_factory=list)


def thinned(line: Line, most: int) -> Line:
    """The line in at most so many points, each the mean of a stretch of neighbours: more cannot be seen.

    The first and the last point stay as they are.
    """
    n = len(line.x)
    if n <= most or not line.joined:
        return line
    starts = np.arange(most) * n // most

    def means(values: Values | None) -> Values | None:
        if values is None:
            return None
        finite = np.isfinite(values)
        counts = np.add.reduceat(finite.astype(np.int64), starts)
        parts = values / np.repeat(
            np.maximum(counts, 1), np.diff([*starts, n])
        )  # divided first: a sum may be too large
        sums = np.add.reduceat(np.where(finite, parts, 0.0), starts)
        return np.where(counts > 0, sums, np.nan)

    x, y = means(line.x), means(line.y)
    assert x is not None
    assert y is not None
    for end in (0, -1):  # which the axes name
        x[end], y[end] = line.x[end], line.y[end]
    return replace(line, x=x, y=y, low=means(line.low), high=means(line.high))
