"""What displays of running work have in common: where lines go, facts, remarks, a live picture that costs little."""

import sys
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ch12cli.cli.text.console import StreamConsole, print_line, printable_on, same_place, wrap

INTERVAL = 0.1  # seconds from picture to picture, at least
SHARE = 0.05  # of the time that may go into drawing: where a terminal is slow, pictures come less often


BAR_WIDTH = 32  # characters of a progress bar, at most
MIN_BAR = 6  # characters of a progress bar, at least; with less room there is none
SPEED_WIDTH = 28  # characters kept for "  31 epochs/s  1:02:03 left", so that the bar keeps its length


class Screen:
    """A display: live on a terminal, plain lines elsewhere.

    verbosity: -1 shows the directory alone, 1 more than usual. All of it goes to `console` (the standard output), but
    warnings and errors to `errors`. Use it in a `with`, or call `close`: it gives the terminal back.
    """

    def __init__(self, *, verbosity: int = 0, console: Console | None = None, errors: Console | None = None) -> None:
        self.console = console or StreamConsole()
        self.errors = errors or StreamConsole(stderr=True)
        self.quiet = verbosity < 0
        self.verbose = verbosity > 0
        self.ascii_only = self.console.options.ascii_only
        self.live: Live | None = None
        self.spoke = False  # whether there was a remark
        self._due = 0.0  # when the next picture may be drawn, by perf_counter

    @property
    def seen(self) -> bool:
        """Whether who reads the errors reads everything else in the same place."""
        return not self.quiet and (
            (self.console.is_terminal and self.errors.is_terminal) or same_place(self.console, self.errors)
        )

    def on_message(self, text: str, *, warning: bool = False) -> None:
        """Shows a remark above the live picture; or a warning, on standard error, also when quiet."""
        if self.quiet and not warning:
            return
        # if both are on the terminal, a warning goes through the live picture, which it would tear otherwise
        console = self.errors if warning and not (self.live and self.errors.is_terminal) else self.console
        for line in f"{'warning: ' if warning else ''}{text}".splitlines():
            pieces = wrap(printable_on(console, line), console.width) if console.is_terminal else [line]
            for piece in pieces:
                print_line(console, Text(piece, style="yellow" if warning else ""))
        self.spoke = True

    def print(self, lines: Iterable[str | Text]) -> None:
        for line in lines:
            print_line(self.console, line)

    def print_facts(self, facts: Sequence[tuple[str, str]], *, label_width: int) -> None:
        """Prints (label, text) each, a long text in as many lines as it takes."""
        indent = label_width + 2
        for label, text in facts:
            for number, line in enumerate(wrap(printable_on(self.console, text), self.console.width - indent)):
                self.print([Text.assemble((f"{'' if number else label:<{indent}}", "dim"), line)])

    def start(self, picture: Callable[[], Text]) -> bool:
        """Starts the live picture; False where there can be none."""
        if self.quiet or not self.console.is_interactive:
            return False
        self.live = Live(
            console=self.console,
            auto_refresh=False,  # no thread: events drive it
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # what others print goes above it
            redirect_stderr=sys.stderr.isatty(),
            get_renderable=picture,
        )
        self.live.start(refresh=True)
        return True

    def refresh(self) -> None:
        """Draws the live picture again, if that is due."""
        if self.live is not None and (start := perf_counter()) >= self._due:
            self.live.refresh()
            now = perf_counter()
            self._due = now + max(INTERVAL, (now - start) / SHARE)

    def close(self) -> None:
        """Takes the live picture away and gives the terminal back; may be called at any time, and again."""
        live, self.live = self.live, None
        if live is not None:
            live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
