"""Learning curves as text, for a terminal, a log or a notebook."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, groupby
from typing import NamedTuple

CurveSpan = tuple[str, str | None]  # a piece of a line, and its series (None: axes, labels, blanks)
Point = tuple[int, int] | None  # a point (x, y) of the grid, (0, 0) at the top left; None for a gap
BrailleCells = dict[tuple[int, int], tuple[int, list[str]]]  # (row, column) -> braille dots, their series

MIN_WIDTH = 30  # characters
MIN_ROWS = 3  # minimum lines of the plot area: one for each labelled tick
LABEL_WIDTH = 12  # maximum characters of a label beside the y axis
SAMPLE = 4  # characters of a line sample in the legend
ASCII_MARKS = "*o+x#@%&"
# Steps along a line with a dot (1) or without (0): solid, dotted, dashed, sparse, mixed. They differ without colour.
PATTERNS = (
    *((1,), (1, 0), (1, 1, 1, 1, 0, 0, 0, 0), (1, 0, 0, 0)),
    *((1, 1, 0, 0), (1, 1, 1, 1, 1, 0, 1, 0), (1, 1, 1, 1, 1, 1, 1, 0, 0), (1, 1, 0, 0, 1, 0, 0, 0)),
)
BRAILLE = 0x2800
DOTS = (
    (0x01, 0x08),
    (0x02, 0x10),
    (0x04, 0x20),
    (0x40, 0x80),
)  # bit of each dot of a braille cell, (4 rows, 2 columns)


class Charset(NamedTuple):
    """The characters of a drawing. A cell holds dots_x by dots_y points."""

    dots_x: int
    dots_y: int
    axis: str  # beside a row
    tick: str  # beside a labelled row
    corner: str
    floor: str  # under a column
    mark: str  # under a labelled column
    ellipsis: str


UNICODE = Charset(2, 4, "│", "┤", "└", "─", "┬", "…")
ASCII = Charset(1, 1, "|", "+", "+", "-", "+", "~")


def format_curve(
    series: Mapping[str, Sequence[float]],
    *,
    width: int,
    height: int,
    ascii_only: bool = False,
    x_label: str = "epoch",
) -> list[str]:
    """Returns the lines of a drawing of every series over 1, 2, …, n, without colour.

    No line is wider than `width`, at least 30. height: the total number of lines, including axis and legend. Values
    that are not finite are gaps. If there are more values than points across, adjacent values are averaged.
    """
    spans = curve_spans(series, width=width, height=height, ascii_only=ascii_only, x_label=x_label)
    return ["".join(text for text, _ in line) for line in spans]


def curve_spans(
    series: Mapping[str, Sequence[float]],
    *,
    width: int,
    height: int,
    ascii_only: bool = False,
    x_label: str = "epoch",
    last: int | None = None,
) -> list[list[CurveSpan]]:
    """Returns the lines of `format_curve` in pieces, each with the name of its series, for colouring.

    last: the x of the last value, if the values are evenly spaced from 1; None: their number.
    """
    width = max(width, MIN_WIDTH)
    charset = ASCII if ascii_only else UNICODE
    length = max((len(values) for values in series.values()), default=0)
    points = min(length, (width - LABEL_WIDTH - 2) * charset.dots_x)
    means = {name: _reduce(values, length=length, points=points) for name, values in series.items()}
    drawn = [value for line in means.values() for value in line if value is not None]
    if not drawn:
        return [[("no finite values to draw", None)]]

    low, high = min(drawn), max(drawn)
    legend = _legend(list(series), width=width, charset=charset)
    rows = max(MIN_ROWS, height - 2 - len(legend))  # 2: the x axis and its labels
    labels = _row_labels(low, high, rows=rows, charset=charset)
    x_label = x_label[:LABEL_WIDTH]
    gutter = max(len(x_label), *map(len, labels.values()))
    columns = width - gutter - 2  # 2: a blank and the y axis

    cells: BrailleCells = {}
    for number, (name, line) in enumerate(means.items()):
        pattern = PATTERNS[number % len(PATTERNS)] if charset is UNICODE else (1,)
        grid = _points_of(line, low, high, across=columns * charset.dots_x, down=rows * charset.dots_y)
        _add_line(cells, name, dots_of(grid, pattern), charset)
    lines: list[list[CurveSpan]] = []
    for row in range(rows):
        axis = f"{labels[row]:>{gutter}} {charset.tick}" if row in labels else " " * (gutter + 1) + charset.axis
        lines.append([(axis, None), *_row_spans(cells, row, columns, list(series), charset)])
    return lines + _x_axis(last or length, columns=columns, gutter=gutter, x_label=x_label, charset=charset) + legend


def _reduce(values: Sequence[float], *, length: int, points: int) -> list[float | None]:
    """Returns the mean of the finite values in each of `points` equal intervals of 1 … length, (points,).

    None marks an interval without finite values. The first and the last value are kept unchanged.
    """
    line: list[float | None] = []
    for point in range(points):
        stretch = values[point * length // points : (point + 1) * length // points]
        finite = [value for value in stretch if math.isfinite(value)]
        # divide before summing, as the sum of the largest floats overflows
        line.append(sum(value / len(finite) for value in finite) if finite else None)
    for end in (0, -1) if line and len(values) == length else ():  # the axis labels the end points
        if math.isfinite(values[end]):
            line[end] = values[end]
    return line


def _points_of(line: Sequence[float | None], low: float, high: float, *, across: int, down: int) -> list[Point]:
    """Returns the position of each value on a grid of (across, down) points."""
    step = (across - 1) / max(1, len(line) - 1)
    span = high / 2 - low / 2  # halved, as the range of the largest floats overflows
    points: list[Point] = []
    for i, value in enumerate(line):
        if value is None:
            points.append(None)
        else:
            share = (value / 2 - low / 2) / span if span else 0.5
            points.append((round(i * step), round((1 - share) * (down - 1))))
    return points


def dots_of(points: Sequence[Point], pattern: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields the points of the line segments between the places, filtered by the pattern.

    The pattern restarts after a gap.
    """
    before: Point = None
    steps = cycle(pattern)
    for point in points:
        if point is not None and before is None:
            steps = cycle(pattern)
            next(steps)
            yield point
        elif point is not None and before is not None:
            (x0, y0), (x, y) = before, point
            moves = max(abs(x - x0), abs(y - y0))
            for move in range(1, moves + 1):
                if next(steps):
                    yield x0 + round((x - x0) * move / moves), y0 + round((y - y0) * move / moves)
        before = point


