"""What many tests need: an empty folder to run in, and a single run without a display."""

import gc
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ch12cli.run.start import train_single

if TYPE_CHECKING:
    from ch12cli.files.result_json import Result
    from ch12cli.run.train import Outcome

# Threads of torch's that have nothing to do sleep instead of spinning: half the time on a busy machine, the same bits.
# It must be set before torch is imported, which nothing above does.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell starts what runs in the background deaf to Ctrl-C, which the processes that tests interrupt would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Silent:
    """A callback that keeps what it was told. messages: (text, whether it is a warning)."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, float | int]] = []
        self.steps: list[tuple[int, int]] = []
        self.messages: list[tuple[str, bool]] = []
        self.facts: list[tuple[str, str]] = []

    def on_begin(self, facts: Sequence[tuple[str, str]], *, epochs: int, directory: Path) -> None:
        self.facts = list(facts)

    def on_step(self, done: int, steps: int) -> None:
        self.steps.append((done, steps))

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        self.rows.append(dict(row))

    def on_message(self, text: str, *, warning: bool = False) -> None:
        self.messages.append((text, warning))

    def on_end(self, result: "Result", rows: Sequence[Mapping[str, float | int]], *, directory: Path) -> None:
        pass


Train = Callable[..., "Outcome"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def silent() -> Silent:
    return Silent()


@pytest.fixture
def train(folder: Path, silent: Silent) -> Train:
    """Trains one run on the CPU into `folder` and gives its outcome. Overrides as on the command line."""

    def run(*overrides: str, folders: Sequence[Path] = (), callback: Any = silent) -> "Outcome":
        return train_single(["device=cpu", *overrides], folders=folders, callback=callback, log=False)

    return run


@pytest.hookimpl(tryfirst=True)  # before `-m "not slow"` leaves out what is marked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the cases of a battery that its `sample` does not contain as slow."""
    batteries: dict[tuple[Path, str], list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sample") and not item.get_closest_marker("slow"):
            batteries.setdefault((item.path, getattr(item, "originalname", item.name)), []).append(item)
    for cases in batteries.values():
        mark = cases[0].get_closest_marker("sample")
        number = min(mark.args[0], len(cases)) if mark else 0
        kept = {position * len(cases) // number for position in range(number)}
        for position, case in enumerate(cases):
            if position not in kept:
                case.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What the tests import is there to stay: the collector, and forked processes, need not go through it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 100)
