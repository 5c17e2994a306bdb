"""Trains work items by processes that an engine starts, here or on other machines. Results come by the directory."""

import math
import shlex
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ch12cli.errors import InputError, MachineError
from ch12cli.files.cluster.bundle_json import (
    WORK,
    Bundle,
    BundledItem,
    Submission,
    note_submission,
    read_bundle,
    read_submissions,
    write_bundles,
)
from ch12cli.files.cluster.journal import STOP, Event, JournalReader
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import RESULT
from ch12cli.sweeps.jobs import SweepJob
from ch12cli.sweeps.workers.work_item import Done, Progress, Report, Unstacked, WorkItem
from ch12cli.sweeps.workers.worker import Worker

POLL = 0.2  # seconds between two looks at the journals
ASK = 5.0  # seconds between two questions to the engine
SETTLE = 10.0  # seconds after which what an ended process wrote is visible everywhere
TRIES = 3  # at a bundle that ends without a result for any further job
STOPPING = 60.0  # seconds for processes to write their checkpoints after an interrupt


class Engine(Protocol):
    """Starts processes that work on bundles. parallel: how many at most at once; cores: of each."""

    name: str

    @property
    def parallel(self) -> int: ...
    @property
    def cores(self) -> int: ...
    def require_ready(self) -> None:
        """Raises InputError if it cannot be used here."""

    def submit(self, commands: Sequence[Sequence[str]], *, directory: Path, first: int) -> str:
        """Starts a process for each command and returns an identifier. first: the number of the first bundle."""

    def ended(self, submission: Submission) -> Mapping[int, str]:
        """Returns why bundles have ended or are gone, by number: empty for what is waiting or running."""

    def cancel(self, submission: Submission) -> None:
        """Ends what is waiting or running."""


@dataclass
class FollowedBundle:
    """A bundle that was handed to the engine. unseen: jobs without a result so far; tries: without further results."""

    bundle: Bundle
    items: Sequence[WorkItem]
    submission: Submission
    reader: JournalReader
    unseen: set[int] = field(default_factory=set)
    ended_at: float = math.inf  # when the engine first said that its process has ended
    reason: str = ""
    tries: int = 1


