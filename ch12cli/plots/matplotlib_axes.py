"""What all panels of a file have in common: their size, their labelled axes, texts that are shown as they are."""

from typing import TYPE_CHECKING

from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.plot import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 6.4, 4.8  # inches of a panel


def label(axes: "Axes", x: Axis, y: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(plain(x.label))
    axes.set_ylabel(plain(y.label))
    if x.log:
        axes.set_xscale("log")
    if y.log:
        axes.set_yscale("log")
    for whole, side in ((x.whole, axes.xaxis), (y.whole, axes.yaxis)):
        if whole:
            side.set_major_locator(MaxNLocator("auto", integer=True))
    if x.names is not None:
        axes.set_xticks(range(len(x.names)), [plain(name) for name in x.names], rotation=0 if few(x.names) else 45)


def few(names: tuple[str, ...]) -> bool:
    """Whether the names have room beside each other."""
    return max(map(len, names), default=0) * len(names) < 45


def plain(text: str) -> str:
    """A text as it is: matplotlib would read what stands between dollar signs as mathematics. Control characters, and
    what UTF-8 has no bytes for, as escapes."""
    return escape_controls(text).replace("$", r"\$")
