"""Where output goes: consoles that fit the terminal, the pipe, the locale; and text from outside made safe to print."""

import os
import shutil
import sys
import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

from ch12cli.files.untrusted_text import encodable, escape_controls

LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")  # the first that is set decides


class StreamConsole(Console):
    """A console on standard output or standard error.

    It prints text as it is (no markup, no emoji codes, no highlighting), leaves a closed pipe to the caller, and moves
    the cursor only where there is a cursor.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        stream = sys.stderr if stderr else sys.stdout
        is_terminal = bool(getattr(stream, "isatty", bool)())
        # force_interactive: FORCE_COLOR in a pipe asks for colours, not for a moving display
        super().__init__(
            stderr=stderr,
            markup=False,
            emoji=False,
            highlight=False,
            force_jupyter=False,
            force_interactive=None if is_terminal else False,
            **options,
        )
        if self.is_dumb_terminal:  # for which rich assumes 80 columns
            self.size = shutil.get_terminal_size()

    @property
    def encoding(self) -> str:
        """The stream's encoding; ASCII in the C locale, where Python itself would write UTF-8."""
        locale = next((os.environ[name] for name in LOCALE if os.environ.get(name)), "")
        return "ascii" if locale in ("C", "POSIX") else super().encoding

    def on_broken_pipe(self) -> None:
        """Raises the BrokenPipeError that led here: what `ch12 … | head` ends with is decided at the top."""
        raise  # rich calls this while it handles the error


def same_place(one: Console, other: Console) -> bool:
    """Whether two consoles write to the same file or pipe, as after 2>&1."""
    try:
        return os.path.samestat(os.fstat(one.file.fileno()), os.fstat(other.file.fileno()))
    except (OSError, AttributeError):  # a buffer in memory is no file
        return False


def printable_on(console: Console, text: str) -> str:
    """The text with control characters, and characters that the console's stream cannot encode, written as escapes."""
    return encodable(escape_controls(text), getattr(console.file, "encoding", None) or "utf-8")


def print_line(console: Console, line: str | Text = "") -> None:
    """Prints one line, as it is: no markup, no line breaks added, nothing cut off."""
    text = Text(line) if isinstance(line, str) else line
    text.plain = printable_on(console, text.plain)
    console.print(text, soft_wrap=True)


def wrap(text: str, width: int) -> list[str]:
    """The text in lines broken between words, one or more; a word wider than the width, as a path is, stays whole."""
    return textwrap.wrap(text, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]
