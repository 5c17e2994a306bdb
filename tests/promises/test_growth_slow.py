"""What grows in long use: memory over 200,000 steps, open files over 60 resumes, directories of 200 starts at once."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.result_json import read_result
from ch12cli.run.start import train_single
from ch12cli.saved.resume import resume_run
from tests.conftest import Silent
from tests.sweeps.driver import one_thread
from tests.sweeps.killed import exit_code, in_child

pytestmark = pytest.mark.slow

MIB = 2**20
ROWS, EPOCHS = 20_000, 10  # of one row a step: 200,000 steps
RESUMES, STARTS = 60, 200


def resident() -> int:
    """The memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


class Weighed(Silent):
    """A callback that weighs the process after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []

    def on_step(self, done: int, steps: int) -> None:
        self.counted = steps  # each step would be a list of 200,000

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        self.bytes.append(resident())


def test_200_000_steps_do_not_grow_the_memory_of_a_run(folder: Path) -> None:
    words = ["dataset=two_class", f"dataset.size={ROWS}", "dataset.test_size=0", "dataset.valid_size=0", "device=cpu"]
    weighed = Weighed()
    with one_thread():
        train_single([*words, "batch_size=1", f"epochs={EPOCHS}"], callback=weighed, log=False)
    assert weighed.counted == ROWS
    assert len(weighed.bytes) == EPOCHS
    assert weighed.bytes[-1] - weighed.bytes[2] < 16 * MIB, [count // MIB for count in weighed.bytes]


def test_60_resumes_leak_no_file_and_no_memory_and_equal_one_run(folder: Path) -> None:
    words = ["train", "-q", "device=cpu", "threads=1", "batch_size=16", "seed=4"]
    assert main([*words, "epochs=1", "hydra.run.dir=run"]) == 0
    files: list[list[str]] = []
    weights: list[int] = []
    for epochs in range(2, RESUMES + 2):
        resume_run(Path("run"), [f"epochs={epochs}"], callback=Silent())
        files.append(open_files())
        weights.append(resident())
    assert {len(each) for each in files[5:]} == {len(files[5])}
    assert weights[-1] - weights[10] < 32 * MIB, [count // MIB for count in weights]
    assert main([*words, f"epochs={RESUMES + 1}", "hydra.run.dir=whole"]) == 0
    assert without_seconds(read_metrics(Path("run/metrics.csv"))) == without_seconds(
        read_metrics(Path("whole/metrics.csv"))
    )
    held = {path.name for path in Path("run").rglob("*")}
    assert held == {path.name for path in Path("whole").rglob("*")}  # no leftovers


def without_seconds(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_200_runs_that_start_at_once_have_a_directory_each(folder: Path) -> None:
    """They are copies of this process, which all wait for the same moment."""
    start = time.time() + 20

    def begin(seed: int) -> None:
        time.sleep(max(0.0, start - time.time()))
        assert main(["train", "-q", "device=cpu", "threads=1", "epochs=1", "batch_size=60", f"seed={seed}"]) == 0

    children = [in_child(lambda seed=seed: begin(seed)) for seed in range(STARTS)]
    assert time.time() < start
    assert [exit_code(child) for child in children] == [0] * STARTS
    found = [path.parent for path in Path("outputs").glob("*/*/result.json")]
    assert len(found) == STARTS
    seeds = set()
    for directory in found:
        result = read_result(directory / "result.json")
        assert result is not None
        assert (result.status, result.epochs) == ("finished", 1)
        seeds |= {line for line in (directory / ".hydra/overrides.yaml").read_text().split() if "seed" in line}
    assert len(seeds) == STARTS
