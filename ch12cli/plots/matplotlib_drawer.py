"""Draws a plot with matplotlib as the content of a PDF, PNG or SVG file."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ch12cli.errors import InputError
from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.colours import LINES, ink, shade
from ch12cli.plots.figure_style import STYLES, FigureOptions, PlotStyle
from ch12cli.plots.labels import even_digits, in_few_digits, key_in_words, numbered
from ch12cli.plots.matplotlib_layout import (
    GREY,
    LINE,
    LONGEST,
    POINTS,
    AxisNames,
    arrange,
    fit_text,
    fitting_ticks,
    names_across,
    names_beside,
    shrink,
    text_width,
)
from ch12cli.plots.plot import (
    SERIES,
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
    thinned,
    with_corners,
)
from ch12cli.plots.scale import AxisScale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_VALUE = 1e300  # matplotlib fails on axes with larger values
CROWD = 400  # points from which they are small and transparent
MANY = 2000  # number of points from which they are rasterized in an SVG, and of a line after thinning
DODGE, MOST_DODGE = 0.015, 0.05  # shares of an axis between the error bars of two lines, and of the outermost ones
MARGIN = 0.04  # share of an axis beyond the first and the last value
FOREGROUNDS = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
FOREGROUND = "#010203"  # placeholder for the text colour in a themed plot
MARKERS = "os^DvPX*"
DASHES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))  # distinguishable without colour
FONTS = (  # the first has most letters; the others are asked for the rest, where they are installed
    *("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Hiragino Sans", "Yu Gothic"),
    *("Microsoft YaHei", "PingFang SC", "Arial Unicode MS", "Noto Sans Devanagari", "Noto Sans Thai"),
)
LEAST_LABEL = 0.11  # inches that the label of an axis may take for each point of its font, however short the axis
REGION_NAME = 0.25  # of the width of an axis, that the name of a region may take
MIN_FONT = 5.5  # points: the smallest readable size
MOST_WIDE, MOST_HIGH = 9.0, 9.0  # inches of a heat map on the screen
ACROSS = 6  # pictures beside each other
JUST = 0.03  # share of parallel axes beyond their ends
CELL = 0.9  # inches of a heat map's cell, at most, where names need it


def render(plot: Plot, form: str, *, themed: bool = False, options: FigureOptions | None = None) -> bytes:
    """Returns the plot as the content of a PDF, PNG or SVG file.

    form: `pdf`, `png` or `svg`. themed: draws without a background and with FOREGROUND for black, so that a page can
    set both colours. Raises InputError if matplotlib is not installed, or if the size is too small for the labels.
    """
    options = options or FigureOptions()
    with drawing(themed=themed, style=STYLES[options.style]):
        figure = figure_of(plot, options)
        content = io.BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
        figure.savefig(
            content, format=form, dpi=options.dpi, metadata=metadata.get(form, {"Software": None}), transparent=themed
        )
    return content.getvalue()


@contextmanager
def drawing(*, themed: bool = False, style: PlotStyle = STYLES["screen"]) -> Iterator[None]:
    """Sets matplotlib's defaults for the time of a drawing. Raises InputError if it is not installed."""
    try:
        import matplotlib
        from matplotlib import font_manager
    except ImportError as error:
        raise InputError(
            "matplotlib is not installed, which draws PDF, PNG and SVG: pip install 'ch12[plots]'; without -o, "
            "`ch12 plot` draws in the terminal"
        ) from error
    installed = {font.name for font in font_manager.fontManager.ttflist}
    choice: dict[Any, Any] = {
        "backend": "agg",
        "font.size": style.font,
        "font.family": [name for name in FONTS if name in installed] or ["sans-serif"],
        "axes.titlesize": style.font,
        "axes.labelsize": style.font,
        "xtick.labelsize": style.font - 1,
        "ytick.labelsize": style.font - 1,
        "xtick.major.pad": max(3.5, 0.47 * style.font),  # below half the height of a label of the y axis
        "axes.linewidth": 0.4 * style.line,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "text.parse_math": False,  # a name may hold dollar signs
        "svg.fonttype": "none",  # keep text as text: searchable and small
        "svg.hashsalt": "ch12",  # makes the output reproducible
        "pdf.fonttype": 42,  # text that can be searched and edited
    }
    if themed:
        choice |= dict.fromkeys((*FOREGROUNDS, "text.color"), FOREGROUND)
    with warnings.catch_warnings(), matplotlib.rc_context(dict(matplotlib.rcParamsDefault) | choice):
        warnings.simplefilter("ignore")  # about glyphs missing in the font, and about very large floats
        yield


