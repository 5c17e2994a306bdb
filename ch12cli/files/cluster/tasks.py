"""The tasks of a submitted sweep that have jobs left: what their journals say, and Slurm where it knows more."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ch12cli.errors import MachineError
from ch12cli.files.cluster.bundle_json import Submission, read_submissions
from ch12cli.files.cluster.journal import BundleState, bundle_states, is_stopped
from ch12cli.files.cluster.lease import is_followed
from ch12cli.files.cluster.slurm_queue import TaskState, can_ask, job_states
from ch12cli.files.locks import is_locked

ASK = 5.0  # seconds between two questions to Slurm
SILENT = 60.0  # seconds without questions after one that Slurm did not answer
STATES = ("running", "pending", "submitted", "requeued", "stopped", "lost")
WAITING = ("pending", "submitted", "requeued")  # will be started
NOT_ASKED = TaskState("unknown", "as recorded: no scontrol here to ask")
NO_ANSWER = TaskState("unknown", "as recorded: Slurm does not answer")


@dataclass
class TaskFollower:
    """Follows the tasks of a sweep. queue: what the engines said last, by bundle."""

    sweep: Path
    asked: float = -ASK
    queue: dict[int, TaskState] = field(default_factory=dict)

    def read(self, ended: Collection[int] = ()) -> list[BundleState]:
        """Returns the states of the tasks that have jobs left, in order. ended: jobs with a result.

        Besides the states of `bundle_states` there is `pending`: Slurm says why it has the task wait.
        """
        finished = frozenset(ended)
        states = [state for state in bundle_states(self.sweep) if state.state in STATES and not state.jobs <= finished]
        unsure = {state.number for state in states if state.state != "running"}
        if unsure and not is_stopped(self.sweep) and time.monotonic() - self.asked >= ASK:
            self.queue, self.asked = queue_states(self.sweep, unsure), time.monotonic()
        return [with_queue(state, self.queue.get(state.number)) for state in states]


def queue_states(sweep: Path, numbers: Collection[int]) -> dict[int, TaskState]:
    """Returns what the engines say of some bundles; nothing of those about which none can be asked here."""
    found: dict[int, TaskState] = {}
    known = {number: submission for submission in read_submissions(sweep) for number in submission.bundles}
    for submission in {known[number] for number in numbers if number in known}:
        if submission.engine == "slurm":
            found |= SLURM.states(submission)
    if not is_locked(sweep) and not is_followed(sweep):  # what only the process that followed it would have started
        left = [number for number in numbers if number not in known or known[number].engine != "slurm"]
        found |= dict.fromkeys(left, TaskState("nothing will start it", has_ended=True))
    return found


class Scheduler:
    """Slurm, as far as it answers here. It is left alone for a while when it does not."""

    def __init__(self) -> None:
        self.silent_until = 0.0

    def states(self, submission: Submission) -> dict[int, TaskState]:
        """Returns what Slurm says of a submission's bundles, or why it says nothing of any of them."""
        if not can_ask():
            return dict.fromkeys(submission.bundles, NOT_ASKED)
        if time.monotonic() >= self.silent_until:
            with suppress(MachineError):
                if found := job_states(submission):
                    return found
            self.silent_until = time.monotonic() + SILENT
        return dict.fromkeys(submission.bundles, NO_ANSWER)


SLURM = Scheduler()


def with_queue(state: BundleState, queued: TaskState | None) -> BundleState:
    """Returns the state of a task with what its engine says of it, if anything."""
    if queued is None or state.state == "running":
        return state
    if queued.has_ended:
        return state._replace(state="stopped", reason=queued.name) if state.state in WAITING else state
    if queued in (NOT_ASKED, NO_ANSWER):
        return state._replace(reason=queued.reason) if state.state in WAITING else state
    if not queued.is_held:
        return state
    return state._replace(state="pending" if state.state == "submitted" else "requeued", reason=queued.reason)


def activity(sweep: Path, ended: Collection[int] = ()) -> str:
    """Returns "running" if a process on any machine trains a bundle of a sweep, "submitted" if bundles only wait."""
    return activity_of(TaskFollower(sweep).read(ended))


def activity_of(states: Iterable[BundleState]) -> str:
    names = {state.state for state in states}
    return "running" if "running" in names else "submitted" if names & set(WAITING) else ""


def describe_tasks(states: Sequence[tuple[str, str]]) -> str:
    """Returns `2 running, 3 pending (Resources)`. states: of each task, with the reason why it waits."""
    counts = Counter(name for name, _ in states)
    found = []
    for name in STATES:
        reasons = dict.fromkeys(reason for each, reason in states if each == name and reason and name in WAITING)
        found += [f"{counts[name]:,} {name}" + (f" ({', '.join(reasons)})" if reasons else "")] if counts[name] else []
    return ", ".join(found)
