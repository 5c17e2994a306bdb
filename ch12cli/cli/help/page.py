"""Pages of plain text, as wide as the terminal: headings, paragraphs, lists. Needs no rich."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence

from ch12cli.files.untrusted_text import encodable, escape_controls

NARROWEST, WIDEST = 60, 120  # characters of a line
INDENT = 2
GAP = 2  # between a label and its text
LABEL = 26  # characters of a label; the text of a longer one goes below it


def page_width() -> int:
    """Characters in a line: those of the terminal (80 without one), within limits."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))


def printable(text: str) -> str:
    """The text with control characters, and characters that standard output cannot encode, written as escapes."""
    return encodable(escape_controls(text), getattr(sys.stdout, "encoding", None) or "utf-8")


def cut_mark() -> str:
    """What stands for the part of a text that is cut off."""
    return "…" if printable("…") == "…" else "~"


def heading(text: str) -> str:
    """A line in bold if standard output is a terminal with colours."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    return printable(text) if plain else f"\033[1m{printable(text)}\033[0m"


def paragraph(text: str, *, indent: int = 0, hanging: int = 0) -> list[str]:
    """The text as lines, broken between words. hanging: extra indent of all lines but the first."""
    return textwrap.wrap(
        printable(text),
        page_width(),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,  # keep paths whole, so that they can be copied
        break_on_hyphens=False,
    )


def definitions(entries: Iterable[tuple[str, str]], *, indent: int = INDENT, widest: int = LABEL) -> list[str]:
    """Labels with their texts in one column beside them; below a label that is too long.

    A line break in a text is kept only if the text does not fit in one line.
    """
    entries = [(printable(label), text) for label, text in entries]
    fitting = [len(label) for label, _ in entries if len(label) <= widest]
    column = indent + (max(fitting) if fitting else INDENT) + GAP
    lines: list[str] = []
    for label, text in entries:
        body = paragraph(text.replace("\n", " "), indent=column)
        if len(body) > 1:
            body = [line for part in text.split("\n") for line in paragraph(part, indent=column)]
        if body and len(label) <= column - indent - GAP:
            lines.append(f"{' ' * indent}{label:<{column - indent}}{body[0].lstrip()}")
            lines += body[1:]
        else:
            lines += [" " * indent + label, *body]
    return lines


def show_page(page: str) -> None:
    """Prints a page; on a terminal that it does not fit, through the pager, as git does.

    The pager is the command in PAGER, or less; `PAGER=cat` switches it off.
    """
    pager, lines = os.environ.get("PAGER", "less"), shutil.get_terminal_size().lines
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if (
        not is_terminal
        or page.count("\n") + 2 <= lines
        or pager in ("", "cat")
        or shutil.which(pager.split()[0]) is None
    ):
        print(page)
        return
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the pager
    try:
        # less: end if it fits after all, keep colours, leave the page on the terminal
        subprocess.run(pager, shell=True, input=f"{page}\n".encode(), env={"LESS": "FRX", **os.environ}, check=False)
    except BrokenPipeError:
        pass
    finally:
        signal.signal(signal.SIGINT, interrupt)


def join_pages(blocks: Sequence[Sequence[str]]) -> str:
    """Blocks of lines as one text, separated by blank lines, without empty blocks."""
    return "\n\n".join("\n".join(block) for block in blocks if block)
