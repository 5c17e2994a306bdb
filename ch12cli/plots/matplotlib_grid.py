"""A grid of numbers on their colours, as matplotlib draws it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ch12cli.plots.colours import ink, shade
from ch12cli.plots.matplotlib_axes import HEIGHT, WIDTH, label, plain
from ch12cli.plots.plot import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST, LARGEST = 5.5, 13.0  # points of a letter: to be read at all, and at most


def draw_grid(axes: "Axes", panel: Grid) -> None:
    rows, columns = panel.values.shape
    shaded = panel.shaded
    size, (across, down) = size_of_texts(panel), size_of_cells(panel)
    for row in range(rows):
        for column in range(columns):
            share = float(shaded[row, column])
            colour = shade(share) if share == share else "#d9d9d9"
            axes.add_patch(_cell(column, row, colour))
            best = (row, column) in panel.best
            text = plain(panel.texts[row][column]) + ("*" if best else "") if size >= LEAST else "*" * best
            weight = "bold" if best else "normal"
            letters: dict[str, Any] = {
                "color": ink(colour),
                "fontsize": size if size >= LEAST else down,
                "fontweight": weight,
            }
            axes.text(column, row, text, ha="center", va="center", **letters)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    label(axes, panel.columns, panel.rows)
    axes.set_yticks(range(rows), [plain(name) for name in panel.rows.names or ()])
    axes.tick_params("x", length=0, labelsize=min(LARGEST, 0.75 * across))
    axes.tick_params("y", length=0, labelsize=min(LARGEST, 0.9 * down))
    axes.spines[:].set_visible(False)
    axes.set_title(plain(panel.scale) + (" (* the best)" if panel.best else ""))
    if size < LEAST:
        add_scale(axes, panel)


def size_of_texts(panel: Grid) -> float:
    """Points of letters of which the longest number fits into its cell."""
    across, down = size_of_cells(panel)
    longest = 1 + max([1, *(len(text) for row in panel.texts for text in row)])  # 1: of the star
    return min(LARGEST, across / (0.62 * longest), 0.7 * down)


def size_of_cells(panel: Grid) -> tuple[float, float]:
    """Points of a cell, about: across and down."""
    rows, columns = panel.values.shape
    return 0.75 * WIDTH * 72 / max(1, columns), 0.6 * HEIGHT * 72 / max(1, rows)


def add_scale(axes: "Axes", panel: Grid) -> None:
    """A bar that says which number has which colour."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize

    finite = np.isfinite(panel.values)
    values, shown = panel.values[finite], panel.shaded[finite]
    low, high = float(values.min()), float(values.max())
    if low == high:
        return
    spans = [Normalize(low, high), *([LogNorm(low, high)] if low > 0 else [])]
    # else a share of its own, as of the rows of a class
    span = next((each for each in spans if np.allclose(each(values), shown)), Normalize(0.0, 1.0))
    colours = ListedColormap([shade(share) for share in np.linspace(0, 1, 256).tolist()])
    axes.figure.colorbar(ScalarMappable(span, colours), ax=axes)


def _cell(column: int, row: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, linewidth=0)