def letters_without_font(text: str) -> str:
    """Returns the letters of a text that no font of a figure has, each once. They are drawn as boxes."""
    with drawing():
        import matplotlib
        from matplotlib import font_manager

        families = matplotlib.rcParams["font.family"]
        fonts = [font_manager.get_font(font_manager.findfont(family)) for family in families]
    letters = sorted({letter for letter in text if ord(letter) > 127 and letter.isprintable()})
    return "".join(letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in fonts))


def figure_of(plot: Plot, options: FigureOptions | None = None) -> "Figure":
    """Returns the plot as a figure of matplotlib; to be called inside `drawing`."""
    options = options or FigureOptions()
    style = STYLES[options.style]
    sizes = [_size_of(panel, style) for panel in plot.panels]
    figure = _figure_with(plot, sizes, style)
    for _ in range(3 if options.size else 0):  # the labels wrap anew, so that their sizes change
        assert options.size is not None
        sizes = shrink(sizes, figure, options.size)
        figure = _figure_with(plot, sizes, style)
    if options.size:
        figure.set_size_inches(*options.size)
    return figure


def _figure_with(plot: Plot, sizes: Sequence[tuple[float, float]], style: PlotStyle) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=100)
    FigureCanvasAgg(figure)
    drawn: list[tuple[Axes, float, float]] = []
    keys: list[str] = []
    for panel, (width, height) in zip(plot.panels, sizes, strict=True):
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8), label=str(len(drawn)))
        keys += [line for line in _draw_panel(axes, panel, width, height, style) if line not in keys]
        drawn.append((axes, width, height))
    about = () if style.captioned else (*plot.notes, *plot.legend)
    notes = [plain(note) for note in (*_key_note(keys), *about)]
    arrange(figure, drawn, title="" if style.captioned else plain(plot.title), notes=notes, style=style)
    return figure


def _key_note(keys: Sequence[str]) -> list[str]:
    return ["   ".join(keys)] if keys else []


