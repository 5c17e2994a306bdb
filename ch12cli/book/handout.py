"""A handout of the chapter or of parts of it, as Markdown or as a runnable notebook."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ch12cli.book.demo import Demo
from ch12cli.book.printed import SECTIONS
from ch12cli.book.run import Ran

TITLE = "Chapter 12: Parallelizing neural network training with PyTorch"
SETUP = "Each cell stands by itself. The demonstrations, and the data of item 24, come with ch12: `pip install ch12`."


@dataclass
class ChapterPart:
    """A section with its items and demonstrations. demos: (function name, result) pairs."""

    section: str
    items: list[Ran] = field(default_factory=list)
    demos: list[tuple[str, Demo]] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.section} {SECTIONS[self.section]}"


def item_heading(ran: Ran) -> str:
    return f"{ran.number}. {ran.printed.title}"


def verdict(ran: Ran) -> str:
    """Returns how an item's output compares with the book."""
    if ran.error:
        return f"not computed: {ran.error}"
    if ran.printed.kind == "uniform":
        return "as in the book, which sets no seed either: its shape and range" if ran.same else "differs from the book"
    return "as in the book, to the last digit" if ran.same else "differs from the book"


def as_markdown(parts: Sequence[ChapterPart]) -> bytes:
    lines = [f"# {TITLE}"]
    for part in parts:
        lines += ["", f"## {part.title}"]
        for ran in part.items:
            lines += ["", f"### {item_heading(ran)}", "", ran.about, "", "```python", ran.code.rstrip(), "```"]
            lines += ["", "Computed:", "", "```", ran.output, "```"]
            lines += ["", "Printed in the book:", "", "```", ran.printed.text, "```"]
            lines += ["", f"{'✓' if ran.same else '✗'} {verdict(ran)}"]
        for name, demo in part.demos:
            lines += ["", f"### {demo.title}", "", demo.about, "", "```python", *demo_code(name), "```"]
            lines += ["", "```", *demo.lines, "```"]
    return ("\n".join(lines) + "\n").encode()


def demo_code(name: str) -> list[str]:
    return [f"from ch12cli.book.demos import {name}", "", f"{name}()"]


def as_notebook(parts: Sequence[ChapterPart]) -> bytes:
    """Returns a notebook, format 4.5, with the outputs included."""
    cells = [text_cell("title", f"# {TITLE}\n\n{SETUP}")]
    for part in parts:
        cells.append(text_cell(f"section-{part.section.replace('.', '-')}", f"## {part.title}"))
        for ran in part.items:
            mark = "" if ran.printed.kind == "uniform" else f"\n\nThe book prints:\n\n```\n{ran.printed.text}\n```"
            cells.append(text_cell(f"about-{ran.number}", f"### {item_heading(ran)}\n\n{ran.about}{mark}"))
            output = {"output_type": "stream", "name": "stdout", "text": f"{ran.output}\n"}
            cells.append(code_cell(f"item-{ran.number}", ran.code.rstrip(), [output]))
        for name, demo in part.demos:
            cells.append(text_cell(f"about-{name}", f"### {demo.title}"))
            data = {"text/plain": repr(demo), "text/html": demo._repr_html_()}
            shown: dict[str, Any] = {"output_type": "execute_result", "execution_count": None, "metadata": {}}
            cells.append(code_cell(f"demo-{name}", "\n".join(demo_code(name)), [{**shown, "data": data}]))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def text_cell(name: str, text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def code_cell(name: str, code: str, outputs: list[Any]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {},
        "execution_count": None,
        "outputs": outputs,
        "source": code,
    }
