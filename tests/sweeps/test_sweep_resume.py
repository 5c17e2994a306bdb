"""A sweep that is interrupted or killed, and done again, equals the one that was not."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ch12cli.errors import InputError
from ch12cli.files.compact.stores import index_of, record_at
from ch12cli.files.result_json import Result
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.saved.unpack import unpack_sweep
from ch12cli.sweeps.jobs import SweepJob
from ch12cli.sweeps.resume import resume_sweep
from ch12cli.sweeps.workers.work_item import Done
from ch12cli.training.checkpoint import load
from tests.sweeps.driver import Looker, Swept, sweep, table, without_times
from tests.sweeps.killed import exit_code, in_child

CH12 = [sys.executable, "-m", "ch12cli"]
# everything that has state, in three stacks, and beside them two jobs that are trained by themselves
STATEFUL = (
    *("dataset=two_class", "dataset.size=40", "batch_size=8", "epochs=60", "scheduler=cosine", "optimizer.lr=0.01"),
    *("early_stopping.patience=15", "checkpoint.every=10", "sweep.max_stacked=4", "sweep.processes=2"),
)
JOBS = ["seed,model.width,model.dropout", *(f"{seed},16,0.2" for seed in range(12)), "1,7,0", "1,9,0"]
KILLS = 200
TINY = ("dataset=toy_regression", "epochs=3", "batch_size=5", "optimizer=sgd")


@pytest.fixture
def jobs(folder: Path) -> Path:
    path = folder / "jobs.csv"
    path.write_text("\n".join(JOBS) + "\n")
    return path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """The sweep as it ends when nothing happens to it."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "jobs.csv").write_text("\n".join(JOBS) + "\n")
    return sweep(*STATEFUL, jobs_file=folder / "jobs.csv", into=str(folder / "whole"))


def assert_equal(found: Swept, expected: Swept) -> None:
    """The same tables, but for the seconds, and the same weights, bit for bit."""
    assert without_times(found.rows) == without_times(expected.rows)
    for job in expected.rows:
        for name, value in expected.model(job).items():
            assert torch.equal(found.model(job)[name], value)
    assert not [path for path in found.directory.rglob("*") if path.name.endswith((".partial", ".tmp"))]
    assert not list((found.directory / ".ch12").glob("stack-*"))


def work(jobs: Path, into: str, *words: str) -> None:
    sweep(*STATEFUL, *words, jobs_file=jobs, into=into)


def wait_for(path: Path, *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.005)


def wait_for_a_stack(directory: Path) -> None:
    """Waits until a stack of the sweep is in progress: it has a checkpoint."""
    deadline = time.monotonic() + 30
    while not list(directory.glob(".ch12/stack-*.pt")):
        assert time.monotonic() < deadline, f"no checkpoint of a stack appeared in {directory}"
        time.sleep(0.002)


