"""Learning curves as a small SVG for notebooks, where text curves would need a monospaced font."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 560, 200  # of the drawing, in CSS pixels
LEFT, RIGHT, TOP, BOTTOM = 70, 10, 26, 34  # margins
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe & Ito (2008)
DASHES = ("", "6 3", "2 2", "6 2 2 2")  # distinguishable without colour
TEXT = "font-size='12' fill='currentColor'"


def curve_svg(series: Mapping[str, Sequence[float]]) -> str:
    """Returns an SVG of every series over 1, 2, …, n.

    Values that are not finite are gaps. The text is empty if there are no finite values.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    longest = max(map(len, series.values()))
    lines = []
    for number, (name, values) in enumerate(series.items()):
        style = f"stroke='{COLOURS[number % len(COLOURS)]}' stroke-dasharray='{DASHES[number % len(DASHES)]}'"
        lines += [
            f"<polyline points='{points}' fill='none' stroke-width='2' {style}/>"
            for points in pieces(values, low, high, longest)
        ]
        x = LEFT + 130 * number
        lines.append(f"<line x1='{x}' x2='{x + 24}' y1='12' y2='12' stroke-width='2' {style}/>")
        lines.append(f"<text x='{x + 30}' y='16' {TEXT}>{escape(name.replace('_', ' '))}</text>")
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    axes = f"<path d='M{LEFT} {TOP}V{floor}H{right}' fill='none' stroke='currentColor'/>"
    texts = [(LEFT - 6, TOP + 4, "end", f"{high:.4g}"), (LEFT - 6, floor + 4, "end", f"{low:.4g}")]
    texts += [(LEFT, floor + 16, "middle", "1"), (right, floor + 16, "end", f"{longest}")]
    texts += [((LEFT + right) // 2, floor + 28, "middle", "epoch")]
    lines += [f"<text x='{x}' y='{y}' text-anchor='{anchor}' {TEXT}>{text}</text>" for x, y, anchor, text in texts]
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' role='img'>"
    return f"{head}{axes}{''.join(lines)}</svg>"


def pieces(values: Sequence[float], low: float, high: float, longest: int) -> list[str]:
    """Returns the SVG points of a line, one text for each segment between gaps."""
    found: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if not math.isfinite(value):
            found.append([])
            continue
        x = LEFT + (WIDTH - LEFT - RIGHT) * index / max(1, longest - 1)
        share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5  # halved, as the range may overflow
        found[-1].append(f"{x:.1f},{TOP + (HEIGHT - TOP - BOTTOM) * (1 - share):.1f}")
    return [" ".join(piece) for piece in found if piece]
