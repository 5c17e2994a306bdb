"""Worker processes that run work items in parallel, and function calls in a subprocess."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from ch12cli.errors import InputError, MachineError
from ch12cli.files.environment import environment
from ch12cli.run.garbage_collection import freeze_objects
from ch12cli.run.signals import Terminated
from ch12cli.sweeps.groups import Elsewhere, makespan
from ch12cli.sweeps.workers.work_item import Building, Done, Event, Progress, Report, WorkItem
from ch12cli.sweeps.workers.worker import Worker, failed, init_worker

REFRESH = 0.1  # seconds between two progress reports of a worker
IDLE = 0.5  # seconds without a report before `idle` is called
HANDLED = {signal.SIGINT, signal.SIGTERM}
PATIENCE = 1.5  # seconds for workers to write checkpoints after an interrupt


@dataclass
class WorkerHandle:
    process: BaseProcess
    pipe: Connection
    item: WorkItem | None = None
    done: set[int] = field(default_factory=set)  # jobs of the item that have ended
    building: int | None = None  # the job whose network it is building
    gpu: str | None = None  # the only GPU that it sees


def run_items(
    items: Sequence[WorkItem],
    worker: Worker,
    *,
    processes: int,
    unsaved: list[WorkItem],
    gpus: Sequence[str] = (),
    idle: Callable[[], None] = lambda: None,
    patience: float = PATIENCE,
    leaving: list[BaseProcess] | None = None,
) -> Generator[tuple[WorkItem, Report], None, None]:
    """Yields the events of the items as they happen.

    If a worker dies, a job may fail and the rest of its item is requeued. See requeue_or_fail.
    Workers write their checkpoints and end when the generator is closed or interrupted.
    `gpus`: what the workers share out among them; each sees one only, by CUDA_VISIBLE_DEVICES.
    `unsaved` receives the items whose workers did not manage this within `patience` seconds. `idle` is called when no
    event has come for a while. `leaving` receives the workers that had nothing left to do, which end by themselves;
    None: they are waited for.
    """
    freeze_objects(keeps=True)
    environment()  # else each worker would find it out
    context = multiprocessing.get_context("fork")  # forked workers already have the jobs and the imported code
    waiting = list(items)
    handles: list[WorkerHandle] = []
    try:
        while waiting or any(handle.item for handle in handles):
            while waiting and len(handles) < processes:
                handles.append(start_worker(context, worker, gpu=least_used(gpus, handles)))
            for handle in handles:
                if handle.item is None and waiting:
                    assign(handle, waiting)
            ready = wait([handle.pipe for handle in handles if handle.item], timeout=IDLE)
            if not ready:
                idle()
            for handle in [handle for handle in handles if handle.pipe in ready]:
                yield from listen(handle, waiting)
            handles = [handle for handle in handles if handle.process.is_alive() or handle.item]
    finally:
        if leaving is not None:
            resting = [handle for handle in handles if handle.item is None]
            handles = [handle for handle in handles if handle.item is not None]
            for handle in resting:
                handle.pipe.close()
            leaving += [handle.process for handle in resting]
        unsaved += stop(handles, patience)


class SweepEngine(Protocol):
    """Trains the work items of a sweep.

    `records_failures`: its processes write the directories of failed jobs too, and flush all of them to disk.
    `elsewhere`: what trains them on other machines; None for this machine.
    """

    records_failures: bool

    @property
    def elsewhere(self) -> Elsewhere | None: ...
    @property
    def submitted(self) -> str:
        """What was submitted and is not waited for, as a phrase; empty if all items were trained."""

    def require_ready(self) -> None:
        """Raises InputError if it cannot be used here."""

    def describe(self, items: Sequence[WorkItem]) -> str:
        """Returns what would be submitted for these items, in words; empty if nothing is."""

    def seconds_for(self, items: Sequence[WorkItem], *, processes: int) -> float:
        """Returns how long the items take, by their `seconds`. processes: how many of this machine train at once."""

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
        """Yields the events of the items as they happen, as `run_items` does."""

    def close(self) -> None:
        """Is called after the last batch."""


class LocalEngine:
    """Trains the work items of a sweep in worker processes of this machine. The default engine."""

    records_failures = False
    elsewhere = None
    submitted = ""

    def __init__(self) -> None:
        self.leaving: list[BaseProcess] = []
        self.run = partial(run_items, leaving=self.leaving)

    def close(self) -> None:
        """Ends the workers of earlier batches, which end by themselves while the next batch is trained."""
        join_or_kill(self.leaving, PATIENCE)
        self.leaving.clear()

    def require_ready(self) -> None:
        """Nothing is needed."""

    def describe(self, items: Sequence[WorkItem]) -> str:
        """Nothing is submitted."""
        return ""

    def seconds_for(self, items: Sequence[WorkItem], *, processes: int) -> float:
        return makespan((item.seconds for item in items), processes)


def least_used(gpus: Sequence[str], handles: Sequence[WorkerHandle]) -> str | None:
    """Returns the GPU that the fewest workers have; None if there are no GPUs to share out."""
    taken = [handle.gpu for handle in handles]
    return min(gpus, key=taken.count, default=None)


def start_worker(context: Any, worker: Worker, *, gpu: str | None) -> WorkerHandle:
    parent_pipe, child_pipe = context.Pipe()
    process = context.Process(target=work, args=(child_pipe, parent_pipe, worker, os.getpid(), gpu), daemon=True)
    # before init_worker, the new process would handle a signal as the sweep itself does
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    child_pipe.close()
    return WorkerHandle(process, parent_pipe, gpu=gpu)


def assign(handle: WorkerHandle, waiting: list[WorkItem]) -> None:
    handle.item, handle.done, handle.building = waiting.pop(0), set(), None
    with suppress(ConnectionError):  # it died while idle; `listen` finds its pipe closed
        handle.pipe.send(handle.item)


def listen(handle: WorkerHandle, waiting: list[WorkItem]) -> Iterator[tuple[WorkItem, Report]]:
    """Yields the events that a worker sends, and gives it the next item if its own is done.

    Requeues or fails the item if the worker has died.
    """
    item = handle.item
    assert item is not None
    try:
        received = handle.pipe.recv()
    except (EOFError, ConnectionError):
        handle.item = None
        handle.process.join()
        yield from requeue_or_fail(handle, item, waiting)
        return
    if isinstance(received, Exception):
        handle.item = None
        raise received
    events, is_last = received
    if is_last:
        handle.item = None
        if waiting and not any(isinstance(event, Done) and event.status == "failed" for event in events):
            assign(handle, waiting)  # before the events are dealt with, unless a failure may end the sweep
    for event in events:
        if isinstance(event, Building):
            handle.building = handle.building if is_last else event.number
            continue
        if isinstance(event, Done) and not is_last:
            handle.done.add(event.number)
        yield item, event


def requeue_or_fail(handle: WorkerHandle, item: WorkItem, waiting: list[WorkItem]) -> Iterator[tuple[WorkItem, Report]]:
    """Requeues the item of a worker that died, and yields failed results.

    After the first death by a signal, which may come from outside, the item resumes from its checkpoint.
    Otherwise its networks are built one by one, and the job whose network ends the process has failed.
    A stack that still ends the process is split, until a single job is left, which has failed.
    """
    code = handle.process.exitcode
    cause = f"the process that trained it died ({describe_exit(code)})"
    remaining = [number for number in item.jobs if number not in handle.done]
    if code is not None and code < 0 and not item.killed_before:
        waiting.insert(
            0,
            replace(item, killed_before=True)
            if item.stacked
            else replace(item, jobs=tuple(remaining), killed_before=True),
        )
    elif handle.building is not None:
        yield item, failed(handle.building, cause)
        buildable = [number for number in item.jobs[: item.jobs.index(handle.building)] if number not in handle.done]
        waiting.insert(0, item.without({handle.building, *handle.done}, buildable=len(buildable)))
    elif len(item.jobs) > 1 and item.stacked and item.buildable is None:
        waiting.insert(0, replace(item, buildable=0))
    elif len(item.jobs) > 1:
        waiting[:0] = item.split(handle.done)
    elif remaining:
        yield item, failed(remaining[0], cause)


def stop(handles: Sequence[WorkerHandle], patience: float) -> list[WorkItem]:
    """Ends the workers, with SIGTERM and then SIGKILL. Returns the items without a new checkpoint."""
    for handle in handles:
        if handle.item is not None:
            handle.process.terminate()
        handle.pipe.close()
    join_or_kill([handle.process for handle in handles], patience)
    return [handle.item for handle in handles if handle.item is not None and handle.process.exitcode]


def join_or_kill(processes: Sequence[BaseProcess], patience: float) -> None:
    """Waits for processes, `patience` seconds in all, and kills those that have not ended then."""
    deadline = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def work(pipe: Connection, parents_end: Connection, worker: Worker, parent: int, gpu: str | None = None) -> None:
    """Runs a worker process until its pipe is closed.

    Receives an item, and sends lists of its events, each with whether it is the item's last.
    """
    try:
        init_worker(parent, gpu=gpu)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        parents_end.close()
        while True:
            item = pipe.recv()
            reports: list[Event] = []
            last = time.monotonic()
            with closing(worker.run(item)) as events:  # ends training on a signal between events
                for event in events:
                    if not isinstance(event, Progress) or time.monotonic() - last > REFRESH:
                        reports.append(event)
                    if reports and (isinstance(event, Building) or time.monotonic() - last > REFRESH):
                        pipe.send((reports, False))
                        reports, last = [], time.monotonic()
            pipe.send((reports, True))
    except (EOFError, ConnectionError, Terminated):
        pass
    except (InputError, MachineError) as error:
        try:
            pipe.send(error)
        except ConnectionError:  # the sweep is ending, and the checkpoint was not written
            raise SystemExit(error.exit_code) from error
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


ReturnValue = TypeVar("ReturnValue")


class ProcessDiedError(Exception):
    """The subprocess ended before it returned a result."""


def call_in_subprocess(function: Callable[..., ReturnValue], *arguments: Any) -> ReturnValue:
    """Returns function(*arguments), called in a forked copy of this process.

    Raises DiedError if the process dies. Re-raises MachineError.
    """
    context = multiprocessing.get_context("fork")
    parent_pipe, child_pipe = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(child_pipe, function, arguments), daemon=True)
    process.start()
    child_pipe.close()
    try:
        result: ReturnValue | MachineError = parent_pipe.recv()
    except EOFError:
        process.join()
        raise ProcessDiedError(describe_exit(process.exitcode)) from None
    finally:
        parent_pipe.close()
    process.join()
    if isinstance(result, MachineError):
        raise result
    return result


def send(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send(function(*arguments))
    except MachineError as error:
        pipe.send(error)
    except Terminated:
        raise SystemExit(128 + signal.SIGTERM) from None
    except KeyboardInterrupt:  # of a terminal, which interrupts the caller too
        raise SystemExit(128 + signal.SIGINT) from None


def describe_exit(code: int | None) -> str:
    """Returns a description of a process's exit code."""
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
