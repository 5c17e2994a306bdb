"""Sweeps on a real Slurm of emulated nodes, through what happens to jobs on a cluster: the networks stay the same."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ch12cli.engines.slurm import Slurm
from ch12cli.files.cluster import slurm_queue
from ch12cli.files.cluster.bundle_json import WORK, Submission, read_submissions
from ch12cli.files.cluster.journal import BundleState, bundle_states
from ch12cli.files.sweep_csv import read_sweep_csv
from tests.engines.slurm_cluster import SlurmCluster, is_running, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=f"no Slurm: {missing()}")]

CH12 = (sys.executable, "-m", "ch12cli")
JOBS = 600
STRUCTURES = ("seed=range(200)", "model.width=4,6,8", "sweep.max_stacked=34")  # six stacks of each, for 2 nodes and 3
WORDS = ("train", "-m", "device=cpu", "epochs=60", "sweep.fused=false", "checkpoint.every=5", *STRUCTURES)
ON_SLURM = ("hydra/launcher=slurm", "hydra.launcher.array_parallelism=3")
LONG = 400.0  # seconds
# A network that a task does not finish before its time limit when it starts for the first time.
SLOW = """
import os, time, torch
IS_FIRST_START = "SLURM_JOB_ID" in os.environ and not int(os.environ.get("SLURM_RESTART_COUNT") or 0)
class Network(torch.nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
    def forward(self, x):
        time.sleep(0.5 if IS_FIRST_START else 0)
        return super().forward(x)
"""


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    found = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    found.start()
    yield found
    found.stop()


@pytest.fixture
def cluster(shared_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """A cluster without jobs, of which nothing of the test is left afterwards."""
    yield shared_cluster
    for process in BEGUN:
        process.kill()
        process.wait()
    BEGUN.clear()
    shared_cluster.clear()


BEGUN: list["subprocess.Popen[bytes]"] = []


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The networks of the sweep that processes of this machine train."""
    folder = tmp_path_factory.mktemp("local")
    subprocess.run([*CH12, *WORDS, "-q", "hydra.sweep.dir=sweep"], cwd=folder, check=True)
    return models(folder / "sweep")


def models(sweep: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sweep.glob("*/model.pt")}


def begin(folder: Path, *words: str) -> "subprocess.Popen[bytes]":
    line = [*CH12, *WORDS, *ON_SLURM, "hydra.sweep.dir=sweep", *words]
    with open(folder / "log.txt", "ab") as log:
        process = subprocess.Popen(line, cwd=folder, stdout=log, stderr=log)
    BEGUN.append(process)
    return process


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.2)


def is_training(sweep: Path, *, bundles: int = 3) -> Callable[[], bool]:
    """Tells whether so many bundles have trained ten epochs."""

    def further(state: BundleState) -> bool:
        return state.attempts > 0 and (state.epoch >= 10 or state.state == "done")

    return lambda: sum(map(further, bundle_states(sweep))) >= bundles


def begin_training(folder: Path) -> "subprocess.Popen[bytes]":
    """Begins the sweep, and returns its process once its bundles train."""
    process = begin(folder)
    wait_for(is_training(folder / "sweep"), process)
    return process


def require_complete(folder: Path, expected: dict[str, bytes], *, jobs: int = JOBS) -> None:
    assert models(folder / "sweep") == expected
    rows = read_sweep_csv(folder / "sweep" / "sweep.csv")
    assert Counter(row.status for row in rows) == {"finished": jobs}
    assert sorted(row.job for row in rows) == list(range(jobs))
    assert not list((folder / "sweep").glob(".*partial*"))
    assert not list((folder / "sweep" / ".ch12").glob("*.pt"))