class RemoteEngine:
    """Has an engine train work items. wait: follow them to the end; otherwise return when they are submitted.

    trust: the sweep may import classes of the user's own.
    """

    records_failures = True  # the processes write the directories of failed jobs, and flush all of them

    def __init__(self, engine: Engine, *, wait: bool = True, trust: bool = False) -> None:
        self.engine, self.wait, self.trust = engine, wait, trust
        self.left: list[FollowedBundle] = []  # bundles that are not waited for

    @property
    def submitted(self) -> str:
        """What was submitted and is not waited for, as a phrase; empty if all items were trained."""
        identifiers = dict.fromkeys(one.submission.id for one in self.left)
        tasks = "task" if len(self.left) == 1 else "tasks"
        return f"{len(self.left)} {self.engine.name} {tasks} (job {', '.join(identifiers)})" if self.left else ""

    def require_ready(self) -> None:
        """Raises InputError if the engine cannot be used here."""
        self.engine.require_ready()

    @property
    def processes(self) -> int:
        """The number of processes that train at once, on all machines."""
        return self.engine.parallel * self.engine.cores

    def run(
        self,
        items: Sequence[WorkItem],
        worker: Worker,
        *,
        processes: int,
        unsaved: list[WorkItem],
        gpus: Sequence[str],
        idle: Callable[[], None],
    ) -> Generator[tuple[WorkItem, Report], None, None]:
        """Yields the events of the items as their processes report them. Submits what no process works on yet.

        The processes see GPUs of their own.
        """
        directory = worker.sweep_dir
        with suppress(FileNotFoundError):
            (directory / WORK / STOP).unlink()
        followed = self.earlier(items, directory)
        begun = set[int]().union(*(one.bundle.jobs for one in followed))
        missing = [item for item in items if begun.isdisjoint(item.jobs)]
        followed += self.submit(divide(missing, self.engine.parallel, self.engine.cores), directory)
        if not self.wait:
            self.left += followed
            return
        try:
            yield from self.follow(followed, worker.jobs, directory, idle)
        except BaseException:
            self.stop(followed, directory)
            raise

    def earlier(self, items: Sequence[WorkItem], directory: Path) -> list[FollowedBundle]:
        """Returns the bundles of earlier submissions that still train some of the items."""
        left = {number: item for item in items for number in item.jobs}
        found = []
        for submission in read_submissions(directory):
            if submission.engine != self.engine.name:
                continue
            ended = self.engine.ended(submission)
            for number in submission.bundles:
                if number in ended:
                    continue
                with suppress(InputError):
                    bundle = read_bundle(directory, number)
                    if not bundle.jobs.isdisjoint(left):
                        found.append(self.followed(bundle, submission, directory, bundle.jobs & left.keys()))
        return found

    def followed(
        self, bundle: Bundle, submission: Submission, directory: Path, jobs: frozenset[int] | set[int]
    ) -> FollowedBundle:
        items = [WorkItem(item.jobs, 0, item.stacked, runs_at_once=item.runs_at_once) for item in bundle.items]
        return FollowedBundle(bundle, items, submission, JournalReader(directory, bundle.number), set(jobs))

    def submit(self, bundles: Sequence[Sequence[WorkItem]], directory: Path) -> list[FollowedBundle]:
        """Writes bundles and hands them to the engine."""
        if not bundles:
            return []
        plain = [[BundledItem(item.jobs, item.stacked, item.runs_at_once) for item in bundle] for bundle in bundles]
        written = write_bundles(directory, plain, processes=self.engine.cores)
        first = written[0].number
        commands = [work_command(directory, bundle.number, trust=self.trust) for bundle in written]
        identifier = self.engine.submit(commands, directory=directory, first=first)
        submission = Submission(self.engine.name, identifier, first, len(written))
        note_submission(directory, submission)
        return [self.followed(bundle, submission, directory, bundle.jobs) for bundle in written]

    def follow(
        self,
        followed: list[FollowedBundle],
        jobs: Mapping[int, SweepJob],
        directory: Path,
        idle: Callable[[], None],
    ) -> Generator[tuple[WorkItem, Report], None, None]:
        asked = time.monotonic()
        while followed:
            for one in followed:
                for event in one.reader.read():
                    yield from self.reports(one, event, jobs, directory)
            now = time.monotonic()
            if now - asked > ASK:
                asked = now
                self.ask(followed, now)
            for one in [one for one in followed if is_over(one, now)]:
                yield from self.results(one, sorted(one.unseen), jobs, directory)
                followed.remove(one)
                if one.unseen:
                    followed += self.again(one, directory)
            idle()
            time.sleep(POLL)

    def ask(self, followed: Sequence[FollowedBundle], now: float) -> None:
        """Notes which processes have ended, as the engine says."""
        for submission in {one.submission for one in followed}:
            ended = self.engine.ended(submission)
            for one in followed:
                if one.submission == submission:
                    if one.bundle.number not in ended:
                        one.ended_at = math.inf
                    elif one.ended_at == math.inf:
                        one.ended_at, one.reason = now, ended[one.bundle.number]

    def reports(
        self, one: FollowedBundle, event: Event, jobs: Mapping[int, SweepJob], directory: Path
    ) -> Generator[tuple[WorkItem, Report], None, None]:
        """Yields what an event of a journal reports; nothing for an event of another form.

        Raises the error that ended its process.
        """
        kind, number = event["event"], event.get("job")
        if kind == "job" and isinstance(number, int):
            yield from self.results(one, [number], jobs, directory)
        elif kind == "end" and event.get("error"):
            error = InputError if event.get("is_input") else MachineError
            raise error(f"{event['error']} (in bundle {one.bundle.number})")
        else:
            item, report = item_of(one.items, event.get("of")), report_of(event)
            if item is not None and report is not None:
                yield item, report

    def results(
        self, one: FollowedBundle, numbers: Sequence[int], jobs: Mapping[int, SweepJob], directory: Path
    ) -> Generator[tuple[WorkItem, Report], None, None]:
        """Yields the results of jobs that have one in their directories."""
        for number in numbers:
            item = item_of(one.items, number)
            if number in one.unseen and item is not None and number in jobs:
                result = read_result(directory / jobs[number].directory / RESULT)
                if result is not None and result.status != "interrupted":
                    one.unseen.discard(number)
                    one.tries = 0
                    yield item, Done(number, result)

    def again(self, one: FollowedBundle, directory: Path) -> list[FollowedBundle]:
        """Submits what an ended process left. Raises MachineError if this did not help before."""
        if one.tries >= TRIES:
            raise MachineError(
                f"{len(one.unseen)} jobs from job {min(one.unseen)} on were started {TRIES} times without a result"
                f" ({one.reason or 'no reason given'}); see {directory / WORK / f'{one.bundle.number}.log'}"
            )
        items = [item for item in one.items if not one.unseen.isdisjoint(item.jobs)]
        items = [item if item.stacked else WorkItem(tuple(one.unseen & set(item.jobs)), 0, False) for item in items]
        found = self.submit([items], directory)
        for each in found:
            each.unseen, each.tries = set(one.unseen), one.tries + 1
        return found

    def stop(self, followed: Sequence[FollowedBundle], directory: Path) -> None:
        """Asks the processes to write checkpoints and end, and waits until they have."""
        (directory / WORK / STOP).touch()
        for submission in {one.submission for one in followed}:
            self.engine.cancel(submission)
        deadline = time.monotonic() + STOPPING
        while time.monotonic() < deadline and any(is_at_work(one) for one in followed):
            time.sleep(POLL)


