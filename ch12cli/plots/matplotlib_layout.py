"""Places panels, title, legend and notes in a figure, which is as large as their texts need."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ch12cli.errors import InputError
from ch12cli.plots.figure_style import PlotStyle
from ch12cli.plots.labels import fit_label, shorten_apart, wrap_label
from ch12cli.plots.plot import Axis
from ch12cli.plots.scale import MOST_SWEPT, AxisScale, whole_ticks, with_absent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 72.0  # in an inch
LINE = 1.25  # height of a line of text, in font sizes
PAD, GAP = 0.12, 0.3  # inches around the figure, and between panels
MOST_ACROSS = 3  # panels in a row
LONGEST = 2.4  # inches of a label beside an axis
SMALLEST = 0.6  # inches of an axis
GREY = "#707070"


@lru_cache(maxsize=16384)
def text_width(text: str, font: float, *, bold: bool = False) -> float:
    """Returns the width of a line of text in inches. font: points.

    Wide letters, as of Chinese, are as wide as high, though no installed font may have them: browsers draw SVG anew.
    """
    wide = 0 if text.isascii() else sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    if wide:
        text = "".join(letter for letter in text if unicodedata.east_asian_width(letter) not in "WF")
    from matplotlib.font_manager import FontProperties

    properties = FontProperties(size=font, weight="bold" if bold else "normal")
    width: float = _renderer().get_text_width_height_descent(text, properties, ismath=False)[0]
    return (width + wide * font) / POINTS


@lru_cache(maxsize=1)
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(8, 8, POINTS)  # type: ignore[no-untyped-call]


def fit_text(text: str, room: float, font: float, *, lines: int = 2, bold: bool = False) -> str:
    """Returns the text wrapped to a number of inches, and shortened in the middle where it is still too long."""
    return "\n".join(fit_label(text, room, lines=lines, measure=lambda part: text_width(part, font, bold=bold)))


class AxisNames(NamedTuple):
    """How names are written along an axis. key: what numbers stand for, if the names are numbered."""

    texts: list[str]
    rotation: int = 0
    key: tuple[str, ...] = ()


def names_across(names: Sequence[str], room: float, font: float, *, longest: float = LONGEST) -> AxisNames:
    """Returns the names below an axis with `room` inches for each: side by side, wrapped, upright or numbered."""

    def measure(text: str) -> float:
        return text_width(text, font)

    inside = room - 0.4 * font / POINTS
    wrapped = [wrap_label(name, inside, lines=3, measure=measure) for name in names]
    if all(wrapped):
        return AxisNames(["\n".join(lines or ()) for lines in wrapped])
    short = shorten_apart(names, longest, measure=measure)
    if short is None:
        return AxisNames([str(number) for number in range(1, len(names) + 1)], key=tuple(names))
    height = LINE * font / POINTS
    return AxisNames(short, 45 if room > 1.5 * height else 90)


def names_beside(names: Sequence[str], room: float, font: float, *, longest: float = LONGEST) -> AxisNames:
    """Returns the names beside an axis with `room` inches of height for each: whole, wrapped, shortened or numbered."""

    def measure(text: str) -> float:
        return text_width(text, font)

    lines = max(1, min(3, int(room / (LINE * font / POINTS))))
    wrapped = ["\n".join(fit_label(name, longest, lines=lines, measure=measure)) for name in names]
    if len(set(wrapped)) == len(set(names)):
        return AxisNames(wrapped)
    if short := shorten_apart(names, longest, measure=measure):
        return AxisNames(short)
    return AxisNames([str(number) for number in range(1, len(names) + 1)], key=tuple(names))


def fitting_ticks(
    scale: AxisScale, axis: Axis, room: float, sizes: Callable[[str], float]
) -> tuple[list[float], list[str]]:
    """Returns the tick values and texts that fit an axis of `room` inches.

    sizes: the inches that a text takes along the axis.
    """
    swept = sorted(set(axis.ticks))
    candidates = [swept] if 1 <= len(swept) <= MOST_SWEPT else []
    candidates += [scale.ticks(most) for most in (7, 6, 5, 4, 3, 2)]
    if axis.integer:
        candidates = [whole_ticks(ticks, axis) for ticks in candidates]
    for ticks in candidates:
        ticks, texts = with_absent(ticks, axis)
        shares = [float(scale.share(tick)) * room for tick in ticks]  # type: ignore[arg-type]
        ends = [(at - sizes(text) / 2, at + sizes(text) / 2) for at, text in zip(shares, texts, strict=True)]
        if ticks and all(a[1] < b[0] for a, b in pairwise(ends)):
            return list(ticks), texts
    return with_absent(candidates[-1][:1], axis)


def arrange(
    figure: "Figure",
    panels: Sequence[tuple["Axes", float, float]],
    *,
    title: str,
    notes: Sequence[str],
    style: PlotStyle,
) -> None:
    """Places the panels, each with the width and height of its axes in inches, and the texts around them.

    Title, legend and notes are wrapped to the figure's width.
    """
    across = len(panels) if len(panels) <= MOST_ACROSS else MOST_ACROSS
    rows = [list(panels[start : start + across]) for start in range(0, len(panels), across)]
    margins = _margins(figure, panels)
    lefts = [max(margins[id(row[c][0])][0] for row in rows if c < len(row)) for c in range(across)]
    rights = [max(margins[id(row[c][0])][1] for row in rows if c < len(row)) for c in range(across)]
    widths = [max(row[c][1] for row in rows if c < len(row)) for c in range(across)]
    bottoms = [max(margins[id(axes)][2] for axes, _, _ in row) for row in rows]
    tops = [max(margins[id(axes)][3] for axes, _, _ in row) for row in rows]
    heights = [max(height for _, _, height in row) for row in rows]
    width = 2 * PAD + sum(lefts) + sum(rights) + sum(widths) + GAP * (across - 1)

    em = style.font / POINTS
    title_font, note_font = style.font + 2, max(6.0, style.font - 3)
    heading = fit_text(title, width - 2 * PAD, title_font, lines=9, bold=True) if title else ""
    above = (LINE * (title_font / POINTS) * (heading.count("\n") + 1) + 0.5 * em) if heading else 0.0
    noted = "\n".join(fit_text(note, width - 2 * PAD, note_font, lines=99) for note in notes)
    below = LINE * (note_font / POINTS) * (noted.count("\n") + 1) + 0.4 * em if noted else 0.0
    legend = _add_legend(figure, width - 2 * PAD, style)
    keyed = _height_of(figure, legend) + 0.5 * em if legend is not None else 0.0
    body = sum(bottoms) + sum(tops) + sum(heights) + GAP * (len(rows) - 1)
    height = 2 * PAD + above + body + keyed + below
    figure.set_size_inches(width, height)
    if heading:
        place: dict[str, Any] = {
            "ha": "center",
            "va": "top",
            "fontsize": title_font,
            "fontweight": "bold",
            "linespacing": LINE,
        }
        figure.text(0.5, 1 - PAD / height, heading, **place)
    if noted:
        place = {"ha": "center", "va": "bottom", "fontsize": note_font, "color": GREY, "linespacing": LINE}
        figure.text(0.5, PAD / height, noted, **place)
    if legend is not None:
        legend.set_bbox_to_anchor((0.5, (PAD + below) / height))
    y = height - PAD - above
    for number, row in enumerate(rows):
        y -= tops[number] + heights[number]
        x = PAD
        for column, (axes, w, h) in enumerate(row):
            x += lefts[column]
            axes.set_position((x / width, (y + heights[number] - h) / height, w / width, h / height))
            x += widths[column] + rights[column] + GAP
        y -= bottoms[number] + GAP


def _margins(figure: "Figure", panels: Sequence[tuple["Axes", float, float]]) -> dict[int, tuple[float, ...]]:
    """Returns the inches that the labels of each axes take: left, right, below and above it."""
    big = (max(w for _, w, _ in panels) + 8, max(h for _, _, h in panels) + 8)
    figure.set_size_inches(*big)
    for axes, w, h in panels:
        axes.set_position((4 / big[0], 4 / big[1], w / big[0], h / big[1]))
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    found = {}
    for axes, _, _ in panels:
        whole, inner = axes.get_tightbbox(renderer), axes.get_window_extent(renderer)
        assert whole is not None
        sides = (inner.x0 - whole.x0, whole.x1 - inner.x1, inner.y0 - whole.y0, whole.y1 - inner.y1)
        found[id(axes)] = tuple(max(0.0, side / figure.dpi) + 0.02 for side in sides)
    return found


def _add_legend(figure: "Figure", room: float, style: PlotStyle) -> Any:
    """Adds the common legend of all axes, in as many columns as fit `room` inches; None if nothing has a name."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named = {**dict(zip(labels, handles, strict=True)), **named}
    if not named:
        return None
    font = style.font - 1
    em = font / POINTS
    sample = 4.6 * em  # the sample of a line, and the space around a name
    names = [fit_text(name, room - sample - 0.2, font, lines=3) for name in named]
    widest = sample + max(text_width(line, font) for name in names for line in name.split("\n"))
    columns = max(1, min(len(names), int(room / widest)))
    columns = -(-len(names) // -(-len(names) // columns))  # rows of equal length
    options: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.5), "borderaxespad": 0, "borderpad": 0}
    if any(hasattr(handle, "get_sizes") for handle in named.values()):
        options["markerscale"] = 1.6  # points of a scatter plot are small beside letters
    return figure.legend(
        list(named.values()), names, ncols=columns, frameon=False, fontsize=font, columnspacing=1.6, **options
    )


def _height_of(figure: "Figure", artist: Any) -> float:
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    return float(artist.get_window_extent(renderer).height) / figure.dpi


def shrink(
    sizes: Sequence[tuple[float, float]], figure: "Figure", size: tuple[float, float]
) -> list[tuple[float, float]]:
    """Returns the sizes of the axes with which the figure would have a given size.

    Raises InputError if its labels alone need more.
    """
    now = figure.get_size_inches()
    across = min(len(sizes), MOST_ACROSS)
    down = -(-len(sizes) // across)
    wider, higher = (size[0] - now[0]) / across, (size[1] - now[1]) / down
    found = [(w + wider, h + higher) for w, h in sizes]
    if min(min(pair) for pair in found) < SMALLEST:
        least = [f"{SMALLEST * n + now[k] - max(s[k] for s in sizes) * n:.1f}" for k, n in ((0, across), (1, down))]
        raise InputError(f"--size {size[0]:g},{size[1]:g}: the labels need at least {','.join(least)} (inches)")
    return found
