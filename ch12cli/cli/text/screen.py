"""Base class of progress displays: consoles, facts, messages and a throttled live display."""

import sys
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ch12cli.cli.text.console import StreamConsole, print_line, printable_on, same_place, wrap

INTERVAL = 0.1  # minimum seconds between redraws
SHARE = 0.05  # maximum share of time spent drawing; on a slow terminal, redraws are less frequent


BAR_WIDTH = 32  # maximum characters of a progress bar
MIN_BAR = 6  # minimum characters of a progress bar; with less room, none is drawn
SPEED_WIDTH = 28  # characters reserved for "  31 epochs/s  1:02:03 left", so that the bar keeps its length


class Screen:
    """A display: live on a terminal, plain lines elsewhere.

    verbosity: -1 prints only the directory; 1 prints more than usual. Output goes to `console`, standard output by
    default. Warnings and errors go to `errors`, standard error by default. Use it in a `with` statement, or call
    `close` to stop the live display.
    """

    def __init__(self, *, verbosity: int = 0, console: Console | None = None, errors: Console | None = None) -> None:
        self.console = console or StreamConsole()
        self.errors = errors or StreamConsole(stderr=True)
        self.quiet = verbosity < 0
        self.verbose = verbosity > 0
        self.ascii_only = self.console.options.ascii_only
        self.live: Live | None = None
        self.has_printed = False  # whether a message was printed
        self._due = 0.0  # earliest time of the next redraw, by perf_counter

    @property
    def seen(self) -> bool:
        """Whether the output is visible to a reader of the error console."""
        return not self.quiet and (
            (self.console.is_terminal and self.errors.is_terminal) or same_place(self.console, self.errors)
        )

    def on_message(self, text: str, *, warning: bool = False) -> None:
        """Prints a message above the live display. A warning goes to the error console, also in quiet mode."""
        if self.quiet and not warning:
            return
        # if both consoles are terminals, print through the live display, which the warning would corrupt otherwise
        console = self.errors if warning and not (self.live and self.errors.is_terminal) else self.console
        for line in f"{'warning: ' if warning else ''}{text}".splitlines():
            pieces = wrap(printable_on(console, line), console.width) if console.is_terminal else [line]
            for piece in pieces:
                print_line(console, Text(piece, style="yellow" if warning else ""))
        self.has_printed = True

    def print(self, lines: Iterable[str | Text]) -> None:
        for line in lines:
            print_line(self.console, line)

    def wrapped(self, lines: Iterable[str]) -> list[str]:
        """Returns sentences broken between words on a terminal, and as they are elsewhere."""
        if not self.console.is_terminal:
            return list(lines)
        return [piece for line in lines for piece in wrap(printable_on(self.console, line), self.console.width)]

    def print_facts(self, facts: Sequence[tuple[str, str]], *, label_width: int) -> None:
        """Prints (label, text) pairs, wrapping long texts."""
        indent = label_width + 2
        for label, text in facts:
            for number, line in enumerate(wrap(printable_on(self.console, text), self.console.width - indent)):
                self.print([Text.assemble((f"{'' if number else label:<{indent}}", "dim"), line)])

    def start(self, picture: Callable[[], Text]) -> bool:
        """Starts the live display. Returns False if the console does not support one."""
        if self.quiet or not self.console.is_interactive:
            return False
        self.live = Live(
            console=self.console,
            auto_refresh=False,  # no refresh thread: events trigger redraws
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # output of other code is printed above the live display
            redirect_stderr=sys.stderr.isatty(),
            get_renderable=picture,
        )
        self.live.start(refresh=True)
        return True

    def refresh(self) -> None:
        """Redraws the live display if the minimum interval has passed."""
        if self.live is not None and (start := perf_counter()) >= self._due:
            self.live.refresh()
            now = perf_counter()
            self._due = now + max(INTERVAL, (now - start) / SHARE)

    def close(self) -> None:
        """Stops the live display and restores the terminal. Calling it again has no effect."""
        live, self.live = self.live, None
        if live is not None:
            live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
