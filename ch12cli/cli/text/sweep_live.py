"""The picture of a sweep while it trains: how far it is, what is in training, the best so far."""

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from ch12cli.cli.text.console import printable_on
from ch12cli.cli.text.progress import BAR_WIDTH, MIN_BAR, SPEED_WIDTH
from ch12cli.cli.text.sweep_progress import SweepProgress
from ch12cli.cli.text.sweep_report import COUNT_STYLES, count_of, format_counts, label_column, name_job, runs_rate
from ch12cli.cli.text.tables import format_number, format_time_left

LABEL_WIDTH = 9  # characters: as wide as the labels of a run's display
SHOWN_EPOCHS = 3  # of stacks, at most


def format_sweep(progress: SweepProgress, *, varying: Mapping[str, object], console: Console) -> Text:
    """The picture of a sweep, no line wider than the console. varying: keys that tell its jobs apart."""
    ascii_only = console.options.ascii_only
    ended = format_counts(progress.counts)
    if progress.earlier:
        ended.append(f"; {progress.earlier:,} done earlier", "dim")
    lines = [
        _format_jobs(progress, width=console.width, ascii_only=ascii_only),
        _labelled("running", Text(format_running(progress))),
        _labelled("ended", ended),
        _labelled("best", _format_best(progress, varying, ascii_only=ascii_only)),
    ]
    if progress.failure is not None:
        done, job = progress.failure
        text = f"{name_job(job.number, job.values, varying)}: {done.cause}"
        lines.append(_labelled("failed", Text(text, style=COUNT_STYLES["failed"])))
    for line in lines:
        line.plain = printable_on(console, line.plain)  # a cause may be anything that an exception says
        line.truncate(console.width, overflow="crop" if ascii_only else "ellipsis")
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def format_log(progress: SweepProgress, *, width: int, ascii_only: bool) -> str:
    """How far a sweep is in one line; what is missed least is left out where the width is not enough."""
    done = f"{progress.share:4.0%}  {progress.ended:,}/{progress.jobs:,} jobs"
    pieces = [f"{count:,} {status}" for status, count in progress.counts.items() if count and status != "finished"]
    left, best = progress.seconds_left, format_bests(progress, ascii_only=ascii_only)
    pieces += [f"{format_time_left(left)} left"] if left is not None else []
    pieces += [f"best {best}"] if best else []
    while pieces and len(", ".join([done, *pieces])) > width:
        pieces.pop()
    return ", ".join([done, *pieces])


def format_running(progress: SweepProgress) -> str:
    """What is in training: `512 runs in 2 stacks, epoch 37/100; 3 stacks to come`."""
    busy, (stacks, alone) = progress.busy(), progress.waiting()
    runs = sum(part.runs - part.ended if part.stacked else 1 for part in busy)
    text = count_of(runs, "run")
    stacked = [part for part in busy if part.stacked]
    if stacked:
        text += f" in {count_of(len(stacked), 'stack')}" if len(stacked) == len(busy) else ""
        epochs = list(dict.fromkeys(f"{part.epoch}/{part.epochs}" for part in stacked))
        text += f", epoch {', '.join(epochs[:SHOWN_EPOCHS])}"
    coming = [count_of(stacks, "stack")] if stacks else []
    coming += [count_of(alone, "single run")] if alone else []
    return f"{text}; {' and '.join(coming)} to come" if coming else text


def format_bests(progress: SweepProgress, *, ascii_only: bool) -> str:
    """`valid loss 0.25`, the best value so far of each metric that is monitored."""
    values = {name: format_number(name.partition("_")[2], value) for name, value in progress.best_values().items()}
    return ", ".join(f"{label_column(name, ascii_only=ascii_only)} {value}" for name, value in values.items())


def _format_best(progress: SweepProgress, varying: Mapping[str, object], *, ascii_only: bool) -> Text:
    values = progress.best_values()
    if not values:
        return Text("-", style="dim")
    if len(values) > 1:
        return Text(format_bests(progress, ascii_only=ascii_only), style="bold")
    ((name, value),) = values.items()
    shown = format_number(name.partition("_")[2], value)
    text = Text.assemble((f"{label_column(name, ascii_only=ascii_only)} ", "dim"), (shown, "bold"))
    if name in progress.best:
        ended, job = progress.best[name]
        if shown == format_number(name.partition("_")[2], ended):
            return text.append(f"  {name_job(job.number, job.values, varying)}")
    return text.append("  in training", "dim")


def _format_jobs(progress: SweepProgress, *, width: int, ascii_only: bool) -> Text:
    """`jobs  423/1,200  ━━━━────  14 runs/s  0:53 left`: the bar shows the work that is done, not the jobs."""
    total = f"{progress.jobs:,}"
    line = _labelled("jobs", Text(f"{progress.ended:,}/{total}".ljust(2 * len(total) + 1)))
    rate, left = progress.rate, progress.seconds_left
    speed = "" if rate is None or left is None else f"  {runs_rate(rate)}  {format_time_left(left)} left"
    room = min(BAR_WIDTH, width - line.cell_len - 2 - max(SPEED_WIDTH, len(speed)))
    if room >= MIN_BAR:
        done = min(room, int(room * progress.share))
        full, rest = ("=", "-") if ascii_only else ("━", "─")
        line.append("  ").append(full * done, "green").append(rest * (room - done), "dim")
    return line.append(speed, "dim")


def _labelled(label: str, text: Text) -> Text:
    return Text.assemble((f"{label:<{LABEL_WIDTH}}  ", "dim"), text)
