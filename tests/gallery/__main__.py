"""Draws the hard cases, as files and in the terminal, and writes a page with all of them.

Usage: python -m tests.gallery FOLDER [--docs] [WORDS of the cases' names]; the exit code is 1 if a check fails. --docs
also writes the gallery's page of the documentation, and its pictures.
"""

import argparse
import sys
from html import escape
from pathlib import Path

from ch12cli.plots.figure_style import STYLES, FigureOptions
from ch12cli.plots.matplotlib_drawer import drawing, figure_of
from ch12cli.plots.plot import Plot
from ch12cli.plots.text_drawer import draw_text
from tests.gallery.cases import CASES
from tests.gallery.faults import faults_of

WIDTHS = (60, 80, 120)
STYLES_TOO = {"paper": (0.6, 0.3), "slides": (1.0, 0.8)}  # whose texts are checked as well; inches of the least axes
DOCS = Path(__file__).parents[2] / "docs"
SHOWN = (  # in the documentation; the others are in the gallery that `make docs` adds to it
    "lines over a key, diverged", "heat map, diverged", "confusion, eight names of 45 letters", "slice, outliers",
    "curves, one run diverged", "curves, 12 decades", "curves, one epoch", "distribution, 10,000 runs",
    "distribution, a thousand seeds of two values", "heat map, four outliers", "parallel, ordinary", "pair, ordinary",
    "boundary, long feature names", "calibration, one part", "roc, three parts", "residuals, ordinary",
)  # fmt: skip
LOOK = (760, 420, 256)  # pixels and colours of a picture of the documentation, at most
INTRODUCTION = """\
# Gallery

Figures are judged by hard cases: long names and other scripts, diverged runs, outliers, one run and 10,000, one class
and 50, one epoch and 100,000, NaN, infinity and constants, ranges of 12 decades. `make gallery` draws all {count} as
PNG, as PDF and in terminals of 60, 80 and 120 columns, and fails where texts overlap, are cut off or are too small.
`make docs` adds them to these pages:
<a href="../gallery/index.html">the whole gallery</a>.
"""
PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Gallery</title><style>"
    "body{{font:1rem system-ui;margin:2rem}}"
    "img{{max-width:100%;max-height:40rem}}pre{{font:.8rem/1.15 monospace}}.dark{{background:#101418;color:#e6e9ed}}"
    "</style><h1>Hard cases</h1>{}</html>"
)


def slug_of(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def as_text(plot: Plot, width: int, *, ascii_only: bool = False) -> str:
    lines = draw_text(plot, width=width, height=24, ascii_only=ascii_only)
    return "\n".join("".join(text for text, _ in line) for line in lines)


def draw(folder: Path, name: str) -> tuple[str, list[str]]:
    """Draws a case. Returns its part of the page, and what is wrong with it."""
    plot, slug = CASES[name](), slug_of(name)
    with drawing():
        figure = figure_of(plot)
        faults = faults_of(figure)
        for form in ("png", "pdf"):
            figure.savefig(folder / f"{slug}.{form}", dpi=100)
    for style, least in STYLES_TOO.items():
        with drawing(style=STYLES[style]):
            faults += [
                f"{style}: {each}" for each in faults_of(figure_of(plot, FigureOptions(style)), least_axes=least)
            ]
    texts = [as_text(plot, width) for width in WIDTHS]
    (folder / f"{slug}.txt").write_text("\n\n".join(texts).encode(errors="replace").decode(), encoding="utf-8")
    drawn = "".join(f"<pre class={look}>{escape(text)}</pre>" for text in texts for look in ("light", "dark"))
    drawn = drawn.encode(errors="replace").decode()
    found = f"<p>{escape('; '.join(faults))}</p>" if faults else ""
    link = f"<p><a href='{slug}.pdf'>PDF</a></p>"
    return f"<h2>{escape(name)}</h2>{found}<img src='{slug}.png' alt=''>{link}{drawn}", faults


def write_page(folder: Path, docs: Path) -> None:
    """Writes the page of the documentation, and its pictures, from those in a folder."""
    from PIL import Image

    pictures = docs / "static" / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION.format(count=len(CASES))]
    for name in SHOWN:
        slug = slug_of(name).replace("--", "-")
        with Image.open(folder / f"{slug_of(name)}.png") as picture:
            share = min(1.0, LOOK[0] / picture.width, LOOK[1] / picture.height)
            size = round(picture.width * share), round(picture.height * share)
            small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(LOOK[2])
        small.save(pictures / f"{slug}.png", optimize=True)
        parts.append(f"## {name[0].upper()}{name[1:]}\n\n![{name}](../static/gallery/{slug}.png)\n")
    (docs / "reference" / "gallery.md").write_text("\n".join(parts), encoding="utf-8")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args(argv)
    folder, wanted = options.folder, " ".join(options.words)
    folder.mkdir(parents=True, exist_ok=True)
    parts, failed = [], 0
    for name in (name for name in CASES if wanted in name):
        part, faults = draw(folder, name)
        parts.append(part)
        failed += bool(faults)
        for fault in faults[:5]:
            print(f"{name}: {fault}", flush=True)
    (folder / "index.html").write_text(PAGE.format("".join(parts)), encoding="utf-8")
    print(f"{len(parts)} cases in {folder}/index.html, {failed} with faults")
    if options.docs and not wanted:
        write_page(folder, DOCS)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
