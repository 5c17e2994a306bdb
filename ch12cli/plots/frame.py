"""What stands around a drawing in a terminal: the labelled axes, on a grid of characters."""

from typing import NamedTuple

from ch12cli.plots.plot import Axis, Span
from ch12cli.plots.scale import Scale, tick_texts
from ch12cli.plots.text_curve import ASCII, UNICODE, Charset

LABEL_WIDTH = 12  # characters beside the y axis, at most
TICK_ROWS = 3  # lines from one label of the y axis to the next, about
TICK_COLUMNS = 12  # characters from one label of the x axis to the next, about


class Frame(NamedTuple):
    """Axes around (rows, columns) characters. labels: of rows, all `gutter` wide or less."""

    x: Axis
    y: Axis
    x_scale: Scale
    y_scale: Scale
    rows: int
    columns: int
    gutter: int
    labels: dict[int, str]
    charset: Charset


def frame_around(x: Axis, y: Axis, x_scale: Scale, y_scale: Scale, *, width: int, rows: int, ascii_only: bool) -> Frame:
    """The axes of a drawing that takes `width` characters in all."""
    ticks = ticks_of(y_scale, y, max(2, rows // TICK_ROWS + 1))
    labels: dict[int, str] = {}
    for tick, text in zip(ticks, tick_texts(ticks), strict=True):
        labels.setdefault(row_of(y_scale, tick, rows), text[:LABEL_WIDTH])
    gutter = max(map(len, labels.values()), default=0)
    charset = ASCII if ascii_only else UNICODE
    return Frame(x, y, x_scale, y_scale, rows, max(8, width - gutter - 2), gutter, labels, charset)


def ticks_of(scale: Scale, axis: Axis, most: int) -> list[float]:
    """Round values, whole ones of what is counted."""
    ticks = scale.ticks(most)
    return [tick for tick in ticks if not axis.whole or abs(tick - round(tick)) < 1e-9]


def row_of(scale: Scale, value: float, rows: int) -> int:
    return min(rows - 1, max(0, round((1 - float(scale.share(value))) * (rows - 1))))  # type: ignore[arg-type]


def framed(frame: Frame, body: list[list[Span]]) -> list[list[Span]]:
    """The drawing's own lines, one a row, between the y axis and, below them, the x axis."""
    charset = frame.charset
    lines: list[list[Span]] = [[(f"{'':{frame.gutter}}  {frame.y.label[: frame.columns]}", "dim")]]
    for row, spans in enumerate(body):
        label = frame.labels.get(row)
        side = f"{label or '':>{frame.gutter}} {charset.axis if label is None else charset.tick}"
        lines.append([(side, "dim"), *spans])
    return lines + x_axis(frame)


def x_axis(frame: Frame) -> list[list[Span]]:
    """The line under the drawing, its labels, none of which touch, and what it shows."""
    scale, columns = frame.x_scale, frame.columns
    if frame.x.names is None:
        ticks = ticks_of(scale, frame.x, max(2, columns // TICK_COLUMNS))
        texts = tick_texts(ticks)
    else:
        ticks, texts = [float(place) for place in range(len(frame.x.names))], list(frame.x.names)
    floor, labels = [frame.charset.floor] * columns, ""
    for tick, text in zip(ticks, texts, strict=True):
        column = min(columns - 1, max(0, round(float(scale.share(tick)) * (columns - 1))))  # type: ignore[arg-type]
        start = max(0, min(column - len(text) // 2, columns - len(text)))
        if start >= len(labels) + bool(labels) and start + len(text) <= columns:
            labels = f"{labels:<{start}}{text}"
            floor[column] = frame.charset.mark
    label = frame.x.label[:columns]
    indent = " " * (frame.gutter + 1)
    return [
        [(f"{indent}{frame.charset.corner}{''.join(floor)}", "dim")],
        [(f"{indent} {labels}", "dim")],
        [(f"{indent} {' ' * ((columns - len(label)) // 2)}{label}", "dim")],
    ]