def workers_of(process: int) -> list[int]:
    """The processes that a process has started and that are still there."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8")
    except OSError:
        return []
    return [int(number) for number in listed.split()]


def is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill_sometime(jobs: Path, into: str, moment: float, *words: str) -> bool:
    """Carries the sweep out in a process that is killed so many seconds after it began to train. Whether it was."""
    child = in_child(lambda: work(jobs, into, *words))
    wait_for(Path(into) / ".ch12" / "plan.json")
    time.sleep(moment)
    return kill(child)


def kill(child: int) -> bool:
    """Kills the process of a sweep and waits for its workers to end. Whether it was still there to be killed."""
    workers = workers_of(child)
    os.kill(child, signal.SIGKILL)
    killed = exit_code(child) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while any(map(is_there, workers)):  # they write their checkpoints
        assert time.monotonic() < deadline, "workers of a killed sweep are still there"
        time.sleep(0.01)
    return killed


def kill_again_and_again(jobs: Path, uninterrupted: Swept, *, kills: int, longest: float, draw: random.Random) -> None:
    """Kills a sweep, then its repetition, and so on; once it is done, another one, until there were so many kills."""
    done, sweeps = 0, 0
    while done < kills:
        shutil.rmtree("cut", ignore_errors=True)
        for _ in range(4):
            done += kill_sometime(jobs, "cut", draw.uniform(0, longest))
            if done == kills:
                break
        assert_equal(sweep(*STATEFUL, jobs_file=jobs, into="cut"), uninterrupted)
        sweeps += 1


def test_a_killed_and_resumed_sweep_equals_the_uninterrupted_sweep(jobs: Path, uninterrupted: Swept) -> None:
    stopped = [row["stopped_at"] for row in uninterrupted.rows.values()]
    assert 0 < sum(map(bool, stopped)) < len(stopped)
    assert len(uninterrupted.looker.plans[0].items) == 5
    kill_again_and_again(jobs, uninterrupted, kills=3, longest=0.6, draw=random.Random(1))


@pytest.mark.slow
def test_a_sweep_survives_fifty_kills(jobs: Path, uninterrupted: Swept) -> None:
    kill_again_and_again(jobs, uninterrupted, kills=50, longest=1.5, draw=random.Random(2))


def kill_all(child: int) -> None:
    """Kills the process of a sweep and its workers at once, so that none can write a checkpoint."""
    workers = workers_of(child)
    for process in (child, *workers):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    exit_code(child)
    while any(map(is_there, workers)):
        time.sleep(0.005)


def results_in(directory: Path) -> dict[str, Result]:
    """The results of the recorded jobs, by their directories. What is half-written is in none of them."""
    index = index_of(directory)
    assert index.problems == []
    found = {name: record_at(place).result for name, place in index.places.items()}
    assert all(place.is_whole for place in index.places.values())
    return found


@pytest.mark.slow
def test_a_compact_record_survives_two_hundred_kills(jobs: Path, uninterrupted: Swept) -> None:
    """What was in the table or in a store before a kill is the same afterwards, and at last all is as without kills."""
    draw, kills = random.Random(4), 0
    while kills < KILLS:
        shutil.rmtree("cut", ignore_errors=True)
        seen: dict[str, Result] = {}
        for _ in range(8):
            child = in_child(lambda: work(jobs, "cut", "sweep.record=compact"))
            wait_for(Path("cut/.ch12/plan.json"))
            time.sleep(draw.uniform(0, 1.2))
            kill_all(child)
            kills += 1
            now = results_in(Path("cut"))
            assert {name: now[name] for name in seen} == seen
            told = {row.directory: row.status for row in read_sweep_csv(Path("cut/sweep.csv"))}
            in_stacks = {name: status for name, status in told.items() if not Path("cut", name).exists()}
            assert {name: now[name].status for name in in_stacks if in_stacks[name] != "interrupted"} == {
                name: status for name, status in in_stacks.items() if status != "interrupted"
            }
            seen = now
        again = sweep(*STATEFUL, "sweep.record=compact", jobs_file=jobs, into="cut")
        assert len([*unpack_sweep(Path("cut"))]) == 12
        rows = {job: {key: row[key] for key in row if key != "sweep.record"} for job, row in again.rows.items()}
        for row in rows.values():
            row["command"] = row["command"].replace(" sweep.record=compact", "")
        assert_equal(replace(again, rows=rows), uninterrupted)


def kill_a_worker(jobs: Path, into: str, moment: float) -> int:
    """Carries the sweep out, one of its workers being killed so many seconds after a stack's first checkpoint.

    The sweep's exit code; -1 if no worker was there.
    """
    child = in_child(lambda: work(jobs, into))
    wait_for_a_stack(Path(into))
    time.sleep(moment)
    workers = workers_of(child)
    for worker in workers[-1:]:
        os.kill(worker, signal.SIGKILL)
    return exit_code(child) if workers else -1


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(jobs: Path, uninterrupted: Swept) -> None:
    Path("cut/.ch12").mkdir(parents=True)
    Path("cut/.ch12/.stack-4-c296fcf4.pt.4616.tmp").touch()  # as of one that was killed while it wrote a checkpoint
    assert kill_a_worker(jobs, "cut", 0) == 0
    cut = Swept(uninterrupted.finished, Path("cut"), table(Path("cut")), Looker())
    assert_equal(cut, uninterrupted)


@pytest.mark.slow
def test_workers_may_be_killed_at_any_moment(jobs: Path, uninterrupted: Swept) -> None:
    draw = random.Random(3)
    for _ in range(15):
        shutil.rmtree("cut", ignore_errors=True)
        kill_a_worker(jobs, "cut", draw.uniform(0, 1.5))
        assert_equal(sweep(*STATEFUL, jobs_file=jobs, into="cut"), uninterrupted)


LONG = ("device=cpu", *STATEFUL[:3], "epochs=20000", *STATEFUL[4:6], "sweep.processes=2", "sweep.max_stacked=3")


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`ch12 train -m` of ten jobs that take long, and two that do not, in a session of its own, training."""
    words = ["-m", *LONG, "seed=range(8)", "model.width=16,8", "hydra.sweep.dir=cut"]
    process = subprocess.Popen(
        [*CH12, "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(list(folder.glob("cut/.ch12/stack-*.pt"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    assert len(workers_of(process.pid)) == 2
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "whole_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_a_sweep_soon_with_checkpoints_and_a_complete_table(
    running: subprocess.Popen[str], number: int, whole_group: bool, code: int
) -> None:
    workers = workers_of(running.pid)
    start = time.monotonic()
    if whole_group:
        os.killpg(running.pid, number)  # as a terminal does
    else:
        os.kill(running.pid, number)
    _, errors = running.communicate(timeout=20)
    assert time.monotonic() - start < 6  # on a busy machine; else under three
    assert running.returncode == code
    assert "Traceback" not in errors
    assert not any(map(is_there, workers))
    rows = table(Path("cut"))
    assert len(rows) == 16
    assert {row["status"] for row in rows.values()} == {"interrupted"}
    assert all(row["command"].startswith("ch12 train ") and row["seed"] for row in rows.values())
    checkpoints = [path for path in Path("cut/.ch12").glob("stack-*.pt") if "previous" not in path.name]
    assert len(checkpoints) == 2  # of the two stacks that were in progress
    epochs = [torch.load(path, weights_only=True)["training"]["epoch"] for path in checkpoints]
    assert min(epochs) > 0


@pytest.mark.slow
def test_the_same_command_continues_where_a_signal_ended_it(jobs: Path, uninterrupted: Swept) -> None:
    child = in_child(lambda: sweep(*STATEFUL, jobs_file=jobs, into="cut", signalled=True))
    wait_for_a_stack(Path("cut"))
    os.kill(child, signal.SIGTERM)
    assert exit_code(child) == 0  # the child's own: the sweep gives the signal in its outcome
    rows = table(Path("cut"))
    assert len(rows) == len(uninterrupted.rows)
    assert "interrupted" in {row["status"] for row in rows.values()}
    again = sweep(*STATEFUL, jobs_file=jobs, into="cut")
    ended = {job for job, row in rows.items() if row["status"] != "interrupted"}
    assert ended.isdisjoint(done.number for done in again.looker.ended)
    assert_equal(again, uninterrupted)


@pytest.mark.usefixtures("folder")
def test_a_second_sweep_into_a_directory_in_use_is_refused() -> None:
    words = ("dataset=two_class", "dataset.size=40", "batch_size=8", "seed=1,2", "workers=0")
    # the first one takes its time while it holds the directory
    child = in_child(lambda: sweep(*words, "epochs=2", into="cut", looker=Looker(lambda plan: time.sleep(60))))
    wait_for(Path("cut/.ch12/plan.json"))
    with pytest.raises(InputError, match=r"hydra.sweep.dir=cut: another ch12 process is writing there"):
        sweep(*words, "epochs=3", into="cut")
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    assert {row["status"] for row in sweep(*words, "epochs=2", into="cut").rows.values()} == {"finished"}


@pytest.mark.slow
def test_a_killed_sweep_is_resumed_from_its_directory(jobs: Path, uninterrupted: Swept) -> None:
    kill_sometime(jobs, "cut", 0.2)
    jobs.unlink()
    finished = resume_sweep(Path("cut"), callback=Looker(), trust=False)
    assert finished.outcome.failed == 0
    assert_equal(Swept(finished, Path("cut"), table(Path("cut")), Looker()), uninterrupted)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_jobs_of_batches_that_were_not_started_are_in_the_table() -> None:
    words = ("dataset=two_class", "dataset.size=40", "batch_size=8", "epochs=20000", "hydra.sweeper.max_batch_size=3")
    child = in_child(lambda: sweep(*words, "seed=range(8)", into="cut", signalled=True))
    wait_for(Path("cut/.ch12/plan.json"))
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    assert exit_code(child) == 0
    rows = table(Path("cut"))
    assert [(job, row["seed"], row["status"]) for job, row in rows.items()] == [
        (number, str(number), "interrupted") for number in range(8)
    ]
    assert all(row["command"].endswith(f"seed={job}") for job, row in rows.items())


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_of_hydras_basic_launcher_as_a_whole(folder: Path) -> None:
    words = (*LONG[:-2], "seed=1,2,3", "hydra/launcher=basic")
    child = in_child(lambda: sweep(*words, into="cut", signalled=True))
    wait_for(folder / "cut" / "0" / "metrics.csv")
    time.sleep(0.2)
    os.kill(child, signal.SIGINT)
    assert exit_code(child) == 0
    assert [row["status"] for row in table(Path("cut")).values()] == ["interrupted"] * 3
    assert not (folder / "cut" / "1").exists()


def stamps(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_a_sweep_without_a_readable_plan_goes_on_by_its_own_command() -> None:
    first = sweep(*TINY, "seed=1,2")
    plan = first.directory / ".ch12/plan.json"
    plan.write_text("garbage")
    again = "give the sweep's own command again with the same hydra.sweep.dir"
    with pytest.raises(InputError, match=rf"plan\.json: cannot be read: .*; remove it, and {again}"):
        resume_sweep(first.directory, callback=Looker())
    plan.unlink()
    with pytest.raises(InputError, match=rf"^sweep: its plan \(\.ch12/plan\.json\) is missing; {again}$"):
        resume_sweep(first.directory, callback=Looker())
    second = sweep(*TINY, "seed=1,2")
    assert second.looker.ended == []
    assert without_times(second.rows) == without_times(first.rows)
    assert resume_sweep(first.directory, callback=Looker()).outcome.failed == 0


@pytest.mark.usefixtures("folder")
def test_finished_jobs_are_skipped_and_later_ones_added() -> None:
    first = sweep(*TINY, "seed=range(4)")
    jobs_of_first = {path: stamp for path, stamp in stamps(Path("sweep")).items() if path.parts[1].isdigit()}
    assert len(jobs_of_first) == 4 * 9
    again = sweep(*TINY, "seed=range(4)")
    assert again.looker.ended == []
    assert again.looker.plans[0].done == [0, 1, 2, 3]
    assert again.rows == first.rows
    more = sweep(*TINY, "seed=range(2,7)")
    assert [done.number for done in more.looker.ended] == [4, 5, 6]
    other = sweep(*TINY, "seed=3", "model=mlp,linear")
    assert sorted(done.number for done in other.looker.ended) == [7, 8]
    assert list(other.rows) == list(range(9))
    assert {row["status"] for row in other.rows.values()} == {"finished"}
    assert [row["seed"] for row in other.rows.values()] == ["0", "1", "2", "3", "4", "5", "6", "3", "3"]
    assert {job: row for job, row in other.rows.items() if job < 4} == {
        job: {**row, "model": ""} for job, row in first.rows.items()
    }
    assert {path: stamps(Path("sweep"))[path] for path in jobs_of_first} == jobs_of_first


@pytest.mark.usefixtures("folder")
def test_jobs_that_ended_before_a_kill_are_found_without_their_rows() -> None:
    first = sweep(*TINY, "seed=range(5)", "optimizer.lr=0.01")
    path = Path("sweep/sweep.csv")
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    interrupted = lines[2].replace(",finished,", ",interrupted,")
    assert interrupted != lines[2]
    for damaged in (
        lines[0],  # no row had been written
        "".join(lines[:3]),
        text[:-20],  # a row was being written
        "".join([lines[0], lines[1], interrupted, *lines[3:]]),  # it was told after the signal
        None,
    ):
        path.unlink() if damaged is None else path.write_text(damaged)
        again = sweep(*TINY, "seed=range(5)", "optimizer.lr=0.01")
        assert again.looker.ended == []
        assert without_times(again.rows) == without_times(first.rows)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_rows_of_jobs_outside_the_selection_stay_in_the_table() -> None:
    sweep(*TINY, "seed=1,2")
    with open("sweep/sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    text = Path("sweep/sweep.csv").read_text(encoding="utf-8")
    Path("sweep/sweep.csv").write_text(text.replace(",finished,", ",failed,", 1))
    sweep(*TINY, "seed=5")
    assert [row.status for row in read_sweep_csv(Path("sweep/sweep.csv"))] == ["failed", "finished", "finished"]
    assert len(rows) == 2


class Interrupting(Looker):
    """A callback that interrupts the sweep as soon as jobs have ended."""

    def on_progress(self, item: Any, progress: Any) -> None:
        if self.ended:
            raise KeyboardInterrupt


def zeros(store: Path) -> None:
    store.write_bytes(bytes(store.stat().st_size))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("record", "lose"), [("directories", shutil.rmtree), ("compact", Path.unlink), ("compact", zeros)]
)
def test_jobs_whose_results_are_gone_are_trained_again_by_one_resume(
    record: str, lose: Callable[[Path], object]
) -> None:
    """Also those that the checkpoint of their stack marks as ended."""
    words = (
        *("dataset=toy_regression", "epochs=150", "checkpoint.every=1", "optimizer=sgd", "seed=range(3)"),
        *("optimizer.lr=0.01,1e30", f"sweep.record={record}", "sweep.processes=1"),
    )
    whole = sweep(*words, into="whole")
    sweep(*words, into="cut", looker=Interrupting(), signalled=True)
    (checkpoint,) = Path("cut/.ch12").glob("stack-*[0-9a-f].pt")
    assert load(checkpoint)["done"].tolist() == [False, True] * 3
    stores = list(Path("cut/records").iterdir()) if record == "compact" else []
    for path in stores or [Path("cut", row["directory"]) for row in table(Path("cut")).values() if row["diverged_at"]]:
        lose(path)
    looker = Looker()
    finished = resume_sweep(Path("cut"), callback=looker)
    expected = f"restarts, because the results of 3 jobs that had ended are gone: {checkpoint}"
    assert expected in looker.messages
    assert (finished.outcome.signal, finished.outcome.failed) == (None, 0)
    assert without_times(table(Path("cut"))) == without_times(whole.rows)
    if record == "compact":
        assert len([*unpack_sweep(Path("cut"))]) == len([*unpack_sweep(Path("whole"))]) == 6
    found = replace(whole, directory=Path("cut"))
    assert all(torch.equal(found.weights(job), whole.weights(job)) for job in (0, 2, 4))
    again = Looker()
    resume_sweep(Path("cut"), callback=again)
    assert again.ended == []


@pytest.mark.slow
def test_a_stack_with_a_damaged_checkpoint_restarts(jobs: Path, uninterrupted: Swept) -> None:
    child = in_child(lambda: work(jobs, "cut"))
    wait_for_a_stack(Path("cut"))
    kill(child)
    checkpoints = list(Path("cut/.ch12").glob("stack-*.pt"))
    assert checkpoints
    for path in checkpoints:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    assert_equal(sweep(*STATEFUL, jobs_file=jobs, into="cut"), uninterrupted)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_another_selection_of_the_jobs_does_not_disturb_a_stack_in_progress() -> None:
    words = ("dataset=two_class", "dataset.size=40", "batch_size=8", "epochs=150", "checkpoint.every=1")
    whole = sweep(*words, "seed=range(6)", into="whole")
    child = in_child(lambda: sweep(*words, "seed=range(6)", into="cut"))
    wait_for_a_stack(Path("cut"))
    assert kill(child)
    part = sweep(*words, "seed=range(4)", into="cut")
    assert {job: row["status"] for job, row in part.rows.items()} == dict.fromkeys(range(4), "finished")
    again = sweep(*words, "seed=range(6)", into="cut")
    assert {done.number for done in again.looker.ended} == {4, 5}
    for job in (4, 5):
        assert torch.equal(again.weights(job), whole.weights(job))
    for job in range(4):
        assert torch.allclose(again.weights(job), whole.weights(job), rtol=1e-3)


class Deaf(Looker):
    """A callback whose output nobody reads any more."""

    def on_job_end(self, done: Done, job: SweepJob) -> None:
        raise BrokenPipeError


@pytest.mark.usefixtures("folder")
def test_a_sweep_continues_when_its_output_pipe_is_closed() -> None:
    with pytest.raises(BrokenPipeError):
        sweep(*TINY, "seed=1,2,3", into="deaf", looker=Deaf())
    assert {row["status"] for row in table(Path("deaf")).values()} == {"finished"}


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", ["result.json", "metrics.csv", ".hydra/config.yaml", "checkpoints/last.pt"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
@pytest.mark.usefixtures("folder")
def test_an_untrusted_sweep_with_special_files_is_refused(name: str, kind: str) -> None:
    sweep(*TINY, "seed=1,2", into="theirs")
    path = Path("theirs/1") / name
    content = path.read_bytes()
    path.unlink()
    if kind == "link":
        Path("elsewhere").write_bytes(content)
        path.symlink_to(Path("elsewhere").resolve())
    else:
        os.mkfifo(path)
    with pytest.raises(InputError, match=rf"{path}: must be a file, not a link or a device; .*--trust"):
        resume_sweep(Path("theirs"), callback=Looker(), trust=False)


@pytest.mark.sample(1)
@pytest.mark.parametrize("place", ["1", "first/1"])
@pytest.mark.usefixtures("folder")
def test_an_untrusted_sweep_with_linked_directories_is_refused(place: str) -> None:
    sweep(*TINY, "seed=1,2", "hydra.sweep.subdir=" + place.replace("1", "${seed}"), into="theirs")
    part = Path("theirs") / Path(place).parts[0]
    part.rename("elsewhere")
    part.symlink_to(Path("elsewhere").resolve())
    before = stamps(Path("elsewhere"))
    with pytest.raises(InputError, match=rf"{part}: must not be a link"):
        resume_sweep(Path("theirs"), callback=Looker(), trust=False)
    assert stamps(Path("elsewhere")) == before
