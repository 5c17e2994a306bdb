"""What a sweep that goes on finds of before: other data, another environment, damage, an end that came too early."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.result_json import read_result
from ch12cli.files.sealed_json import checksum
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.run.start import train_single
from ch12cli.saved.resume import resume_run
from ch12cli.sweeps.resume import resume_sweep
from ch12cli.training.checkpoint import Checkpoints, load, save
from tests.conftest import Silent
from tests.sweeps.driver import Looker, Swept, relative, sweep, table
from tests.sweeps.killed import in_child
from tests.sweeps.test_sweep_resume import kill, stamps, wait_for_a_stack, workers_of

TABLE = "x,y,kind\n" + "".join(f"{n % 7 - 3},{n % 5 - 2},{'ab'[(n % 7 + n % 5) > 5]}\n" for n in range(40))
OTHER = TABLE.replace("\n0,0,", "\n1,0,")
ON_A_FILE = ("dataset=csv", "dataset.file=d.csv", "dataset.target=kind", "batch_size=8", "checkpoint.every=1")
STACK = (*ON_A_FILE, "seed=range(4)")
TINY = ("dataset=toy_regression", "epochs=3", "batch_size=5", "optimizer=sgd")
ENDS_WITHIN = 2.0  # seconds after a signal


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / "d.csv").write_text(TABLE)
    return folder / "d.csv"


def killed_stack(*words: str, epochs: int = 150) -> Path:
    """A sweep of one stack that was killed after some epochs, with both of its checkpoints."""
    while True:
        child = in_child(lambda: sweep(*words, f"epochs={epochs}", into="cut"))
        wait_for_a_stack(Path("cut"))
        time.sleep(0.1)
        assert kill(child)
        if len(list(Path("cut/.ch12").glob("stack-*.pt"))) == 2:
            return Path("cut")
        shutil.rmtree("cut")  # it was killed between the two renames of one checkpoint's writing


def edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    state = load(path)
    save(path, {**state, **change(state)})


def checkpoint_of(directory: Path) -> Path:
    (path,) = [path for path in (directory / ".ch12").glob("stack-*.pt") if "previous" not in path.name]
    return path


@pytest.mark.slow
def test_a_stack_is_not_resumed_on_other_data(data: Path) -> None:
    directory = killed_stack(*STACK)
    before = stamps(directory)
    data.write_text(OTHER)
    for go_on in (
        lambda: resume_sweep(directory, callback=Looker(), trust=True),
        lambda: sweep(*STACK, "epochs=150", into="cut"),
    ):
        with pytest.raises(InputError, match=r"stack-0-\w+\.pt: the data set gives other data than it was trained on"):
            go_on()
    after = stamps(directory)
    assert {path: after[path] for path in before if path.name != "multirun.yaml"} == {
        path: stamp for path, stamp in before.items() if path.name != "multirun.yaml"
    }
    data.write_text(TABLE)
    resume_sweep(directory, callback=Looker(), trust=True)
    assert {row["status"] for row in table(directory).values()} == {"finished"}


@pytest.mark.slow
def test_a_single_job_is_not_resumed_on_other_data(data: Path) -> None:
    words = (*ON_A_FILE, "optimizer=adam", "+optimizer.maximize=false", "seed=1,2", "epochs=4000", "sweep.processes=1")
    child = in_child(lambda: sweep(*words, into="cut"))
    deadline = time.monotonic() + 30
    while not (Path("cut/0/metrics.csv").exists() and Path("cut/0/metrics.csv").read_bytes().count(b"\n") > 5):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert kill(child)
    data.write_text(OTHER)
    with pytest.raises(InputError, match=r"cut/0.*other data than it was trained on"):
        sweep(*words, into="cut")


@pytest.mark.slow
def test_jobs_are_not_added_to_a_sweep_on_other_data(data: Path) -> None:
    sweep(*ON_A_FILE, "seed=1,2", "epochs=2")
    data.write_text(OTHER)
    for seeds in ("1,2", "1,2,3"):  # results of other data are none of this command, be there nothing to train
        with pytest.raises(InputError, match=r"sweep/0: the data set gives other data"):
            sweep(*ON_A_FILE, f"seed={seeds}", "epochs=2")
    assert len(table(Path("sweep"))) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_another_environment_of_a_stack_is_reported_in_one_line_and_recorded() -> None:
    directory = killed_stack(*STACK)
    path = checkpoint_of(directory)
    older = {"torch": "1.0", "device": "cuda:0: a card"}
    edit(path, lambda state: {"environment": json.dumps({**json.loads(state["environment"]), **older})})
    epoch, looker = load(path)["epoch"], Looker()
    resume_sweep(directory, callback=looker, trust=True)
    (said,) = [text for text in looker.messages if "environment" in text]
    assert "torch 1.0 -> " in said
    assert "device cuda:0: a card -> cpu" in said
    for job in range(4):
        result = read_result(directory / str(job) / "result.json")
        assert result is not None
        (sitting,) = result.history["resumed"]
        assert sitting["epoch"] == epoch
        assert [text for text in sitting["environment"] if text.startswith("torch 1.0")]


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_a_damaged_checkpoint_of_a_stack_is_skipped_and_reported() -> None:
    whole = sweep(*STACK, "epochs=150", into="whole")
    directory = killed_stack(*STACK)
    path = checkpoint_of(directory)
    path.write_bytes(path.read_bytes()[:-50])
    looker = Looker()
    finished = resume_sweep(directory, callback=looker, trust=True)
    assert any(text.startswith(f"skipped: {path}: damaged") for text in looker.messages)
    found = Swept(finished, directory, table(directory), looker)
    assert all((found.weights(job) == whole.weights(job)).all() for job in range(4))
    result = read_result(directory / "0" / "result.json")
    assert result is not None
    assert result.history["resumed"][0]["epoch"] > 0
    assert not list((directory / ".ch12").glob("stack-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_a_stack_without_an_intact_checkpoint_restarts_and_says_so() -> None:
    directory = killed_stack(*STACK)
    for path in (directory / ".ch12").glob("stack-*.pt"):
        path.write_bytes(path.read_bytes()[:-50])
    looker = Looker()
    resume_sweep(directory, callback=looker, trust=True)
    assert any(text.startswith("restarts, without an intact checkpoint: ") for text in looker.messages)
    assert {row["status"] for row in table(directory).values()} == {"finished"}


@pytest.mark.slow
@pytest.mark.usefixtures("data")
def test_a_checkpoint_that_does_not_fit_its_settings_is_refused() -> None:
    directory = killed_stack(*STACK)
    path = checkpoint_of(directory)
    edit(path, lambda state: {"training": {**state["training"], "network": {}}})
    with pytest.raises(InputError, match=r"stack-0-\w+\.pt: its checkpoint does not fit its settings .*; remove it"):
        resume_sweep(directory, callback=Looker(), trust=True)


@pytest.mark.usefixtures("data")
def test_a_checkpoint_of_a_stack_does_not_grow_with_the_epochs() -> None:
    directory = killed_stack(*STACK, epochs=100_000)
    for path in (directory / ".ch12").glob("stack-*.pt"):
        state = load(path)
        assert state["rows_beside"]["count"] == state["epoch"]
        assert path.stat().st_size < 60_000


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("again", ["resume", "the same command"])
def test_a_sweep_planned_with_a_withdrawn_key_is_continued(again: str) -> None:
    """An earlier version had the key `sweep.compile`."""
    words = ("seed=1,2", "batch_size=16", "checkpoint.every=1")
    path = killed_stack(*words) / ".ch12" / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    plan.pop("checksum")
    for base in plan["bases"]:
        base["settings"]["sweep"]["compile"] = base["written"]["sweep"]["compile"] = False
    for job in plan["jobs"]:
        job["lines"].append("sweep.compile=true")
        job["changes"]["sweep.compile"] = True
    path.write_text(json.dumps({**plan, "checksum": checksum(plan)}), encoding="utf-8")
    if again == "resume":
        resume_sweep(Path("cut"), callback=Looker())
    else:
        sweep(*words, "epochs=150", into="cut")
    rows = table(Path("cut"))
    assert [row["status"] for row in rows.values()] == ["finished", "finished"]
    assert not any("sweep.compile" in row for row in rows.values())


@pytest.mark.usefixtures("folder")
def test_a_finished_sweep_is_left_as_it_is() -> None:
    sweep(*TINY, "seed=range(4)")
    before = stamps(Path("sweep"))
    finished = resume_sweep(Path("sweep"), callback=Looker(), trust=False)
    assert stamps(Path("sweep")) == before
    assert [row.job for row in finished.outcome.rows] == [0, 1, 2, 3]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_a_finished_sweep_on_a_read_only_disk_is_not_an_error(folder: Path) -> None:
    sweep(*TINY, "seed=range(4)")
    subprocess.run(["mount", "--bind", "sweep", "sweep"], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", "sweep"], check=True)
        assert main(["resume", "-q", "sweep"]) == 0
    finally:
        subprocess.run(["umount", "-l", "sweep"], check=True)


@pytest.mark.usefixtures("folder")
def test_a_job_extended_as_a_single_run_gets_a_new_row() -> None:
    first = sweep(*TINY, "seed=range(3)")
    assert main(["resume", "-q", "sweep/1", "epochs=8"]) == 0
    told = table(Path("sweep"))
    resume_sweep(Path("sweep"), callback=Looker(), trust=False)
    rows = table(Path("sweep"))
    assert [rows[job]["epochs"] for job in rows] == ["3", "8", "3"]
    result = read_result(Path("sweep/1/result.json"))
    assert result is not None
    assert rows[1]["objective"] == str(result.objective)
    assert rows[0] == first.rows[0]
    assert told == rows
    words = [word for word in first.rows[1]["command"].split() if not word.startswith("epochs=")]
    assert rows[1]["command"].split() == [*words, "epochs=8"]
    assert list(rows[1]) == list(first.rows[1])


def started(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ch12cli", "train", "-m", "-q", "device=cpu", "hydra.sweep.dir=cut", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_workers(process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 30
    while not workers_of(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(process: "subprocess.Popen[str]") -> str:
    """What it says on standard error until it has ended; nothing of it is left."""
    try:
        return process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_job_that_needs_less_state_than_its_stack_is_continued_as_a_single_run(folder: Path, optimizer: str) -> None:
    words = (f"optimizer={optimizer}", "precision=float64", "batch_size=8")
    sweep(*words, "optimizer.momentum=0,0.9", "epochs=3", into="swept")
    for number, value in enumerate(("0", "0.9")):
        resumed = resume_run(Path("swept") / str(number), ["epochs=5"], callback=Silent())
        run = train_single([*words, f"optimizer.momentum={value}", "epochs=5"], callback=Silent(), log=False)
        assert resumed is not None
        for mine, theirs in zip(resumed.model.parameters(), run.model.parameters(), strict=True):
            assert relative(mine.detach(), theirs.detach()) < 1e-9
    forked = resume_run(Path("swept/0"), ["optimizer.momentum=0.9", "epochs=6"], callback=Silent(), fork=True)
    assert forked is not None
    assert forked.status == "finished"


@pytest.mark.slow
def test_a_sweep_whose_directory_is_removed_ends_within_seconds(folder: Path) -> None:
    process = started(*TINY[:1], "epochs=1000000", "seed=range(8)", "checkpoint.every=1000000")
    wait_for_workers(process)
    time.sleep(1)
    (folder / "cut").rename(folder / "elsewhere")
    begun = time.monotonic()
    errors = ended(process)
    assert time.monotonic() - begun < 5
    assert process.returncode == 4
    assert "No such file or directory" in errors
    assert not (folder / "cut").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_a_sweep_on_a_full_disk_reports_what_is_done_and_how_to_continue(folder: Path) -> None:
    (folder / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", "disk"], check=True)
    try:
        words = (*TINY, "seed=range(60)", "sweep.processes=1", "sweep.max_stacked=4", "hydra.sweep.dir=disk/sweep")
        done = subprocess.run(
            [sys.executable, "-m", "ch12cli", "train", "-m", "-q", "device=cpu", *words], capture_output=True, text=True
        )
        assert done.returncode == 4, done.stderr
        assert "No space left on device" in done.stderr
        assert "continue with: ch12 resume disk/sweep" in done.stderr
        ended = [path.parent.name for path in Path("disk/sweep").glob("*/result.json")]
        rows = {str(row.job): row.status for row in read_sweep_csv(Path("disk/sweep/sweep.csv"))}
        assert 2 < len(ended) < 60
        assert {job for job, status in rows.items() if status == "finished"} == set(ended)
        shutil.copytree("disk/sweep", "sweep")
        resume_sweep(Path("sweep"), callback=Looker(), trust=False)
        assert {row["status"] for row in table(Path("sweep")).values()} == {"finished"}
    finally:
        subprocess.run(["umount", "-l", "disk"], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("epochs", [20_000, 100_000])
@pytest.mark.parametrize("seconds", [4.0, 12.0])
def test_a_signal_ends_a_thousand_runs_soon_with_a_fresh_checkpoint(
    number: int, code: int, epochs: int, seconds: float, folder: Path
) -> None:
    process = started(f"epochs={epochs}", "seed=range(1024)")
    wait_for_workers(process)
    time.sleep(seconds)
    begun = time.monotonic()
    os.killpg(process.pid, number)
    errors = ended(process)
    assert time.monotonic() - begun < ENDS_WITHIN
    assert (process.returncode, "Traceback" in errors) == (code, False)
    assert "no time to write" not in errors
    paths = [path for path in (folder / "cut" / ".ch12").glob("stack-*.pt") if "previous" not in path.name]
    assert paths
    for path in paths:
        assert load(path)["epoch"] > 0
        assert time.time() - path.stat().st_mtime < ENDS_WITHIN + 0.5


def test_the_checkpoints_of_a_stack_have_their_own_names(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every=1, last="stack-0-aa.pt")
    for epoch in (1, 2):
        checkpoints.write({"epoch": epoch})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stack-0-aa.previous.pt", "stack-0-aa.pt"]
    assert [load(path)["epoch"] for path in (checkpoints.last, checkpoints.previous)] == [2, 1]
    checkpoints.remove()
    assert not checkpoints.exist()
