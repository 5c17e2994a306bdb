"""What checkpoints and fsync cost: a run as it is against one whose files are never forced to the disk."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ch12cli.run.callbacks import NullCallback
from ch12cli.run.start import train_single
from tests.benchmarks.bench import Bench, Table, interleaved, medians, spread, verdict

TIMES = 21
EPOCHS = 180  # about a second


@contextmanager
def no_fsync() -> Iterator[None]:
    kept = os.fsync
    os.fsync = lambda fd: None
    try:
        yield
    finally:
        os.fsync = kept


def seconds(directory: Path, *lines: str) -> float:
    start = time.perf_counter()
    train_single(
        ["device=cpu", f"epochs={EPOCHS}", f"hydra.run.dir={directory}", *lines], callback=NullCallback(), log=False
    )
    return time.perf_counter() - start


def run(bench: Bench) -> Table:
    def without() -> float:
        with no_fsync():
            return seconds(bench.folder("bare") / "run", "checkpoint.every=1000000")

    found = interleaved(
        {
            "checkpoints and fsync": lambda: seconds(bench.folder("safe") / "run"),
            "neither": without,
        },
        times=TIMES,
    )
    middle = medians(found)
    share = middle["checkpoints and fsync"] / middle["neither"] - 1
    target = verdict(share, target=0.05)
    return Table(
        "Checkpoints",
        f"Iris, {EPOCHS} epochs, with checkpoints as often as ch12 chooses, every file forced to the disk; against the "
        "same run with no checkpoint before its end and `fsync` doing nothing. Seconds in one process: "
        f"median (lowest to highest) of {TIMES}, in turn.",
        ["run", "seconds", "more", "target"],
        [
            [
                "checkpoints and fsync",
                spread(found["checkpoints and fsync"]),
                f"{share:+.1%}",
                target,
            ],
            ["neither", spread(found["neither"]), "", ""],
        ],
    )
