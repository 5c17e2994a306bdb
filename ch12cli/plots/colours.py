"""Colours that are distinguishable with colour blindness and in greyscale.

Sources: for lines, Okabe & Ito (2008), without yellow, which is hard to see on white. For shades, eight samples of
matplotlib's viridis (Smith & van der Walt, 2015).
"""

import numpy as np

LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D", "#8B6508")
TERMINAL = ("cyan", "magenta", "yellow", "green", "blue", "red", "white", "bright_black")  # terminal colours
VIRIDIS = (
    (68, 1, 84),
    (70, 50, 127),
    (54, 92, 141),
    (39, 127, 142),
    (31, 161, 135),
    (74, 194, 109),
    (159, 218, 58),
    (253, 231, 37),
)


def shade(share: float) -> str:
    """Returns the viridis colour of a share from 0 to 1 as `#rrggbb`."""
    position = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    low = min(int(position), len(VIRIDIS) - 2)
    mixed = np.array(VIRIDIS[low]) * (1 - (position - low)) + np.array(VIRIDIS[low + 1]) * (position - low)
    return "#{:02x}{:02x}{:02x}".format(*(round(float(part)) for part in mixed))


def ink(colour: str) -> str:
    """Returns black or white, whichever is more readable on a colour (WCAG's relative luminance)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"
