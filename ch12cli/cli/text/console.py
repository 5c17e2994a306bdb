"""Consoles on the standard streams, and functions that make untrusted text safe to print."""

import os
import re
import shutil
import sys
import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

from ch12cli.catalogue.formatting import cut_text
from ch12cli.files.untrusted_text import encodable, escape_controls

COMMAND = re.compile(r"\bch12 (?:train|resume) ")
LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")  # the first one that is set decides


class StreamConsole(Console):
    """A rich console on standard output or standard error.

    It prints text unchanged: no markup, no emoji codes, no highlighting. It raises BrokenPipeError when the pipe is
    closed. It redraws a live display only on a terminal.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        stream = sys.stderr if stderr else sys.stdout
        is_terminal = bool(getattr(stream, "isatty", bool)())
        # force_interactive: FORCE_COLOR on a pipe requests colours, not a live display
        super().__init__(
            stderr=stderr,
            markup=False,
            emoji=False,
            highlight=False,
            force_jupyter=False,
            force_interactive=None if is_terminal else False,
            **options,
        )
        if self.is_dumb_terminal:  # rich assumes 80 columns for a dumb terminal
            self.size = shutil.get_terminal_size()

    @property
    def encoding(self) -> str:
        """The stream's encoding. It is ASCII in the C locale, where Python itself would use UTF-8."""
        locale = next((os.environ[name] for name in LOCALE if os.environ.get(name)), "")
        return "ascii" if locale in ("C", "POSIX") else super().encoding

    def on_broken_pipe(self) -> None:
        """Re-raises the current BrokenPipeError, so that the caller chooses the exit status of `ch12 … | head`."""
        raise  # rich calls this method while it handles the error


def same_place(one: Console, other: Console) -> bool:
    """Returns whether two consoles write to the same file or pipe, as after 2>&1."""
    try:
        return os.path.samestat(os.fstat(one.file.fileno()), os.fstat(other.file.fileno()))
    except (OSError, AttributeError):  # an in-memory buffer has no file descriptor
        return False


def printable_on(console: Console, text: str) -> str:
    """Returns the text with control characters and unencodable characters replaced by escapes."""
    return encodable(escape_controls(text), getattr(console.file, "encoding", None) or "utf-8")


def print_line(console: Console, line: str | Text = "") -> None:
    """Prints one line without markup, wrapping or truncation."""
    text = Text(line) if isinstance(line, str) else line
    text.plain = printable_on(console, text.plain)
    console.print(text, soft_wrap=True)


def truncate_line(line: Text, width: int, *, ascii_only: bool) -> None:
    """Cuts a line to `width` columns, in place. A number at its end is left out rather than cut."""
    line.rstrip()
    if line.cell_len > width:
        mark, whole = "" if ascii_only else "…", line.plain
        line.truncate(width - len(mark), overflow="crop")
        line.plain = line.plain[: len(cut_text(whole, len(line.plain), mark=""))]
        line.append(mark)


def wrap(text: str, width: int) -> list[str]:
    """Returns the text as one or more lines, broken between words.

    A word wider than `width`, such as a path, is not split. A text with a command stays one line, so that the command
    can be copied.
    """
    if COMMAND.search(text):
        return [text]
    return textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]
