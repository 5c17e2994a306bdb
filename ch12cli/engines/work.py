"""Works on one bundle of a submitted sweep: what `ch12 work` does in the process that an engine started."""

import ctypes
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch

from ch12cli.catalogue.formatting import count_of
from ch12cli.engines.slurm import can_requeue, requeue
from ch12cli.errors import InputError, MachineError
from ch12cli.files.cluster.bundle_json import Bundle, BundledItem, read_bundle
from ch12cli.files.cluster.journal import JournalWriter, fruitless_attempts, is_stopped
from ch12cli.files.environment import usable_cores
from ch12cli.files.plan_json import read_plan
from ch12cli.files.result_json import is_done, is_intact
from ch12cli.files.run_directory import STATE
from ch12cli.run.data_sets import data_read_once
from ch12cli.run.signals import Terminated
from ch12cli.sweeps.groups import gpus_to_share, group_jobs
from ch12cli.sweeps.job_directories import HydraFiles, write_failed
from ch12cli.sweeps.jobs import SweepJob
from ch12cli.sweeps.resume import saved_jobs
from ch12cli.sweeps.trials import divide_by_fold
from ch12cli.sweeps.workers.attempts import Attempt, SupersededError
from ch12cli.sweeps.workers.work_item import Done, Progress, Unstacked, WorkItem, checkpoint_name
from ch12cli.sweeps.workers.worker import Worker
from ch12cli.sweeps.workers.worker_pool import run_items

LOOK = 2.0  # seconds between two looks for a newer attempt or a stop
PROGRESS = 1.0  # seconds between two lines about the progress of a stack
NOTICE = 10.0  # seconds for an earlier attempt to notice this one
CHECKPOINTS_IN = 45.0  # seconds for the workers to write their checkpoints
STARTS = 5  # of a task in a row that get nowhere, after which it is not requeued
BEFORE_LIMIT = (signal.SIGUSR1, signal.SIGUSR2)  # sent by a scheduler before a time limit or a preemption


SUPERSEDED = "a newer attempt at the same jobs has begun"


class Watch:
    """Keeps a journal, and looks for what ends the work on its bundle from outside."""

    def __init__(self, journal: JournalWriter, bundle: Bundle) -> None:
        self.journal, self.bundle = journal, bundle
        self.seen: set[int] = set()  # newer bundles that train other jobs
        self.looked = time.monotonic()
        self.noted: dict[int, float] = {}  # when the progress of an item was noted, by its first job

    def note_progress(self, item: WorkItem, progress: Progress) -> None:
        """Adds the progress of a stack to the journal, at most once every PROGRESS seconds."""
        now = time.monotonic()
        if now - self.noted.get(item.jobs[0], -PROGRESS) >= PROGRESS:
            self.noted[item.jobs[0]] = now
            self.journal.note(
                "progress",
                of=item.jobs[0],
                epoch=progress.epoch,
                running=progress.running,
                best=progress.best,
                minimise=progress.minimise,
            )

    def __call__(self) -> None:
        """Writes the journal if that is due. Kills the workers and raises SupersededError for a newer attempt.

        Raises Terminated, so that they write checkpoints, if the sweep was stopped.
        """
        self.journal.flush_if_due()
        if time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        if self.journal.is_superseded(self.bundle.jobs, self.seen):
            for child in multiprocessing.active_children():
                child.kill()
            raise SupersededError(SUPERSEDED)
        if is_stopped(self.journal.sweep):
            raise Terminated


def work_on(directory: Path, number: int, *, trust: bool, tell: Callable[[str], None]) -> int:
    """Trains the jobs of a bundle that have not ended, and returns the exit code.

    tell: is given lines for the log of the process: what it begins, which jobs fail, how it ends.
    """
    end_with_parent()
    bundle = read_bundle(directory, number)
    journal = JournalWriter(directory, number)
    done = False
    try:
        with signals_raised() as received, suppress(Terminated):
            wait_for_earlier(journal)
            train_bundle(directory, bundle, journal, trust=trust, tell=tell)
            done = True
        ended_by = received[0] if received else 0
    except SupersededError:
        journal.note("end", done=False, superseded=True)
        journal.flush()
        tell(f"bundle {number}: ends, because {SUPERSEDED}")
        directories = read_plan(directory).directories
        paths = [directory / directories[job] for job in bundle.jobs if job in directories]
        remove_partial(paths, attempt=attempt_name(bundle, journal))  # of workers that were killed in the midst of it
        return 128 + signal.SIGKILL
    except (InputError, MachineError) as error:
        journal.note("end", done=False, error=str(error), is_input=isinstance(error, InputError), host=platform.node())
        journal.flush()
        raise
    goes_on = not done and ended_by in BEFORE_LIMIT and can_requeue()
    if goes_on and fruitless_attempts(directory, number, journal.attempt) >= STARTS:
        reason = f"its task was ended {STARTS} times before it trained anything: give it a longer time limit"
        journal.note("end", done=False, error=reason, is_input=False, host=platform.node())
        journal.flush()
        raise MachineError(reason)
    journal.note("end", done=done, signal=ended_by, requeued=goes_on, processor_seconds=processor_seconds())
    journal.flush()
    if not done:
        cause = f"by signal {ended_by}" if ended_by else "because the sweep was stopped"
        tell(f"bundle {number}: ended {cause}, after its checkpoints" + ("; it is queued again" if goes_on else ""))
    if goes_on:
        requeue()
    return 0 if done else 128 + (ended_by or signal.SIGTERM)