def test_preemption_requeues_what_was_running(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin_training(tmp_path)
    subprocess.run(["sbatch", "-p", "high", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3"], check=True)
    assert process.wait(LONG) == 0
    assert max(state.attempts for state in bundle_states(tmp_path / "sweep")) > 1
    require_complete(tmp_path, expected)


def test_a_lost_node_costs_what_came_after_the_last_checkpoint(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin_training(tmp_path)
    cluster.kill("n2")
    assert process.wait(LONG) == 0
    cluster.start_node("n2")
    cluster.wait_until_idle()
    require_complete(tmp_path, expected)


def test_a_killed_step_and_a_cancelled_job_are_submitted_again(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin_training(tmp_path)
    jobs = subprocess.run(["squeue", "-h", "-r", "-o", "%i"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["scancel", jobs[0]], check=True)
    subprocess.run(["scancel", "--signal=KILL", "--full", jobs[-1]], check=True)
    assert process.wait(LONG) == 0
    require_complete(tmp_path, expected)


def test_a_restarted_controller_changes_nothing(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin_training(tmp_path)
    cluster.stop_controller()
    time.sleep(7)
    cluster.start_controller()
    assert process.wait(LONG) == 0
    require_complete(tmp_path, expected)


def test_a_killed_sweep_is_resumed_from_two_places_at_once(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin_training(tmp_path)
    process.kill()
    process.wait()
    resumes = [subprocess.Popen([*CH12, "resume", "-q", "sweep"], cwd=tmp_path) for _ in range(2)]
    BEGUN.extend(resumes)
    codes = sorted(resume.wait(LONG) for resume in resumes)
    assert codes in ([0, 2], [0, 0])  # the second is refused, or the first has ended while it waited for the lock
    require_complete(tmp_path, expected)
    assert len((tmp_path / "sweep/.ch12/bundles/submitted.jsonl").read_text().splitlines()) == 1


def test_at_the_time_limit_a_job_writes_checkpoints_and_is_requeued(cluster: SlurmCluster, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/slow.yaml").write_text("_target_: slow.Network")
    length = ("batch_size=45", "epochs=100")  # at first 200 s: an epoch has two steps, and evaluates two parts
    words = ("train", "-q", "-m", "--config-dir", "mine", "model=slow", "device=cpu", "seed=range(6)", *length)
    limits = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=10", "sweep.max_stacked=2")
    local = subprocess.Popen([*CH12, *words, "hydra.sweep.dir=local"], cwd=tmp_path)
    BEGUN.append(local)
    line = [*CH12, *words, *limits, *ON_SLURM, "hydra.sweep.dir=sweep"]
    subprocess.run(line, cwd=tmp_path, check=True, timeout=LONG)
    assert max(state.attempts for state in bundle_states(tmp_path / "sweep")) > 1
    assert local.wait(LONG) == 0
    assert len(read_submissions(tmp_path / "sweep")) == 1  # no task was submitted again: each has requeued itself
    require_complete(tmp_path, models(tmp_path / "local"), jobs=6)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes, of which the sweep needs ten times as much."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_on_a_full_disk_the_sweep_ends_and_is_resumed_with_more_room(
    cluster: SlurmCluster, small_disk: Path, expected: dict[str, bytes]
) -> None:
    process = begin(small_disk)
    assert process.wait(LONG) == 4
    assert "No space left" in (small_disk / "log.txt").read_text()
    subprocess.run(["mount", "-o", "remount,size=500m", small_disk], check=True)
    subprocess.run([*CH12, "resume", "-q", "sweep", "--trust"], cwd=small_disk, check=True, timeout=LONG)
    require_complete(small_disk, expected)


def test_a_node_that_was_only_cut_off_changes_nothing_when_it_is_back(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin_training(tmp_path)
    stopped = cluster.freeze("n3")
    assert process.wait(LONG) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").rglob("*.pt")}
    cluster.thaw(stopped)
    wait_for(lambda: not any(map(is_running, stopped)))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").rglob("*.pt")} == before
    require_complete(tmp_path, expected)


def test_a_search_asks_for_its_batches_on_the_cluster(cluster: SlurmCluster, tmp_path: Path) -> None:
    words = ("train", "-q", "-m", "device=cpu", "epochs=5", "hydra/sweeper=search", "search.n_trials=12")
    search = (*words, "search.n_jobs=6", "optimizer.lr=tag(log,interval(0.001,0.1))")
    for directory, launcher in (("local", ()), ("sweep", ON_SLURM)):
        line = [*CH12, *search, *launcher, f"hydra.sweep.dir={directory}"]
        subprocess.run(line, cwd=tmp_path, check=True, timeout=LONG)
    assert len(read_submissions(tmp_path / "sweep")) == 2
    require_complete(tmp_path, models(tmp_path / "local"), jobs=12)


def test_a_larger_sweep_than_an_array_may_have_is_several_arrays(
    tmp_path: Path, cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / WORK).mkdir(parents=True)
    engine = Slurm(timeout_min=5)
    monkeypatch.setattr(slurm_queue, "largest_array", lambda: 2)
    commands = [[sys.executable, "-c", "", f"--stack={number}"] for number in range(40, 45)]
    before = os.getcwd()
    identifier = engine.submit(commands, directory=tmp_path, first=40)
    assert os.getcwd() == before
    assert identifier.count(",") == 2
    submission = Submission("slurm", identifier, 40, 5)
    wait_for(lambda: all(state.has_ended for state in engine.states(submission).values()))
    assert set(engine.states(submission)) == set(range(40, 45))
    assert {path.name for path in (tmp_path / WORK).iterdir()} == {f"{number}.log" for number in range(40, 45)}
