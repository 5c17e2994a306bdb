"""A picture as lines of text for a terminal, in pieces with styles, so that it reads without colours too."""

import textwrap

import numpy as np

from ch12cli.plots.colours import TERMINAL, ink, shade
from ch12cli.plots.frame import frame_around, framed
from ch12cli.plots.plot import Axis, Bars, Field, Grid, Histogram, Lines, Panel, Picture, Span
from ch12cli.plots.scale import Scale
from ch12cli.plots.terminal_lines import draw_lines, joined
from ch12cli.plots.text_curve import ASCII_MARKS

MIN_WIDTH, MIN_ROWS = 40, 6  # characters, and lines of a drawing without its axes
MAX_WIDTH, MAX_ROWS = 120, 20
SHADES, ASCII_SHADES = " ░▒▓█", " .:-=+*#%@"
REGIONS, ASCII_REGIONS = "·░ ▒:▓", ". :-~^"  # of classes
BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = str.maketrans({"±": "+-", "×": "x", "…": "...", "²": "2", "–": "-", "→": "->"})


def draw(picture: Picture, *, width: int, height: int, ascii_only: bool = False) -> list[list[Span]]:
    """The picture in lines, none wider than `width` (40 at least). height: lines that a panel may take, about."""
    width = min(MAX_WIDTH, max(MIN_WIDTH, width))
    rows = min(MAX_ROWS, max(MIN_ROWS, height - 6))  # 6: title, axes, legend
    lines: list[list[Span]] = [[(text, "bold")] for text in textwrap.wrap(picture.title, width)]
    for panel in picture.panels:
        lines += [[], *draw_panel(panel, width=width, rows=rows, ascii_only=ascii_only)]
    notes: list[list[Span]] = [[(text, "dim")] for note in picture.notes for text in textwrap.wrap(note, width)]
    lines += [[], *notes] if notes else []
    if ascii_only:
        lines = [[(text.translate(PLAIN), style) for text, style in line] for line in lines]
    return lines


