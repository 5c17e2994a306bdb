"""Processes that do units beside each other, one thread each, and what becomes of a unit whose process dies."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ch12cli.errors import InputError, MachineError
from ch12cli.run.garbage_collection import settle
from ch12cli.run.signals import Terminated
from ch12cli.sweep.events import Done, Event, Progress, Told, Trying
from ch12cli.sweep.subprocess_call import how_it_died
from ch12cli.sweep.work_item import Unit
from ch12cli.sweep.worker import Workshop, failed, obey

REFRESH = 0.1  # seconds between two reports of progress from one worker
IDLE = 0.5  # seconds without a report that are called idle
HANDLED = {signal.SIGINT, signal.SIGTERM}
PATIENCE = 1.5  # seconds that workers have to write their checkpoints when the sweep is interrupted


@dataclass
class Worker:
    process: BaseProcess
    pipe: Connection
    unit: Unit | None = None
    done: set[int] = field(default_factory=set)  # jobs of the unit that have ended
    trying: int | None = None  # the job whose network it is building


def do_units(
    units: Sequence[Unit],
    workshop: Workshop,
    *,
    processes: int,
    late: list[Unit],
    idle: Callable[[], None] = lambda: None,
) -> Generator[tuple[Unit, Told], None, None]:
    """What happens to the units, as it happens. A job whose process dies is failed; its fellows are done again.

    When the generator is closed or interrupted, the workers write their checkpoints and end. late: gets the units of
    those that did not come to that; idle: is called now and then while nothing happens.
    """
    settle()
    context = multiprocessing.get_context("fork")  # jobs and code are there already: nothing is imported or sent again
    waiting = list(units)
    workers: list[Worker] = []
    try:
        while waiting or any(worker.unit for worker in workers):
            while waiting and len(workers) < processes:
                workers.append(start_worker(context, workshop))
            for worker in workers:
                if worker.unit is None and waiting:
                    hand_over(worker, waiting)
            ready = wait([worker.pipe for worker in workers if worker.unit], timeout=IDLE)
            if not ready:
                idle()
            for worker in [worker for worker in workers if worker.pipe in ready]:
                yield from listen(worker, waiting)
            workers = [worker for worker in workers if worker.process.is_alive() or worker.unit]
    finally:
        late += stop(workers)


def start_worker(context: Any, workshop: Workshop) -> Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, ours, workshop, os.getpid()), daemon=True)
    # a signal that reached the new process before it is a worker would make it act as the sweep itself
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    theirs.close()
    return Worker(process, ours)


def hand_over(worker: Worker, waiting: list[Unit]) -> None:
    worker.unit, worker.done, worker.trying = waiting.pop(0), set(), None
    with suppress(ConnectionError):  # it died idle: `listen` finds its pipe closed
        worker.pipe.send(worker.unit)


def listen(worker: Worker, waiting: list[Unit]) -> Iterator[tuple[Unit, Told]]:
    """Passes on what a worker says; notices its death and decides what becomes of its unit."""
    unit = worker.unit
    assert unit is not None
    try:
        said = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.unit = None
        worker.process.join()
        yield from bury(worker, unit, waiting)
        return
    if said is None:
        worker.unit = None
    elif isinstance(said, Exception):
        worker.unit = None
        raise said
    else:
        for event in said:
            if isinstance(event, Trying):
                worker.trying = event.number
                continue
            if isinstance(event, Done):
                worker.done.add(event.number)
            yield unit, event


def bury(worker: Worker, unit: Unit, waiting: list[Unit]) -> Iterator[tuple[Unit, Told]]:
    """What becomes of the unit of a worker that died. Killed by a signal, perhaps from outside, it is taken up again
    from its checkpoint; otherwise, or the next time, the networks are built one by one, and the job whose own ends the
    process has failed. A stack that nevertheless ends it is taken apart, until one job is left, which has failed."""
    code = worker.process.exitcode
    cause = f"the process that trained it died ({how_it_died(code)})"
    left = [number for number in unit.jobs if number not in worker.done]
    if code is not None and code < 0 and not unit.tried:
        waiting.insert(0, replace(unit, tried=True) if unit.stacked else replace(unit, jobs=tuple(left), tried=True))
    elif worker.trying is not None:
        yield unit, failed(worker.trying, cause)
        sound = [number for number in unit.jobs[: unit.jobs.index(worker.trying)] if number not in worker.done]
        waiting.insert(0, unit.without({worker.trying, *worker.done}, sound=len(sound)))
    elif len(unit.jobs) > 1 and unit.stacked and unit.sound is None:
        waiting.insert(0, replace(unit, sound=0))
    elif len(unit.jobs) > 1:
        waiting[:0] = unit.pieces(worker.done)
    elif left:
        yield unit, failed(left[0], cause)


def stop(workers: Sequence[Worker]) -> list[Unit]:
    """Ends the workers: politely, then not. Gives the units of those that could not write their checkpoints."""
    for worker in workers:
        if worker.unit is not None:
            worker.process.terminate()
        worker.pipe.close()
    deadline = time.monotonic() + PATIENCE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    return [worker.unit for worker in workers if worker.unit is not None and worker.process.exitcode]


def work(pipe: Connection, parents_end: Connection, workshop: Workshop, parent: int) -> None:
    """A worker's life: a unit in, its events out, None when it is done; until the pipe is closed."""
    try:
        obey(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        parents_end.close()
        while True:
            unit = pipe.recv()
            said: list[Event] = []
            last = time.monotonic()
            with closing(workshop.do(unit)) as events:  # so that it learns of a signal that comes while it waits
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
        except ConnectionError:  # the sweep is ending, and its checkpoint could not be written
            raise SystemExit(error.exit_code) from error
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
