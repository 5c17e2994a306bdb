"""Draws the hard cases, as files and in the terminal, and writes a page with all of them.

Usage: python -m tests.gallery [FOLDER] [WORDS of the cases' names]; the exit code is 1 if a check fails.
"""

import sys
from html import escape
from pathlib import Path

from ch12cli.plots.matplotlib_drawer import drawing, figure_of
from ch12cli.plots.plot import Plot
from ch12cli.plots.text_drawer import draw_text
from tests.gallery.cases import CASES
from tests.gallery.faults import faults_of

WIDTHS = (60, 80, 120)
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
    texts = [as_text(plot, width) for width in WIDTHS]
    (folder / f"{slug}.txt").write_text("\n\n".join(texts).encode(errors="replace").decode(), encoding="utf-8")
    drawn = "".join(f"<pre class={look}>{escape(text)}</pre>" for text in texts for look in ("light", "dark"))
    drawn = drawn.encode(errors="replace").decode()
    return f"<h2>{escape(name)}</h2><p>{escape('; '.join(faults))}</p><img src='{slug}.png' alt=''>{drawn}", faults


def main(folder: Path, wanted: str = "") -> int:
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
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/gallery"), " ".join(sys.argv[2:])))
