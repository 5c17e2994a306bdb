"""Sweeps on executors of other packages equal those in processes of this machine. `make test-cluster` has them."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ch12cli.files.cluster.journal import bundle_states
from ch12cli.files.sweep_csv import read_sweep_csv

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CH12 = (sys.executable, "-m", "ch12cli")
WORDS = ("train", "-q", "-m", "device=cpu", "epochs=1500", "sweep.fused=false", "checkpoint.every=50", "batch_size=16")
JOBS = ("seed=range(20)", "model.width=4,6,8", "sweep.max_stacked=10", "hydra.sweep.dir=sweep")
LONG = 180.0


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The networks of the sweep that processes of this machine train."""
    folder = tmp_path_factory.mktemp("local")
    run(folder)
    return models(folder)


def run(folder: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*CH12, *WORDS, *JOBS, *words], cwd=folder, env=environment, check=True, timeout=LONG)


def models(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("sweep/*/model.pt")}


def require_complete(folder: Path, expected: dict[str, bytes]) -> None:
    assert models(folder) == expected
    rows = read_sweep_csv(folder / "sweep/sweep.csv")
    assert Counter(row.status for row in rows) == {"finished": 60}
    assert sorted(row.job for row in rows) == list(range(60))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_sweep_on_loky_equals_the_local_one(tmp_path: Path, expected: dict[str, bytes]) -> None:
    pytest.importorskip("loky", reason="it is not installed: make test-cluster installs it")
    executor = "hydra.launcher.executor={_target_: loky.get_reusable_executor, max_workers: 2}"
    run(tmp_path, "hydra/launcher=executor", executor, "hydra.launcher.parallel=3")
    require_complete(tmp_path, expected)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """The address of a Dask scheduler, and its three workers, of which each is a process of its own."""
    pytest.importorskip("distributed", reason="it is not installed: make test-cluster installs it")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10"}
    started: list[subprocess.Popen[bytes]] = []
    file = tmp_path / "scheduler.json"

    def start(*words: str) -> "subprocess.Popen[bytes]":
        line = [sys.executable, "-m", "distributed.cli.dask_worker", *words]
        if words[0] == "scheduler":
            line = [sys.executable, "-m", "distributed.cli.dask_scheduler", *words[1:]]
        with open(tmp_path / "dask.log", "ab") as log:
            process = subprocess.Popen(
                line, stdout=log, stderr=log, env=environment, cwd=tmp_path, start_new_session=True
            )
        started.append(process)
        return process

    start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    wait_for(file.exists)
    workers = [
        start("--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(3)
    ]
    yield str(file), workers
    for process in started:
        process.kill()
        process.wait()


def test_a_sweep_on_dask_survives_the_death_of_a_worker(
    tmp_path: Path, dask: tuple[str, list["subprocess.Popen[bytes]"]], expected: dict[str, bytes]
) -> None:
    file, workers = dask
    executor = f"hydra.launcher.executor={{_target_: distributed.Client, scheduler_file: {file}}}"
    line = [*CH12, *WORDS, *JOBS, "hydra/launcher=executor", executor, "hydra.launcher.parallel=3"]
    with subprocess.Popen(line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        wait_for(lambda: sum(state.epoch >= 5 for state in bundle_states(tmp_path / "sweep")) == 3)
        os.killpg(workers[0].pid, signal.SIGKILL)  # with the task that it has started
        assert process.wait(LONG) == 0
    require_complete(tmp_path, expected)
    assert max(state.attempts for state in bundle_states(tmp_path / "sweep")) > 1
