"""The numbers behind a plot, as CSV."""

import csv
import io
from collections.abc import Iterator

import numpy as np

from ch12cli.plots.plot import Axis, Bars, Field, Grid, Histogram, Line, Lines, Panel, Parallel, Pictures, Plot

Record = dict[str, object]


def to_plotted_csv(plot: Plot) -> bytes:
    """Returns a row for each point, cell or bar, with the names of its axes as columns."""
    records = [
        {"panel": number, **record} for number, panel in enumerate(plot.panels) for record in records_of_panel(panel)
    ]
    if len(plot.panels) == 1:
        records = [{name: value for name, value in record.items() if name != "panel"} for record in records]
    columns = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def records_of_panel(panel: Panel) -> Iterator[Record]:
    """Yields what a panel shows."""
    if isinstance(panel, Lines):
        for line in panel.lines:
            yield from _records_of_line(panel, line)
        for edge in panel.edges:
            yield {**_facet(panel), "line": "runs without a value", panel.x.label: _place(panel.x, edge.x),
                   "count": edge.text}  # fmt: skip
    elif isinstance(panel, Grid):
        for row, name in enumerate(panel.rows.names or ()):
            for column, label in enumerate(panel.columns.names or ()):
                value = panel.values[row, column]
                yield {panel.rows.label: name, panel.columns.label: label, panel.scale: _number(value)}
    elif isinstance(panel, Bars):
        for name, value, text in zip(panel.names, panel.values.tolist(), panel.texts, strict=True):
            yield {"name": name, panel.label: _number(value), "text": text}
    elif isinstance(panel, Histogram):
        for low, high, count in zip(panel.edges[:-1], panel.edges[1:], panel.counts.tolist(), strict=True):
            yield {f"{panel.x.label} from": _number(low), "to": _number(high), panel.label: count}
    elif isinstance(panel, Parallel):
        for name, shares in zip(panel.names, panel.shares.tolist(), strict=True):
            pairs = zip(panel.axes, shares, strict=True)
            yield {"run": name, **{f"{axis.label}, share of its axis": _number(share) for axis, share in pairs}}
    elif isinstance(panel, Pictures):
        for number, (row, caption) in enumerate(zip(panel.rows, panel.captions, strict=True)):
            yield {"row": row, "predicted": ", ".join(caption), "wrong": number in panel.wrong}
    else:
        yield from _records_of_field(panel)


def _records_of_line(panel: Lines, line: Line) -> Iterator[Record]:
    name = line.name or ("runs" if line.faint else "mean" if line.bars else "")
    for index, (x, y) in enumerate(zip(line.x.tolist(), line.y.tolist(), strict=True)):
        record: Record = {**_facet(panel), "line": name, panel.x.label: _place(panel.x, x)}
        record[panel.y.label] = _number(y)
        if line.low is not None and line.high is not None:
            record |= {"low": _number(line.low[index]), "high": _number(line.high[index])}
        yield record


def _records_of_field(panel: Field) -> Iterator[Record]:
    for part, xs, ys, classes in panel.points:
        for x, y, number in zip(xs.tolist(), ys.tolist(), classes.tolist(), strict=True):
            yield {"part": part, panel.x.label: x, panel.y.label: y, "class": panel.names[number]}


def _facet(panel: Lines) -> Record:
    key, sign, value = panel.title.partition("=")
    return {key: value} if sign else {}


def _place(axis: Axis, x: float) -> object:
    """Returns the name at a position, or a number."""
    if axis.absent is not None and x == axis.absent[0]:
        return axis.absent[1]
    return _number(x) if axis.names is None else axis.names[int(np.clip(round(x), 0, len(axis.names) - 1))]


def _number(value: float) -> object:
    """Returns a number as its shortest text; an empty one for NaN."""
    return (
        "" if np.isnan(value) else int(value) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    )
