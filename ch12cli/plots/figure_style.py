"""Sizes and fonts of a figure: for a screen, a column of a paper, or slides."""

from typing import NamedTuple


class PlotStyle(NamedTuple):
    """width, height: inches of the axes of one panel; font: points; line: width of lines in points.

    captioned: the title and the notes stand in a caption, and are not drawn. words: the axes name keys in words.
    """

    width: float
    height: float
    font: float
    line: float
    captioned: bool = False
    words: bool = True


STYLES = {
    "screen": PlotStyle(5.2, 3.6, 13.0, 2.0, words=False),
    "paper": PlotStyle(2.8, 2.0, 8.0, 1.2, captioned=True),
    "slides": PlotStyle(8.0, 4.4, 20.0, 3.2),
}


class FigureOptions(NamedTuple):
    """What the user may choose about a file. size: inches of the whole figure; dpi: dots per inch of a PNG."""

    style: str = "screen"
    size: tuple[float, float] | None = None
    dpi: int = 200
