"""The building blocks of a self-contained HTML page: it loads nothing, and runs only the scripts of this package."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any
from zlib import crc32

from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.colours import LINES
from ch12cli.plots.matplotlib_drawer import FOREGROUND, render
from ch12cli.plots.plot import Grid, Lines, Plot
from ch12cli.report.page_data import page_json

ID = re.compile(r' id="([^"]+)"')
REFERENCE = re.compile(r"""(?:href="|url\()#([^")]+)""")
SCRIPTS = ("values", "colours", "plane", "parallel", "table", "curves", "explore")  # in this order, before main
BOARD_SCRIPTS = ("live", "board")
SCALE = 1.3  # pixels of a unit of a figure, at most
OUTER = re.compile(r"<svg [^>]*?(viewBox=\"[^\"]+\")[^>]*>")


def as_html(text: object) -> str:
    """A value as escaped HTML, with control characters as visible escapes."""
    return escape(escape_controls(str(text)))


def document(
    title: str, sections: Iterable[str], data: Mapping[str, Any] | None = None, *, served: bool = False
) -> bytes:
    """The page as bytes. sections: HTML. data: of its interactive part, if it has one.

    served: by the board, which it asks for what is new.
    """
    styles = [own_file("vendor/uPlot.min.css"), own_file("page.css")]
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {policy_sources(served)}; img-src data:"
    policy += "; connect-src 'self'" * served
    held = "" if data is None else f'<script type="application/json" id="data">{page_json(data)}</script>'
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{as_html(title)}</title>",
            *(f"<style>{style}</style>" for style in styles),
            "</head>",
            "<body>",
            "<main>",
            *sections,
            "</main>",
            held,
            *(f"<script>{script}</script>" for script in scripts(served)),
            "</body>",
            "</html>",
            "",
        ]
    ).encode()


@cache
def scripts(served: bool) -> tuple[str, str]:
    """The scripts of a page: uPlot's and ch12's own. served: with those of the board."""
    names = [*SCRIPTS, *BOARD_SCRIPTS, "main"] if served else [*SCRIPTS, "main"]
    return own_file("vendor/uPlot.iife.min.js"), "\n".join(own_file(f"script/{name}.js") for name in names)


@cache
def policy_sources(served: bool) -> str:
    """The scripts that a page may run, as its Content-Security-Policy names them: by their digests."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts(served))
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def own_file(name: str) -> str:
    """A file of this package."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def links(sections: Mapping[str, str]) -> str:
    """Links to sections of the page. sections: their names by id."""
    found = "".join(f"<a href='#{name}'>{as_html(text)}</a>" for name, text in sections.items())
    return f"<nav aria-label='Sections'>{found}</nav>"


def explorer() -> str:
    """The place of the interactive part, which its script fills."""
    return "<section id='explore' class='interactive' hidden></section>"


def figure(plot: Plot) -> str:
    """A plot as inline SVG in the page's own colours, which change in dark mode. Its notes become the caption."""
    text = render(replace(plot, notes=[], legend=[]), "svg", themed=True).decode()
    text = text[text.index("<svg") :]
    text = OUTER.sub(partial(outer_tag, as_html(plot.title)), text, count=1)
    text = text.replace(FOREGROUND, "currentColor")
    for number, colour in enumerate(LINES):
        text = text.replace(colour.lower(), f"var(--line-{number})")
    used = set(REFERENCE.findall(text))
    name = f"f{crc32(plot.title.encode(errors='replace')):08x}"  # else ids would repeat between figures
    text = ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    text = REFERENCE.sub(lambda found: f"{found[0][: -len(found[1])]}{name}-{found[1]}", text)
    notes = " ".join([*plot.notes, *plot.legend])
    return f"<figure>{text.strip()}{f'<figcaption>{as_html(notes)}</figcaption>' if notes else ''}</figure>"


def outer_tag(title: str, found: re.Match[str]) -> str:
    """The tag of a figure, which limits its size so that its letters are as large as those of other figures."""
    width = float(found[1].split()[2]) * SCALE
    return f'<svg {found[1]} role="img" aria-label="{title}" style="max-width:{width:.0f}px">'


def gallery(plots: Iterable[Plot], *, replaced: bool = False) -> str:
    """Plots side by side where they fit, each panel as a titled figure of its own.

    replaced: the page's script shows the same in a chart, so that they are for print, and for browsers without scripts.
    """
    figures = "".join(figure(single) for plot in plots for single in split_panels(plot))
    return f"<div class='gallery{' replaced' * replaced}'>{figures}</div>" if figures else ""


def split_panels(plot: Plot) -> list[Plot]:
    """One plot for each panel of a plot."""
    if len(plot.panels) == 1:
        return [plot]
    names = [
        panel.y.label if isinstance(panel, Lines) else panel.scale if isinstance(panel, Grid) else ""
        for panel in plot.panels
    ]
    titles = [f"{plot.title}: {name}" if name else plot.title for name in names]
    return [replace(plot, title=title, panels=[panel]) for title, panel in zip(titles, plot.panels, strict=True)]


def facts(values: Mapping[str, object]) -> str:
    """Names and values as a table of two columns."""
    lines = (
        f"<tr><th>{as_html(name)}</th><td class='text long'>{as_html(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<div class='scroll' tabindex='0'><table class='facts'><tbody>{''.join(lines)}</tbody></table></div>"


def highlights(values: Sequence[tuple[str, str]]) -> str:
    """The few numbers that say most. values: (label, text) each."""
    boxes = (f"<div><b>{as_html(text)}</b><span>{as_html(label)}</span></div>" for label, text in values)
    return f"<div class='figures' id='highlights'>{''.join(boxes)}</div>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, best: int | None = None) -> str:
    """A table. best: the index of the row to mark."""
    head = "".join(f"<th>{as_html(name)}</th>" for name in header)
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{as_html('' if value is None else value)}</td>" for value in row)
        lines.append(f"<tr{' class=best' if index == best else ''}>{cells}</tr>")
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f"<div class='scroll' tabindex='0'><table>{body}</table></div>"


def jobs_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that can be sorted and filtered."""
    head = "".join(
        f"<th scope='col' data-name='{breakable(as_html(name))}'><button type='button'>{as_html(name)}</button></th>"
        for name in header
    )
    lines = ("".join(f"<td>{as_html(value)}</td>" for value in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        "<p class='controls filter dim'><label>Filter: words, or comparisons as "
        "<code>test_accuracy&gt;0.95 lr&lt;0.1</code><br>"
        "<input type='search' id='filter'></label> <span id='count' aria-live='polite'></span></p>"
        "<div class='tall scroll' tabindex='0' role='region' aria-label='Table of jobs'><table class='jobs'>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def breakable(name: str) -> str:
    """A heading that may break after its dots and underscores.

    It stands in for the button in print, where Chromium leaves the button empty in a repeated table head.
    """
    return name.replace(".", ".&#8203;").replace("_", "_&#8203;")


def commands(lines: Sequence[tuple[str, str]]) -> str:
    """Command lines to copy. lines: (what it does, the command) each."""
    return "".join(f"<p>{as_html(about)}</p><pre>{as_html(line)}</pre>" for about, line in lines)


def details(summary: str, content: str) -> str:
    """Content behind a summary that opens it."""
    return f"<details><summary>{as_html(summary)}</summary>{content}</details>"