def _size_of(panel: Panel, style: PlotStyle) -> tuple[float, float]:
    """Returns the width and height of a panel's axes in inches."""
    em = style.font / POINTS
    if isinstance(panel, Grid):
        return _size_of_grid(panel, style)
    if isinstance(panel, Bars):
        return style.width, max(0.4 * style.height, len(panel.names) * (2.1 if len(panel.names) < 20 else 1.5) * em)
    if isinstance(panel, Parallel):
        return max(style.width, 8.5 * em * (len(panel.axes) - 1)), 1.1 * style.height
    if isinstance(panel, Pictures):
        cells = _picture_cells(panel, style)
        return cells.side * cells.columns, cells.height * -(-len(panel.images) // cells.columns)
    names = panel.x.names if isinstance(panel, Lines) else None
    if names is not None:  # room for upright names
        return max(style.width, min(2.5 * style.width, LINE * em * len(names))), style.height
    return style.width, style.height


def _draw_panel(axes: "Axes", panel: Panel, width: float, height: float, style: PlotStyle) -> list[str]:
    """Draws a panel, and returns the key to numbers that stand for names."""
    if isinstance(panel, Lines):
        return _draw_lines(axes, panel, width, height, style)
    if isinstance(panel, Grid):
        return _draw_grid(axes, panel, width, height, style)
    if isinstance(panel, Bars):
        return _draw_bars(axes, panel, width, height, style)
    if isinstance(panel, Histogram):
        return _draw_histogram(axes, panel, width, height, style)
    if isinstance(panel, Parallel):
        return _draw_parallel(axes, panel, width, height, style)
    if isinstance(panel, Pictures):
        return _draw_pictures(axes, panel, width, height, style)
    return _draw_field(axes, panel, width, height, style)


def _draw_lines(axes: "Axes", panel: Lines, width: float, height: float, style: PlotStyle) -> list[str]:
    axes.grid(alpha=0.3)
    lines = [_clipped(line) for line in panel.lines]
    heights = [v for line in lines for v in (line.y, line.low, line.high) if v is not None]
    x_values = [*(line.x for line in lines), np.array([mark.x for mark in panel.edges])]
    scales = AxisScale.over(x_values, panel.x, margin=MARGIN), AxisScale.over(heights, panel.y, margin=MARGIN)
    _draw_edges(axes, panel, scales[0], width, style)
    _draw_faint([line for line in lines if line.faint], axes, panel.y, style)
    named = [line for line in lines if not line.faint]
    if panel.x.names is None:
        named = _side_by_side(named, scales[0])
    for number, line in enumerate(named):
        _draw_line(axes, with_corners(thinned(line, MANY)), number, panel.y, style, crowded=len(named) > 3)
    if panel.title:
        axes.set_title(fit_text(plain(panel.title), width, style.font))
    return label_axes(axes, (panel.x, panel.y), scales, (width, height), style)


def _side_by_side(lines: Sequence[Line], scale: AxisScale) -> list[Line]:
    """Returns the lines moved so far that error bars at the same value stand beside each other."""
    several = sum(line.bars and line.low is not None for line in lines) > 1
    step = min(DODGE, MOST_DODGE / max(1, len(lines) - 1)) if several else 0.0
    middle = (len(lines) - 1) / 2
    return [
        replace(line, x=scale.at(scale.share(line.x) + step * (number - middle))) if line.bars and several else line
        for number, line in enumerate(lines)
    ]


def _draw_faint(lines: Sequence[Line], axes: "Axes", y: Axis, style: PlotStyle) -> None:
    for line in lines:
        many = len(line.x) > MANY
        axes.plot(line.x, line.y, ".", color=GREY, alpha=0.35, markersize=2.5 * style.line, zorder=1, rasterized=many)
        _draw_beyond(axes, line, y, GREY, style)


def _draw_line(axes: "Axes", line: Line, number: int, y: Axis, style: PlotStyle, *, crowded: bool) -> None:
    colour, given = LINES[number % SERIES], line
    name = plain(line.name) or None
    dashes, thick = DASHES[number % len(DASHES)], style.line
    look: dict[str, Any] = {"color": colour, "linewidth": thick, "markersize": 2.6 * thick, "label": name}
    if line.joined:
        marker = "o" if len(line.x) <= 12 and not line.steps else None
        if line.bars:
            line = _within(line, y)
            ends = [edge for edge in (line.low, line.high) if edge is not None]
            reach = np.abs(np.array(ends) - line.y) if ends else None
            axes.errorbar(line.x, line.y, yerr=reach, linestyle=dashes, marker=marker, capsize=1.6 * thick, **look)
            _draw_beyond(axes, given, y, colour, style)
            return
        axes.plot(line.x, line.y, linestyle=dashes, marker=marker, **look)
        if line.low is not None and line.high is not None:  # the more lines, the fainter the bands
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.1 if crowded else 0.2, linewidth=0)
    elif line.low is not None and line.high is not None:
        reach = np.abs(np.array([line.y - line.low, line.high - line.y]))
        axes.errorbar(line.x, line.y, yerr=reach, fmt="o", capsize=2 * thick, **look)
    else:
        look["markersize"] *= 1.2 if len(line.x) <= CROWD else 0.6
        look["alpha"] = 1.0 if len(line.x) <= CROWD else 0.4
        axes.plot(line.x, line.y, MARKERS[number % len(MARKERS)], rasterized=len(line.x) > MANY, **look)
    _draw_beyond(axes, line, y, colour, style)


def _draw_beyond(axes: "Axes", line: Line, y: Axis, colour: str, style: PlotStyle) -> None:
    """Marks points beyond the limits of the axis at its edge."""
    if y.limits is None or (line.joined and not line.bars):
        return
    look: dict[str, Any] = {"color": colour, "markersize": 3 * style.line, "clip_on": False, "linestyle": "none"}
    for outside, edge, marker in ((line.y > y.limits[1], 1.0, "^"), (line.y < y.limits[0], 0.0, "v")):
        if outside.any():
            places = np.full(int(outside.sum()), edge)
            axes.plot(line.x[outside], places, marker=marker, transform=axes.get_xaxis_transform(), **look)


