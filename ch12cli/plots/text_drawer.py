"""Draws a plot as styled lines of text for a terminal. The text is readable without colour."""

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ch12cli.plots.colours import TERMINAL, ink, shade
from ch12cli.plots.labels import columns_of, in_few_digits, pad_label, shorten_apart, shorten_middle
from ch12cli.plots.plot import (
    Axis,
    Bars,
    Field,
    Grid,
    Histogram,
    Line,
    Lines,
    Panel,
    Parallel,
    Pictures,
    Plot,
    Span,
    Values,
    thinned,
    with_corners,
)
from ch12cli.plots.scale import MOST_SWEPT, AxisScale, tick_texts, whole_ticks, with_absent
from ch12cli.plots.text_curve import ASCII, ASCII_MARKS, BRAILLE, DOTS, PATTERNS, UNICODE, Charset, dots_of

MIN_WIDTH, MIN_ROWS = 40, 6  # minimum characters, and minimum lines of a drawing without its axes
MAX_WIDTH, MAX_ROWS = 120, 20
SHADES, ASCII_SHADES = " ░▒▓█", " .:-=+*#%@"
REGIONS, ASCII_REGIONS = "·░ ▒:▓", ". :-~^"  # characters of the classes' regions
BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = str.maketrans({"±": "+-", "×": "x", "…": "...", "²": "2", "–": "-", "→": "->"})


MAX_LABEL = 12  # maximum characters of a label beside the y axis
TICK_ROWS = 3  # approximate lines between labels of the y axis
TICK_COLUMNS = 12  # approximate characters between labels of the x axis
SAMPLE = 5  # characters of a line sample in the legend
BANDS = 3  # maximum number of lines drawn with bands; more bands would hide each other
BAND, ASCII_BAND = "░", ":"
DOT, ASCII_DOT = "•", "o"
FAINT, ASCII_FAINT = "·", "."
LOST, ASCII_LOST = "×", "x"  # runs without a value
BEST = 4  # runs of parallel coordinates that are drawn
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

Cell = tuple[int, str | None, int | None]  # braille dots, a character drawn instead of them, the number of the line
Cells = dict[tuple[int, int], Cell]  # by (row, column)


class Frame(NamedTuple):
    """Axes around a drawing of (rows, columns) characters. labels: by row, at most `gutter` wide."""

    x: Axis
    y: Axis
    x_scale: AxisScale
    y_scale: AxisScale
    rows: int
    columns: int
    gutter: int
    labels: dict[int, str]
    charset: Charset


def draw_text(plot: Plot, *, width: int, height: int, ascii_only: bool = False) -> list[list[Span]]:
    """Returns the plot as lines, none wider than `width`, at least 40. height: approximate lines of a panel."""
    width = min(MAX_WIDTH, max(MIN_WIDTH, width))
    rows = min(MAX_ROWS, max(MIN_ROWS, height - 6))  # 6: title, axes, legend
    lines: list[list[Span]] = [[(text, "bold")] for text in textwrap.wrap(plot.title, width)]
    for panel in plot.panels:
        lines += [[], *_panel_text(panel, width=width, rows=rows, ascii_only=ascii_only)]
    notes: list[list[Span]] = [[(text, "dim")] for note in plot.notes for text in textwrap.wrap(note, width)]
    lines += [[], *notes] if notes else []
    if ascii_only:
        lines = [[(text.translate(PLAIN), style) for text, style in line] for line in lines]
    return lines


