"""Data classes that describe a plot. `matplotlib_drawer` draws it as PDF, PNG or SVG, `text_drawer` as text."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Span = tuple[str, str | None]  # a piece of a line of text, and its rich style (None: no style)

SERIES = 8  # maximum number of lines in a plot: the number of distinguishable colours


class Axis(NamedTuple):
    """An axis of a plot.

    label: includes the unit, if any. names: labels of the positions 0, 1, … of a categorical axis. integer: whether
    values are integers. ticks: the values to label where they fit, such as those that were swept; the axis covers
    them. limits: the range to show if it is not that of all values; what lies beyond is marked at the edge. absent: the
    position, and its label, of what has no value on an axis of numbers.
    """

    label: str
    log: bool = False
    names: tuple[str, ...] | None = None
    integer: bool = False
    ticks: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None
    absent: tuple[float, str] | None = None


class EdgeMark(NamedTuple):
    """A mark at the upper or lower edge of the y axis, for runs without a value, with their number as text."""

    x: float
    text: str
    high: bool = True


@dataclass(frozen=True, eq=False)
class Line:
    """Points (x, y) of shape (n,), sorted by x; NaN is a gap.

    low, high: the edges of a band around the line, or of error bars if the points are not joined.
    """

    name: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    joined: bool = True
    bars: bool = False  # low and high are error bars, though the points are joined
    faint: bool = False  # drawn as dots behind the other lines, and not listed in the legend
    steps: bool = False  # each value holds until the next point


@dataclass(frozen=True, eq=False)
class Lines:
    """Lines on a common pair of axes. edges: marks of diverged runs. title: tells panels of one plot apart."""

    x: Axis
    y: Axis
    lines: list[Line]
    edges: tuple[EdgeMark, ...] = ()
    title: str = ""


@dataclass(frozen=True, eq=False)
class Grid:
    """A heat map: a number for each cell, (rows, columns); NaN marks an empty cell.

    shades: the colour of each cell, from 0 to 1 or NaN, if it does not follow from the values. texts: the text of each
    cell, by row. best: the (row, column) of the marked cells. scale: the meaning of the colour. bar: the texts of the
    colour bar, from the lowest to the highest shade, if shades are no values.
    """

    rows: Axis
    columns: Axis
    values: Values
    texts: list[list[str]]
    scale: str
    shades: Values | None = None
    best: frozenset[tuple[int, int]] = frozenset()
    bar: tuple[str, ...] = ()

    @property
    def shaded(self) -> Values:
        """The colour of each cell, from 0 (lowest) to 1 (highest)."""
        if self.shades is not None:
            return self.shades
        finite = self.values[np.isfinite(self.values)]
        if not len(finite) or finite.min() == finite.max():
            return np.where(np.isfinite(self.values), 0.5, np.nan)
        low, high = finite.min() / 2, finite.max() / 2  # halved, as the range of the largest floats overflows
        return np.asarray((self.values / 2 - low) / (high - low))


@dataclass(frozen=True, eq=False)
class Bars:
    """Horizontal bars, each with a name, a length from 0 to 1 and a text. plain: the names of the grey bars."""

    label: str
    names: list[str]
    values: Values
    texts: list[str]
    plain: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values between adjacent edges: edges (n + 1,), counts (n,). marks: (name, value) pairs."""

    x: Axis
    label: str
    edges: Values
    counts: NDArray[np.int64]
    marks: list[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class Field:
    """Decision regions of a classifier on a plane of m x m points.

    found: the class at each (row, column), (m, m), with the first row at the bottom. sure: the probability of that
    class, (m, m). points: (part, x, y, class) of the data's rows.
    """

    x: Axis
    y: Axis
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    names: tuple[str, ...]
    found: NDArray[np.int64]
    sure: Values
    points: list[tuple[str, Values, Values, NDArray[np.int64]]]


class ParallelAxis(NamedTuple):
    """An axis of parallel coordinates. ticks: (share of the axis, text) each; ends: its lowest and highest value."""

    label: str
    ticks: tuple[tuple[float, str], ...]
    ends: tuple[str, str]


@dataclass(frozen=True, eq=False)
class Parallel:
    """A line for each run across parallel axes.

    shares: where it meets them, from 0 (low) to 1, (runs, axes). goodness: from 0 (worst) to 1, (runs,). names: of the
    runs. scale: the meaning of the colour.
    """

    axes: tuple[ParallelAxis, ...]
    shares: Values
    goodness: Values
    names: list[str]
    scale: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures with captions. images: (n, channels, height, width). wrong: which are marked; rows: their numbers.

    captions: the parts of each, which are shortened by themselves: the predicted class, and the true one.
    """

    images: Values
    captions: list[tuple[str, ...]]
    wrong: frozenset[int]
    rows: list[int]


Panel = Lines | Grid | Bars | Histogram | Field | Parallel | Pictures


@dataclass(frozen=True, eq=False)
class Plot:
    """Panels side by side under a title.

    notes: text below the panels about the runs and statistics shown. legend: notes on elements that only a file shows,
    not a terminal.
    """

    title: str
    panels: list[Panel]
    notes: list[str] = field(default_factory=list)
    legend: list[str] = field(default_factory=list)


def with_corners(line: Line) -> Line:
    """Returns a line of steps with a point at each corner; other lines unchanged."""
    if not line.steps:
        return line
    return replace(line, x=np.repeat(line.x, 2)[1:], y=np.repeat(line.y, 2)[:-1])


def thinned(line: Line, most: int) -> Line:
    """Returns the line reduced to at most `most` points, each the mean of adjacent points.

    The first and the last point are kept unchanged.
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
        )  # divide first, as the sum may overflow
        sums = np.add.reduceat(np.where(finite, parts, 0.0), starts)
        return np.where(counts > 0, sums, np.nan)

    x, y = means(line.x), means(line.y)
    assert x is not None
    assert y is not None
    for end in (0, -1):  # the axes label the end points
        x[end], y[end] = line.x[end], line.y[end]
    return replace(line, x=x, y=y, low=means(line.low), high=means(line.high))
