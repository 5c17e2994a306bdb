"""`ch12 repro`: trains a saved run again and says whether it is the same, bit for bit."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.cli.help.arguments import Arguments, run_directory

if TYPE_CHECKING:
    from ch12cli.saved.reproduce import Reproduction

DIFFERS = 3


def parser() -> Arguments:
    arguments = Arguments("repro")
    arguments.add_trust()
    arguments.add_argument("-q", "--quiet", action="store_true", help="print the answer and nothing else")
    arguments.add_argument("-v", "--verbose", action="store_true", help="print every epoch")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = run_directory("repro", options.operands)
    from ch12cli.cli.text.console import print_line
    from ch12cli.cli.text.run_display import RunDisplay
    from ch12cli.saved.reproduce import reproduce

    verbosity = int(options.verbose) - int(options.quiet)
    with RunDisplay(verbosity=verbosity) as display:
        found = reproduce(directory, callback=display, trust=options.trust)
        display.close()
        for message in found.messages:
            display.on_message(message, warning=True)
        for line in ([""] if verbosity >= 0 else []) + format_reproduction(directory, found):
            print_line(display.console, line)
    return 0 if found.agrees else DIFFERS


def format_reproduction(directory: Path, found: "Reproduction") -> list[str]:
    """The answer in a line, and what there is to say of it in a few more."""
    epochs = f"{found.epochs} epoch{'' if found.epochs == 1 else 's'}"
    apart = f"weights by up to {found.weights:.1e} of the largest, losses by up to {found.losses:.1e} of themselves"
    if found.same:
        lines = [f"{directory}: the same, bit for bit ({epochs})"]
    elif found.stacked:
        kind = "the same up to rounding" if found.agrees else "differs by more than rounding"
        lines = [
            f"{directory}: {kind} ({epochs}): {apart}",
            f"it was trained in a stack of {found.stacked} runs, which adds up in another order than a run by itself",
        ]
    elif found.differs_from:
        figures = ", ".join(f"{name} {then!r} then, {now!r} now" for name, then, now in found.figures[:2])
        lines = [f"{directory}: differs from epoch {found.differs_from} on ({figures or 'it diverged now'})"]
        lines.append(f"of {epochs}: {apart}")
    else:
        lines = [f"{directory}: its figures are the same, its weights are not ({epochs}): {apart}"]
    lines += [f"{directory}: {file}" for file in found.files]
    if found.environment:
        lines.append(f"the environment is another: {'; '.join(found.environment)}")
    elif not found.agrees:
        lines.append("the environment is the same as then, as far as it was noted")
    return lines