def _within(line: Line, y: Axis) -> Line:
    """Returns the line with the points beyond the limits of the axis moved to its edge, without intervals there."""
    if y.limits is None:
        return line
    low, high = y.limits
    inside = (line.y >= low) & (line.y <= high)
    moved = np.clip(line.y, low, high)
    ends = (None if edge is None else np.where(inside, edge, moved) for edge in (line.low, line.high))
    lower, upper = ends
    return replace(line, y=moved, low=lower, high=upper)


def _draw_edges(axes: "Axes", panel: Lines, scale: AxisScale, width: float, style: PlotStyle) -> None:
    """Marks diverged runs at the edge of the axes, each with its number where the numbers fit."""
    last = -np.inf
    for mark in sorted(panel.edges, key=lambda each: each.x):
        edge, up = (1.0, 1) if mark.high else (0.0, -1)
        look: dict[str, Any] = {"markersize": 3.4 * style.line, "clip_on": False, "linestyle": "none"}
        blended = axes.get_xaxis_transform()
        axes.plot([mark.x], [edge], marker="x", color=LINES[1], transform=blended, markeredgewidth=style.line, **look)
        font = style.font - 2
        half = text_width(mark.text, font) / 2
        place = float(scale.share(np.array(mark.x))) * width
        if mark.text and mark.high and place - half > last:
            offset = (0, up * 2.4 * style.line)
            axes.annotate(
                mark.text, (mark.x, edge), offset, xycoords=blended, textcoords="offset points", ha="center",
                va="bottom", fontsize=font, color=GREY,
            )  # fmt: skip
            last = place + half + 0.05


def _clipped(line: Line) -> Line:
    """Returns the line clipped to ±MAX_VALUE, as matplotlib cannot scale an axis to larger floats."""
    y, low, high = (None if v is None else np.clip(v, -MAX_VALUE, MAX_VALUE) for v in (line.y, line.low, line.high))
    assert y is not None
    return replace(line, y=y, low=low, high=high)


def _draw_bars(axes: "Axes", panel: Bars, width: float, height: float, style: PlotStyle) -> list[str]:
    positions = np.arange(len(panel.names))
    colours = [GREY if name in panel.plain else LINES[0] for name in panel.names]
    longest = max([float(value) for value in panel.values if value > 0], default=1.0)
    axes.barh(positions, panel.values, color=colours, height=0.7)
    for index, value, text in zip(positions.tolist(), panel.values.tolist(), panel.texts, strict=True):
        axes.annotate(plain(text), (max(value, 0.0), index), (6, 0), textcoords="offset points", va="center")
    room = 0.1 + max((text_width(plain(text), style.font) for text in panel.texts), default=0.0)
    axes.set_xlim(0, longest * width / max(0.3 * width, width - room))
    axes.set_ylim(max(len(positions), 1) - 0.5, -0.5)
    font = style.font - 1
    names = names_beside([plain(name) for name in panel.names], height / max(1, len(panel.names)), font)
    axes.set_yticks(positions, names.texts, fontsize=font)
    axes.tick_params("y", length=0)
    axes.set_xticks([])  # the texts give the values; the lengths need not be proportional
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(fit_text(plain(panel.label), width, style.font))
    return numbered(names.key)


