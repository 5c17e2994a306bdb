"""Functions that print problems and warnings to standard error."""

import sys
from collections.abc import Iterable

from ch12cli.errors import shorten
from ch12cli.files.untrusted_text import encodable, escape_controls


def print_problems(problems: Iterable[object]) -> None:
    """Prints each problem as a line that starts with `ch12:`, in the encoding of standard error."""
    for problem in problems:
        text = encodable(escape_controls(shorten(str(problem)), keep="\n"), sys.stderr.encoding or "utf-8")
        print(f"ch12: {text}", file=sys.stderr)


def print_warnings(warnings: Iterable[str]) -> None:
    """Prints each warning as a line that starts with `ch12: warning:`."""
    print_problems(f"warning: {warning}" for warning in warnings)
