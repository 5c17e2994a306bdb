"""Sweeps on a real Slurm of emulated nodes, through what happens to jobs on a cluster: the networks stay the same."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ch12cli.files.cluster.journal import BundleState, bundle_states
from ch12cli.files.sweep_csv import read_sweep_csv
from tests.engines.slurm_cluster import SlurmCluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=f"no Slurm: {missing()}")]

CH12 = (sys.executable, "-m", "ch12cli")
STRUCTURES = ("seed=range(20)", "model.width=4,6,8", "sweep.max_stacked=20")
WORDS = ("train", "-m", "device=cpu", "epochs=100", "sweep.fused=false", "checkpoint.every=5", *STRUCTURES)
ON_SLURM = ("hydra/launcher=slurm", "hydra.launcher.array_parallelism=3")
LONG = 240.0  # seconds


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    found = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    found.start()
    yield found
    found.stop()


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
        return subprocess.Popen(line, cwd=folder, stdout=log, stderr=log)


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.2)


def is_training(sweep: Path, *, bundles: int = 3) -> Callable[[], bool]:
    """Tells whether so many bundles have trained fifteen epochs."""

    def further(state: BundleState) -> bool:
        return state.state == "running" and state.epoch >= 15

    return lambda: sum(map(further, bundle_states(sweep))) >= bundles


def require_complete(folder: Path, expected: dict[str, bytes]) -> None:
    assert models(folder / "sweep") == expected
    rows = read_sweep_csv(folder / "sweep" / "sweep.csv")
    assert Counter(row.status for row in rows) == {"finished": 60}
    assert sorted(row.job for row in rows) == list(range(60))
    assert not list((folder / "sweep").glob(".*partial*"))


def test_preemption_requeues_what_was_running(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin(tmp_path)
    wait_for(is_training(tmp_path / "sweep"), process)
    subprocess.run(["sbatch", "-p", "high", "-c1", "-o", "/dev/null", "--wrap", "sleep 3"], check=True)
    assert process.wait(LONG) == 0
    assert max(state.attempts for state in bundle_states(tmp_path / "sweep")) > 1
    require_complete(tmp_path, expected)


def test_a_lost_node_costs_what_came_after_the_last_checkpoint(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin(tmp_path)
    wait_for(is_training(tmp_path / "sweep"), process)
    cluster.kill("n2")
    assert process.wait(LONG) == 0
    cluster.start_node("n2")
    cluster.wait_until_idle()
    require_complete(tmp_path, expected)


def test_a_killed_step_and_a_cancelled_job_are_submitted_again(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin(tmp_path)
    wait_for(is_training(tmp_path / "sweep"), process)
    jobs = subprocess.run(["squeue", "-h", "-r", "-o", "%i"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["scancel", jobs[0]], check=True)
    subprocess.run(["scancel", "--signal=KILL", "--full", jobs[1]], check=True)
    assert process.wait(LONG) == 0
    require_complete(tmp_path, expected)


def test_a_restarted_controller_changes_nothing(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin(tmp_path)
    wait_for(is_training(tmp_path / "sweep"), process)
    cluster.kill("slurmctld")
    time.sleep(7)
    cluster.start_controller()
    assert process.wait(LONG) == 0
    require_complete(tmp_path, expected)


def test_a_killed_sweep_is_resumed_from_two_places_at_once(
    cluster: SlurmCluster, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    process = begin(tmp_path)
    wait_for(is_training(tmp_path / "sweep"), process)
    process.kill()
    process.wait()
    resumes = [subprocess.Popen([*CH12, "resume", "-q", "sweep"], cwd=tmp_path) for _ in range(2)]
    codes = sorted(resume.wait(LONG) for resume in resumes)
    assert codes in ([0, 2], [0, 0])  # the second is refused, or the first has ended while it waited for the lock
    require_complete(tmp_path, expected)
    assert len((tmp_path / "sweep/.ch12/bundles/submitted.jsonl").read_text().splitlines()) == 1


def test_at_the_time_limit_a_job_writes_checkpoints_and_is_requeued(cluster: SlurmCluster, tmp_path: Path) -> None:
    words = ("epochs=100000", "seed=range(20)", "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=30")
    process = begin(tmp_path, *words)
    sweep = tmp_path / "sweep"
    wait_for(lambda: any(state.attempts > 1 and state.epoch for state in bundle_states(sweep)), process)
    process.send_signal(2)
    assert process.wait(LONG) == 130
    assert {state.state for state in bundle_states(sweep)} == {"stopped"}
    assert len(list((sweep / ".ch12").glob("stack-*.pt"))) >= 3


def test_a_larger_sweep_than_an_array_may_have_is_several_arrays(tmp_path: Path, cluster: SlurmCluster) -> None:
    from ch12cli.engines.slurm import Slurm
    from ch12cli.files.cluster.bundle_json import WORK, Submission

    (tmp_path / WORK).mkdir(parents=True)
    engine = Slurm(timeout_min=5)
    engine.largest_array = lambda: 2  # type: ignore[method-assign]
    commands = [[sys.executable, "-c", "", f"--stack={number}"] for number in range(40, 45)]
    before = os.getcwd()
    identifier = engine.submit(commands, directory=tmp_path, first=40)
    assert os.getcwd() == before
    assert identifier.count(",") == 2
    submission = Submission("slurm", identifier, 40, 5)
    wait_for(lambda: set(engine.ended(submission)) == set(range(40, 45)))
    assert {path.name for path in (tmp_path / WORK).iterdir()} == {f"{number}.log" for number in range(40, 45)}
