"""A picture as a PNG or an SVG file, drawn by matplotlib."""

import io
import warnings
from dataclasses import replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ch12cli.errors import InputError
from ch12cli.plots.colours import LINES
from ch12cli.plots.matplotlib_axes import HEIGHT, WIDTH, label, plain
from ch12cli.plots.matplotlib_grid import draw_grid
from ch12cli.plots.plot import SERIES, Axis, Bars, Field, Grid, Histogram, Line, Lines, Panel, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
LETTER, SAMPLE, ROW = 0.085, 0.8, 0.27  # inches of a legend: of a letter, of what stands before the name, of a row
NOTE, LETTERS = 0.22, 13  # inches of a line of notes, and letters of it in an inch
LARGEST = 1e300
MANY = 2000  # dots, from which they are an image within an SVG
FORMATS = ("png", "svg")
GREY = "#808080"
FOREGROUNDS = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
FOREGROUND = "#010203"  # where the colour of the text belongs, in a themed picture
MARKERS = "os^DvPX*"
DASHES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))  # told apart without colour too
STYLE: dict[Any, Any] = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 14,
    "legend.fontsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.fonttype": "none",  # letters stay letters: they can be searched, and are small
    "svg.hashsalt": "ch12",  # the same picture is the same file
}


def render(picture: Picture, form: str, *, themed: bool = False) -> bytes:
    """The picture as the content of a file. form: png or svg. InputError if matplotlib is not there.

    themed: without a background, and FOREGROUND for what is black, so that a page may give both colours of its own.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "matplotlib is not installed, which draws PNG and SVG: pip install 'ch12[plots]'; without -o, `ch12 plot` "
            "draws in the terminal"
        ) from error
    style = dict(matplotlib.rcParamsDefault) | STYLE | {"backend": "agg"}
    if themed:
        style |= dict.fromkeys((*FOREGROUNDS, "text.color"), FOREGROUND)
    with warnings.catch_warnings(), matplotlib.rc_context(style):
        warnings.simplefilter("ignore")  # of letters that its font does not have, and of the largest floats
        width = WIDTH * max(1, len(picture.panels))
        figure = Figure(figsize=(width, HEIGHT), layout="constrained")
        figure.suptitle(plain(picture.title), fontsize=15, fontweight="bold", wrap=True)
        for place, panel in enumerate(picture.panels):
            draw(figure.add_subplot(1, len(picture.panels), place + 1), panel, figure)
        notes = [line for note in (*picture.notes, *picture.legend) for line in wrap(note, int(LETTERS * width))]
        add_below(figure, "\n".join(map(plain, notes)))
        content = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(content, format=form, dpi=DPI, metadata=metadata, transparent=themed)
    return content.getvalue()


def add_below(figure: "Figure", notes: str) -> None:
    """The legend of all panels and the notes, below the panels, where they cover nothing; the figure becomes higher by
    as much as they take."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named = {**dict(zip(labels, handles, strict=True)), **named}
    columns = int(WIDTH * len(figure.axes) / (LETTER * max(map(len, named), default=1) + SAMPLE))
    columns = max(1, min(len(named), columns))
    noted = NOTE * (notes.count("\n") + 1) if notes else 0.0
    below = noted + ROW * -(-len(named) // columns)
    height = HEIGHT + below
    figure.set_size_inches(figure.get_figwidth(), height)
    figure.set_layout_engine("constrained", rect=(0, below / height, 1, HEIGHT / height))
    figure.text(0.5, 0.06 / height, notes, ha="center", va="bottom", fontsize=10, color=GREY)
    if named:
        options: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, noted / height), "borderaxespad": 0.1}
        figure.legend(named.values(), named.keys(), ncols=columns, frameon=False, **options)


def draw(axes: "Axes", panel: Panel, figure: "Figure") -> None:
    if isinstance(panel, Lines):
        draw_lines(axes, panel)
    elif isinstance(panel, Grid):
        draw_grid(axes, panel)
    elif isinstance(panel, Bars):
        draw_bars(axes, panel)
    elif isinstance(panel, Histogram):
        draw_histogram(axes, panel)
    else:
        draw_field(axes, panel)