def _panel_text(panel: Panel, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    if isinstance(panel, Lines):
        return _lines_text(panel, width=width, rows=rows, ascii_only=ascii_only)
    if isinstance(panel, Grid):
        return _grid_text(panel, width=width, ascii_only=ascii_only)
    if isinstance(panel, Bars):
        return _bars_text(panel, width=width, ascii_only=ascii_only)
    if isinstance(panel, Histogram):
        return _histogram_text(panel, width=width, rows=rows, ascii_only=ascii_only)
    if isinstance(panel, Parallel):
        return _parallel_text(panel, width=width, rows=rows, ascii_only=ascii_only)
    if isinstance(panel, Pictures):
        return _pictures_text(panel, width=width)
    return _field_text(panel, width=width, rows=rows, ascii_only=ascii_only)


def _parallel_text(panel: Parallel, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    """Returns the lines of the best runs, and what the ends of each axis are."""
    order = np.argsort(-panel.goodness, kind="stable")[:BEST].tolist()
    names = [str(number) for number in range(1, len(panel.axes) + 1)]
    at = np.arange(len(names), dtype=np.float64)
    lines = [Line(panel.names[run], at, panel.shares[run]) for run in order]
    drawn = Lines(Axis("axis", names=tuple(names)), Axis("share of the axis", limits=(0.0, 1.0)), lines)
    key = [f"the best {BEST} of {len(panel.names)} are drawn"] if len(panel.names) > BEST else []
    for number, axis in enumerate(panel.axes, start=1):
        low, high = axis.ends
        span = low if low == high else f"{low} to {high}"
        key += textwrap.wrap(f"{number} {axis.label}: {span}", width, subsequent_indent="  ")
    return [*_lines_text(drawn, width=width, rows=rows, ascii_only=ascii_only), *_dim(key)]


def _pictures_text(panel: Pictures, *, width: int) -> list[list[Span]]:
    """Returns the captions of the pictures, which a file shows."""
    found = []
    for number, (row, caption) in enumerate(zip(panel.rows, panel.captions, strict=True)):
        text = f"row {row}: {', '.join(caption)}"
        wrong = number in panel.wrong
        found += [[(line, "red" if wrong else None)] for line in textwrap.wrap(text, width, subsequent_indent="  ")]
    return [list[Span](line) for line in found]


def _grid_text(panel: Grid, *, width: int, ascii_only: bool) -> list[list[Span]]:
    """Returns the heat map as cells with numbers on coloured backgrounds.

    If the numbers do not fit, only the shades are drawn. Names that do not fit above the columns are numbered, with a
    key below, or beside the rows if these have the same names.
    """
    names, labels = list(panel.rows.names or ()), list(panel.columns.names or ())
    texts = [list(row) for row in panel.texts]
    for row, column in panel.best:
        texts[row][column] += "*"
    widest = max([columns_of(text) for row in texts for text in row], default=1)
    most = max(12, min(width // 3, width - 2 - (widest + 2) * len(labels)))  # columns for the names of the rows
    most = min(most, max(4, width - 1 - len(labels)))
    gutter = min(max([columns_of(panel.rows.label), *map(columns_of, names)], default=1), most)
    room = (width - gutter - 1) // max(1, len(labels))
    size = min(room, max([widest, *map(columns_of, labels)]) + 2)
    with_texts = size > widest
    size = size if with_texts else max(1, min(room, 4))
    ellipsis = "~" if ascii_only else "…"
    heads = shorten_apart(labels, size - 1, ellipsis=ellipsis) if size > 6 else None
    if max(map(columns_of, labels), default=0) < size:
        heads = labels
    shared = heads is None and names == labels
    short = [shorten_middle(name, gutter, ellipsis=ellipsis) for name in names]
    key: list[str] = []
    if heads is None:
        key = [] if shared else [f"{number} {label}" for number, label in enumerate(labels, start=1)]
        heads = _heads([str(number) for number in range(1, len(labels) + 1)], size)
    if shared or len(set(short)) < len(set(names)):
        digits = len(str(len(names)))
        short = [
            f"{shorten_middle(name, gutter - digits - 1, ellipsis=ellipsis)} {number:>{digits}}"
            for number, name in enumerate(names, start=1)
        ]
        if len({text[:-digits] for text in short}) < len(set(names)):  # their beginnings and ends are the same
            key += [f"{number} {name}" for number, name in enumerate(names, start=1)]
    indent = " " * (gutter + 1)
    above, side = indent + shorten_middle(panel.columns.label, width - gutter - 1, ellipsis=ellipsis), ""
    if columns_of(panel.rows.label) <= gutter:
        side = panel.rows.label
    else:
        above = shorten_middle(f"down: {panel.rows.label}; across: {panel.columns.label}", width, ellipsis=ellipsis)
    lines: list[list[Span]] = [[(above, "dim")]]
    side = pad_label(side, gutter)
    lines.append([(f"{side} ", "dim"), ("".join(pad_label(head, size, ">") for head in heads), "dim")])
    shades = ASCII_SHADES if ascii_only else SHADES
    for name, cells, colours in zip(short, texts, panel.shaded.tolist(), strict=True):
        line: list[Span] = [(f"{pad_label(name, gutter, '>')} ", "dim")]
        for text, share in zip(cells, colours, strict=True):
            colour = shade(share) if share == share else None
            if with_texts:
                line.append((f"{pad_label(text, size - 1, '>')} ", f"{ink(colour)} on {colour}" if colour else "dim"))
            else:
                mark = shades[min(len(shades) - 1, int(share * len(shades)))] if colour else "x"
                line.append((mark * size, colour))
        lines.append(line)
    best = "; * the best" if panel.best and with_texts else ""
    scale = panel.scale if with_texts else f"{panel.scale}: from '{shades[0]}' (low) to '{shades[-1]}' (high)"
    notes = [f"{indent}{part}" for part in textwrap.wrap(f"{scale}{best}", max(20, width - gutter - 1))]
    notes += _side_by_side(key, width=width, ellipsis=ellipsis)
    return lines + _dim([note[:width] for note in notes])


def _dim(texts: Sequence[str]) -> list[list[Span]]:
    return [[(text, "dim")] for text in texts]


def _heads(texts: Sequence[str], size: int) -> list[str]:
    """Returns the headings of columns of `size` characters: only every second, third, … if they would touch."""
    step = next(n for n in range(1, 10) if n * size > max(map(len, texts), default=0))
    return [text if number % step == 0 else "" for number, text in enumerate(texts)] if size > 1 else [""] * len(texts)


def _side_by_side(entries: Sequence[str], *, width: int, ellipsis: str) -> list[str]:
    """Returns entries in as many columns as fit the width; entries that are too long are shortened in the middle."""
    short = [shorten_middle(entry, width - 2, ellipsis=ellipsis) for entry in entries]
    each = max(map(columns_of, short), default=1) + 2
    across = max(1, width // each)
    rows = [short[start : start + across] for start in range(0, len(short), across)]
    return ["".join(pad_label(entry, each) for entry in row).rstrip() for row in rows]


def _bars_text(panel: Bars, *, width: int, ascii_only: bool) -> list[list[Span]]:
    ellipsis = "~" if ascii_only else "…"
    gutter = min(max(map(columns_of, panel.names), default=0), 2 * width // 5)
    room = max(4, width - gutter - 3 - max(map(columns_of, panel.texts), default=0))
    longest = max([float(value) for value in panel.values if value > 0], default=1.0)
    lines: list[list[Span]] = []
    for name, value, text in zip(panel.names, panel.values.tolist(), panel.texts, strict=True):
        eighths = round(max(value, 0.0) / longest * room * 8)
        bar = "#" * round(eighths / 8) if ascii_only else "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        style = "dim" if name in panel.plain else TERMINAL[0]
        side = pad_label(shorten_middle(name, gutter, ellipsis=ellipsis), gutter, ">")
        lines.append([(f"{side}  ", None), (bar, style), (f" {text}", None)])
    return [*lines, [(f"{'':{gutter}}  {panel.label}"[:width], "dim")]]


def _histogram_text(panel: Histogram, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    counts = panel.counts.tolist()
    highest = max([1, *counts])
    x_scale = AxisScale(float(panel.edges[0]), float(panel.edges[-1]), panel.x.log)
    y_scale, y = AxisScale(0.0, float(highest)), Axis(panel.label, integer=True)
    frame = _frame_around(panel.x, y, x_scale, y_scale, width=width, rows=rows, ascii_only=ascii_only)
    points = x_scale.at((np.arange(frame.columns) + 0.5) / frame.columns)
    bins = np.clip(np.searchsorted(panel.edges, points, side="right") - 1, 0, len(counts) - 1)
    body: list[list[Span]] = []
    for row in range(rows):
        line: list[Span] = []
        for number in bins.tolist():
            full = counts[number] / highest * rows - (rows - 1 - row)
            level = min(8, max(0, round(full * 8)))
            level = max(level, 1) if counts[number] and row == rows - 1 else level
            mark = ("#" if level >= 4 or (level and row == rows - 1) else " ") if ascii_only else BLOCKS[level]
            line.append((mark, TERMINAL[0] if mark != " " else None))
        body.append(_merge_spans(line))
    indent = " " * (frame.gutter + 2)
    marks = textwrap.wrap(
        "  ".join(f"{name} {in_few_digits(value)}" for name, value in panel.marks), width - len(indent)
    )
    return _add_axes(frame, body) + _dim([f"{indent}{line}" for line in marks])


def _field_text(panel: Field, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    """Returns each class's region in its own shade, with the data's rows as marks."""
    regions = ASCII_REGIONS if ascii_only else REGIONS
    x_scale, y_scale = AxisScale(*panel.x_range), AxisScale(*panel.y_range)
    frame = _frame_around(panel.x, panel.y, x_scale, y_scale, width=width, rows=rows, ascii_only=ascii_only)
    m = len(panel.found)
    across = ((np.arange(frame.columns) + 0.5) / frame.columns * m).astype(int)
    down = ((np.arange(rows)[::-1] + 0.5) / rows * m).astype(int)
    many = len(panel.names) > min(len(regions), len(TERMINAL))
    marks = LETTERS if many else [_mark(number) for number in range(len(panel.names))]
    regions = LETTERS if many else regions
    cells: list[list[Span]] = [
        [(regions[c % len(regions)], f"dim {TERMINAL[c % len(TERMINAL)]}") for c in panel.found[row][across].tolist()]
        for row in down.tolist()
    ]
    for _, xs, ys, classes in panel.points:
        columns = np.nan_to_num(x_scale.share(xs) * (frame.columns - 1), nan=-1).round().astype(int)
        lines = np.nan_to_num((1 - y_scale.share(ys)) * (rows - 1), nan=-1).round().astype(int)
        for column, row, c in zip(columns.tolist(), lines.tolist(), classes.tolist(), strict=True):
            if 0 <= column < frame.columns and 0 <= row < rows:
                cells[row][column] = (marks[c % len(marks)], f"bold {TERMINAL[c % len(TERMINAL)]}")
    samples = [marks[c % len(marks)] + ("" if many else regions[c] * 2) for c in range(len(panel.names))]
    entries = [
        (sample, TERMINAL[c % len(TERMINAL)], name)
        for c, (sample, name) in enumerate(zip(samples, panel.names, strict=True))
    ]
    key = _wrapped_legend(entries, width=width, ascii_only=ascii_only)
    return [*_add_axes(frame, [_merge_spans(line) for line in cells]), *key]


def _mark(number: int) -> str:
    return ASCII_MARKS[(number + 1) % len(ASCII_MARKS)]  # o, +, x, …


def _lines_text(panel: Lines, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    """Returns the panel as lines of text, none wider than `width`. rows: the height without the axes."""
    x_scale = AxisScale.over([*(line.x for line in panel.lines), np.array([e.x for e in panel.edges])], panel.x)
    heights = [v for line in panel.lines for v in (line.y, line.low, line.high) if v is not None]
    y_scale = AxisScale.over(heights, panel.y)
    frame = _frame_around(panel.x, panel.y, x_scale, y_scale, width=width, rows=rows, ascii_only=ascii_only)
    cells: Cells = {}
    named = [line for line in panel.lines if not line.faint]
    for line in (line for line in panel.lines if line.faint):
        _add_marks(cells, line, frame, number=None, mark=ASCII_FAINT if ascii_only else FAINT)
    if len(named) <= BANDS:
        for number, line in enumerate(named):
            _add_band(cells, line, frame, number)
    for number, line in enumerate(named):
        if line.joined:
            _add_line(cells, with_corners(thinned(line, frame.columns * frame.charset.dots_x)), frame, number)
        else:
            mark = ASCII_MARKS[number % len(ASCII_MARKS)] if ascii_only else DOT
            _add_marks(cells, line, frame, number=number, mark=mark)
    for edge in panel.edges:
        column = _grid_points(frame, np.array([edge.x]), np.array([y_scale.high]), dots_x=1, dots_y=1)[0]
        if column is not None:
            cells[0 if edge.high else frame.rows - 1, column[0]] = (0, ASCII_LOST if ascii_only else LOST, None)
    body = [_row_text(cells, row, frame) for row in range(frame.rows)]
    lines = _add_axes(frame, body)
    if panel.title:
        lines.insert(0, [(shorten_middle(panel.title, width), "bold")])
    return lines + _legend_text(named, width=width, ascii_only=ascii_only)


def _grid_points(frame: Frame, x: Values, y: Values, *, dots_x: int, dots_y: int) -> list[tuple[int, int] | None]:
    """Returns the positions of points on a grid of dots, (0, 0) at the top left.

    None marks a point that is not finite. Points beyond the axes lie just outside the grid.
    """
    shares = np.clip(frame.x_scale.share(x), -0.5, 1.5), np.clip(frame.y_scale.share(y), -0.5, 1.5)
    across = shares[0] * (frame.columns * dots_x - 1)
    down = (1 - shares[1]) * (frame.rows * dots_y - 1)
    inside = np.isfinite(across) & np.isfinite(down)
    return [
        (round(a), round(b)) if good else None
        for a, b, good in zip(across.tolist(), down.tolist(), inside.tolist(), strict=True)
    ]


def _add_band(cells: Cells, line: Line, frame: Frame, number: int) -> None:
    if line.low is None or line.high is None:
        return
    mark = ASCII_BAND if frame.charset is ASCII else BAND
    if not line.joined or line.bars:
        columns: Values = line.x
        low, high = line.low, line.high
    else:
        order = np.argsort(line.x)
        columns = frame.x_scale.at((np.arange(frame.columns) + 0.5) / frame.columns)
        columns = columns[(columns >= line.x.min()) & (columns <= line.x.max())] if len(line.x) else columns[:0]
        low, high = (np.interp(columns, line.x[order], edge[order]) for edge in (line.low, line.high))
    edges = [_grid_points(frame, columns, edge, dots_x=1, dots_y=1) for edge in (low, high)]
    for bottom, top in zip(*edges, strict=True):
        if bottom is not None and top is not None:
            for row in range(max(0, top[1]), min(frame.rows - 1, bottom[1]) + 1):
                cells.setdefault((row, top[0]), (0, mark, number))


def _add_marks(cells: Cells, line: Line, frame: Frame, *, number: int | None, mark: str) -> None:
    for point in _grid_points(frame, line.x, line.y, dots_x=1, dots_y=1):
        if point is not None and 0 <= point[0] < frame.columns:
            beyond = None if 0 <= point[1] < frame.rows else ("v^" if frame.charset is ASCII else "▼▲")[point[1] < 0]
            cells[min(frame.rows - 1, max(0, point[1])), point[0]] = (0, beyond or mark, number)


def _add_line(cells: Cells, line: Line, frame: Frame, number: int) -> None:
    charset = frame.charset
    points = _grid_points(frame, line.x, line.y, dots_x=charset.dots_x, dots_y=charset.dots_y)
    for x, y in dots_of(points, (1,) if charset is ASCII else PATTERNS[number % len(PATTERNS)]):
        cell = (y // charset.dots_y, x // charset.dots_x)
        if not (0 <= cell[0] < frame.rows and 0 <= cell[1] < frame.columns):
            continue
        bits, mark, owner = cells.get(cell, (0, None, number))
        bit = DOTS[y % charset.dots_y][x % charset.dots_x]
        if mark is not None:
            bits, owner = 0, number
        cells[cell] = (
            bits | bit,
            None,
            number if (cell[1] + number) % 2 else owner,
        )  # cells shared by several lines alternate between them


def _row_text(cells: Cells, row: int, frame: Frame) -> list[Span]:
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
    return _merge_spans(drawn)


def _merge_spans(spans: list[Span]) -> list[Span]:
    """Returns the spans with neighbours of the same style merged and trailing blanks removed."""
    while spans and spans[-1] == (" ", None):
        spans.pop()
    return [("".join(text for text, _ in group), style) for style, group in groupby(spans, key=lambda span: span[1])]


def _legend_text(lines: Sequence[Line], *, width: int, ascii_only: bool) -> list[list[Span]]:
    """Returns the legend, wrapped to `width`. Lines without a name are left out."""
    entries = [
        (_sample(line, number, ascii_only=ascii_only), TERMINAL[number % len(TERMINAL)], line.name)
        for number, line in enumerate(lines)
        if line.name
    ]
    return _wrapped_legend(entries, width=width, ascii_only=ascii_only)


def _wrapped_legend(entries: Sequence[tuple[str, str, str]], *, width: int, ascii_only: bool) -> list[list[Span]]:
    """Returns (sample, style, name) entries in columns of equal width; long names are shortened in the middle."""
    sample = max((len(entry[0]) for entry in entries), default=0)
    room = width - sample - 3  # 3: two blanks before the sample, one after it
    names = [shorten_middle(name, room, ellipsis="~" if ascii_only else "…") for _, _, name in entries]
    each = sample + 3 + max(map(columns_of, names), default=0)
    across = max(1, width // each)
    found: list[list[Span]] = []
    for number, ((mark, style, _), name) in enumerate(zip(entries, names, strict=True)):
        if number % across == 0:
            found.append([])
        last = number % across == across - 1 or number == len(entries) - 1
        text = name if last else pad_label(name, each - sample - 3)
        found[-1] += [("  ", None), (f"{mark:>{sample}}", style), (f" {text}", None)]
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


def _frame_around(
    x: Axis, y: Axis, x_scale: AxisScale, y_scale: AxisScale, *, width: int, rows: int, ascii_only: bool
) -> Frame:
    """Returns the axes of a drawing with a total width of `width` characters."""
    ticks = _ticks_on(y_scale, y, max(2, rows // TICK_ROWS + 1))
    labels: dict[int, str] = {}
    for tick, text in zip(ticks, tick_texts(ticks), strict=True):
        labels.setdefault(_row_index(y_scale, tick, rows), text[:MAX_LABEL])
    gutter = max(map(len, labels.values()), default=0)
    charset = ASCII if ascii_only else UNICODE
    return Frame(x, y, x_scale, y_scale, rows, max(8, width - gutter - 2), gutter, labels, charset)


def _ticks_on(scale: AxisScale, axis: Axis, most: int) -> list[float]:
    """Returns round tick values; only integers if the axis is `integer`."""
    ticks = scale.ticks(most)
    return whole_ticks(ticks, axis) if axis.integer else ticks


def _row_index(scale: AxisScale, value: float, rows: int) -> int:
    return min(rows - 1, max(0, round((1 - float(scale.share(value))) * (rows - 1))))  # type: ignore[arg-type]


def _add_axes(frame: Frame, body: list[list[Span]]) -> list[list[Span]]:
    """Returns the drawing with the y axis on its left and the x axis below it."""
    charset = frame.charset
    label = shorten_middle(frame.y.label, frame.columns, ellipsis=charset.ellipsis)
    lines: list[list[Span]] = [[(f"{'':{frame.gutter}}  {label}", "dim")]]
    for row, spans in enumerate(body):
        tick = frame.labels.get(row)
        side = f"{tick or '':>{frame.gutter}} {charset.axis if tick is None else charset.tick}"
        lines.append([(side, "dim"), *spans])
    return lines + _x_axis_text(frame)


def _x_axis_text(frame: Frame) -> list[list[Span]]:
    """Returns the x axis, its tick labels, which never touch, and its title.

    Names that do not fit side by side are numbered, with a key below.
    """
    scale, columns = frame.x_scale, frame.columns
    key: list[str] = []
    if frame.x.names is None:
        ticks, texts = _x_ticks(frame)
    else:
        ticks, texts = [float(index) for index in range(len(frame.x.names))], list(frame.x.names)
        room = columns // max(1, len(texts)) - 1
        if max(map(columns_of, texts), default=0) > room:
            short = shorten_apart(texts, room, ellipsis=frame.charset.ellipsis) if room >= 8 else None
            numbers = [str(number) for number in range(1, len(texts) + 1)]
            step = -(-len(texts) * (len(numbers[-1]) + 1) // columns)  # of those that have room for their numbers
            key = [f"{number} {name}" for number, name in zip(numbers, texts, strict=True)] if short is None else []
            ticks, texts, key = ticks[::step], short or numbers[::step], key[::step]
    floor, labels = [frame.charset.floor] * columns, ""
    for tick, text in zip(ticks, texts, strict=True):
        column = min(columns - 1, max(0, round(float(scale.share(tick)) * (columns - 1))))  # type: ignore[arg-type]
        start = max(0, min(column - columns_of(text) // 2, columns - columns_of(text)))
        if start >= columns_of(labels) + bool(labels) and start + columns_of(text) <= columns:
            labels = f"{pad_label(labels, start)}{text}"
            floor[column] = frame.charset.mark
    label = shorten_middle(frame.x.label, columns, ellipsis=frame.charset.ellipsis)
    indent = " " * (frame.gutter + 1)
    keyed = _side_by_side(key, width=frame.gutter + 2 + columns, ellipsis=frame.charset.ellipsis)
    return [
        [(f"{indent}{frame.charset.corner}{''.join(floor)}", "dim")],
        [(f"{indent} {labels}", "dim")],
        [(f"{indent} {' ' * ((columns - columns_of(label)) // 2)}{label}", "dim")],
        *_dim(keyed),
    ]


def _x_ticks(frame: Frame) -> tuple[list[float], list[str]]:
    """Returns the ticks of a numeric x axis: those that were swept if there are few, otherwise round values."""
    swept = sorted(set(frame.x.ticks))
    if 1 <= len(swept) <= MOST_SWEPT:
        ticks, texts = with_absent(swept, frame.x)
        if sum(map(len, texts)) + len(texts) <= frame.columns:
            return ticks, texts
    return with_absent(_ticks_on(frame.x_scale, frame.x, max(2, frame.columns // TICK_COLUMNS)), frame.x)
