"""`ch12 tune`: searches the best network for a data set within a budget, and holds it against baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ch12cli.cli.help.arguments import Arguments, verbosity_of
from ch12cli.rules import MOST_TRIALS, IntegerRule

if TYPE_CHECKING:
    from ch12cli.saved.ensemble import Combined
    from ch12cli.tuning.final import Final
    from ch12cli.tuning.tune import Tuned


def parser() -> Arguments:
    arguments = Arguments("tune")
    arguments.add_argument("--budget", metavar="TIME", default="2m", help="the time for all of it (default: 2m)")
    arguments.add_number(
        "--trials",
        IntegerRule(1, MOST_TRIALS),
        metavar="NUMBER",
        help="settings to try (default: what the time allows)",
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
            command=("tune", *(word for word in argv if not word.startswith("hydra.sweep.dir="))),
        )
        code = show_end(display, tuned.finished)
        if not display.quiet:
            lines = format_tuned(tuned, argv, width=display.console.width, ascii_only=display.ascii_only)
            display.print(["", *lines])
    return code


def format_tuned(tuned: "Tuned", argv: Sequence[str], *, width: int, ascii_only: bool) -> list[str]:
    """Returns the best setting beside the baselines, what the final model is, and the commands that go on from it.

    argv: of the command, without `ch12 tune`.
    """
    from ch12cli.catalogue.formatting import column_label
    from ch12cli.cli.text.tables import format_table
    from ch12cli.shell import shell_line

    directory = str(tuned.finished.outcome.directory)
    is_interrupted = tuned.finished.outcome.signal is not None
    model = None if tuned.final is None else tuned.final.combined
    lines: list[str] = []
    if tuned.baselines:
        parts = [part for part in ("valid", "test") if any(getattr(one, part) is not None for one in tuned.baselines)]
        table = [["", *(column_label(f"{part}_{tuned.metric}", ascii_only=ascii_only) for part in parts)]]
        valid = best_valid(tuned, ascii_only=ascii_only)
        table += [["best setting", *(valid if part == "valid" else "-" for part in parts)]]
        if model is not None:
            table += [["final model", *(final_metric(model, part, tuned.metric) for part in parts)]]
        table += [[one.name, *map(cell, (getattr(one, part) for part in parts))] for one in tuned.baselines]
        lines += [*format_table(table, left=1), ""]
        if len(tuned.valid) > 1:
            lines += ["best setting: after the epoch in which the mean of its runs is best", ""]
    if tuned.final is not None and model is not None:
        lines += [*format_final(tuned.final, width=width, ascii_only=ascii_only), ""]
        lines.append(f"predict with it: {shell_line(['ch12', 'predict', str(model.directory), 'ROWS.csv'])}")
    if is_interrupted:
        into = [] if any(word.startswith("hydra.sweep.dir=") for word in argv) else [f"hydra.sweep.dir={directory}"]
        lines.append("interrupted: no final model was trained")
        lines.append(f"go on: {shell_line(['ch12', 'tune', *argv, *into])}")
    elif tuned.best is None:
        lines.append("no final model was trained, because no run of a setting has finished")
    if tuned.best is not None:
        if model is None:
            options = ["--checkpoint", "best"] if tuned.valid else []
            command = shell_line(["ch12", "predict", *options, f"{directory}/{tuned.best.job}", "ROWS.csv"])
            lines.append(f"predict with a network of the best setting: {command}")
        again = shell_line(["ch12", "train", "--best-of", directory, "seed=range(20)"])
        lines.append(f"more seeds: {again}")
    lines.append(f"the same search: {shell_line(['ch12', 'train', '-m', *tuned.argv])}")
    return lines


def format_final(final: "Final", *, width: int, ascii_only: bool) -> list[str]:
    """Returns what the final model is made of: a table of its settings, with their epochs and networks."""
    from ch12cli.catalogue.formatting import column_label, count_of, short_names
    from ch12cli.cli.text.tables import format_named, format_settings

    count, label = len(final.settings) * final.seeds, column_label(final.metric, ascii_only=ascii_only)
    lines = [f"final model: the mean of {count_of(count, 'network')}, trained on all rows but those of the test"]
    keys = list(dict.fromkeys(key for each in final.settings for key in each.values))
    values = {key: list(dict.fromkeys(each.values.get(key, "-") for each in final.settings)) for key in keys}
    differing = [key for key in keys if len(values[key]) > 1]
    shared = [f"{key}={values[key][0]}" for key in keys if key not in differing]
    table = [[*short_names(differing), "as in job", "epochs", "networks"]]
    for each in final.settings:
        cells = [each.values.get(key, "-") for key in differing]
        table.append([*cells, f"{each.row.job}", f"{each.epochs:,}", f"{final.seeds}"])
    rows = format_settings(table, differing, left=len(differing), width=width, ascii_only=ascii_only)
    if len(final.settings) == 1:
        return [*lines, *format_named(f"its setting and epochs by {label}", shared, width=width), *rows]
    lines.append(f"its settings and epochs by {label}, of different structures if as good:")
    return [*lines, *rows, *format_named("all of these", shared, width=width)]


def cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def final_metric(model: "Combined", part: str, metric: str) -> str:
    """Returns the metric of the final model on a part of the data."""
    return cell(model.metrics[part][0].get(metric) if part in model.metrics else None)


def best_valid(tuned: "Tuned", *, ascii_only: bool) -> str:
    """Returns the mean of the best setting's metric on the validation part, with its 95 % confidence interval."""
    import numpy as np

    from ch12cli.catalogue.formatting import format_interval
    from ch12cli.catalogue.summary import mean_and_half_width

    if not tuned.valid:
        return "-"
    values = np.array(tuned.valid)
    mean, half = mean_and_half_width(values, np.zeros(len(values), np.int64), groups=1)
    return format_interval(tuned.metric, float(mean[0]), float(half[0]), ascii_only=ascii_only)
