"""A picture as a PNG or an SVG file, drawn by matplotlib."""

import io
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ch12cli.errors import InputError
from ch12cli.pictures.colours import LINES, ink, shade
from ch12cli.pictures.picture import BANDS, SERIES, Axis, Bars, Field, Grid, Histogram, Line, Lines, Panel, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 6.4, 4.8  # inches of a panel
DPI = 200
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
        tall = HEIGHT + 0.25 * len(picture.notes)
        figure = Figure(figsize=(max(WIDTH * len(picture.panels), WIDTH), tall), layout="constrained")
        figure.suptitle(plain(picture.title), fontsize=15, fontweight="bold", wrap=True)
        for place, panel in enumerate(picture.panels):
            draw(figure.add_subplot(1, len(picture.panels), place + 1), panel, figure)
        if picture.notes:
            figure.supxlabel("\n".join(map(plain, picture.notes)), fontsize=10, color=GREY, wrap=True)
        content = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(content, format=form, dpi=DPI, metadata=metadata, transparent=themed)
    return content.getvalue()


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


def label(axes: "Axes", x: Axis, y: Axis) -> None:
    axes.set_xlabel(plain(x.label))
    axes.set_ylabel(plain(y.label))
    if x.log:
        axes.set_xscale("log")
    if y.log:
        axes.set_yscale("log")
    if x.names is not None:
        axes.set_xticks(range(len(x.names)), [plain(name) for name in x.names], rotation=0 if few(x.names) else 45)


def few(names: tuple[str, ...]) -> bool:
    return sum(map(len, names)) < 50


def plain(text: str) -> str:
    """A text as it is: matplotlib would read what stands between dollar signs as mathematics. Control characters, and
    what UTF-8 has no bytes for, as escapes."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return shown.replace("$", r"\$")


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
        name = plain(line.name)
        marker = "o" if len(line.x) == 1 or not line.joined else None
        if line.joined:
            style = DASHES[number % len(DASHES)]
            axes.plot(line.x, line.y, color=colour, linestyle=style, linewidth=2, marker=marker, label=name)
        elif line.low is None:
            axes.plot(line.x, line.y, MARKERS[number % len(MARKERS)], color=colour, label=name)
        if line.low is not None and line.high is not None:
            if line.joined and len(named) <= BANDS:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
            elif not line.joined:
                reach = np.abs(np.array([line.y - line.low, line.high - line.y]))
                axes.errorbar(line.x, line.y, yerr=reach, fmt="o", color=colour, capsize=4, linewidth=2, label=name)
    if any(line.name for line in named):
        axes.legend(frameon=False)


def drawable(line: Line) -> Line:
    """The line without the largest floats, of which matplotlib cannot make an axis."""
    y, low, high = (None if v is None else np.clip(v, -LARGEST, LARGEST) for v in (line.y, line.low, line.high))
    assert y is not None
    return replace(line, y=y, low=low, high=high)


def draw_grid(axes: "Axes", panel: Grid) -> None:
    rows, columns = panel.values.shape
    shaded = panel.shaded
    for row in range(rows):
        for column in range(columns):
            share = float(shaded[row, column])
            colour = shade(share) if share == share else "#d9d9d9"
            axes.add_patch(_cell(column, row, colour))
            best = panel.best == (row, column)
            text = plain(panel.texts[row][column]) + ("*" if best else "")
            weight = "bold" if best else "normal"
            size = 13 if columns <= 8 else 10 if columns <= 14 else 7
            axes.text(column, row, text, ha="center", va="center", color=ink(colour), fontsize=size, fontweight=weight)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    label(axes, panel.columns, panel.rows)
    axes.set_yticks(range(rows), [plain(name) for name in panel.rows.names or ()])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(plain(panel.scale) + (" (* the best)" if panel.best is not None else ""))


def _cell(column: int, row: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, linewidth=0)


def draw_bars(axes: "Axes", panel: Bars) -> None:
    places = np.arange(len(panel.names))
    colours = [GREY if name in panel.plain else LINES[0] for name in panel.names]
    axes.barh(places, panel.values, color=colours, height=0.7)
    for place, value, text in zip(places.tolist(), panel.values.tolist(), panel.texts, strict=True):
        axes.text(value, place, f" {plain(text)}", va="center")
    axes.set_yticks(places, [plain(name) for name in panel.names])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xticks([])  # the texts say it, and lengths need not be in proportion
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(plain(panel.label))


def draw_histogram(axes: "Axes", panel: Histogram) -> None:
    axes.bar(panel.edges[:-1], panel.counts, np.diff(panel.edges) * 0.96, align="edge", color=LINES[0])
    for number, (name, value) in enumerate(panel.marks):
        colour, style = LINES[(number + 1) % SERIES], DASHES[(number + 1) % len(DASHES)]
        axes.axvline(value, color=colour, linestyle=style, linewidth=2, label=f"{name} {value:.4g}")
    label(axes, panel.x, Axis(panel.label))
    axes.legend(frameon=False)


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
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=min(4, len(panel.names)), frameon=False)
