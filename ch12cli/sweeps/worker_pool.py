"""Worker processes that run work items in parallel, and function calls in a subprocess."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from ch12cli.errors import InputError, MachineError
from ch12cli.run.garbage_collection import freeze_objects
from ch12cli.run.signals import Terminated
from ch12cli.sweeps.work_item import Done, Event, Progress, Told, Trying, WorkItem
from ch12cli.sweeps.worker import Worker, failed, init_worker

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
    trying: int | None = None  # the job whose network it is building


def run_items(
    items: Sequence[WorkItem],
    worker: Worker,
    *,
    processes: int,
    late: list[WorkItem],
    idle: Callable[[], None] = lambda: None,
) -> Generator[tuple[WorkItem, Told], None, None]:
    """Yields the events of the items as they happen.

    If a worker dies, a job may fail and the rest of its item is requeued. See requeue_or_fail.
    Workers write their checkpoints and end when the generator is closed or interrupted.
    `late` receives the items whose workers did not manage this. `idle` is called when no event has come for a while.
    """
    freeze_objects()
    context = multiprocessing.get_context("fork")  # forked workers already have the jobs and the imported code
    waiting = list(items)
    handles: list[WorkerHandle] = []
    try:
        while waiting or any(handle.item for handle in handles):
            while waiting and len(handles) < processes:
                handles.append(start_worker(context, worker))
            for handle in handles:
                if handle.item is None and waiting:
                    hand_over(handle, waiting)
            ready = wait([handle.pipe for handle in handles if handle.item], timeout=IDLE)
            if not ready:
                idle()
            for handle in [handle for handle in handles if handle.pipe in ready]:
                yield from listen(handle, waiting)
            handles = [handle for handle in handles if handle.process.is_alive() or handle.item]
    finally:
        late += stop(handles)


def start_worker(context: Any, worker: Worker) -> WorkerHandle:
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, ours, worker, os.getpid()), daemon=True)
    # before init_worker, the new process would handle a signal as the sweep itself does
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    theirs.close()
    return WorkerHandle(process, ours)


def hand_over(handle: WorkerHandle, waiting: list[WorkItem]) -> None:
    handle.item, handle.done, handle.trying = waiting.pop(0), set(), None
    with suppress(ConnectionError):  # it died while idle; `listen` finds its pipe closed
        handle.pipe.send(handle.item)


def listen(handle: WorkerHandle, waiting: list[WorkItem]) -> Iterator[tuple[WorkItem, Told]]:
    """Yields the events that a worker sends. Requeues or fails its item if the worker has died."""
    item = handle.item
    assert item is not None
    try:
        said = handle.pipe.recv()
    except (EOFError, ConnectionError):
        handle.item = None
        handle.process.join()
        yield from requeue_or_fail(handle, item, waiting)
        return
    if said is None:
        handle.item = None
    elif isinstance(said, Exception):
        handle.item = None
        raise said
    else:
        for event in said:
            if isinstance(event, Trying):
                handle.trying = event.number
                continue
            if isinstance(event, Done):
                handle.done.add(event.number)
            yield item, event


def requeue_or_fail(handle: WorkerHandle, item: WorkItem, waiting: list[WorkItem]) -> Iterator[tuple[WorkItem, Told]]:
    """Requeues the item of a worker that died, and yields failed results.

    After the first death by a signal, which may come from outside, the item resumes from its checkpoint.
    Otherwise its networks are built one by one, and the job whose network ends the process has failed.
    A stack that still ends the process is split, until a single job is left, which has failed.
    """
    code = handle.process.exitcode
    cause = f"the process that trained it died ({how_it_died(code)})"
    left = [number for number in item.jobs if number not in handle.done]
    if code is not None and code < 0 and not item.tried:
        waiting.insert(0, replace(item, tried=True) if item.stacked else replace(item, jobs=tuple(left), tried=True))
    elif handle.trying is not None:
        yield item, failed(handle.trying, cause)
        sound = [number for number in item.jobs[: item.jobs.index(handle.trying)] if number not in handle.done]
        waiting.insert(0, item.without({handle.trying, *handle.done}, sound=len(sound)))
    elif len(item.jobs) > 1 and item.stacked and item.sound is None:
        waiting.insert(0, replace(item, sound=0))
    elif len(item.jobs) > 1:
        waiting[:0] = item.pieces(handle.done)
    elif left:
        yield item, failed(left[0], cause)


def stop(handles: Sequence[WorkerHandle]) -> list[WorkItem]:
    """Ends the workers, with SIGTERM and then SIGKILL. Returns the items without a new checkpoint."""
    for handle in handles:
        if handle.item is not None:
            handle.process.terminate()
        handle.pipe.close()
    deadline = time.monotonic() + PATIENCE
    for handle in handles:
        handle.process.join(max(0.0, deadline - time.monotonic()))
        if handle.process.is_alive():
            handle.process.kill()
            handle.process.join()
    return [handle.item for handle in handles if handle.item is not None and handle.process.exitcode]


def work(pipe: Connection, parents_end: Connection, worker: Worker, parent: int) -> None:
    """Runs a worker process until its pipe is closed.

    Receives an item, sends lists of its events, and sends None when the item is done.
    """
    try:
        init_worker(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        parents_end.close()
        while True:
            item = pipe.recv()
            said: list[Event] = []
            last = time.monotonic()
            with closing(worker.run(item)) as events:  # ends training on a signal between events
                for event in events:
                    if not isinstance(event, Progress) or time.monotonic() - last > REFRESH:
                        said.append(event)
                    if said and (isinstance(event, Trying) or time.monotonic() - last > REFRESH):
                        pipe.send(said)
                        said, last = [], time.monotonic()
            pipe.send(said)
            pipe.send(None)
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


class DiedError(Exception):
    """The subprocess ended before it returned a result."""


def call_in_subprocess(function: Callable[..., ReturnValue], *arguments: Any) -> ReturnValue:
    """Returns function(*arguments), called in a forked copy of this process.

    Raises DiedError if the process dies. Re-raises MachineError.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        result: ReturnValue | MachineError = ours.recv()
    except EOFError:
        process.join()
        raise DiedError(how_it_died(process.exitcode)) from None
    finally:
        ours.close()
    process.join()
    if isinstance(result, MachineError):
        raise result
    return result


def send(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        pipe.send(function(*arguments))
    except MachineError as error:
        pipe.send(error)


def how_it_died(code: int | None) -> str:
    """Returns a description of a process's exit code."""
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
