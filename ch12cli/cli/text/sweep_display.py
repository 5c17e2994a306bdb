"""What a person sees of a sweep: what is trained, how it goes, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ch12cli.catalogue.summary import failures
from ch12cli.cli.text.console import print_line, printable_on, wrap
from ch12cli.cli.text.plan_view import describe_halving, describe_items, describe_varied, varied
from ch12cli.cli.text.run_report import STATUS_STYLES
from ch12cli.cli.text.screen import Screen
from ch12cli.cli.text.sweep_live import LABEL_WIDTH, format_log, format_sweep
from ch12cli.cli.text.sweep_progress import SweepProgress
from ch12cli.cli.text.sweep_report import (
    count_of,
    count_statuses,
    format_bad,
    format_counts,
    format_failures,
    format_left,
    label_column,
    name_job,
    runs_rate,
    styled_summary,
)
from ch12cli.cli.text.tables import format_number, format_seconds
from ch12cli.config.trusted_targets import target_problems

if TYPE_CHECKING:  # they import torch
    from ch12cli.files.sweep_csv import Record
    from ch12cli.sweep.events import Done, Progress
    from ch12cli.sweep.jobs import SweepJob
    from ch12cli.sweep.launch import SweepOutcome
    from ch12cli.sweep.plan import Plan
    from ch12cli.sweep.work_item import WorkItem

LOG_INTERVAL = 1.0  # second between two of these, at least
LOG_LINES = 20  # about progress, at most, where there is no live display
HANGING = "  "  # before the second line of a cause


class SweepDisplay(Screen):
    """The display of a sweep: live on a terminal, plain lines elsewhere.

    verbosity: -1 shows the directory alone, 1 each job that ends. What went wrong is also told to `errors`.
    """

    def __init__(self, *, verbosity: int = 0, console: Console | None = None, errors: Console | None = None) -> None:
        super().__init__(verbosity=verbosity, console=console, errors=errors)
        self.sweep = SweepProgress()
        self._first: SweepJob | None = None
        self._varied: dict[str, list[str]] = {}  # values of the overrides in which jobs differ
        self._told = 0.0  # share of the work at the latest line, where there is no live display

    def on_begin(self, plan: Plan, *, directory: Path) -> None:
        """Shows what is about to be trained, and starts the display of its progress."""
        jobs, again = list(plan.jobs.values()), self._first is not None
        self.sweep.add(plan, processes=plan.processes)
        self._first = self._first or jobs[0]
        self._varied |= varied([self._first, *jobs])
        if self.quiet or again:  # again: a sweeper that hands out its jobs in batches
            return
        self._told = self.sweep.share
        self.print_facts(self.facts(plan, directory), label_width=LABEL_WIDTH)
        self.print([""])
        self.start(self._picture)

    def facts(self, plan: Plan, directory: Path) -> list[tuple[str, str]]:
        """What is about to be trained, (label, text) each."""
        done = "all" if len(plan.done) == len(plan.jobs) else f"{len(plan.done):,}"
        earlier = f", {done} of them done earlier" if plan.done else ""
        count = count_of(len(plan.jobs), "job")
        if plan.in_all > len(plan.jobs):
            count = f"{count_of(plan.in_all, 'job')} in batches, the first of {len(plan.jobs):,}"
        facts = [("sweep", f"{count}{earlier}")]
        facts += [("varied", describe_varied(self._varied))] if self._varied else []
        facts += [("training", describe_items(plan.items))] if plan.items else []
        return [*facts, *describe_halving(plan.groups), ("directory", str(directory))]

    def on_progress(self, item: WorkItem, progress: Progress) -> None:
        """Takes note of an epoch of a stack, and shows it if that is due."""
        self.sweep.advance(item, progress)
        self._show()

    def on_job_end(self, done: Done, job: SweepJob) -> None:
        """Takes note of a job that has ended, and shows it if that is due."""
        if self.sweep.end(done, job) and self.verbose:
            self._print_job(done, job)
        self._show()

    def end(self, outcome: SweepOutcome, *, monitor: str) -> None:
        """Ends the live display and shows what came out: jobs by status, what differed, causes, the directory."""
        self.close()
        rows = [row for row in outcome.rows if self._first is None or int(row["job"]) in self.sweep]
        status = self._status(rows, outcome)
        causes = format_failures(failures(rows))
        if not self.quiet:
            width = self.console.width
            table = styled_summary(rows, monitor=monitor, width=width, ascii_only=self.ascii_only)
            self.print([""] if self.spoke else [])
            for block in (status, table, self._hanging(causes)):
                self.print([*block, ""] if block else [])
        if not self.seen:
            for line in status[:1] if outcome.signal is not None else []:
                print_line(self.errors, line)
            # the causes are told once: in the report, or where there is none as errors
            bad = [format_bad(count_statuses(rows))] if causes else []
            for told in causes if self.quiet else bad:
                print_line(self.errors, told)
        self.print([str(outcome.directory)])

    def _picture(self) -> Text:
        return format_sweep(self.sweep, varying=self._varied, console=self.console)

    def _show(self) -> None:
        if self.live is not None:
            self.refresh()
        elif self._is_line_due():
            self._due = perf_counter() + LOG_INTERVAL
            self._told = int(self.sweep.share * LOG_LINES) / LOG_LINES
            self.print([format_log(self.sweep, width=self.console.width, ascii_only=self.ascii_only)])
            self.spoke = True

    def _is_line_due(self) -> bool:
        further = self._told + 1 / LOG_LINES <= self.sweep.share < 1
        return further and not self.quiet and perf_counter() >= self._due

    def _print_job(self, done: Done, job: SweepJob) -> None:
        name = done.result.get("monitor") or ""
        value = format_number(name.partition("_")[2], done.result.get("objective"))
        came_to = done.cause or f"best {label_column(name, ascii_only=self.ascii_only)} {value}"
        self.on_message(f"{name_job(job.number, job.values, self._varied)} {done.status}: {came_to}")

    def _hanging(self, causes: list[str]) -> list[str]:
        """Causes in lines that fit a terminal; in a pipe each stays one line."""
        if not self.console.is_terminal:
            return causes
        width = self.console.width - len(HANGING)
        pieces = [wrap(printable_on(self.console, cause), width) for cause in causes]
        return [line for first, *others in pieces for line in (first, *(HANGING + other for other in others))]

    def _status(self, rows: Sequence[Record], outcome: SweepOutcome) -> list[Text]:
        """How the sweep ended: `finished  200 jobs in 31 s, 6.5 runs/s; 1,000 jobs done earlier`, then by status."""
        if not rows:
            return []
        counts = count_statuses(rows)
        missing, earlier = counts["interrupted"], self.sweep.earlier
        word = "interrupted" if outcome.signal is not None else "stopped" if missing else "finished"
        here = len(rows) - missing - earlier
        text = f"after {here:,} of {count_of(len(rows) - earlier, 'job')}" if missing else count_of(here, "job")
        seconds = perf_counter() - self.sweep.start
        if self._first and here and seconds:
            text += f" in {format_seconds(seconds)}, {runs_rate(here / seconds)}"
        before = f"{count_of(earlier, 'job')} done earlier"
        if earlier:
            text = f"{text}; {before}" if earlier < len(rows) else f"all {before}"
        lines = [Text.assemble((word, STATUS_STYLES.get(word, "bold red")), "  ", text)]
        indent = " " * (len(word) + 2)
        if counts["finished"] < len(rows):
            lines.append(Text.assemble(indent, format_counts(counts)))
        if left := format_left(rows):
            lines.append(Text(indent + left))
        if missing:
            trust = " --trust" if self._first and target_problems(self._first.settings) else ""
            lines.append(Text(f"{indent}ch12 resume {outcome.directory}{trust} trains the rest"))
        return lines
