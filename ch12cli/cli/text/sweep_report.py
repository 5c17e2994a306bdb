"""Text for the results of a sweep: job counts and a table of results."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from ch12cli.catalogue.best_setting import best_setting, describe_best
from ch12cli.catalogue.formatting import (
    column_label,
    count_of,
    format_interval,
    format_number,
    format_rate,
    other_metrics,
    short_names,
)
from ch12cli.catalogue.front import FrontSetting, front_of, recorded_objectives
from ch12cli.catalogue.keys_of_settings import repetitions_in_words
from ch12cli.catalogue.summary import Folded, by_monitor, fold_alike
from ch12cli.cli.help.page import printable
from ch12cli.cli.text.screen import Screen
from ch12cli.cli.text.tables import format_settings, format_table, table_width
from ch12cli.files.metrics_csv import minimised
from ch12cli.files.sweep_csv import SweepRow

ROWS = 15  # maximum rows of the table
MOST_NAMED = 8  # jobs
MOST_ON_FRONT = 20  # settings that are listed
COUNT_STYLES = {"diverged": "yellow", "failed": "bold red", "interrupted": "yellow"}


def styled_summary(
    rows: Sequence[SweepRow],
    keys: Sequence[str],
    *,
    monitor: str,
    width: int,
    ascii_only: bool,
    limit: int = ROWS,
    rest: str = "sweep.csv has all",
    mark: str = "",
) -> list[Text]:
    """Returns tables of the differing settings and their results, best first, averaged over seeds and folds.

    There is one table for each monitored metric. The list is empty if no job finished.

    keys: the overrides to show. monitor: the metric of rows that do not name one. limit: maximum rows of a table. rest:
    where to find the other rows. mark: text appended to the best row.
    """
    lines: list[Text] = []
    for metric, alike in by_monitor(rows, monitor).items():
        table = styled_table(
            alike, keys, monitor=metric, width=width, ascii_only=ascii_only, limit=limit, rest=rest, mark=mark
        )
        lines += [*([Text()] if lines and table else []), *table]
    return lines


def styled_table(
    rows: Sequence[SweepRow],
    keys: Sequence[str],
    *,
    monitor: str,
    width: int,
    ascii_only: bool,
    limit: int,
    rest: str,
    mark: str,
) -> list[Text]:
    """Returns the table of the rows that share a metric."""
    finished = [row for row in rows if row.status == "finished"]
    if not finished:
        return []
    metrics = ["objective", *other_metrics(finished, monitor)]
    folded = fold_alike(rows, keys, metrics, minimise=minimised(monitor))
    lines = [
        Text(line)
        for line in format_folded(
            folded[:limit], metrics, monitor=monitor, width=width - len(mark), ascii_only=ascii_only
        )
    ]
    lines[0].stylize("dim")
    lines[1].append(mark).stylize("bold")
    several = any(row.jobs > 1 for row in folded)
    kind = "combination" if several else "run"
    if len(folded) > limit:
        lines.append(Text(f"and {count_of(len(folded) - limit, f'more {kind}')}; {rest}", style="dim"))
    if any(row.runs > 1 for row in folded[:limit]):
        sign = "+-" if ascii_only else "±"
        single = "; a single run has none" if any(row.runs == 1 for row in folded[:limit]) else ""
        heading = f"mean {sign} 95 % confidence interval over the {repetitions_in_words(keys)}{single}"
        lines.insert(0, Text(heading, style="dim"))
    return lines


def format_best(rows: Sequence[SweepRow], sweep: Path, *, monitor: str, screen: Screen) -> list[str]:
    """Returns lines about the best of several settings; of a search with several objectives, its front."""
    if objectives := recorded_objectives(sweep):
        return format_front(front_of(rows, objectives, monitor))
    best = best_setting(rows, monitor)
    if best is None or best.settings < 2:
        return []
    return screen.wrapped(describe_best(best, ascii_only=screen.ascii_only, sweep=str(sweep)))


def format_front(front: Sequence[FrontSetting]) -> list[str]:
    """Returns the settings of the front as a table: what they are, and their means."""
    if not front:
        return []
    names = list(front[0].means)
    rows = [
        [
            printable(" ".join(f"{key}={value}" for key, value in each.values.items())),
            *(
                format_number(name.partition("_")[2], value) if "_" in name else f"{value:,.0f}"
                for name, value in each.means.items()
            ),
        ]
        for each in front[:MOST_ON_FRONT]
    ]
    more = [f"and {len(front) - MOST_ON_FRONT} more"] if len(front) > MOST_ON_FRONT else []
    title = f"{len(front)} {'setting' if len(front) == 1 else 'settings'} that no other one beats in all objectives:"
    return [title, *format_table([["setting", *names], *rows]), *more]


def format_left(rows: Sequence[SweepRow]) -> list[str]:
    """Returns the runs that were trained for other numbers of epochs, a line each for halving and for resumes.

    `9 left by halving: 6 after epoch 1, 3 after epoch 2`.
    """
    rungs = Counter(row.left_at for row in rows if row.left_at is not None)
    lengths = Counter(row.extended_to for row in rows if row.extended_to is not None)
    left = ", ".join(f"{count:,} after epoch {rung}" for rung, count in sorted(rungs.items()))
    extended = ", ".join(f"{count:,} to epoch {length}" for length, count in sorted(lengths.items()))
    copied = sum(row.ancestry is not None for row in rows)
    roots = sorted({row.ancestry.partition("@")[0] for row in rows if row.ancestry}, key=lambda name: name.zfill(9))
    named = f"{', '.join(roots[:MOST_NAMED])}{' …' if len(roots) > MOST_NAMED else ''}"
    went = f"{copied:,} of {len(rows):,} runs went on from others; they began as {count_of(len(roots), 'job')}: {named}"
    return (
        [went] * bool(copied)
        + [f"{rungs.total():,} left by halving: {left}"] * bool(rungs)
        + [f"{lengths.total():,} extended by a resume: {extended}"] * bool(lengths)
    )


def format_folded(
    folded: Sequence[Folded], metrics: Sequence[str], *, monitor: str, width: int, ascii_only: bool
) -> list[str]:
    """Returns the table, header first, dropping metrics, then keys of one value, and cutting other keys to fit `width`.

    If that is too wide, the last keys are dropped, too. Lines below name what was.
    """
    keys = list(folded[0].values)
    table: list[list[str]] = []
    count = len(metrics)
    tries = [(keys, len(metrics))] + [(short_names(keys), count) for count in range(len(metrics), 0, -1)]
    for names, count in tries:
        table = _table(folded, names, metrics[:count], monitor=monitor, ascii_only=ascii_only)
        if table_width(table) <= width:
            break
    return format_settings(
        table,
        keys,
        left=len(keys),
        width=width,
        ascii_only=ascii_only,
        not_shown=[column_label(metric, ascii_only=ascii_only) for metric in metrics[count:]],
    )


def _table(
    folded: Sequence[Folded], names: Sequence[str], metrics: Sequence[str], *, monitor: str, ascii_only: bool
) -> list[list[str]]:
    several = any(row.jobs > 1 for row in folded)
    labels = [
        f"best {column_label(monitor, ascii_only=ascii_only)}"
        if metric == "objective"
        else column_label(metric, ascii_only=ascii_only)
        for metric in metrics
    ]
    table = [[*names, *labels, *(["runs"] if several else []), "best run" if several else "run"]]
    for row in folded:
        metric_values = [
            format_interval(
                (monitor if metric == "objective" else metric).partition("_")[2],
                row.mean[metric],
                row.half_width[metric],
                ascii_only=ascii_only,
            )
            for metric in metrics
        ]
        counts = [f"{row.runs:,}" if row.runs == row.jobs else f"{row.runs:,}/{row.jobs:,}"] if several else []
        best = "-" if row.best is None else f"{row.best}"
        table.append([*(value or "-" for value in row.values.values()), *metric_values, *counts, best])
    return table


def count_statuses(rows: Sequence[SweepRow]) -> Mapping[str, int]:
    """Returns the number of jobs by status, with `finished` first."""
    counts = dict.fromkeys(("finished", "diverged", "failed", "interrupted"), 0)
    for row in rows:
        status = row.status or "interrupted"
        counts[status] = counts.get(status, 0) + 1
    return counts


def format_counts(counts: Mapping[str, int]) -> Text:
    """Returns the job counts as text, `418 finished, 4 diverged`, with bad statuses coloured."""
    shown = {status: count for status, count in counts.items() if count or status == "finished"}
    pieces = [Text(f"{count:,} {status}", style=COUNT_STYLES.get(status, "")) for status, count in shown.items()]
    return Text(", ").join(pieces)


def format_bad(counts: Mapping[str, int]) -> str:
    """Returns the failed and diverged jobs as text: `3 of 100 jobs failed, 1 diverged`.

    It is printed to the error console when the report lists the errors.
    """
    bad = [f"{counts[status]:,} {status}" for status in ("failed", "diverged") if counts[status]]
    first, *others = bad
    number, _, status = first.partition(" ")
    return ", ".join([f"{number} of {count_of(sum(counts.values()), 'job')} {status}", *others])


def runs_rate(rate: float) -> str:
    return format_rate(rate).replace("epoch", "run")
