"""Trains work items by processes that an engine starts, here or on other machines. Results come by the directory."""

import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import ch12cli
from ch12cli.catalogue.formatting import count_of, format_seconds
from ch12cli.engines.bundles import SETTLE, UNKNOWN, FollowedBundle, divide, report_of
from ch12cli.errors import InputError, MachineError
from ch12cli.files.atomic import read_file
from ch12cli.files.cluster.bundle_json import (
    WORK,
    Bundle,
    BundledItem,
    Submission,
    note_submission,
    read_bundle,
    read_submissions,
    remove_bundles,
    write_bundles,
)
from ch12cli.files.cluster.journal import STOP, Event, JournalReader
from ch12cli.files.cluster.lease import Lease, leased
from ch12cli.files.cluster.shared_folders import look_again
from ch12cli.files.cluster.slurm_queue import TaskState
from ch12cli.files.cluster.tasks import describe_tasks
from ch12cli.files.environment import environment
from ch12cli.files.history import environment_differences
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import RESULT
from ch12cli.sweeps.groups import Elsewhere, makespan
from ch12cli.sweeps.job_directories import write_failed
from ch12cli.sweeps.jobs import SweepJob
from ch12cli.sweeps.workers.work_item import Done, Progress, Remark, Report, Tasks, WorkItem
from ch12cli.sweeps.workers.worker import Worker

POLL = 0.2  # seconds between two looks at the journals
ASK = 5.0  # seconds between two questions to the engine
SHARE = 0.5  # of a time limit that is filled: other machines may be slower, and start slowly
TRIES = 3  # at a bundle that ends without getting further
STOPPING = 60.0  # seconds for processes to write their checkpoints after an interrupt


class Engine(Protocol):
    """Starts processes that work on bundles. parallel: how many at most at once; cores: of each."""

    name: str

    @property
    def parallel(self) -> int: ...
    @property
    def cores(self) -> int: ...
    @property
    def memory(self) -> int | None:
        """Bytes of each process; None if that is not known."""

    @property
    def seconds(self) -> float | None:
        """How long each process may work; None if there is no limit."""

    @property
    def has_gpus(self) -> bool: ...
    def limits(self) -> list[str]:
        """Returns what each process is given, as phrases."""

    def hidden(self, places: Mapping[str, Path]) -> list[str]:
        """Returns which places of this machine the processes seem not to see, in words. places: by what they hold."""

    def doubt(self, tasks: int) -> str:
        """Returns why so many tasks would be refused, or would never start; empty if nothing speaks against them."""

    def require_ready(self) -> None:
        """Raises InputError if it cannot be used here."""

    def submit(self, commands: Sequence[Sequence[str]], *, directory: Path, first: int) -> str:
        """Starts a process for each command and returns an identifier. first: the number of the first bundle."""

    def states(self, submission: Submission) -> Mapping[int, TaskState]:
        """Returns the states of a submission's tasks, by bundle; empty if the engine does not answer."""

    def cancel(self, submission: Submission, numbers: Sequence[int]) -> None:
        """Ends what is waiting or running of these bundles of a submission."""


