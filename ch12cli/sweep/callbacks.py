"""Who looks on while a sweep trains, and what becomes of it when they fail."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ch12cli.run.callbacks import Steadfast

if TYPE_CHECKING:
    from ch12cli.sweep.events import Done, Progress
    from ch12cli.sweep.jobs import SweepJob
    from ch12cli.sweep.plan import Plan
    from ch12cli.sweep.work_item import WorkItem


class SweepWatcher(Protocol):
    """Who looks on while a sweep trains."""

    def begin(self, plan: "Plan", *, directory: Path) -> None: ...
    def progress(self, item: "WorkItem", progress: "Progress") -> None: ...
    def done(self, done: "Done", job: "SweepJob") -> None: ...
    def message(self, text: str, *, warning: bool = False) -> None: ...


class SteadfastSweep(Steadfast):
    """A sweep's watcher that may fail."""

    def __init__(self, watcher: "SweepWatcher") -> None:
        super().__init__()
        self.watcher = watcher

    def begin(self, plan: "Plan", *, directory: Path) -> None:
        self.tell(lambda: self.watcher.begin(plan, directory=directory))

    def progress(self, item: "WorkItem", progress: "Progress") -> None:
        self.tell(lambda: self.watcher.progress(item, progress))

    def done(self, done: "Done", job: "SweepJob") -> None:
        self.tell(lambda: self.watcher.done(done, job))

    def message(self, text: str, *, warning: bool = False) -> None:
        self.tell(lambda: self.watcher.message(text, warning=warning))
