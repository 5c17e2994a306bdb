"""Lines, bands and dots in a terminal: braille points on a grid of characters, or ASCII marks."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from ch12cli.plots.colours import TERMINAL
from ch12cli.plots.frame import Frame, frame_around, framed
from ch12cli.plots.plot import Line, Lines, Span, Values, thinned
from ch12cli.plots.scale import Scale
from ch12cli.plots.text_curve import ASCII, ASCII_MARKS, BRAILLE, DOTS, PATTERNS, dots_of

SAMPLE = 5  # characters of a line in the legend
BANDS = 3  # lines up to which their bands are shown: more would hide each other
BAND, ASCII_BAND = "░", ":"
DOT, ASCII_DOT = "•", "o"
FAINT, ASCII_FAINT = "·", "."

Cell = tuple[int, str | None, int | None]  # braille dots, a character instead of them, the number of the line
Cells = dict[tuple[int, int], Cell]  # by (row, column)


def draw_lines(panel: Lines, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    """The panel in lines of text, none wider than `width`; rows: of the drawing without its axes."""
    x_scale = Scale.over([line.x for line in panel.lines], panel.x)
    heights = [v for line in panel.lines for v in (line.y, line.low, line.high) if v is not None]
    y_scale = Scale.over(heights, panel.y)
    frame = frame_around(panel.x, panel.y, x_scale, y_scale, width=width, rows=rows, ascii_only=ascii_only)
    cells: Cells = {}
    named = [line for line in panel.lines if not line.faint]
    for line in (line for line in panel.lines if line.faint):
        _add_marks(cells, line, frame, number=None, mark=ASCII_FAINT if ascii_only else FAINT)
    if len(named) <= BANDS:
        for number, line in enumerate(named):
            _add_band(cells, line, frame, number)
    for number, line in enumerate(named):
        if line.joined:
            _add_line(cells, thinned(line, frame.columns * frame.charset.dots_x), frame, number)
        else:
            mark = ASCII_MARKS[number % len(ASCII_MARKS)] if ascii_only else DOT
            _add_marks(cells, line, frame, number=number, mark=mark)
    body = [_row(cells, row, frame) for row in range(frame.rows)]
    return framed(frame, body) + legend(named, width=width, ascii_only=ascii_only)


def _places(frame: Frame, x: Values, y: Values, *, dots_x: int, dots_y: int) -> list[tuple[int, int] | None]:
    """Where points lie on a grid of dots, (0, 0) at the top left; None for those that are nowhere."""
    across = frame.x_scale.share(x) * (frame.columns * dots_x - 1)
    down = (1 - frame.y_scale.share(y)) * (frame.rows * dots_y - 1)
    inside = np.isfinite(across) & np.isfinite(down)
    return [
        (round(a), round(b)) if good else None
        for a, b, good in zip(across.tolist(), down.tolist(), inside.tolist(), strict=True)
    ]


def _add_band(cells: Cells, line: Line, frame: Frame, number: int) -> None:
    if line.low is None or line.high is None:
        return
    mark = ASCII_BAND if frame.charset is ASCII else BAND
    if not line.joined:
        columns: Values = line.x
        low, high = line.low, line.high
    else:
        order = np.argsort(line.x)
        columns = frame.x_scale.at((np.arange(frame.columns) + 0.5) / frame.columns)
        columns = columns[(columns >= line.x.min()) & (columns <= line.x.max())] if len(line.x) else columns[:0]
        low, high = (np.interp(columns, line.x[order], edge[order]) for edge in (line.low, line.high))
    edges = [_places(frame, columns, edge, dots_x=1, dots_y=1) for edge in (low, high)]
    for bottom, top in zip(*edges, strict=True):
        if bottom is not None and top is not None:
            for row in range(top[1], bottom[1] + 1):
                cells.setdefault((row, top[0]), (0, mark, number))


def _add_marks(cells: Cells, line: Line, frame: Frame, *, number: int | None, mark: str) -> None:
    for place in _places(frame, line.x, line.y, dots_x=1, dots_y=1):
        if place is not None:
            cells[place[1], place[0]] = (0, mark, number)


def _add_line(cells: Cells, line: Line, frame: Frame, number: int) -> None:
    charset = frame.charset
    places = _places(frame, line.x, line.y, dots_x=charset.dots_x, dots_y=charset.dots_y)
    for x, y in dots_of(places, (1,) if charset is ASCII else PATTERNS[number % len(PATTERNS)]):
        place = (y // charset.dots_y, x // charset.dots_x)
        bits, mark, owner = cells.get(place, (0, None, number))
        bit = DOTS[y % charset.dots_y][x % charset.dots_x]
        if mark is not None:
            bits, owner = 0, number
        cells[place] = (
            bits | bit,
            None,
            number if (place[1] + number) % 2 else owner,
        )  # where lines meet they alternate


def _row(cells: Cells, row: int, frame: Frame) -> list[Span]:
    drawn: list[Span] = []
    for column in range(frame.columns):
        bits, mark, number = cells.get((row, column), (0, " ", None))
        style = None if number is None else TERMINAL[number % len(TERMINAL)]
        if mark in (BAND, ASCII_BAND):
            style = f"dim {style}"
        if mark is None:
            assert number is not None
            mark = ASCII_MARKS[number % len(ASCII_MARKS)] if frame.charset is ASCII else chr(BRAILLE + bits)
        drawn.append((mark, style))
    return joined(drawn)


def joined(spans: list[Span]) -> list[Span]:
    """Neighbours of one style in one piece, without blanks at the end."""
    while spans and spans[-1] == (" ", None):
        spans.pop()
    return [("".join(text for text, _ in group), style) for style, group in groupby(spans, key=lambda span: span[1])]


def legend(lines: Sequence[Line], *, width: int, ascii_only: bool) -> list[list[Span]]:
    """How each line is drawn, in as many lines as it takes; nothing for one without a name."""
    found: list[list[Span]] = []
    used = width
    for number, line in enumerate(lines):
        if not line.name:
            continue
        room = width - SAMPLE - 3  # 3: two blanks before, one after the sample
        cut = line.name if len(line.name) <= room else line.name[: room - 1] + ("~" if ascii_only else "…")
        if used + SAMPLE + 3 + len(cut) > width:
            found.append([])
            used = 0
        style = TERMINAL[number % len(TERMINAL)]
        found[-1] += [("  ", None), (_sample(line, number, ascii_only=ascii_only), style), (f" {cut}", None)]
        used += SAMPLE + 3 + len(cut)
    return found


def _sample(line: Line, number: int, *, ascii_only: bool) -> str:
    if ascii_only:
        return (ASCII_MARKS[number % len(ASCII_MARKS)] * (SAMPLE if line.joined else 1)).rjust(SAMPLE)
    if not line.joined:
        return DOT.rjust(SAMPLE)
    pattern = PATTERNS[number % len(PATTERNS)]
    dots = [pattern[x % len(pattern)] for x in range(2 * SAMPLE)]
    bits = [left * DOTS[1][0] + right * DOTS[1][1] for left, right in zip(dots[::2], dots[1::2], strict=True)]
    return "".join(chr(BRAILLE + each) for each in bits)
