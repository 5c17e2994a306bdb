"""Kills while a stack records its jobs in a compact record: what was reported done is there and whole."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ch12cli.files.compact.job_record import METRIC
from ch12cli.files.compact.stores import StoreWriter, drop_indexes, index_of, record_at
from ch12cli.sweeps.stack_run import StackRun
from tests.sweeps.killed import exit_code, in_child
from tests.sweeps.test_compact_record import stack_of

KILLS, JOBS = 200, 5
EPOCHS = 12
# Jobs end in several epochs, each of which adds a block: early stopping, and one that diverges.
WORDS = ("optimizer=sgd", f"epochs={EPOCHS}", "early_stopping.patience=1", "sweep.fused=false")


def recorded(run: StackRun, sweep: Path, report: Callable[[int], object] = lambda number: None) -> None:
    """Trains the stack and records its jobs below a sweep. Reports the number of each that is said to be done."""
    run.sweep_dir, run.store = sweep, StoreWriter(sweep, "stack-0")
    for event in run.run(None, until=EPOCHS):
        if (number := getattr(event, "number", None)) is not None:
            report(number)


def content(sweep: Path) -> dict[int, dict[str, bytes]]:
    """What the record says of each job, but for its times."""
    drop_indexes()
    index = index_of(sweep)
    assert index.problems == []
    assert all(place.is_whole for place in index.places.values())
    found = {}
    for record in map(record_at, index.places.values()):
        arrays = {name: np.array(rows).tobytes() for name, rows in record.arrays.items() if name != f"{METRIC}seconds"}
        texts = {name: text for name, text in record.texts().items() if name != "metrics.csv"}
        found[record.number] = arrays | {
            name: text.replace(record.stack.sweep.encode(), b"") for name, text in texts.items()
        }
    return found


@pytest.mark.slow
def test_two_hundred_kills_lose_no_job_that_was_reported_done(folder: Path) -> None:
    run = stack_of(folder, WORDS, store=StoreWriter(folder, "stack-0"))
    (folder / "whole").mkdir()
    begun = time.monotonic()
    assert exit_code(in_child(lambda: recorded(run, folder / "whole"))) == 0
    seconds, whole = time.monotonic() - begun, content(folder / "whole")
    assert sorted(whole) == [*range(JOBS)]
    counts = []
    for kill in range(KILLS):
        sweep = folder / str(kill)
        sweep.mkdir()
        reader, writer = os.pipe()
        child = in_child(
            lambda sweep=sweep, writer=writer: recorded(run, sweep, lambda n: os.write(writer, bytes([n])))
        )
        os.close(writer)
        if kill % 2:  # right when a job is reported, as others are being recorded
            first = os.read(reader, 1)
            time.sleep(random.uniform(0, 0.003))
        else:
            first = b""
            time.sleep(random.uniform(0.2, 1.1) * seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(reader, "rb") as pipe:
            reported = {*first, *pipe.read()}
        kept = content(sweep)
        assert reported <= kept.keys()
        assert all(kept[number] == whole[number] for number in kept), f"kill {kill}"
        counts.append(len(kept))
        assert exit_code(in_child(lambda sweep=sweep: recorded(run, sweep))) == 0  # goes on, as a resumed stack does
        assert content(sweep) == whole
    assert any(0 < count < JOBS for count in counts)


@pytest.mark.slow
def test_a_block_cut_at_any_byte_is_not_read_and_is_written_over(folder: Path) -> None:
    run = stack_of(folder, WORDS, store=StoreWriter(folder, "stack-0"))
    (folder / "whole").mkdir()
    assert exit_code(in_child(lambda: recorded(run, folder / "whole"))) == 0
    whole = content(folder / "whole")
    (store,) = (folder / "whole" / "records").iterdir()
    written = store.read_bytes()
    cut = folder / "cut" / "records"
    cut.mkdir(parents=True)
    for size in sorted(random.sample(range(len(written)), 200)):
        (cut / store.name).write_bytes(written[:size])
        kept = content(cut.parent)
        assert len(kept) < JOBS
        assert all(kept[number] == whole[number] for number in kept)
        assert StoreWriter(cut.parent, "stack-0").known == {str(number) for number in kept}
