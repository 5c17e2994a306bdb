"""Bundles of work items that an engine's processes train: how items are divided, and what is known of each bundle."""

import heapq
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ch12cli.files.cluster.bundle_json import Bundle, Submission
from ch12cli.files.cluster.journal import BundleState, Event, JournalReader, state_after
from ch12cli.files.cluster.slurm_queue import TaskState
from ch12cli.files.cluster.tasks import with_queue
from ch12cli.sweeps.workers.work_item import Progress, Unstacked, WorkItem

UNKNOWN = TaskState("")
SETTLE = 10.0  # seconds after which what an ended process wrote is visible everywhere


@dataclass
class FollowedBundle:
    """A bundle that was handed to the engine.

    unseen: jobs without a result so far. reached: the epoch of each item, by its first job. tries: how often the bundle
    was submitted without getting further. guilty: how often its process was killed without getting further.
    """

    bundle: Bundle
    items: Sequence[WorkItem]
    submission: Submission
    reader: JournalReader
    unseen: set[int] = field(default_factory=set)
    task: TaskState = UNKNOWN  # what the engine said last
    ended_at: float = math.inf  # when it first said that its process has ended
    tries: int = 1
    guilty: int = 0
    reached: dict[int, int] = field(default_factory=dict)
    reached_before: dict[int, int] = field(default_factory=dict)

    @cached_property
    def item_of(self) -> dict[int, WorkItem]:
        """The item of each job."""
        return {number: item for item in self.items for number in item.jobs}

    def note_progress(self, item: WorkItem, epoch: int) -> None:
        """Notes the epoch of an item. One that is later than in all submissions before tells that it gets further."""
        self.reached[item.jobs[0]] = max(epoch, self.reached.get(item.jobs[0], 0))
        if epoch > self.reached_before.get(item.jobs[0], 0):
            self.tries = self.guilty = 0

    @property
    def furthest(self) -> dict[int, int]:
        """The epoch that each item has reached in any submission, by its first job."""
        keys = {**self.reached_before, **self.reached}
        return {key: max(self.reached.get(key, 0), self.reached_before.get(key, 0)) for key in keys}

    def note_task(self, task: TaskState, now: float) -> None:
        self.task = task
        self.ended_at = min(self.ended_at, now) if task.has_ended else math.inf

    @property
    def state(self) -> tuple[str, str]:
        """Its state as `ch12 watch` names it, and why it waits."""
        state = state_after(self.reader.newest) if self.reader.newest else "submitted"
        found = with_queue(BundleState(self.bundle.number, state, self.reader.attempt, "", 0), self.task)
        return found.state, found.reason

    @property
    def was_killed(self) -> bool:
        """Whether its process had begun and ended without a word: it was killed, or took its machine with it."""
        return bool(self.reader.newest) and self.reader.newest["event"] != "end"

    def is_at_work(self) -> bool:
        list(self.reader.read())
        newest = self.reader.newest
        return bool(newest) and newest["event"] != "end" and not self.reader.is_silent

    def is_over(self, now: float) -> bool:
        """Returns whether no process works on it any more: its journal says so, or the engine does for a while."""
        newest = self.reader.newest
        done = newest.get("event") == "end" and newest.get("done") is True
        return done or now - self.ended_at > SETTLE

    def left(self) -> list[WorkItem]:
        """Returns the items with jobs that have no result. A stack keeps its ended jobs, for the same bits."""
        items = [item for item in self.items if not self.unseen.isdisjoint(item.jobs)]
        return [item if item.stacked else WorkItem(in_order(item, self.unseen), 0, False) for item in items]

    def isolated(self) -> list[WorkItem]:
        """Returns smaller items, of which one holds the job that kills its process; a single item if it is found."""
        items = self.left()
        if len(items) > 1:
            return items
        (item,) = items
        if len(item.jobs) == 1:
            return items
        return item.split(set(item.jobs) - self.unseen)


def in_order(item: WorkItem, numbers: Collection[int]) -> tuple[int, ...]:
    return tuple(number for number in item.jobs if number in numbers)


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


def divide(
    items: Sequence[WorkItem], parallel: int, cores: int, *, seconds: float | None = None
) -> list[list[WorkItem]]:
    """Returns the items in bundles, each with work for its cores where there is enough.

    There are at most `parallel` bundles, or more if so many would not be trained within `seconds`. The largest items
    are dealt out first, so that the bundles are about equally large.
    """
    if not items:
        return []
    needed = math.ceil(sum(item.seconds for item in items) / (cores * seconds)) if seconds else 1
    count = max(1, min(max(parallel, needed), -(-len(items) // cores)))
    bundles: list[list[WorkItem]] = [[] for _ in range(count)]
    sizes = [(0, index) for index in range(count)]  # a heap: the smallest first
    for item in sorted(items, key=lambda item: -len(item.jobs)):
        size, index = sizes[0]
        bundles[index].append(item)
        heapq.heapreplace(sizes, (size + len(item.jobs), index))
    return [bundle for bundle in bundles if bundle]