def report_of(event: Event) -> Progress | Unstacked | None:
    """Returns the progress or the failure of a stack that an event of a journal holds; None if it holds neither."""
    try:
        if event["event"] == "progress":
            return Progress(int(event["epoch"]), int(event["running"]), float(event["best"]), bool(event["minimise"]))
        if event["event"] == "unstacked":
            return Unstacked(str(event["reason"]), int(event["runs"]), str(event["fallback"]))
    except (KeyError, TypeError, ValueError, OverflowError):  # not written by ch12
        pass
    return None


def is_at_work(one: FollowedBundle) -> bool:
    list(one.reader.read())
    newest = one.reader.newest
    return bool(newest) and newest["event"] != "end" and not one.reader.is_silent


def is_over(one: FollowedBundle, now: float) -> bool:
    """Returns whether no process works on a bundle any more: its journal says so, or the engine does for a while."""
    newest = one.reader.newest
    done = newest.get("event") == "end" and newest.get("done") is True
    return done or now - one.ended_at > SETTLE


def item_of(items: Sequence[WorkItem], job: object) -> WorkItem | None:
    return next((item for item in items if job in item.jobs), None)


def divide(items: Sequence[WorkItem], parallel: int, cores: int) -> list[list[WorkItem]]:
    """Returns the items in bundles: at most `parallel`, each with work for its cores where there is enough.

    The largest items are dealt out first, so that the bundles are about equally large.
    """
    if not items:
        return []
    count = max(1, min(parallel, -(-len(items) // cores)))
    bundles: list[list[WorkItem]] = [[] for _ in range(count)]
    for item in sorted(items, key=lambda item: -len(item.jobs)):
        min(bundles, key=lambda bundle: sum(len(each.jobs) for each in bundle)).append(item)
    return [bundle for bundle in bundles if bundle]


def work_command(directory: Path, bundle: int, *, trust: bool) -> list[str]:
    """Returns the command that works on a bundle, with this Python."""
    trusted = ["--trust"] if trust else []
    return [sys.executable, "-m", "ch12cli", "work", str(directory.absolute()), f"--stack={bundle}", *trusted]


def shell_command(command: Sequence[str]) -> str:
    return shlex.join(command)
