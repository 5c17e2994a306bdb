"""The display of a sweep: its settings, progress and result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ch12cli.catalogue.configured_values import with_configured_values
from ch12cli.catalogue.formatting import (
    column_label,
    count_of,
    format_failures,
    format_number,
    format_seconds,
    name_job,
)
from ch12cli.catalogue.front import is_search, setting_keys
from ch12cli.catalogue.summary import failures
from ch12cli.catalogue.sweep_jobs import as_planned
from ch12cli.cli.text.console import print_line, printable_on, truncate_line, wrap
from ch12cli.cli.text.plan_view import describe_continued, describe_halving, describe_items, describe_varied, varied
from ch12cli.cli.text.run_report import STATUS_STYLES
from ch12cli.cli.text.screen import Screen
from ch12cli.cli.text.sweep_progress import SweepProgress
from ch12cli.cli.text.sweep_report import (
    count_statuses,
    format_bad,
    format_best,
    format_counts,
    format_left,
    runs_rate,
    styled_summary,
)
from ch12cli.config.recorded import resume_line
from ch12cli.files.result_json import describe_ending
from ch12cli.files.unfinished.search_json import read_search

if TYPE_CHECKING:  # these modules import torch
    from ch12cli.files.sweep_csv import SweepRow
    from ch12cli.sweeps.jobs import SweepJob
    from ch12cli.sweeps.launch import SweepOutcome
    from ch12cli.sweeps.plan import Plan
    from ch12cli.sweeps.workers.work_item import Done, Progress, WorkItem

from collections.abc import Mapping

from ch12cli.catalogue.formatting import format_time_left
from ch12cli.cli.text.screen import BAR_WIDTH, MIN_BAR, SPEED_WIDTH
from ch12cli.cli.text.sweep_report import COUNT_STYLES

LOG_INTERVAL = 1.0  # minimum seconds between two progress lines
LOG_LINES = 20  # maximum number of progress lines without a live display
HANGING = "  "  # indent of the continuation lines of an error


class SweepDisplay(Screen):
    """The display of a sweep: live on a terminal, plain lines elsewhere.

    verbosity: -1 prints only the directory; 1 prints each job that ends. Errors are also printed to `errors`.
    """

    def __init__(self, *, verbosity: int = 0, console: Console | None = None, errors: Console | None = None) -> None:
        super().__init__(verbosity=verbosity, console=console, errors=errors)
        self.sweep = SweepProgress()
        self._first: SweepJob | None = None
        self._jobs: dict[int, SweepJob] = {}
        self._varied: dict[str, list[str]] = {}  # values of the overrides that differ between jobs
        self._tasks = ""  # of an engine, by their states
        self._told = 0.0  # share of the work done at the latest progress line, without a live display

    def on_begin(self, plan: Plan, *, directory: Path) -> None:
        """Prints the facts about the sweep and starts the progress display."""
        jobs, again = list(plan.jobs.values()), self._first is not None
        self.sweep.add(plan, processes=plan.processes)
        self._first = self._first or jobs[0]
        self._jobs |= plan.jobs
        if self.quiet:
            return
        self._varied |= varied([self._first, *jobs])
        if again:  # a sweeper submits its jobs in batches
            return
        self._told = self.sweep.share
        self.print_facts(self.facts(plan, directory), label_width=LABEL_WIDTH)
        self.print([""])
        self.start(self._picture)

    def facts(self, plan: Plan, directory: Path) -> list[tuple[str, str]]:
        """Returns the facts about the sweep as (label, text) pairs."""
        count = describe_jobs(plan)
        if plan.ends_at is not None:
            count += f", for {format_seconds(max(0.0, plan.ends_at - self.sweep.start))} at most"
        facts = [("sweep", count)]
        facts += [("varied", describe_varied(self._varied))] if self._varied else []
        facts += [("training", describe_items(plan.items))] if plan.items else []
        return [*facts, *describe_halving(plan.groups), ("directory", str(directory))]

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        """Records an epoch of a stack and refreshes the display if it is due."""
        self.sweep.advance(item, progress)
        self._show()

    def on_job_end(self, done: Done, job: SweepJob) -> None:
        """Records a job that has ended and refreshes the display if it is due."""
        if self.sweep.end(done, job) and self.verbose:
            self._print_job(done, job)
        self._show()

    def on_tasks(self, text: str) -> None:
        """Shows what the tasks of an engine do, such as `2 running, 1 pending (Resources)`."""
        self._tasks = text
        if self.live is not None:
            self.refresh()
        else:
            self.on_message(f"tasks: {text}")

    def end(self, outcome: SweepOutcome, *, monitor: str) -> None:
        """Stops the live display and prints the job counts, result table, errors and directory.

        After a search, the best setting or the front follows the table, over the same runs.
        """
        self.close()
        facts = (job.facts for job in self._jobs.values())
        every = with_configured_values(as_planned(outcome.rows, facts), outcome.directory)
        rows = [row for row in every if self._first is None or row.job in self.sweep]
        status = self._status(rows, outcome)
        causes = format_failures(failures(rows))
        if not self.quiet:
            width = self.console.width
            searched, sweep = is_search(outcome.directory), outcome.directory
            runs = every if searched else rows  # finalists of an earlier session belong to a search
            keys = setting_keys(runs, sweep)
            table = styled_summary(runs, keys, monitor=monitor, width=width, ascii_only=self.ascii_only)
            best = format_best(runs, sweep, monitor=monitor, screen=self) if searched else []
            self.print([""] if self.has_printed else [])
            statuses = {row.status for row in rows}
            is_zero = outcome.signal is None and "diverged" in statuses and "failed" not in statuses
            note = ["exit code 0: diverged runs count as results; only failed jobs give exit code 3"] if is_zero else []
            for block in (status, table, best, self.wrapped(note), self._hanging(causes)):
                self.print([*block, ""] if block else [])
        if not self.seen:
            for line in status[:1] if outcome.signal is not None else []:
                print_line(self.errors, line)
            # print the errors once: in the report, or on the error console if there is no report
            bad = [format_bad(count_statuses(rows))] if causes else []
            for cause in causes if self.quiet else bad:
                print_line(self.errors, cause)
        self.print([str(outcome.directory)])

    def _picture(self) -> Text:
        return format_sweep(self.sweep, varying=self._varied, console=self.console, tasks=self._tasks)

    def _show(self) -> None:
        if self.live is not None:
            self.refresh()
        elif self._is_line_due():
            self._due = perf_counter() + LOG_INTERVAL
            self._told = int(self.sweep.share * LOG_LINES) / LOG_LINES
            self.print([format_log(self.sweep, width=self.console.width, ascii_only=self.ascii_only)])
            self.has_printed = True

    def _is_line_due(self) -> bool:
        if self.quiet or perf_counter() < self._due:
            return False
        return self._told + 1 / LOG_LINES <= self.sweep.share < 1

    def _print_job(self, done: Done, job: SweepJob) -> None:
        name = done.result.monitor or ""
        value = format_number(name.partition("_")[2], done.result.objective)
        came_to = describe_ending(done.result) or f"best {column_label(name, ascii_only=self.ascii_only)} {value}"
        self.on_message(f"{name_job(job.number, job.values, self._varied)} {done.status}: {came_to}")

    def _hanging(self, causes: list[str]) -> list[str]:
        """Returns the errors wrapped to the terminal; on a pipe, each stays on one line."""
        if not self.console.is_terminal:
            return causes
        width = self.console.width - len(HANGING)
        pieces = [wrap(printable_on(self.console, cause), width) for cause in causes]
        return [line for first, *others in pieces for line in (first, *(HANGING + other for other in others))]

    def _status(self, rows: Sequence[SweepRow], outcome: SweepOutcome) -> list[Text]:
        """Returns the sweep's status as lines.

        The first is `finished  200 jobs in 31 s, 6.5 runs/s; 1,000 jobs done earlier`; the counts by status follow.
        """
        if not rows:
            return []
        counts = count_statuses(rows)
        missing, earlier = counts["interrupted"], self.sweep.earlier
        status_text = "interrupted" if outcome.signal is not None else "stopped" if missing else "finished"
        current = len(rows) - missing - earlier
        text = f"after {current:,} of {count_of(len(rows) - earlier, 'job')}" if missing else count_of(current, "job")
        seconds = perf_counter() - self.sweep.start
        if self._first and current and seconds:
            text += f" in {format_seconds(seconds)}, {runs_rate(current / seconds)}"
        before = f"{count_of(earlier, 'job')} done earlier"
        if earlier:
            text = f"{text}; {before}" if earlier < len(rows) else f"all {before}"
        lines = [Text.assemble((status_text, STATUS_STYLES.get(status_text, "bold red")), "  ", text)]
        indent = " " * (len(status_text) + 2)
        if counts["finished"] < len(rows):
            lines.append(Text.assemble(indent, format_counts(counts)))
        lines += [Text(indent + line) for line in format_left(rows)]
        if (search := read_search(outcome.directory)) is not None:
            lines.append(Text(indent + printable_on(self.console, search.describe(outcome.directory))))
        elif missing:
            lines.append(Text(f"{indent}{resume_line(outcome.directory)} trains the rest"))
        return lines


def describe_jobs(plan: Plan) -> str:
    """Returns the number of jobs of a sweep, of which a plan may be the first batch, and of those done earlier."""
    if plan.done and plan.goes_on:
        return describe_continued(plan)
    jobs, total = len(plan.jobs), max(plan.total_jobs, len(plan.jobs))
    count = count_of(total, "job")
    if total > jobs or plan.goes_on:
        count = f"{count if total > jobs else 'jobs'} in batches, the first of {jobs:,}"
    done = "all" if len(plan.done) == total else f"{len(plan.done):,}"
    return f"{count}, {done} of them done earlier" if plan.done else count


LABEL_WIDTH = 9  # characters: as wide as the labels in a run's display
SHOWN_EPOCHS = 3  # maximum number of stack epochs shown


def format_sweep(progress: SweepProgress, *, varying: Mapping[str, object], console: Console, tasks: str = "") -> Text:
    """Returns the live display of a sweep, no line wider than the console.

    varying: the keys that identify its jobs. tasks: those of an engine, by their states.
    """
    ascii_only = console.options.ascii_only
    ended = format_counts(progress.counts)
    if progress.earlier:
        ended.append(f"; {progress.earlier:,} done earlier", "dim")
    lines = [
        _format_jobs(progress, width=console.width, ascii_only=ascii_only),
        _labelled("running", Text(format_running(progress))),
        *([_labelled("tasks", Text(tasks))] if tasks else []),
        _labelled("ended", ended),
        _labelled("best", _format_best(progress, varying, ascii_only=ascii_only)),
    ]
    if progress.failure is not None:
        done, job = progress.failure
        text = f"{name_job(job.number, job.values, varying)}: {describe_ending(done.result)}"
        lines.append(_labelled("failed", Text(text, style=COUNT_STYLES["failed"])))
    for line in lines:
        line.plain = printable_on(console, line.plain)  # an error may contain any text of an exception
        truncate_line(line, console.width, ascii_only=ascii_only)
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def format_log(progress: SweepProgress, *, width: int, ascii_only: bool) -> str:
    """Returns a sweep's progress as one line. The least important items are dropped to fit `width`."""
    done = f"{progress.share:4.0%}  {progress.ended:,}/{count_of(progress.total, 'job')}"
    pieces = [f"{count:,} {status}" for status, count in progress.counts.items() if count and status != "finished"]
    left, best = progress.seconds_left, format_bests(progress, ascii_only=ascii_only)
    pieces += [f"{format_time_left(left)} left"] if left is not None else []
    pieces += [f"best {best}"] if best else []
    while pieces and len(", ".join([done, *pieces])) > width:
        pieces.pop()
    return ", ".join([done, *pieces])


