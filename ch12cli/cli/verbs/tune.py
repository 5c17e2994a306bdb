"""`ch12 tune`: searches the best network for a data set within a budget, and holds it against baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.cli.help.arguments import Arguments, verbosity_of

if TYPE_CHECKING:
    from ch12cli.saved.ensemble import Combined
    from ch12cli.tuning.tune import Tuned


def parser() -> Arguments:
    arguments = Arguments("tune")
    arguments.add_argument("--budget", metavar="TIME", default="2m", help="the time for all of it (default: 2m)")
    arguments.add_argument(
        "--trials", type=int, metavar="NUMBER", help="settings to try (default: what the time allows)"
    )
    arguments.add_argument(
        "-cd", "--config-dir", type=Path, action="append", default=[], help="a folder of your own configuration files"
    )
    arguments.add_verbosity(quiet="print only the sweep's directory")
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    from ch12cli.cli.text.sweep_display import SweepDisplay
    from ch12cli.cli.verbs.train import show_end
    from ch12cli.tuning.tune import tune

    with SweepDisplay(verbosity=verbosity_of(options)) as display:
        tuned = tune(
            options.operands,
            budget=options.budget,
            folders=options.config_dir,
            callback=display,
            trials=options.trials,
        )
        code = show_end(display, tuned.finished)
        if not display.quiet:
            display.print(["", *format_tuned(tuned, ascii_only=display.ascii_only)])
    return code


def format_tuned(tuned: "Tuned", *, ascii_only: bool) -> list[str]:
    """Returns the best setting beside the baselines, and the commands that go on from it."""
    from ch12cli.cli.text.tables import format_table
    from ch12cli.shell import shell_line

    directory = str(tuned.finished.outcome.directory)
    model = None if tuned.final is None else tuned.final.combined
    lines: list[str] = []
    if tuned.baselines:
        parts = [part for part in ("valid", "test") if any(getattr(one, part) is not None for one in tuned.baselines)]
        table = [["", *(f"{part} {tuned.metric}" for part in parts)]]
        table += [["best setting", *(tuned_metric(tuned, part, ascii_only=ascii_only) for part in parts)]]
        if model is not None:
            table += [["final model", *(final_metric(model, part, tuned.metric) for part in parts)]]
        table += [[one.name, *map(cell, (getattr(one, part) for part in parts))] for one in tuned.baselines]
        lines += [*format_table(table, left=1), ""]
    if model is not None:
        count = len(model.counts)
        lines.append(f"final model: the mean of {count} networks, trained on all rows but those of the test")
        lines.append(f"predict with it: ch12 predict {model.directory} ROWS.csv")
    if tuned.best is not None:
        if model is None:
            lines.append(f"predict with it: ch12 predict {directory}/{tuned.best.job} ROWS.csv")
        again = shell_line(["ch12", "train", "--best-of", directory, "seed=range(20)"])
        lines.append(f"more seeds: {again}")
    lines.append(f"the same search: {shell_line(['ch12', 'train', '-m', *tuned.argv])}")
    return lines


def cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def final_metric(model: "Combined", part: str, metric: str) -> str:
    """Returns the metric of the final model on a part of the data."""
    return cell(model.metrics[part][0].get(metric) if part in model.metrics else None)


def tuned_metric(tuned: "Tuned", part: str, *, ascii_only: bool) -> str:
    """Returns the mean of the metric over the runs of the best setting, with its 95 % confidence interval."""
    import numpy as np

    from ch12cli.catalogue.formatting import format_interval
    from ch12cli.catalogue.summary import mean_and_half_width

    jobs = () if tuned.best is None else tuned.best.jobs
    values = np.array([row.number(f"{part}_{tuned.metric}") for row in tuned.finished.outcome.rows if row.job in jobs])
    if not len(values):
        return "-"
    mean, half = mean_and_half_width(values, np.zeros(len(values), np.int64), groups=1)
    return format_interval(tuned.metric, float(mean[0]), float(half[0]), ascii_only=ascii_only)
