"""Draws a plot with matplotlib as the content of a PNG or SVG file."""

import io
import warnings
from dataclasses import replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ch12cli.errors import InputError
from ch12cli.plots.colours import LINES
from ch12cli.plots.plot import SERIES, Axis, Bars, Field, Grid, Histogram, Line, Lines, Panel, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from typing import TYPE_CHECKING

from ch12cli.files.untrusted_text import escape_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes

from typing import TYPE_CHECKING

from ch12cli.plots.colours import ink, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes


DPI = 200
LETTER, SAMPLE, ROW = 0.085, 0.8, 0.27  # inches in a legend: a letter, the sample before a name, a row
NOTE, LETTERS = 0.22, 13  # inches of a line of notes, and letters per inch in it
MAX_VALUE = 1e300  # matplotlib fails on axes with larger values
MANY = 2000  # number of points from which they are rasterized in an SVG
GREY = "#808080"
FOREGROUNDS = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
FOREGROUND = "#010203"  # placeholder for the text colour in a themed plot
MARKERS = "os^DvPX*"
DASHES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))  # distinguishable without colour
STYLE: dict[Any, Any] = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 14,
    "legend.fontsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.fonttype": "none",  # keep text as text: searchable and small
    "svg.hashsalt": "ch12",  # makes the output reproducible
}


WIDTH, HEIGHT = 6.4, 4.8  # inches of a panel
MIN_FONT, MAX_FONT = 5.5, 13.0  # points: the smallest readable size, and the largest in a cell


def render(plot: Plot, form: str, *, themed: bool = False) -> bytes:
    """Returns the plot as the content of a PNG or SVG file.

    form: `png` or `svg`. themed: draws without a background and with FOREGROUND for black, so that a page can set both
    colours. Raises InputError if matplotlib is not installed.
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
        warnings.simplefilter("ignore")  # about glyphs missing in the font, and about very large floats
        width = WIDTH * max(1, len(plot.panels))
        figure = Figure(figsize=(width, HEIGHT), layout="constrained")
        figure.suptitle(plain(plot.title), fontsize=15, fontweight="bold", wrap=True)
        for index, panel in enumerate(plot.panels):
            _draw_panel(figure.add_subplot(1, len(plot.panels), index + 1), panel, figure)
        notes = [line for note in (*plot.notes, *plot.legend) for line in wrap(note, int(LETTERS * width))]
        _add_legend(figure, "\n".join(map(plain, notes)))
        content = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(content, format=form, dpi=DPI, metadata=metadata, transparent=themed)
    return content.getvalue()


def _add_legend(figure: "Figure", notes: str) -> None:
    """Adds the common legend and the notes below the panels, and increases the figure's height to fit them."""
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


def _draw_panel(axes: "Axes", panel: Panel, figure: "Figure") -> None:
    if isinstance(panel, Lines):
        _draw_lines(axes, panel)
    elif isinstance(panel, Grid):
        _draw_grid(axes, panel)
    elif isinstance(panel, Bars):
        _draw_bars(axes, panel)
    elif isinstance(panel, Histogram):
        _draw_histogram(axes, panel)
    else:
        _draw_field(axes, panel)


def _draw_lines(axes: "Axes", panel: Lines) -> None:
    label_axes(axes, panel.x, panel.y)
    axes.grid(alpha=0.3)
    for line in panel.lines:
        if line.faint:
            axes.plot(
                line.x, line.y, ".", color=GREY, alpha=0.35, markersize=5, zorder=1, rasterized=len(line.x) > MANY
            )
    named = [_clipped(line) for line in panel.lines if not line.faint]
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
            if line.joined:  # the more lines, the fainter the bands
                alpha = 0.2 if len(named) < 4 else 0.1
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=alpha, linewidth=0)
            elif not line.joined:
                reach = np.abs(np.array([line.y - line.low, line.high - line.y]))
                axes.errorbar(line.x, line.y, yerr=reach, fmt="o", color=colour, capsize=4, linewidth=2, label=name)


def _clipped(line: Line) -> Line:
    """Returns the line clipped to ±MAX_VALUE, as matplotlib cannot scale an axis to larger floats."""
    y, low, high = (None if v is None else np.clip(v, -MAX_VALUE, MAX_VALUE) for v in (line.y, line.low, line.high))
    assert y is not None
    return replace(line, y=y, low=low, high=high)


