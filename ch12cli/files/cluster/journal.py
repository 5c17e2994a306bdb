"""`.ch12/bundles/K.A.jsonl`: the journal of attempt A at bundle K. A line for each event, and at least one every BEAT.

An engine may start a bundle again, on another machine, while it takes an earlier attempt for lost. The newest attempt
counts: an earlier one ends as soon as it sees the newer journal. Creating the journal claims the attempt.
"""

import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors, read_file, sync_folder
from ch12cli.files.cluster.bundle_json import WORK, bundle_numbers, read_bundle
from ch12cli.files.environment import environment
from ch12cli.files.locks import is_locked

JOURNAL = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.jsonl")
EVERY = 0.5  # seconds between two writes of events, at least
BEAT = 15.0  # seconds between two signs of life, at most
ALIVE = 90.0  # seconds without one after which an attempt counts as lost
FRUITLESS = 60.0  # seconds within which an attempt that was ended may not have begun to train
STOP = "stop"  # in the folder: all bundles end with a checkpoint
Event = Mapping[str, Any]


def attempts(sweep: Path) -> dict[int, int]:
    """Returns the newest attempt at each bundle that was begun. Lists the folder: NFS may hide new names from stat."""
    found: dict[int, int] = {}
    with suppress(OSError):
        for name in os.listdir(sweep / WORK):
            if match := JOURNAL.fullmatch(name):
                number, attempt = int(match[1]), int(match[2])
                found[number] = max(attempt, found.get(number, 0))
    return found


class JournalWriter:
    """Writes the journal of a new attempt at a bundle."""

    def __init__(self, sweep: Path, bundle: int) -> None:
        self.sweep, self.bundle = sweep, bundle
        self.attempt = attempts(sweep).get(bundle, 0)
        with machine_errors(f"cannot write {sweep / WORK}"):
            while True:
                self.attempt += 1
                with suppress(FileExistsError):
                    self.handle = os.open(
                        self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
                    )
                    break
            sync_folder(self.path.parent)
        self.lines: list[str] = []
        self.beat = 0.0
        self.note("begin", host=platform.node(), process=os.getpid(), environment=environment())
        self.flush()

    @property
    def path(self) -> Path:
        return self.sweep / WORK / f"{self.bundle}.{self.attempt}.jsonl"

    def note(self, kind: str, **values: Any) -> None:
        """Adds an event, which `flush` or `flush_if_due` writes."""
        self.lines.append(json.dumps({"event": kind, "time": time.time(), **values}) + "\n")

    def flush(self) -> None:
        """Writes the events that were added, or a sign of life if there are none."""
        if not self.lines:
            self.note("alive")
        with machine_errors(f"cannot write {self.path}"):
            os.write(self.handle, "".join(self.lines).encode())
            os.fsync(self.handle)  # NFS shows others what was flushed
        self.lines, self.beat = [], time.monotonic()

    def flush_if_due(self) -> None:
        """Writes what was added at most every EVERY seconds, and a sign of life every BEAT seconds."""
        if time.monotonic() - self.beat > (EVERY if self.lines else BEAT):
            self.flush()

    def is_superseded(self, jobs: frozenset[int], numbers_seen: set[int]) -> bool:
        """Returns whether a newer attempt or a newer bundle trains these jobs. numbers_seen: bundles looked at."""
        if attempts(self.sweep).get(self.bundle, 0) > self.attempt:
            return True
        newer = [number for number in bundle_numbers(self.sweep) if number > self.bundle and number not in numbers_seen]
        numbers_seen.update(newer)
        return any(not jobs.isdisjoint(read_bundle(self.sweep, number).jobs) for number in newer)

    def earlier_event(self) -> Event:
        """Returns the last event of the attempt before this one; empty if there is none."""
        return last_event(self.sweep / WORK / f"{self.bundle}.{self.attempt - 1}.jsonl")


def fruitless_attempts(sweep: Path, bundle: int, attempt: int) -> int:
    """Returns how many attempts in a row, this one being the last, were ended before they got anywhere."""
    found = 0
    while attempt - found > 0:
        events = list(JournalReader(sweep, bundle, attempt=attempt - found).read_attempt())
        times = [event["time"] for event in events if isinstance(event.get("time"), int | float)]
        lasted = max(times, default=0.0) - min(times, default=0.0)
        if lasted > FRUITLESS or any(event["event"] in ("progress", "job") for event in events):
            break
        found += 1
    return found


