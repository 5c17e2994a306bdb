"""`ch12 ensemble`: combines runs of a sweep into one model, selected greedily on the validation part."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.catalogue.formatting import count_of, format_number, metric_label
from ch12cli.cli.help.arguments import Arguments, find_run
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.tables import format_table
from ch12cli.errors import InputError
from ch12cli.files.plain_values import whole_number_in
from ch12cli.files.sweep_csv import is_sweep

if TYPE_CHECKING:
    from ch12cli.saved.ensemble import Combined

LARGEST_SIZE = 1000


def parser() -> Arguments:
    arguments = Arguments("ensemble")
    arguments.add_argument("--size", metavar="K", default="10", help="networks to choose, at most (default: 10)")
    arguments.add_argument("--all", action="store_true", help="average all jobs alike, without choosing")
    arguments.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: the sweep's name and -ensemble")
    arguments.add_argument("--checkpoint", choices=["best", "last"], default="last", help="default: last")
    arguments.add_trust()
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    if len(options.operands) != 1:
        raise InputError("ensemble: name one sweep: ch12 ensemble @1")
    size = whole_number_in(options.size)
    if size is None or not 1 <= size <= LARGEST_SIZE:
        raise InputError(f"--size {options.size}: must be a whole number from 1 to {LARGEST_SIZE}")
    sweep = find_run(options.operands[0])
    if not is_sweep(sweep):
        raise InputError(f"{sweep}: is no sweep, and an ensemble is made of the jobs of one")
    from ch12cli.saved.ensemble import combine

    into: Path = options.output or sweep.with_name(f"{sweep.resolve().name}-ensemble")
    if into.exists():
        raise InputError(f"{into}: exists already; name another directory with -o")
    combined = combine(
        sweep, size=None if options.all else size, into=into, best=options.checkpoint == "best", trust=options.trust
    )
    print("\n".join(format_combined(combined)))
    return 0


def format_combined(combined: "Combined") -> list[str]:
    """Returns the members, and the metrics of the ensemble beside those of the best single run."""
    members = ", ".join(f"{job} x {count}" if count > 1 else str(job) for job, count in combined.counts.items())
    jobs = "job" if len(combined.counts) == 1 else "jobs"
    lines = [f"{count_of(len(combined.counts), 'network')} of {combined.tried}: {jobs} {members}"]
    rows = [["", "ensemble", f"job {combined.best} alone"]]
    for part, (ours, alone) in combined.metrics.items():
        label = {"valid": "validation", "test": "test"}[part]
        rows += [
            [f"{label} {metric_label(name)}", format_number(name, value), format_number(name, alone[name])]
            for name, value in ours.items()
        ]
    return [*lines, *format_table(rows), printable(str(combined.directory))]