class RemoteEngine:
    """Has an engine train work items. wait: follow them to the end; otherwise return when they are submitted.

    trust: the sweep may import classes of the user's own.
    """

    records_failures = True  # the processes write the directories of failed jobs, and flush all of them

    def __init__(self, engine: Engine, *, wait: bool = True, trust: bool = False) -> None:
        self.engine, self.wait, self.trust = engine, wait, trust
        self.left: list[FollowedBundle] = []  # bundles that are not waited for
        self.said: set[str] = set()  # differences between machines

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
    def elsewhere(self) -> Elsewhere:
        """What trains on other machines."""
        memory = None if self.engine.memory is None else self.engine.memory // self.engine.cores
        seconds = None if self.engine.seconds is None else SHARE * self.engine.seconds
        return Elsewhere(self.engine.parallel * self.engine.cores, memory, self.engine.has_gpus, seconds)

    def bundles(self, items: Sequence[WorkItem]) -> list[list[WorkItem]]:
        return divide(items, self.engine.parallel, self.engine.cores, seconds=self.elsewhere.seconds)

    def close(self) -> None:
        """Nothing is left open."""

    def describe(self, items: Sequence[WorkItem]) -> str:
        """Returns what would be submitted, such as `slurm: 4 tasks, 12 work items, 4 at once, 60 min each at most`."""
        bundles, limit = self.bundles(items), self.engine.seconds
        facts = [count_of(len(bundles), "task"), count_of(len(items), "work item"), *self.engine.limits()]
        if limit is not None and any(not item.seconds for item in items):
            facts.append("not cut for the time limit, because the time is not known")
        elif limit is not None and (longest := max((item.seconds for item in items), default=0)) > limit:
            facts.append(f"the longest item takes about {format_seconds(longest)}, and goes on where the limit ends it")
        if not bundles:
            return ""
        doubt = self.engine.doubt(len(bundles))
        return f"{self.engine.name}: {', '.join(facts)}" + (f"; they would not start: {doubt}" if doubt else "")

    def seconds_for(self, items: Sequence[WorkItem], *, processes: int) -> float:
        """Returns how long the items take in the tasks that would be submitted, by their `seconds`."""
        bundles = [makespan((item.seconds for item in bundle), self.engine.cores) for bundle in self.bundles(items)]
        return makespan(bundles, self.engine.parallel)

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
        with leased(directory) as lease:
            with suppress(FileNotFoundError):
                (directory / WORK / STOP).unlink()
            followed = self.earlier(items, directory)
            begun = set[int]().union(*(one.bundle.jobs for one in followed))
            for text in self.engine.hidden(places_of(worker)) if items else []:
                yield items[0], Remark(text)
            missing = [item for item in items if begun.isdisjoint(item.jobs)]
            submitted = self.submit(self.bundles(missing), directory)
            followed += submitted
            try:
                if submitted and (doubt := self.engine.doubt(len(submitted))):
                    yield items[0], Remark(f"{self.engine.name} took the tasks, but they may never start: {doubt}")
                if not self.wait:
                    self.left += followed
                    return
                yield from self.follow(followed, worker, lease, idle)
            except BaseException:
                self.stop(followed, directory)
                raise

    def earlier(self, items: Sequence[WorkItem], directory: Path) -> list[FollowedBundle]:
        """Returns the bundles of earlier submissions that still train some of the items."""
        left = {number for item in items for number in item.jobs}
        found = []
        for submission in read_submissions(directory):
            if submission.engine != self.engine.name:
                continue
            bundles = []
            for number in submission.bundles:
                with suppress(InputError):
                    bundle = read_bundle(directory, number)
                    bundles += [] if bundle.jobs.isdisjoint(left) else [bundle]
            states = self.engine.states(submission) if bundles else {}
            found += [
                self.followed(bundle, submission, directory, bundle.jobs & left)
                for bundle in bundles
                if not (bundle.number in states and states[bundle.number].has_ended)
            ]
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
        try:
            identifier = self.engine.submit(commands, directory=directory, first=first)
        except BaseException:
            remove_bundles(directory, written)
            raise
        submission = Submission(self.engine.name, identifier, first, len(written))
        note_submission(directory, submission)
        return [self.followed(bundle, submission, directory, bundle.jobs) for bundle in written]

    def follow(
        self, followed: list[FollowedBundle], worker: Worker, lease: Lease, idle: Callable[[], None]
    ) -> Generator[tuple[WorkItem, Report], None, None]:
        jobs, directory = worker.jobs, worker.sweep_dir
        asked, told = time.monotonic() - ASK + 2 * POLL, ""  # asks soon, and then every ASK seconds
        cancelled: list[FollowedBundle] = []
        while followed:
            for one in followed:
                for event in one.reader.read():
                    yield from self.reports(one, event, jobs, directory)
            now = time.monotonic()
            if now - asked > ASK:
                asked = now
                self.ask(followed, now)
                if (text := describe_tasks([one.state for one in followed])) != told:
                    told = text
                    yield followed[0].items[0], Tasks(text)
            for one in [one for one in followed if one.is_over(now)]:
                look_again(directory, [jobs[number].directory for number in one.unseen])
                yield from self.results(one, sorted(one.unseen), jobs, directory)
                followed.remove(one)
                if one.was_killed and one.unseen:
                    one.guilty += 1
                if one.guilty > 1 and len(one.left()) == 1 and len(one.unseen) == 1:
                    yield from self.fail(one, worker)
                elif one.unseen and was_cancelled_before_it_began(one, directory):
                    cancelled.append(one)
                elif one.unseen:
                    followed += self.again(one, directory)
            lease.renew()
            idle()
            time.sleep(POLL)
        if cancelled:
            left = set[int]().union(*(one.unseen for one in cancelled))
            rule = f"cancelled before they began ({cancelled[0].task.name})"
            raise MachineError(
                f"{count_of(len(left), 'job')} from job {min(left)} on were not trained: tasks were {rule}"
            )

    def ask(self, followed: Sequence[FollowedBundle], now: float) -> None:
        """Notes which processes have ended, as the engine says."""
        for submission in {one.submission for one in followed}:
            states = self.engine.states(submission)
            for one in followed:
                if one.submission == submission:
                    one.note_task(states.get(one.bundle.number, UNKNOWN), now)

    def reports(
        self, one: FollowedBundle, event: Event, jobs: Mapping[int, SweepJob], directory: Path
    ) -> Generator[tuple[WorkItem, Report], None, None]:
        """Yields what an event of a journal reports; nothing for an event of another form.

        Raises the error that ended its process.
        """
        kind, number = event["event"], event.get("job")
        if kind == "job" and isinstance(number, int):
            yield from self.results(one, [number], jobs, directory)
        elif kind == "begin":
            yield from self.differences(one, event)
        elif kind == "end" and event.get("error"):
            error = InputError if event.get("is_input") else MachineError
            host = event.get("host", "an unknown machine")
            raise error(f"{event['error']} (bundle {one.bundle.number}, on {host})")
        else:
            first, report = event.get("of"), report_of(event)
            item = one.item_of.get(first) if isinstance(first, int) else None
            if item is not None and report is not None:
                if isinstance(report, Progress):
                    one.note_progress(item, report.epoch)
                yield item, report

    def differences(self, one: FollowedBundle, event: Event) -> Generator[tuple[WorkItem, Report], None, None]:
        """Yields a remark if the machine of a process has other software than this one. Says the same once."""
        theirs = event.get("environment")
        found = environment_differences(environment(), theirs) if isinstance(theirs, Mapping) else []
        if found and (text := "; ".join(found)) not in self.said:
            self.said.add(text)
            host = event.get("host", "a machine")
            hint = "sweep.verify=N trains jobs of each machine again here, and compares"
            yield one.items[0], Remark(f"{host} differs from this machine: {text}; {hint}")

    def results(
        self, one: FollowedBundle, numbers: Sequence[int], jobs: Mapping[int, SweepJob], directory: Path
    ) -> Generator[tuple[WorkItem, Report], None, None]:
        """Yields the results of jobs that have one in their directories."""
        for number in numbers:
            item = one.item_of.get(number)
            if number in one.unseen and item is not None and number in jobs:
                result = read_result(directory / jobs[number].directory / RESULT)
                if result is None:
                    look_again(directory, [jobs[number].directory])
                    result = read_result(directory / jobs[number].directory / RESULT)
                if result is not None and result.status != "interrupted":
                    one.unseen.discard(number)
                    one.tries = one.guilty = 0
                    yield item, Done(number, result)

    def again(self, one: FollowedBundle, directory: Path) -> list[FollowedBundle]:
        """Submits what an ended process left: as it was, or in smaller items if a job seems to kill its process.

        Raises MachineError if this did not help before.
        """
        if one.tries >= TRIES and not one.guilty:
            jobs = f"{count_of(len(one.unseen), 'job')} from job {min(one.unseen)} on"
            raise MachineError(
                f"submitted {TRIES} times without a result: {jobs}"
                f" ({one.task.name or 'no reason given'}); {what_is_known(one, directory)}"
            )
        self.engine.cancel(one.submission, [one.bundle.number])  # of which Slurm may keep a held job
        bundles = [[item] for item in one.isolated()] if one.guilty > 1 else [one.left()]
        found = self.submit(bundles, directory)
        for each in found:
            each.unseen &= one.unseen
            each.tries, each.guilty = one.tries + 1, min(one.guilty, 1) if len(found) > 1 else one.guilty
            each.reached_before = {
                key: max(epoch, one.reached_before.get(key, 0)) for key, epoch in one.reached.items()
            }
        return found

    def fail(self, one: FollowedBundle, worker: Worker) -> Generator[tuple[WorkItem, Report], None, None]:
        """Records the only job that is left of a bundle as failed."""
        (number,) = one.unseen
        job, (item,) = worker.jobs[number], one.left()
        directory = worker.sweep_dir / job.directory
        error = f"the process that trained it died ({one.task.name or 'without a word'})"
        result = write_failed(directory, hydra=worker.hydra.files(job, directory), error=error)
        yield item, Done(number, result)

    def stop(self, followed: Sequence[FollowedBundle], directory: Path) -> None:
        """Asks the processes to write checkpoints and end, and waits until they have."""
        (directory / WORK / STOP).touch()
        for submission in {one.submission for one in followed}:
            self.engine.cancel(submission, submission.bundles)
        began = asked = time.monotonic()
        while (now := time.monotonic()) < began + STOPPING:
            if not any(one.is_at_work() and now - one.ended_at <= SETTLE for one in followed):
                return
            if now - asked > ASK:  # of those that were ended before they could say so
                asked = now
                with suppress(InputError, MachineError):
                    self.ask(followed, now)
            time.sleep(POLL)