@dataclass
class JournalReader:
    """Reads the events of the attempts at a bundle as they are written."""

    sweep: Path
    bundle: int
    attempt: int = 0
    position: int = 0
    newest: Event = field(default_factory=dict)  # the last event read; empty before the first

    def read(self) -> Iterator[Event]:
        """Yields the new events of the newest attempt."""
        latest = attempts(self.sweep).get(self.bundle, 0)
        if latest > self.attempt:
            self.attempt, self.position = latest, 0
        if self.attempt > 0:
            yield from self.read_attempt()

    def read_attempt(self) -> Iterator[Event]:
        """Yields the new events of the attempt."""
        try:
            content = read_file(self.sweep / WORK / f"{self.bundle}.{self.attempt}.jsonl")
        except OSError:
            return
        whole = content.rfind(b"\n") + 1
        lines, self.position = content[self.position : whole].decode("utf-8", "replace").splitlines(), whole
        for line in lines:
            with suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("event"), str):
                    self.newest = event
                    yield event

    @property
    def is_silent(self) -> bool:
        """Whether an attempt was begun, has not ended, and has shown no life for long."""
        return bool(self.newest) and self.newest["event"] != "end" and not is_recent(self.newest)


def is_recent(event: Event) -> bool:
    written = event.get("time")
    return isinstance(written, int | float) and abs(time.time() - written) < ALIVE


class BundleState(NamedTuple):
    """What is known of a bundle: its state, how often it was begun, and where last.

    state: submitted, running, requeued (its process asked to be started again), stopped (it ended, or will not begin,
    with jobs left), lost (no sign of life), superseded (a newer bundle has jobs of it) or done. epoch: reached by the
    stack that reported last, 0 if unknown. reason: why the engine has it wait, or how it says that it ended.
    """

    number: int
    state: str
    attempts: int
    host: str
    epoch: int
    jobs: frozenset[int] = frozenset()
    reason: str = ""


def bundle_states(sweep: Path) -> list[BundleState]:
    """Returns the states of a sweep's bundles in order, as their files tell. What was submitted again is superseded."""
    begun, is_over = attempts(sweep), is_stopped(sweep)
    states: list[BundleState] = []
    newer: set[int] = set()  # jobs of newer bundles
    for number in reversed(bundle_numbers(sweep)):
        state = bundle_state(sweep, number, begun.get(number, 0))
        if is_over and state.state in ("submitted", "requeued"):  # the process that followed it has cancelled it
            state = state._replace(state="stopped")
        with suppress(InputError):
            state = state._replace(jobs=read_bundle(sweep, number).jobs)
        if state.state != "done" and not newer.isdisjoint(state.jobs):
            state = state._replace(state="superseded")
        newer |= state.jobs
        states.append(state)
    return states[::-1]


def is_stopped(sweep: Path) -> bool:
    """Returns whether the process that followed a sweep has cancelled its tasks."""
    try:
        return STOP in os.listdir(sweep / WORK)
    except OSError:
        return False


def bundle_state(sweep: Path, number: int, attempt: int) -> BundleState:
    if not attempt:
        return BundleState(number, "submitted", 0, "", 0)
    events = list(JournalReader(sweep, number).read())
    state = state_after(events[-1] if events else {})
    host = next((str(event["host"]) for event in reversed(events) if "host" in event), "")
    epochs = [event["epoch"] for event in events if type(event.get("epoch")) is int]
    return BundleState(number, state, attempt, host, epochs[-1] if epochs else 0)


def state_after(newest: Event) -> str:
    """Returns the state of a bundle that was begun. newest: the last event of its journal."""
    if newest.get("event") == "end":
        ended = "requeued" if newest.get("requeued") is True else "stopped"
        return "done" if newest.get("done") is True else ended
    return "running" if is_recent(newest) else "lost"


def machines_of_jobs(sweep: Path) -> dict[int, str]:
    """Returns the machine that trained each job of a sweep, by number; empty if it was not submitted."""
    found: dict[int, str] = {}
    for number, attempt in sorted(attempts(sweep).items()):
        host = bundle_state(sweep, number, attempt).host
        with suppress(InputError):
            found |= dict.fromkeys(read_bundle(sweep, number).jobs, host)
    return found


def is_training(sweep: Path) -> bool:
    """Returns whether a process on any machine trains a bundle of a sweep."""
    return any(state.state == "running" for state in bundle_states(sweep))


def is_in_use(path: Path) -> bool:
    """Returns whether a process here, or for a submitted sweep on any machine, writes into a directory."""
    return is_locked(path) or is_training(path)


def last_event(path: Path) -> Event:
    """Returns the last event of a journal; empty if there is none."""
    with suppress(OSError, ValueError, RecursionError):
        for line in reversed(read_file(path).decode().splitlines()):
            event = json.loads(line)
            if isinstance(event, dict):
                return event
    return {}
