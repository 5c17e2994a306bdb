"""Finds the texts of a figure that overlap, are cut off, or are too small, by matplotlib's own extents."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

TOUCH = 1.0  # pixels by which boxes may overlap: they include the space around letters
SMALLEST_FONT = 5.4  # points
LEAST_AXES = (1.0, 0.8)  # inches


def faults_of(figure: Figure, *, least_axes: tuple[float, float] = LEAST_AXES) -> list[str]:
    """Returns what is wrong with a figure, in sentences; an empty list if nothing is."""
    figure.draw_without_rendering()
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, height = figure.bbox.size
    found = []
    boxes: list[tuple[str, np.ndarray[Any, Any]]] = []
    for text in visible_texts(figure):
        corners = corners_of(text, renderer)
        name = text.get_text().replace("\n", "|")
        boxes.append((name, corners))
        if (points := float(text.get_fontsize())) < SMALLEST_FONT:
            found.append(f"{name!r} is {points:.1f} points small")
        if (corners.min(0) < -TOUCH).any() or (corners.max(0) > np.array([width, height]) + TOUCH).any():
            found.append(f"{name!r} is cut off")
    found += [f"{boxes[a][0]!r} overlaps {boxes[b][0]!r}" for a, b in near(boxes) if overlap(boxes[a][1], boxes[b][1])]
    for axes in figure.axes:
        inches = np.array(axes.get_window_extent(renderer).size) / figure.dpi
        if (inches < least_axes).any():
            found.append(f"axes of {inches[0]:.2f} by {inches[1]:.2f} inches")
    return found


def visible_texts(figure: Figure) -> list[Text]:
    """Returns the texts that are drawn. Ticks beyond the range of an axis exist, and are not."""
    hidden = set()
    for axes in figure.findobj(Axes):
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            room = (high - low) * 1e-6
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not tick.get_visible() or not low - room <= tick.get_loc() <= high + room:
                    hidden |= {tick.label1, tick.label2}
    texts = [each for each in figure.findobj(Text) if isinstance(each, Text)]
    return [each for each in texts if each.get_visible() and each.get_text().strip() and each not in hidden]


def corners_of(text: Text, renderer: Any) -> np.ndarray[Any, Any]:
    """Returns the four corners of a text's box in pixels, (4, 2), turned with the text."""
    angle = text.get_rotation()
    if not angle:
        box = text.get_window_extent(renderer)
        return np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]])
    turned = text.get_window_extent(renderer)
    middle = np.array([(turned.x0 + turned.x1) / 2, (turned.y0 + turned.y1) / 2])
    text.set_rotation(0)
    box = text.get_window_extent(renderer)
    text.set_rotation(angle)
    w, h = box.width / 2, box.height / 2
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]])
    radians = np.deg2rad(angle)
    turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return np.asarray(middle + corners @ turn)


def near(boxes: list[tuple[str, np.ndarray[Any, Any]]]) -> list[tuple[int, int]]:
    """Returns the pairs of boxes whose upright bounds meet."""
    if not boxes:
        return []
    low, high = (np.array([edge(corners, 0) for _, corners in boxes]) for edge in (np.min, np.max))
    meet = (low[:, None] < high[None]).all(-1) & (low[None] < high[:, None]).all(-1)
    return [(a, b) for a, b in np.argwhere(meet).tolist() if a < b]


def overlap(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Whether two rectangles share more than TOUCH pixels (separating axes)."""
    for corners in (a, b):
        for start, end in pairwise(corners[:3]):
            length = np.linalg.norm(end - start)
            if not length:
                return False
            axis = (end - start) / length
            ours, theirs = a @ axis, b @ axis
            if ours.max() < theirs.min() + TOUCH or theirs.max() < ours.min() + TOUCH:
                return False
    return True
