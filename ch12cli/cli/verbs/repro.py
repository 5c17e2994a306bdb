"""`ch12 repro`: trains a saved run again and reports whether it is the same, bit for bit."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.cli.help.arguments import Arguments, find_run_directory_operand, verbosity_of
from ch12cli.cli.text.problems import print_warnings
from ch12cli.cli.text.run_json import json_text
from ch12cli.cli.text.warnings_only import WarningsOnly

if TYPE_CHECKING:
    from ch12cli.saved.reproduce import Reproduction

RUN_DIFFERS = 3


def parser() -> Arguments:
    arguments = Arguments("repro")
    arguments.add_trust()
    arguments.add_verbosity(quiet="print only the answer")
    arguments.add_format()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    directory = find_run_directory_operand("repro", options.operands)
    from ch12cli.cli.text.console import print_line
    from ch12cli.cli.text.run_display import RunDisplay
    from ch12cli.saved.reproduce import reproduce

    if options.format == "json":
        found = reproduce(directory, callback=WarningsOnly(), trust=options.trust)
        print_warnings(found.messages)
        print(json_text({"run": str(directory), "agrees": found.agrees, **asdict(found)}))
        return 0 if found.agrees else RUN_DIFFERS
    verbosity = verbosity_of(options)
    with RunDisplay(verbosity=verbosity) as display:
        found = reproduce(directory, callback=display, trust=options.trust)
        display.close()
        for message in found.messages:
            display.on_message(message, warning=True)
        for line in ([""] if verbosity >= 0 else []) + format_reproduction(directory, found):
            print_line(display.console, line)
    return 0 if found.agrees else RUN_DIFFERS


def format_reproduction(directory: Path, found: "Reproduction") -> list[str]:
    """The answer in one line, and the details in a few more."""
    epochs = f"{found.epochs} epoch{'' if found.epochs == 1 else 's'}"
    difference = f"weights by up to {found.weights:.1e} of the largest, losses by up to {found.losses:.1e} relative"
    if found.same:
        lines = [f"{directory}: the same, bit for bit ({epochs})"]
    elif found.stacked or found.devices > 1:
        kind = "the same up to rounding" if found.agrees else "differs by more than rounding"
        how = f"in a stack of {found.stacked} runs" if found.stacked else f"by {found.devices} processes"
        lines = [
            f"{directory}: {kind} ({epochs}): {difference}",
            f"it was trained {how}, which sums in another order than a single run",
        ]
    elif found.differs_from:
        values = ", ".join(f"{name} {then!r} then, {now!r} now" for name, then, now in found.metrics[:2])
        lines = [f"{directory}: differs from epoch {found.differs_from} on ({values or 'it diverged now'})"]
        lines.append(f"of {epochs}: {difference}")
    else:
        lines = [f"{directory}: the metrics are the same, the weights differ ({epochs}): {difference}"]
    lines += [f"{directory}: {file}" for file in found.files]
    if found.environment:
        lines.append(f"the environment differs: {'; '.join(found.environment)}")
    elif not found.agrees:
        lines.append("the environment is the same, as far as it was recorded")
    return lines