def draw_panel(panel: Panel, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    if isinstance(panel, Lines):
        return draw_lines(panel, width=width, rows=rows, ascii_only=ascii_only)
    if isinstance(panel, Grid):
        return draw_grid(panel, width=width, ascii_only=ascii_only)
    if isinstance(panel, Bars):
        return draw_bars(panel, width=width, ascii_only=ascii_only)
    if isinstance(panel, Histogram):
        return draw_histogram(panel, width=width, rows=rows, ascii_only=ascii_only)
    return draw_field(panel, width=width, rows=rows, ascii_only=ascii_only)


def draw_grid(panel: Grid, *, width: int, ascii_only: bool) -> list[list[Span]]:
    """The cells with their numbers on their colours; where there is no room for numbers, shades alone."""
    names, labels = panel.rows.names or (), panel.columns.names or ()
    texts = [list(row) for row in panel.texts]
    for row, column in panel.best:
        texts[row][column] += "*"
    gutter = min(max([len(panel.rows.label), *map(len, names)]), width // 3)
    room = (width - gutter - 1) // max(1, len(labels))
    widest = max([*(len(text) for row in texts for text in row), *map(len, labels)], default=1)
    size = min(room, widest + 2)
    with_texts = size > max((len(text) for row in texts for text in row), default=0)
    size = size if with_texts else max(1, min(room, 4))
    head: list[Span] = [(f"{panel.rows.label[:gutter]:<{gutter}} ", "dim")]
    lines: list[list[Span]] = [[(" " * (gutter + 1) + panel.columns.label[: width - gutter - 1], "dim")]]
    lines.append([*head, ("".join(f"{label[: size - 1]:>{size}}" for label in labels), "dim")])
    shades = ASCII_SHADES if ascii_only else SHADES
    for name, cells, colours in zip(names, texts, panel.shaded.tolist(), strict=True):
        line: list[Span] = [(f"{name[:gutter]:>{gutter}} ", "dim")]
        for text, share in zip(cells, colours, strict=True):
            colour = shade(share) if share == share else None
            if with_texts:
                line.append((f"{text:>{size - 1}} ", f"{ink(colour)} on {colour}" if colour else "dim"))
            else:
                mark = shades[min(len(shades) - 1, int(share * len(shades)))] if colour else "x"
                line.append((mark * size, colour))
        lines.append(line)
    best = "; * the best" if panel.best and with_texts else ""
    scale = panel.scale if with_texts else f"{panel.scale}: from '{shades[0]}' (low) to '{shades[-1]}' (high)"
    return [*lines, [(f"{'':{gutter}} {scale}{best}"[:width], "dim")]]


def draw_bars(panel: Bars, *, width: int, ascii_only: bool) -> list[list[Span]]:
    gutter = min(max(map(len, panel.names), default=0), width // 3)
    room = max(4, width - gutter - 3 - max(map(len, panel.texts), default=0))
    longest = max([float(value) for value in panel.values if value > 0], default=1.0)
    lines: list[list[Span]] = []
    for name, value, text in zip(panel.names, panel.values.tolist(), panel.texts, strict=True):
        eighths = round(max(value, 0.0) / longest * room * 8)
        bar = "#" * round(eighths / 8) if ascii_only else "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        style = "dim" if name in panel.plain else TERMINAL[0]
        lines.append([(f"{name[:gutter]:>{gutter}}  ", None), (bar, style), (f" {text}", None)])
    return [*lines, [(f"{'':{gutter}}  {panel.label}"[:width], "dim")]]


def draw_histogram(panel: Histogram, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    counts = panel.counts.tolist()
    highest = max([1, *counts])
    x_scale = Scale(float(panel.edges[0]), float(panel.edges[-1]), panel.x.log)
    y_scale, y = Scale(0.0, float(highest)), Axis(panel.label, whole=True)
    frame = frame_around(panel.x, y, x_scale, y_scale, width=width, rows=rows, ascii_only=ascii_only)
    places = x_scale.at((np.arange(frame.columns) + 0.5) / frame.columns)
    bins = np.clip(np.searchsorted(panel.edges, places, side="right") - 1, 0, len(counts) - 1)
    body: list[list[Span]] = []
    for row in range(rows):
        line: list[Span] = []
        for number in bins.tolist():
            full = counts[number] / highest * rows - (rows - 1 - row)
            level = min(8, max(0, round(full * 8)))
            level = max(level, 1) if counts[number] and row == rows - 1 else level
            mark = ("#" if level >= 4 or (level and row == rows - 1) else " ") if ascii_only else BLOCKS[level]
            line.append((mark, TERMINAL[0] if mark != " " else None))
        body.append(joined(line))
    marks = "  ".join(f"{name} {value:.4g}" for name, value in panel.marks)
    return [*framed(frame, body), [(f"{'':{frame.gutter}}  {marks}"[:width], None)]]


def draw_field(panel: Field, *, width: int, rows: int, ascii_only: bool) -> list[list[Span]]:
    """Each class's region in its own shade, and the rows of the data on it as marks."""
    regions = ASCII_REGIONS if ascii_only else REGIONS
    x_scale, y_scale = Scale(*panel.x_range), Scale(*panel.y_range)
    frame = frame_around(panel.x, panel.y, x_scale, y_scale, width=width, rows=rows, ascii_only=ascii_only)
    m = len(panel.found)
    across = ((np.arange(frame.columns) + 0.5) / frame.columns * m).astype(int)
    down = ((np.arange(rows)[::-1] + 0.5) / rows * m).astype(int)
    cells: list[list[Span]] = [
        [(regions[c % len(regions)], f"dim {TERMINAL[c % len(TERMINAL)]}") for c in panel.found[row][across].tolist()]
        for row in down.tolist()
    ]
    for _, xs, ys, classes in panel.points:
        columns = np.nan_to_num(x_scale.share(xs) * (frame.columns - 1), nan=-1).round().astype(int)
        lines = np.nan_to_num((1 - y_scale.share(ys)) * (rows - 1), nan=-1).round().astype(int)
        for column, row, c in zip(columns.tolist(), lines.tolist(), classes.tolist(), strict=True):
            if 0 <= column < frame.columns and 0 <= row < rows:
                cells[row][column] = (_mark(c), f"bold {TERMINAL[c % len(TERMINAL)]}")
    key: list[Span] = []
    for c, name in enumerate(panel.names):
        style = TERMINAL[c % len(TERMINAL)]
        key += [("  ", None), (_mark(c) + regions[c % len(regions)] * 2, style), (f" {name[:20]}", None)]
    return [*framed(frame, [joined(line) for line in cells]), key]


def _mark(number: int) -> str:
    return ASCII_MARKS[(number + 1) % len(ASCII_MARKS)]  # o, +, x, …