def _add_line(cells: BrailleCells, name: str, dots: Iterator[tuple[int, int]], charset: Charset) -> None:
    for x, y in dots:
        cell = (y // charset.dots_y, x // charset.dots_x)
        bits, names = cells.get(cell, (0, []))
        bit = DOTS[y % charset.dots_y][x % charset.dots_x]
        cells[cell] = (bits | bit, names if name in names else [*names, name])


def _row_spans(cells: BrailleCells, row: int, columns: int, names: list[str], charset: Charset) -> list[CurveSpan]:
    """Returns one row of the plot, without trailing blanks. Cells shared by several lines alternate between them."""
    drawn: list[CurveSpan] = []
    for column in range(columns):
        bits, owners = cells.get((row, column), (0, []))
        if owners:
            owner = owners[column % len(owners)]
            drawn.append((chr(BRAILLE + bits) if charset is UNICODE else _mark(names.index(owner)), owner))
        else:
            drawn.append((" ", None))
    while drawn and drawn[-1][1] is None:
        drawn.pop()
    return [("".join(text for text, _ in group), owner) for owner, group in groupby(drawn, key=lambda span: span[1])]


def _row_labels(low: float, high: float, *, rows: int, charset: Charset) -> dict[int, str]:
    """Returns the labels of the y axis: the highest, middle and lowest value.

    A constant has a single label in the middle.
    """
    middle = rows // 2
    span = high / 2 - low / 2
    if not span:
        return {middle: f"{low:.4g}"}
    # with an even number of rows, the middle row's centre is half a row off the middle of the range
    share = 1 - (middle * charset.dots_y + (charset.dots_y - 1) / 2) / (rows * charset.dots_y - 1)
    values = (high, low * (1 - share) + high * share, low)
    decimals = max(0, 2 - math.floor(math.log10(span) + math.log10(2)))
    if decimals <= 4 and max(abs(low), abs(high)) < 1e6:  # these texts fit LABEL_WIDTH
        texts = [f"{value:z.{decimals}f}" for value in values]
    else:
        texts = _tell_apart(values)
    return dict(zip((0, middle, rows - 1), texts, strict=True))


def _tell_apart(values: Sequence[float]) -> list[str]:
    """Returns the values with the fewest digits that distinguish them and fit LABEL_WIDTH."""
    for digits in range(3, LABEL_WIDTH):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(texts) and max(map(len, texts)) <= LABEL_WIDTH:
            return texts
    return [f"{value:.3g}" for value in values]


def _x_axis(length: int, *, columns: int, gutter: int, x_label: str, charset: Charset) -> list[list[CurveSpan]]:
    """Returns the x axis and its labels: 1, the middle if there is room, and the last."""
    labels = {0: "1"}  # column of its tick -> label
    middle = f"{(length + 1) // 2}"
    tick = round((int(middle) - 1) / max(1, length - 1) * (columns - 1))
    start = tick - len(middle) // 2
    if start >= 3 and start + len(middle) + 2 <= columns - len(f"{length}"):  # two blanks apart
        labels[tick] = middle
    if length > 1:
        labels[columns - 1] = f"{length}"
    floor = "".join(charset.mark if column in labels else charset.floor for column in range(columns))
    texts = ""
    for column, label in labels.items():
        start = min(column - len(label) // 2, columns - len(label)) if column else 0
        texts = f"{texts:<{start}}{label}"
    return [[(" " * (gutter + 1) + charset.corner + floor, None)], [(f"{x_label:>{gutter}}  {texts}", None)]]


def _legend(names: list[str], *, width: int, charset: Charset) -> list[list[CurveSpan]]:
    """Returns the legend, wrapped to `width`."""
    lines: list[list[CurveSpan]] = []
    used = width
    for number, name in enumerate(names):
        room = width - SAMPLE - 3  # 3: two blanks before the sample, one after it
        label = name if len(name) <= room else name[: room - 1] + charset.ellipsis
        needed = SAMPLE + 3 + len(label)
        if used + needed > width:
            lines.append([])
            used = 0
        lines[-1] += [("  ", None), (_sample(number, charset), name), (f" {label}", None)]
        used += needed
    return lines


def _sample(number: int, charset: Charset) -> str:
    """Returns a horizontal sample of a series' line, SAMPLE characters long."""
    if charset is ASCII:
        return _mark(number) * SAMPLE
    pattern = PATTERNS[number % len(PATTERNS)]
    dots = [pattern[x % len(pattern)] for x in range(2 * SAMPLE)]
    bits = [left * DOTS[2][0] + right * DOTS[2][1] for left, right in zip(dots[::2], dots[1::2], strict=True)]
    return "".join(chr(BRAILLE + each) for each in bits)


def _mark(number: int) -> str:
    return ASCII_MARKS[number % len(ASCII_MARKS)]