def places_of(worker: Worker) -> dict[str, Path]:
    """Returns what the processes of an engine must see: the sweep's directory, Python, code and data."""
    places = {
        "hydra.sweep.dir": worker.sweep_dir,
        "Python": Path(sys.prefix),
        "ch12": Path(ch12cli.__file__).parent,
        "the current directory": Path.cwd(),
    }
    for group in worker.groups:
        for key, value in flatten(group.settings.config.get("dataset", {})):
            if isinstance(value, str) and value and os.path.exists(value):
                places[f"dataset.{key}"] = Path(value).absolute()
    return places


def was_cancelled_before_it_began(one: FollowedBundle, directory: Path) -> bool:
    """Returns whether a task was cancelled while it waited. Its script would have written to a file first."""
    begun = f"{one.bundle.number}.log" in os.listdir(directory / WORK) or one.reader.attempt
    return one.task.name.startswith("CANCELLED") and not begun


def what_is_known(one: FollowedBundle, directory: Path) -> str:
    """Returns what a user can look at when a bundle brings no results, as a phrase."""
    log = directory / WORK / f"{one.bundle.number}.log"
    with suppress(OSError):
        lines = [line for line in read_file(log).decode("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return f"{log} ends with: {lines[-1].strip()[:200]}"
    if one.reader.attempt:
        return f"see {log}"
    return f"they wrote nothing, so their machines may not see {directory} or {sys.executable}"


def work_command(directory: Path, bundle: int, *, trust: bool) -> list[str]:
    """Returns the command that works on a bundle, with this Python."""
    trusted = ["--trust"] if trust else []
    return [sys.executable, "-m", "ch12cli", "work", str(directory.absolute()), f"--stack={bundle}", *trusted]