def processor_seconds() -> float:
    """Returns the processor time of this process and of the workers that have ended."""
    spent = os.times()
    return round(spent.user + spent.system + spent.children_user + spent.children_system, 2)


def train_bundle(
    directory: Path, bundle: Bundle, journal: JournalWriter, *, trust: bool, tell: Callable[[str], None]
) -> None:
    """Trains a bundle. Raises Terminated if a signal or a stop ended it, after the checkpoints were written."""
    known = read_plan(directory)
    known = replace(known, jobs=tuple(job for job in known.jobs if job.number in bundle.jobs))
    directories = known.directories
    found = {job.number: job for job in saved_jobs(known, directory=directory, trust=trust)}
    missing = bundle.jobs - found.keys()
    if missing:
        raise InputError(f"{directory}: its plan has no job {min(missing)}, which bundle {bundle.number} names")
    jobs = {number: replace(found[number], directory=directories[number]) for number in sorted(bundle.jobs)}
    torch.set_num_threads(1)  # workers are forked from this process, so torch must not have started threads
    with data_read_once():
        items, worker = prepared(directory, bundle, jobs, attempt=attempt_of(bundle, journal))
        remove_partial(directory / job.directory for job in jobs.values())
        left = sum(not is_done(directory / jobs[number].directory) for item in items for number in item.jobs)
        failed = 0
        what = f"trains {count_of(left, 'job')}" if left else "all of its jobs have ended"
        tell(f"bundle {bundle.number}, attempt {journal.attempt}: {what}")
        processes = min(bundle.processes or usable_cores(), len(items))
        watch = Watch(journal, bundle)
        events = run_items(
            items,
            worker,
            processes=max(1, processes),
            unsaved=[],
            gpus=gpus_to_share(worker.groups),
            idle=watch,
            patience=CHECKPOINTS_IN,
        )
        with closing(events):
            for item, event in events:
                if isinstance(event, Progress):
                    watch.note_progress(item, event)
                elif isinstance(event, Unstacked):
                    journal.note(
                        "unstacked", of=item.jobs[0], reason=event.reason, runs=event.runs, fallback=event.fallback
                    )
                elif isinstance(event, Done):
                    if event.status == "failed":
                        record_failure(directory, worker, jobs[event.number], event)
                        failed += 1
                        tell(f"job {event.number} failed: {event.result.error}")
                    journal.note("job", job=event.number)
                watch()
        if left:
            tell(f"bundle {bundle.number}: done" + (f", {count_of(failed, 'job')} failed" if failed else ""))


def prepared(
    directory: Path, bundle: Bundle, jobs: dict[int, SweepJob], *, attempt: Attempt
) -> tuple[list[WorkItem], Worker]:
    """Returns the work items that are left, and a worker for them. Reads each data set once."""
    groups, tasks, items = [], [], []
    for item in bundle.items:
        if all(has_ended(directory / jobs[number].directory) for number in item.jobs):
            continue
        (group,) = group_jobs([jobs[number] for number in item.jobs])
        divided, task = divide_by_fold(group)[0]
        groups.append(divided)
        tasks.append(task)
        items.append(work_item(item, len(groups) - 1, directory))
    return items, Worker(jobs, groups, tasks, directory, HydraFiles(directory), attempt=attempt)


def attempt_of(bundle: Bundle, journal: JournalWriter) -> Attempt:
    """Returns the attempt that a journal belongs to."""
    seen: set[int] = set()

    def require_newest() -> None:
        if journal.is_superseded(bundle.jobs, seen):
            raise SupersededError(SUPERSEDED)

    return Attempt(attempt_name(bundle, journal), require_newest)


def attempt_name(bundle: Bundle, journal: JournalWriter) -> str:
    return f"{bundle.number}.{journal.attempt}"


def work_item(item: BundledItem, group: int, directory: Path) -> WorkItem:
    checkpoint = directory / STATE / checkpoint_name(item.jobs) if item.stacked else None
    return WorkItem(item.jobs, group, item.stacked, checkpoint, runs_at_once=item.runs_at_once)


def has_ended(directory: Path) -> bool:
    return is_done(directory) and is_intact(directory)


def record_failure(directory: Path, worker: Worker, job: SweepJob, done: Done) -> None:
    path = directory / job.directory
    write_failed(path, hydra=worker.hydra.files(job, path), error=done.result.error or "")


def remove_partial(paths: Iterable[Path], *, attempt: str = "") -> None:
    """Removes what was being written of these directories when its process was killed: by one attempt, or by any."""
    paths = list(paths)
    names = {path.name for path in paths}
    for folder in {path.parent for path in paths}:
        for partial in folder.glob(".*.partial*"):
            name, _, by = partial.name[1:].partition(".partial")
            if name in names and (not attempt or by == f"-{attempt}"):
                shutil.rmtree(partial, ignore_errors=True)


def wait_for_earlier(journal: JournalWriter) -> None:
    """Gives an earlier attempt, which may still be alive elsewhere, the time to see this one and end."""
    if journal.attempt > 1:
        earlier = journal.earlier_event()
        if earlier.get("event") != "end":
            deadline = time.monotonic() + NOTICE
            while time.monotonic() < deadline and journal.earlier_event().get("event") != "end":
                time.sleep(0.2)


@contextmanager
def signals_raised() -> Iterator[list[int]]:
    """Makes the signals of schedulers raise Terminated within the block, the first time. Yields those received."""
    received: list[int] = []

    def terminate(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        for each in (*BEFORE_LIMIT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Terminated

    before = {number: signal.signal(number, terminate) for number in (*BEFORE_LIMIT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Ends this process, with checkpoints, when the process that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