def _draw_parallel(axes: "Axes", panel: Parallel, width: float, height: float, style: PlotStyle) -> list[str]:
    from matplotlib.collections import LineCollection

    count = len(panel.axes)
    order = np.argsort(panel.goodness, kind="stable")  # the best are drawn last
    segments = [np.column_stack([np.arange(count), panel.shares[run]]) for run in order.tolist()]
    colours = [shade(float(panel.goodness[run])) for run in order.tolist()]
    alpha = float(np.clip(60 / max(1, len(order)) + 0.1, 0.15, 0.9))
    axes.add_collection(
        LineCollection(segments, colors=colours, linewidths=0.5 * style.line, alpha=alpha, rasterized=len(order) > MANY)
    )
    font = max(MIN_FONT, style.font - 3)
    high = LINE * font / POINTS
    for number, axis in enumerate(panel.axes):
        axes.axvline(number, color=GREY, linewidth=0.6 * style.line, zorder=2)
        last = -np.inf
        room = width / max(1, count - 1) - 0.12
        for share, text in sorted(axis.ticks):
            if share * height - last > high:
                last = share * height
                place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": font, "zorder": 3}
                box = {"facecolor": "white", "alpha": 0.65, "edgecolor": "none", "pad": 0.6}
                text = fit_text(plain(text), room, font, lines=1)
                axes.annotate(text, (number, share), (3, 0), color="black", bbox=box, **place)
    axes.set_xlim(-0.05, count - 1 + 0.05)
    axes.set_ylim(-JUST, 1 + JUST)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params("x", length=0)
    names = names_across([plain(axis.label) for axis in panel.axes], width / max(1, count - 1), style.font - 1)
    _set_names(axes, "x", names.texts, names.rotation, style.font - 1, 1)
    axes.set_title(fit_text(plain(panel.scale), width, style.font))
    return numbered(names.key)


class PictureCells(NamedTuple):
    """How pictures are placed: the width of a cell, the size of its picture and its whole height in inches."""

    columns: int
    side: float
    picture: tuple[float, float]
    height: float
    captions: list[str]
    font: float


def _picture_cells(panel: Pictures, style: PlotStyle, side: float | None = None) -> PictureCells:
    """Returns the places of pictures, and their wrapped captions. side: the width of a cell, if not the style's."""
    columns = max(1, min(ACROSS, len(panel.images)))
    side = side or max(7.5 * style.font / POINTS, 0.5 * style.width / columns)
    font = max(MIN_FONT, style.font - 4)
    captions = ["\n".join(fit_text(plain(part), 0.94 * side, font) for part in caption) for caption in panel.captions]
    high, wide = panel.images.shape[2:]
    scale = 0.94 * side / max(high, wide)
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    return PictureCells(
        columns, side, (wide * scale, high * scale), high * scale + LINE * font / POINTS * (lines + 0.8), captions, font
    )