def draw_lines(axes: "Axes", panel: Lines) -> None:
    label(axes, panel.x, panel.y)
    axes.grid(alpha=0.3)
    for line in panel.lines:
        if line.faint:
            axes.plot(
                line.x, line.y, ".", color=GREY, alpha=0.35, markersize=5, zorder=1, rasterized=len(line.x) > MANY
            )
    named = [drawable(line) for line in panel.lines if not line.faint]
    for number, line in enumerate(named):
        colour = LINES[number % SERIES]
        name = plain(line.name) or None
        marker = "o" if len(line.x) == 1 or not line.joined else None
        if line.joined:
            style = DASHES[number % len(DASHES)]
            axes.plot(line.x, line.y, color=colour, linestyle=style, linewidth=2, marker=marker, label=name)
        elif line.low is None:
            axes.plot(line.x, line.y, MARKERS[number % len(MARKERS)], color=colour, label=name)
        if line.low is not None and line.high is not None:
            if line.joined:  # the more lines, the fainter
                alpha = 0.2 if len(named) < 4 else 0.1
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=alpha, linewidth=0)
            elif not line.joined:
                reach = np.abs(np.array([line.y - line.low, line.high - line.y]))
                axes.errorbar(line.x, line.y, yerr=reach, fmt="o", color=colour, capsize=4, linewidth=2, label=name)


def drawable(line: Line) -> Line:
    """The line without the largest floats, of which matplotlib cannot make an axis."""
    y, low, high = (None if v is None else np.clip(v, -LARGEST, LARGEST) for v in (line.y, line.low, line.high))
    assert y is not None
    return replace(line, y=y, low=low, high=high)


def draw_bars(axes: "Axes", panel: Bars) -> None:
    places = np.arange(len(panel.names))
    colours = [GREY if name in panel.plain else LINES[0] for name in panel.names]
    axes.barh(places, panel.values, color=colours, height=0.7)
    for place, value, text in zip(places.tolist(), panel.values.tolist(), panel.texts, strict=True):
        axes.annotate(plain(text), (max(value, 0.0), place), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, [plain(name) for name in panel.names])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.set_xticks([])  # the texts say it, and lengths need not be in proportion
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(plain(panel.label))


def draw_histogram(axes: "Axes", panel: Histogram) -> None:
    axes.bar(panel.edges[:-1], panel.counts, np.diff(panel.edges) * 0.96, align="edge", color=LINES[0])
    for number, (name, value) in enumerate(panel.marks):
        colour, style = LINES[(number + 1) % SERIES], DASHES[(number + 1) % len(DASHES)]
        axes.axvline(value, color=colour, linestyle=style, linewidth=2, label=f"{name} {value:.4g}")
    label(axes, panel.x, Axis(panel.label, whole=True))


def draw_field(axes: "Axes", panel: Field) -> None:
    from matplotlib.colors import to_rgb

    extent = (*panel.x_range, *panel.y_range)
    colours = np.array([to_rgb(LINES[number % SERIES]) for number in range(len(panel.names))])
    chance = 1 / max(2, len(panel.names))
    strength = (0.15 + 0.45 * np.clip((panel.sure - chance) / (1 - chance), 0, 1))[..., None]
    image = 1 - strength * (1 - colours[panel.found])
    axes.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
    xs, ys = (np.linspace(low, high, len(panel.found)) for low, high in (panel.x_range, panel.y_range))
    for number in range(len(panel.names)):
        inside = (panel.found == number).astype(float)
        if 0 < inside.mean() < 1:
            axes.contour(xs, ys, inside, levels=[0.5], colors="#333333", linewidths=1)
    for part, x, y, classes in panel.points:
        held_out = part != "train"
        for number, name in enumerate(panel.names):
            face = LINES[number % SERIES]
            axes.scatter(
                x[classes == number],
                y[classes == number],
                s=42 if held_out else 26,
                color=face,
                marker=MARKERS[number % len(MARKERS)],
                edgecolors="black" if held_out else "white",
                linewidths=1.2 if held_out else 0.6,
                label=None if held_out and any(p == "train" for p, *_ in panel.points) else plain(name),
            )
    axes.set_xlim(panel.x_range)
    axes.set_ylim(panel.y_range)
    label(axes, panel.x, panel.y)
