"""Real processes that are interrupted, killed, doubled, or left without anybody who reads their output."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ch12cli.catalogue.entries import entries
from ch12cli.errors import InputError
from ch12cli.files.result_json import read_result
from ch12cli.training.checkpoint import Checkpoints, load
from tests.sweeps.killed import STATEFUL, exit_code, in_child, resume, start

# Real processes, waited for: minutes in all, and their limits in seconds want a machine that is not busy.
pytestmark = pytest.mark.slow

LONG = ("epochs=1000000", "batch_size=30")
PAIRS = 50
TOGETHER = 60.0  # seconds
ENDS_WITHIN = 2.0  # seconds after a signal


@contextmanager
def ch12(*words: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A ch12 process in a session of its own, of which nothing is left afterwards."""
    command = [sys.executable, "-m", "ch12cli", *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process = subprocess.Popen(command, start_new_session=True, **streams)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if session(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def session(leader: int) -> list[int]:
    """The processes of a session that are there, but for those that only wait to be waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, leads = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
            except OSError:  # it has ended meanwhile
                continue
            if int(leads) == leader and state != "Z":
                found.append(int(entry.name))
    return found


def wait_for_rows(directory: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        metrics = directory / "metrics.csv"
        if metrics.is_file() and metrics.read_bytes().count(b"\n") > rows:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"no {rows} rows after a minute")


def trains(directory: Path, *words: str) -> Sequence[str]:
    return ("train", *STATEFUL, *LONG, *words, f"hydra.run.dir={directory}")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_soon_with_a_checkpoint_and_no_process_left(
    number: int, code: int, workers: int, folder: Path
) -> None:
    directory = folder / "run"
    with ch12(*trains(directory, f"workers={workers}", "checkpoint.every=auto")) as process:
        wait_for_rows(directory, 5, process)
        assert len(session(process.pid)) == 1 + workers
        begun = time.monotonic()
        os.killpg(process.pid, number)  # as a terminal does: loader processes get it too
        _, errors = process.communicate(timeout=30)
        took = time.monotonic() - begun
        assert session(process.pid) == []
    assert process.returncode == code
    assert took < ENDS_WITHIN
    assert b"Traceback" not in errors
    result = read_result(directory / "result.json")
    assert result is not None
    assert result.status == "interrupted"
    rows = (directory / "metrics.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert result.epochs == len(rows) == load(directory / "checkpoints" / "last.pt")["epoch"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_ctrl_c_ends_a_run_at_once(workers: int, folder: Path) -> None:
    directory = folder / "run"
    with ch12(*trains(directory, f"workers={workers}")) as process:
        wait_for_rows(directory, 5, process)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert session(process.pid) == []
    assert process.returncode == 130
    assert time.monotonic() - begun < ENDS_WITHIN
    assert b"Traceback" not in errors
    # the second signal may come between two renames: the newest good checkpoint is found by looking
    assert Checkpoints(directory / "checkpoints", every=None).newest()[0]["epoch"] >= 4


@pytest.mark.parametrize("delay", [0.15, 0.4, 0.7, 1.0, 1.3, 1.7])
def test_ctrl_c_before_training_begins_leaves_no_traceback(delay: float, folder: Path) -> None:
    with ch12(*trains(folder / "run")) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors.decode()
    assert b"Traceback" not in errors


def test_a_dead_loader_process_is_noticed_and_named(folder: Path) -> None:
    directory = folder / "run"
    with ch12(*trains(directory, "workers=2")) as process:
        wait_for_rows(directory, 5, process)
        loaders = [pid for pid in session(process.pid) if pid != process.pid]
        os.kill(loaders[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
        assert session(process.pid) == []
    assert process.returncode == 4, errors.decode()
    assert b"loader process died" in errors
    assert str(loaders[0]).encode() in errors
    assert b"Traceback" not in errors
    # the second signal may come between two renames: the newest good checkpoint is found by looking
    assert Checkpoints(directory / "checkpoints", every=None).newest()[0]["epoch"] >= 4


def test_loader_processes_end_with_a_killed_run_which_can_be_resumed_at_once(folder: Path) -> None:
    directory = folder / "run"
    with ch12(*trains(directory, "workers=2")) as process:
        wait_for_rows(directory, 3, process)
        process.kill()
        process.wait()
        time.sleep(0.1)
        assert session(process.pid) == []
    epoch = load(directory / "checkpoints" / "last.pt")["epoch"]
    resume(directory, f"epochs={epoch + 2}", "workers=0")


def test_a_run_that_is_running_is_not_resumed_by_another(folder: Path) -> None:
    directory = folder / "run"
    with ch12(*trains(directory)) as process:
        wait_for_rows(directory, 3, process)
        with ch12("resume", str(directory)) as second:
            _, errors = second.communicate(timeout=60)
        assert second.returncode == 2
        assert b"another ch12 process is writing there" in errors
        assert process.poll() is None


def test_of_fifty_pairs_of_runs_into_one_directory_exactly_one_proceeds(folder: Path) -> None:
    for pair in range(PAIRS):
        directory = folder / str(pair)
        ready, go = os.pipe()

        def work(directory: Path = directory, ready: int = ready) -> None:
            os.read(ready, 1)
            start(directory, "epochs=1", "batch_size=90")

        children = [in_child(work), in_child(work)]
        os.write(go, b"12")
        codes = sorted(exit_code(child) for child in children)
        os.close(ready)
        os.close(go)
        assert codes == [0, 2], f"pair {pair}"
        assert len((directory / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 2
        assert read_result(directory / "result.json") is not None


def test_of_two_resumes_at_once_one_proceeds(folder: Path) -> None:
    start(folder / "run", "epochs=2")
    children = [in_child(lambda: resume(folder / "run", "epochs=30")) for _ in range(3)]
    codes = sorted(exit_code(child) for child in children)
    assert codes.count(0) >= 1
    assert codes == [0, 2, 2]
    result = read_result(folder / "run" / "result.json")
    assert result is not None
    assert result.epochs == 30


def test_a_lock_ends_with_its_process(folder: Path) -> None:
    start(folder / "run", "epochs=2")
    child = in_child(lambda: resume(folder / "run", "epochs=100000"))
    deadline = time.monotonic() + 30
    while (folder / "run" / "metrics.csv").read_bytes().count(b"\n") < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(InputError, match="another ch12 process"):
        resume(folder / "run", "epochs=3")
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    epoch = load(folder / "run" / "checkpoints" / "last.pt")["epoch"]
    resume(folder / "run", f"epochs={epoch + 1}")


def test_a_closed_pipe_does_not_end_a_run_with_a_traceback(folder: Path) -> None:
    words = ("train", *STATEFUL, "epochs=40", f"hydra.run.dir={folder / 'run'}")
    with ch12(*words) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors
    assert process.returncode == 0
    result = read_result(folder / "run" / "result.json")
    assert result is not None
    assert result.status == "finished"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [("-v",), ("-q",)])
def test_a_full_output_is_reported_and_the_run_is_kept(words: tuple[str, ...], folder: Path) -> None:
    directory = folder / "run"
    with (
        open("/dev/full", "wb") as full,
        ch12("train", *STATEFUL, "epochs=3", f"hydra.run.dir={directory}", *words, stdout=full) as process,
    ):
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 4, errors
    assert b"No space left on device" in errors
    assert b"Traceback" not in errors
    resume(directory)
    result = read_result(directory / "result.json")
    assert result is not None
    assert (result.status, result.epochs) == ("finished", 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_too_little_shared_memory_is_reported_and_the_run_continues_without_it(folder: Path) -> None:
    done = train_by_workers("4k", folder)
    assert done.returncode == 4
    assert "workers=2: cannot start loader processes, which need shared memory" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    resume(folder / "run", "workers=0")
    result = read_result(folder / "run" / "result.json")
    assert result is not None
    assert result.status == "finished"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_batches_do_not_need_the_shared_memory_that_containers_keep_small(folder: Path) -> None:
    done = train_by_workers("64k", folder)  # two batches have 120 kB
    assert (done.returncode, done.stderr) == (0, "")


def train_by_workers(shared_memory: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Trains a run in batches that workers load, where /dev/shm has this size."""
    words = ["dataset=two_class", "dataset.size=20000", "batch_size=5000", "epochs=2", "workers=2", "device=cpu", "-q"]
    command = [sys.executable, "-m", "ch12cli", "train", *words, f"hydra.run.dir={folder / 'run'}"]
    small = f"mount -t tmpfs -o size={shared_memory} tmpfs /dev/shm && exec {shlex.join(command)}"
    return subprocess.run(["unshare", "--mount", "sh", "-c", small], capture_output=True, text=True, timeout=60)


def test_two_processes_that_start_runs_in_one_folder_lose_nothing_while_a_third_lists(folder: Path) -> None:
    started, until = folder / "started", time.monotonic() + TOGETHER
    started.mkdir()

    def start_some(who: int) -> None:
        count = 0
        while time.monotonic() < until:
            sweep = count % 3 == 2
            words = ["train", "epochs=2", "batch_size=30", "device=cpu", "-q", *(["-m", "seed=1,2"] if sweep else [])]
            with ch12(*words) as process:
                output, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, b""), errors.decode()
            (started / f"{who}-{count}").write_bytes(output)
            count += 1

    children = [in_child(lambda who=who: start_some(who)) for who in range(2)]
    looked = 0
    while time.monotonic() < until:
        found = list(entries(folder / "outputs"))
        assert "damaged" not in {entry.status for entry in found}
        looked += len(found)
    assert [exit_code(child) for child in children] == [0, 0]
    named = [Path(path.read_text(encoding="utf-8").strip()) for path in started.iterdir()]
    assert len(set(named)) == len(named) > 4
    assert looked > len(named)
    there = {path for path in (folder / "outputs").glob("*/*") if not path.name.startswith(".")}
    assert {path.resolve() for path in named} == {path.resolve() for path in there}
    for path in named:
        runs = [path] if not (path / "sweep.csv").exists() else [path / "0", path / "1"]
        for run in runs:
            result = read_result(run / "result.json")
            assert result is not None
            assert (result.status, result.epochs) == ("finished", 2)
