"""A page that holds all it shows: nothing is loaded, from anywhere, and nothing runs but its own few lines."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.colours import LINES
from ch12cli.plots.matplotlib_drawer import FOREGROUND, render
from ch12cli.plots.plot import Grid, Lines, Plot

ID = re.compile(r' id="([^"]+)"')
OUTER = re.compile(r"<svg [^>]*?(viewBox=\"[^\"]+\")[^>]*>")


def shown(text: object) -> str:
    """A text as HTML; control characters as escapes, which would not be seen."""
    return escape(escape_controls(str(text)))


def document(title: str, sections: Iterable[str]) -> bytes:
    """The page. sections: HTML."""
    style, script = ((Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{shown(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            *sections,
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    ).encode()


def figure(plot: Plot) -> str:
    """A plot, in the page's own colours: they change in the dark. Its notes are the page's text."""
    text = render(replace(plot, notes=[], legend=[]), "svg", themed=True).decode()
    text = text[text.index("<svg") :]
    text = OUTER.sub(rf'<svg \1 role="img" aria-label="{shown(plot.title)}">', text, count=1)
    text = text.replace(FOREGROUND, "currentColor")
    for number, colour in enumerate(LINES):
        text = text.replace(colour.lower(), f"var(--line-{number})")
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = ID.sub(lambda found: found[0] if found[1] in used else "", text)  # of several figures they would be the same
    notes = " ".join([*plot.notes, *plot.legend])
    return f"<figure>{text.strip()}{f'<figcaption>{shown(notes)}</figcaption>' if notes else ''}</figure>"


def gallery(plots: Iterable[Plot]) -> str:
    """Plots side by side where there is room, each panel as a figure of its own, and called what it shows."""
    figures = (figure(alone) for each in plots for alone in panels_of(each))
    return f"<div class='gallery'>{''.join(figures)}</div>"


def panels_of(plot: Plot) -> list[Plot]:
    """A plot of each panel of one."""
    if len(plot.panels) == 1:
        return [plot]
    names = [
        panel.y.label if isinstance(panel, Lines) else panel.scale if isinstance(panel, Grid) else ""
        for panel in plot.panels
    ]
    titles = [f"{plot.title}: {name}" if name else plot.title for name in names]
    return [replace(plot, title=title, panels=[panel]) for title, panel in zip(titles, plot.panels, strict=True)]


def facts(values: Mapping[str, object]) -> str:
    """Names and values, a line each."""
    lines = (
        f"<tr><th>{shown(name)}</th><td class='text long'>{shown(value)}</td></tr>" for name, value in values.items()
    )
    return f"<div class='scroll'><table class='facts'><tbody>{''.join(lines)}</tbody></table></div>"


def highlights(values: Sequence[tuple[str, str]]) -> str:
    """The few figures that say most. values: (label, figure) each."""
    boxes = (f"<div><b>{shown(text)}</b><span>{shown(label)}</span></div>" for label, text in values)
    return f"<div class='figures'>{''.join(boxes)}</div>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, best: int | None = None) -> str:
    """A table. best: the place of the row that stands out."""
    head = "".join(f"<th>{shown(name)}</th>" for name in header)
    lines = []
    for place, row in enumerate(rows):
        cells = "".join(f"<td>{shown('' if value is None else value)}</td>" for value in row)
        lines.append(f"<tr{' class=best' if place == best else ''}>{cells}</tr>")
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def jobs_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table to sort and to filter."""
    head = "".join(
        f"<th data-name='{breakable(shown(name))}'><button type='button'>{shown(name)}</button></th>" for name in header
    )
    lines = ("".join(f"<td>{shown(value)}</td>" for value in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        "<p class='controls dim'><label>Filter: words, or comparisons as "
        "<code>test_accuracy&gt;0.95 lr&lt;0.1</code><br>"
        "<input type='search' id='filter'></label> <span id='count' aria-live='polite'></span></p>"
        "<div class='tall scroll'><table class='jobs' data-filter='filter' data-count='count'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def breakable(name: str) -> str:
    """A heading that may be broken at its dots and underscores. In print it takes the place of the button, which
    Chromium leaves empty where a page repeats the table's head."""
    return name.replace(".", ".&#8203;").replace("_", "_&#8203;")


def commands(lines: Sequence[tuple[str, str]]) -> str:
    """Command lines to copy. lines: (what it does, the line) each."""
    return "".join(f"<p>{shown(about)}</p><pre>{shown(line)}</pre>" for about, line in lines)


def folded(summary: str, content: str) -> str:
    """Something to open."""
    return f"<details><summary>{shown(summary)}</summary>{content}</details>"