def _draw_pictures(axes: "Axes", panel: Pictures, width: float, height: float, style: PlotStyle) -> list[str]:
    columns = max(1, min(ACROSS, len(panel.images)))
    cells = _picture_cells(panel, style, width / columns)
    each = height / -(-len(panel.images) // columns)  # inches of a row, as is a unit of both axes
    lowest, highest = float(panel.images.min()), float(panel.images.max())
    wide, high = cells.picture
    for number, image in enumerate(panel.images):
        centre, top = (number % columns + 0.5) * cells.side, number // columns * each
        pixels = np.moveaxis((image - lowest) / ((highest - lowest) or 1.0), 0, -1)  # (height, width, channels)
        pixels = pixels[..., 0] if pixels.shape[-1] != 3 else pixels
        extent = (centre - wide / 2, centre + wide / 2, top + high, top)
        axes.imshow(pixels, extent=extent, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        look: dict[str, Any] = {"color": LINES[1], "fontweight": "bold"} if number in panel.wrong else {}
        place: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": cells.font, "linespacing": LINE}
        axes.text(centre, top + high + 0.3 * cells.font / POINTS, cells.captions[number], **place, **look)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return []


def _draw_histogram(axes: "Axes", panel: Histogram, width: float, height: float, style: PlotStyle) -> list[str]:
    counts = panel.counts
    highest = float(max([1, *counts.tolist()]))
    x = AxisScale.over([panel.edges], panel.x, margin=MARGIN)
    y = AxisScale(0.0, highest * (1.12 if len(counts) <= 20 else 1.05))
    shares = x.share(panel.edges)
    gap = np.diff(shares) * 0.03
    left, right = x.at(shares[:-1] + gap), x.at(shares[1:] - gap)
    marked = x.share(np.array([value for _, value in panel.marks])) * width
    axes.bar(left, counts, right - left, align="edge", color=LINES[0])
    font = max(MIN_FONT, style.font - 3)
    if len(counts) <= 20:
        centres = x.at((x.share(left) + x.share(right)) / 2)
        room = width / max(1, len(counts))
        for centre, count in zip(centres.tolist(), counts.tolist(), strict=True):
            wide = text_width(str(count), font)
            crossed = (np.abs(marked - float(x.share(centre)) * width) < wide / 2 + 0.03).any()
            if count and wide < room and not crossed:
                place: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
                axes.annotate(str(count), (centre, count), (0, 2), fontsize=font, color=GREY, **place)
    for number, (name, value) in enumerate(panel.marks):
        colour, dashes = LINES[(number + 1) % SERIES], DASHES[(number + 1) % len(DASHES)]
        axes.axvline(
            value, color=colour, linestyle=dashes, linewidth=style.line, label=f"{name} {in_few_digits(value)}"
        )
    return label_axes(axes, (panel.x, Axis(panel.label, integer=True)), (x, y), (width, height), style)


def _draw_field(axes: "Axes", panel: Field, width: float, height: float, style: PlotStyle) -> list[str]:
    from matplotlib.colors import to_rgb

    extent = (*panel.x_range, *panel.y_range)
    colours = np.array([to_rgb(LINES[number % SERIES]) for number in range(max(1, len(panel.names)))])
    chance = 1 / max(2, len(panel.names))
    strength = (0.15 + 0.45 * np.clip((panel.sure - chance) / (1 - chance), 0, 1))[..., None]
    image = 1 - strength * (1 - colours[panel.found])
    axes.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    xs, ys = (np.linspace(low, high, len(panel.found)) for low, high in (panel.x_range, panel.y_range))
    for number in range(len(panel.names)):
        inside = (panel.found == number).astype(float)
        if 0 < inside.mean() < 1:
            axes.contour(xs, ys, inside, levels=[0.5], colors="#333333", linewidths=0.5 * style.line)
    trained = any(part == "train" for part, *_ in panel.points)
    for part, x, y, classes in panel.points:
        held_out = part != "train"
        for number, name in enumerate(panel.names):
            axes.scatter(
                x[classes == number],
                y[classes == number],
                s=(1.6 if held_out else 1.0) * (2.55 * style.line) ** 2,
                color=LINES[number % SERIES],
                marker=MARKERS[(number + number // SERIES) % len(MARKERS)],  # differs where a colour repeats
                edgecolors="black" if held_out else "white",
                linewidths=(0.6 if held_out else 0.3) * style.line,
                label=None if held_out and trained else plain(name),
                rasterized=len(x) > MANY,
            )
    if len(panel.names) > SERIES:  # colours repeat
        _name_regions(axes, panel, (width, height), style)
    scales = AxisScale(*panel.x_range), AxisScale(*panel.y_range)
    return label_axes(axes, (panel.x, panel.y), scales, (width, height), style)


def _name_regions(axes: "Axes", panel: Field, size: tuple[float, float], style: PlotStyle) -> None:
    """Writes the name of each class into its region where it fits, as near to the middle of it as possible."""
    m, font = len(panel.found), max(MIN_FONT, style.font - 4)
    xs, ys = (np.linspace(low, high, m) for low, high in (panel.x_range, panel.y_range))
    for number, name in enumerate(panel.names):
        text = fit_text(plain(name), REGION_NAME * size[0], font, lines=1)
        wide, high = text_width(text, font) + 0.04, LINE * font / POINTS
        cells = int(np.ceil(high / size[1] * m)) | 1, int(np.ceil(wide / size[0] * m)) | 1
        inside = panel.found == number
        if cells[0] >= m or cells[1] >= m or not inside.any():
            continue
        fits = np.lib.stride_tricks.sliding_window_view(inside, cells).all((-2, -1))
        places = np.argwhere(fits) + np.array(cells) // 2
        if len(places):
            row, column = places[((places - np.argwhere(inside).mean(0)) ** 2).sum(1).argmin()]
            look: dict[str, Any] = {
                "boxstyle": "square,pad=0.1",
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.6,
            }
            axes.text(xs[column], ys[row], text, ha="center", va="center", fontsize=font, color="black", bbox=look)


def label_axes(
    axes: "Axes", labels: tuple[Axis, Axis], scales: tuple[AxisScale, AxisScale], size: tuple[float, float],
    style: PlotStyle,
) -> list[str]:  # fmt: skip
    """Sets the range, the ticks and the label of both axes. Returns the key to numbers that stand for names."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    font = style.font - 1
    high = LINE * font / POINTS
    keys: list[str] = []
    for which, axis, scale, room in zip("xy", labels, scales, size, strict=True):
        if scale.log:
            (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        (axes.set_xlim if which == "x" else axes.set_ylim)(max(scale.low, -MAX_VALUE), min(scale.high, MAX_VALUE))
        side = axes.xaxis if which == "x" else axes.yaxis
        side.set_minor_locator(NullLocator())
        if axis.names is not None:
            each = room / max(1, len(axis.names))
            plain_names = [plain(name) for name in axis.names]
            names = (names_across if which == "x" else names_beside)(plain_names, each, font)
            keys += numbered(names.key)
            step = max(1, int(np.ceil(high / each)))
            _set_names(axes, which, names.texts, names.rotation, font, step)
        else:
            sizes = (lambda text: text_width(text, font) + 0.5 * high) if which == "x" else (lambda _: high)
            ticks, texts = fitting_ticks(scale, axis, room, sizes)
            side.set_major_locator(FixedLocator(ticks))
            side.set_major_formatter(FixedFormatter(texts))
        label = fit_text(
            plain(key_in_words(axis.label) if style.words else axis.label),
            max(room, LEAST_LABEL * style.font),
            style.font,
        )
        (axes.set_xlabel if which == "x" else axes.set_ylabel)(label)
    return keys


def _set_names(axes: "Axes", which: str, texts: Sequence[str], rotation: int, font: float, step: int) -> None:
    """Writes names at the positions 0, 1, …; only every `step`th if they would overlap."""
    places = range(0, len(texts), step)
    shown = [texts[place] for place in places]
    if which == "y":
        axes.set_yticks(places, shown, fontsize=font)
        return
    turned: dict[str, Any] = {0: {}, 45: {"ha": "right", "rotation_mode": "anchor"}, 90: {}}[rotation]
    axes.set_xticks(places, shown, fontsize=font, rotation=rotation, **turned)


def plain(text: str) -> str:
    """Returns the text with control characters, and those that UTF-8 cannot encode, escaped."""
    return escape_controls(text)


def _size_of_grid(panel: Grid, style: PlotStyle) -> tuple[float, float]:
    """Returns the size of a heat map, whose cells hold their texts where that is possible."""
    rows, columns = panel.values.shape
    em = style.font / POINTS
    unit = style.width / STYLES["screen"].width  # a paper's cells are as much smaller as its figures
    texts = max([text_width(plain(text) + "*", 0.8 * style.font) for row in panel.texts for text in row], default=0.3)
    names = max([text_width(plain(name), style.font - 1) for name in panel.columns.names or ()], default=0.3)
    across = max(texts + 0.6 * em, min(names + 0.6 * em, CELL * unit))
    width = min(MOST_WIDE * unit, max(0.75 * style.width, across * columns))
    wraps = rows <= 20 and any(text_width(plain(n), style.font - 1) > LONGEST for n in panel.rows.names or ())
    each = 2.9 * em if wraps else 1.9 * em
    height = min(MOST_HIGH * unit, max(min(0.8 * style.height, max(3 * em * rows, 0.9)), each * rows))
    return width, height


def _draw_grid(axes: "Axes", panel: Grid, width: float, height: float, style: PlotStyle) -> list[str]:
    from matplotlib.colors import to_rgb

    rows, columns = panel.values.shape
    across, down = width / max(1, columns), height / max(1, rows)
    size = size_of_texts(panel, across * POINTS, down * POINTS, style.font)
    written = size >= min(MIN_FONT, 0.7 * style.font)
    shaded = panel.shaded
    colours = [[shade(share) if share == share else "#d9d9d9" for share in row] for row in shaded.tolist()]
    corners = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    squares = np.array([[to_rgb(colour) for colour in row] for row in colours])
    gap = min(2.0, 0.06 * min(across, down) * POINTS) if max(rows, columns) <= 24 else 0.1
    axes.pcolormesh(*corners, squares, edgecolors="white", linewidth=gap)
    for row in range(rows):
        for column in range(columns):
            colour = colours[row][column]
            best = (row, column) in panel.best
            text = plain(panel.texts[row][column]) + ("*" if best else "") if written else "*" * best
            if text:
                letters: dict[str, Any] = {"color": ink(colour), "fontweight": "bold" if best else "normal"}
                font = size if written else min(style.font, 0.8 * down * POINTS, 1.6 * across * POINTS)
                drawn = axes.text(column, row, text, ha="center", va="center", fontsize=font, **letters)
                drawn.set_in_layout(False)  # it lies inside the axes, and there may be thousands
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    keys = _name_cells(axes, panel, across, down, style)
    axes.spines[:].set_visible(False)
    for label, room, write in (
        (panel.columns.label, width, axes.set_xlabel),
        (panel.rows.label, max(height, LEAST_LABEL * style.font), axes.set_ylabel),
    ):
        write(fit_text(plain(label), room, style.font))
    star = " (* the best)" if panel.best else ""
    axes.set_title(fit_text(plain(panel.scale) + star, width, style.font, lines=3))
    if not written:
        _add_colour_bar(axes, panel, width, height, style)
    return keys


def _name_cells(axes: "Axes", panel: Grid, across: float, down: float, style: PlotStyle) -> list[str]:
    """AxisNames the rows and columns of a heat map, and returns the key to numbers that stand for names.

    Where both have the same long names, the columns are numbered, and the rows have number and name.
    """
    left, below = ([plain(name) for name in axis.names or ()] for axis in (panel.rows, panel.columns))
    font = max(MIN_FONT, min(style.font - 1, 0.75 * down * POINTS))
    under = max(MIN_FONT, min(style.font - 1, 0.9 * across * POINTS))
    columns = names_across(below, across, under)
    rows = names_beside(left, down, font)
    keys = numbered(rows.key) + [line for line in numbered(columns.key) if columns.key != rows.key]
    if left == below and (columns.rotation or columns.key):
        columns = names_across([str(number) for number in range(1, len(left) + 1)], across, under)
        if not rows.key:  # the rows' names are the key
            rows = AxisNames([f"{text}  {number}" for number, text in enumerate(rows.texts, start=1)])
            keys = []
    for names, high, room, which in ((columns, under, across, "x"), (rows, font, down, "y")):
        turned = names.rotation or which == "y"
        need = LINE * high / POINTS if turned else max([text_width(text, high) for text in names.texts], default=0)
        need = min(need, LINE * high / POINTS) if which == "x" and names.key else need
        _set_names(axes, which, names.texts, names.rotation, high, max(1, int(np.ceil(need / room - 0.05))))
    axes.tick_params("both", length=0)
    return keys


def size_of_texts(panel: Grid, across: float, down: float, most: float) -> float:
    """Returns the font size in points, at most `most`, at which the longest text fits a cell.

    across, down: the size of the cell in points.
    """
    widest = max([text_width(plain(text) + "*", 10.0, bold=True) for row in panel.texts for text in row], default=0.1)
    return min(most, 10.0 * 0.94 * across / (widest * POINTS), 0.7 * down)


def _add_colour_bar(axes: "Axes", panel: Grid, width: float, height: float, style: PlotStyle) -> None:
    """Adds a colour bar, with the values of its colours, to a heat map whose cells are too small for numbers."""
    from matplotlib.colors import to_rgb

    finite = np.isfinite(panel.values) & np.isfinite(panel.shaded)
    shades, values = panel.shaded[finite], panel.values[finite]
    if not len(shades) or shades.min() == shades.max():
        return
    bar = axes.inset_axes((1 + 0.15 / width, 0.0, 0.16 / width, 1.0))
    colours = np.array([[to_rgb(shade(share))] for share in np.linspace(0, 1, 256).tolist()])
    bar.imshow(colours, origin="lower", aspect="auto", extent=(0, 1, 0, 1))
    order = np.argsort(shades)
    places = np.linspace(0, 1, 5 if height > 8 * style.font / POINTS else 3)
    texts = panel.bar or even_digits(np.interp(places, shades[order], values[order]).tolist())
    places = np.linspace(0, 1, len(texts))
    bar.set_yticks(places.tolist(), list(texts), fontsize=style.font - 2)
    bar.set_xticks([])
    bar.yaxis.tick_right()
    bar.tick_params("y", length=0)
    bar.spines[:].set_visible(False)
