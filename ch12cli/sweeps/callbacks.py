"""Callbacks of a sweep, and a wrapper that keeps a failing callback from ending it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ch12cli.run.callbacks import FaultTolerant

if TYPE_CHECKING:
    from ch12cli.sweeps.jobs import SweepJob
    from ch12cli.sweeps.plan import Plan
    from ch12cli.sweeps.workers.work_item import Done, Progress, WorkItem


class SweepCallback(Protocol):
    """Receives the events of a sweep. Displays implement it."""

    def on_begin(self, plan: "Plan", *, directory: Path) -> None: ...
    def on_progress(self, item: "WorkItem", progress: "Progress") -> None: ...
    def on_job_end(self, done: "Done", job: "SweepJob") -> None: ...
    def on_message(self, text: str, *, warning: bool = False) -> None: ...


@runtime_checkable
class TasksCallback(Protocol):
    """A sweep callback that also shows what the tasks of an engine do, such as `2 running, 1 pending (Resources)`."""

    def on_tasks(self, text: str) -> None: ...


class SweepCallbackList:
    """Sweep callback that calls several callbacks in order."""

    def __init__(self, callbacks: "Sequence[SweepCallback]") -> None:
        self.callbacks = tuple(callbacks)

    def on_begin(self, plan: "Plan", *, directory: Path) -> None:
        for callback in self.callbacks:
            callback.on_begin(plan, directory=directory)

    def on_progress(self, item: "WorkItem", progress: "Progress") -> None:
        for callback in self.callbacks:
            callback.on_progress(item, progress)

    def on_job_end(self, done: "Done", job: "SweepJob") -> None:
        for callback in self.callbacks:
            callback.on_job_end(done, job)

    def on_message(self, text: str, *, warning: bool = False) -> None:
        for callback in self.callbacks:
            callback.on_message(text, warning=warning)

    def on_tasks(self, text: str) -> None:
        for callback in self.callbacks:
            if isinstance(callback, TasksCallback):
                callback.on_tasks(text)


class FaultTolerantSweepCallback(FaultTolerant):
    """Sweep callback whose errors do not end the sweep."""

    def __init__(self, callback: "SweepCallback") -> None:
        super().__init__()
        self.callback = callback

    def on_begin(self, plan: "Plan", *, directory: Path) -> None:
        self.notify(lambda: self.callback.on_begin(plan, directory=directory))

    def on_progress(self, item: "WorkItem", progress: "Progress") -> None:
        self.notify(lambda: self.callback.on_progress(item, progress))

    def on_job_end(self, done: "Done", job: "SweepJob") -> None:
        self.notify(lambda: self.callback.on_job_end(done, job))

    def on_message(self, text: str, *, warning: bool = False) -> None:
        self.notify(lambda: self.callback.on_message(text, warning=warning))

    def on_tasks(self, text: str) -> None:
        callback = self.callback
        if isinstance(callback, TasksCallback):
            self.notify(lambda: callback.on_tasks(text))