def _draw_bars(axes: "Axes", panel: Bars) -> None:
    positions = np.arange(len(panel.names))
    colours = [GREY if name in panel.plain else LINES[0] for name in panel.names]
    axes.barh(positions, panel.values, color=colours, height=0.7)
    for index, value, text in zip(positions.tolist(), panel.values.tolist(), panel.texts, strict=True):
        axes.annotate(plain(text), (max(value, 0.0), index), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(positions, [plain(name) for name in panel.names])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.set_xticks([])  # the texts give the values; the lengths need not be proportional
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(plain(panel.label))


def _draw_histogram(axes: "Axes", panel: Histogram) -> None:
    axes.bar(panel.edges[:-1], panel.counts, np.diff(panel.edges) * 0.96, align="edge", color=LINES[0])
    for number, (name, value) in enumerate(panel.marks):
        colour, style = LINES[(number + 1) % SERIES], DASHES[(number + 1) % len(DASHES)]
        axes.axvline(value, color=colour, linestyle=style, linewidth=2, label=f"{name} {value:.4g}")
    label_axes(axes, panel.x, Axis(panel.label, integer=True))


def _draw_field(axes: "Axes", panel: Field) -> None:
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
    label_axes(axes, panel.x, panel.y)


def label_axes(axes: "Axes", x: Axis, y: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(plain(x.label))
    axes.set_ylabel(plain(y.label))
    if x.log:
        axes.set_xscale("log")
    if y.log:
        axes.set_yscale("log")
    for integer, side in ((x.integer, axes.xaxis), (y.integer, axes.yaxis)):
        if integer:
            side.set_major_locator(MaxNLocator("auto", integer=True))
    if x.names is not None:
        axes.set_xticks(
            range(len(x.names)), [plain(name) for name in x.names], rotation=0 if _fit_beside(x.names) else 45
        )


def _fit_beside(names: tuple[str, ...]) -> bool:
    """Returns whether the names fit side by side."""
    return max(map(len, names), default=0) * len(names) < 45


def plain(text: str) -> str:
    """Returns the text with `$` escaped, which matplotlib would parse as mathematics.

    Control characters and characters that UTF-8 cannot encode are also escaped.
    """
    return escape_controls(text).replace("$", r"\$")


def _draw_grid(axes: "Axes", panel: Grid) -> None:
    rows, columns = panel.values.shape
    shaded = panel.shaded
    size, (across, down) = size_of_texts(panel), size_of_cells(panel)
    for row in range(rows):
        for column in range(columns):
            share = float(shaded[row, column])
            colour = shade(share) if share == share else "#d9d9d9"
            axes.add_patch(_patch(column, row, colour))
            best = (row, column) in panel.best
            text = plain(panel.texts[row][column]) + ("*" if best else "") if size >= MIN_FONT else "*" * best
            weight = "bold" if best else "normal"
            letters: dict[str, Any] = {
                "color": ink(colour),
                "fontsize": size if size >= MIN_FONT else down,
                "fontweight": weight,
            }
            axes.text(column, row, text, ha="center", va="center", **letters)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    label_axes(axes, panel.columns, panel.rows)
    axes.set_yticks(range(rows), [plain(name) for name in panel.rows.names or ()])
    axes.tick_params("x", length=0, labelsize=min(MAX_FONT, 0.75 * across))
    axes.tick_params("y", length=0, labelsize=min(MAX_FONT, 0.9 * down))
    axes.spines[:].set_visible(False)
    axes.set_title(plain(panel.scale) + (" (* the best)" if panel.best else ""))
    if size < MIN_FONT:
        _add_colour_bar(axes, panel)


def size_of_texts(panel: Grid) -> float:
    """Returns the font size in points at which the longest number fits its cell."""
    across, down = size_of_cells(panel)
    longest = 1 + max([1, *(len(text) for row in panel.texts for text in row)])  # 1: the star
    return min(MAX_FONT, across / (0.62 * longest), 0.7 * down)


def size_of_cells(panel: Grid) -> tuple[float, float]:
    """Returns the approximate width and height of a cell in points."""
    rows, columns = panel.values.shape
    return 0.75 * WIDTH * 72 / max(1, columns), 0.6 * HEIGHT * 72 / max(1, rows)


def _add_colour_bar(axes: "Axes", panel: Grid) -> None:
    """Adds a colour bar to a heat map whose cells are too small for numbers."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    finite = np.isfinite(panel.values)
    values, shown = panel.values[finite], panel.shaded[finite]
    low, high = float(values.min()), float(values.max())
    if low == high:
        return
    spans = [Normalize(low, high), *([LogNorm(low, high)] if low > 0 else [])]
    # otherwise the shades are shares of their own, such as of the rows of a class
    span = next((each for each in spans if np.allclose(each(values), shown)), Normalize(0.0, 1.0))
    colours = ListedColormap([shade(share) for share in np.linspace(0, 1, 256).tolist()])
    axes.figure.colorbar(ScalarMappable(span, colours), ax=axes)


def _patch(column: int, row: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, linewidth=0)