def format_running(progress: SweepProgress) -> str:
    """Returns the work in training: `512 runs in 2 stacks, epoch 37/100; 3 stacks to come`."""
    busy, (stacks, single) = progress.busy(), progress.waiting()
    runs = sum(part.runs - part.ended if part.stacked else 1 for part in busy)
    text = count_of(runs, "run")
    stacked = [part for part in busy if part.stacked]
    if stacked:
        text += f" in {count_of(len(stacked), 'stack')}" if len(stacked) == len(busy) else ""
        epochs = list(dict.fromkeys(f"{part.epoch}/{part.epochs}" for part in stacked))
        text += f", epoch {', '.join(epochs[:SHOWN_EPOCHS])}"
    coming = [count_of(stacks, "stack")] if stacks else []
    coming += [count_of(single, "single run")] if single else []
    return f"{text}; {' and '.join(coming)} to come" if coming else text


def format_bests(progress: SweepProgress, *, ascii_only: bool) -> str:
    """Returns the best value so far of each monitored metric: `valid loss 0.25`."""
    values = {name: format_number(name.partition("_")[2], value) for name, value in progress.best_values().items()}
    return ", ".join(f"{column_label(name, ascii_only=ascii_only)} {value}" for name, value in values.items())


def _format_best(progress: SweepProgress, varying: Mapping[str, object], *, ascii_only: bool) -> Text:
    values = progress.best_values()
    if not values:
        return Text("-", style="dim")
    if len(values) > 1:
        return Text(format_bests(progress, ascii_only=ascii_only), style="bold")
    ((name, value),) = values.items()
    shown = format_number(name.partition("_")[2], value)
    text = Text.assemble((f"{column_label(name, ascii_only=ascii_only)} ", "dim"), (shown, "bold"))
    if name in progress.best:
        ended, job = progress.best[name]
        if shown == format_number(name.partition("_")[2], ended):
            return text.append(f"  {name_job(job.number, job.values, varying)}")
    return text.append("  in training", "dim")


def _format_jobs(progress: SweepProgress, *, width: int, ascii_only: bool) -> Text:
    """Returns the line `jobs  423/1,200  ━━━━────  14 runs/s  0:53 left`.

    The bar shows the share of the work done, not of the jobs.
    """
    total = f"{progress.total:,}"
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
