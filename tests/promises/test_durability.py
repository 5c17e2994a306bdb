"""Runs that are killed at any moment and resumed, against the run that nobody touched. Tolerance: zero."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ch12cli.errors import InputError, MachineError
from ch12cli.files.result_json import read_result
from ch12cli.run.start import train_single
from ch12cli.saved.resume import resume_run
from ch12cli.training.checkpoint import Checkpoints, load, save
from tests.conftest import Silent
from tests.sweeps.killed import STATEFUL, exit_code, in_child, kill_after, metrics, outcome, resume, start, trained

EPOCHS = 12
KILLS = 20


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """What the run comes to that nobody kills, and the seconds it takes."""
    directory = tmp_path_factory.mktemp("untouched") / "run"
    start(directory.with_name("first"), f"epochs={EPOCHS}")  # the first time, things are imported
    begun = time.monotonic()
    start(directory, f"epochs={EPOCHS}")
    return outcome(directory), time.monotonic() - begun


@pytest.mark.sample(2)
@pytest.mark.parametrize("share", [(number + 0.5) / KILLS for number in range(KILLS)])
def test_a_killed_and_resumed_run_equals_the_uninterrupted_run(
    share: float, untouched: tuple[dict[str, Any], float], folder: Path
) -> None:
    wanted, seconds = untouched
    directory = folder / "run"
    kill_after(share * seconds + random.uniform(0, seconds / KILLS), lambda: start(directory, f"epochs={EPOCHS}"))
    recover(directory)
    assert outcome(directory) == wanted


def recover(directory: Path) -> None:
    """Resumes a run; starts anew one that was killed before its configuration was written."""
    if not (directory / ".hydra" / "overrides.yaml").exists():
        if directory.is_dir():
            with pytest.raises(InputError, match="remove it and train the run again"):
                resume(directory)
            shutil.rmtree(directory)
        start(directory, f"epochs={EPOCHS}")
    else:
        resume(directory)


@pytest.mark.parametrize(
    "made", [(), (".hydra",), (".hydra", "checkpoints")], ids=lambda names: f"{len(names)} folders"
)
def test_a_run_killed_before_its_first_file_is_distinguished_from_other_directories(
    made: tuple[str, ...], folder: Path
) -> None:
    directory = folder / "run"
    directory.mkdir()
    for name in made:
        (directory / name).mkdir()
    with pytest.raises(InputError, match="was killed before it started and holds nothing; remove it"):
        resume(directory)
    shutil.rmtree(directory / "checkpoints", ignore_errors=True)
    (directory / "thesis.tex").touch()
    with pytest.raises(InputError, match="is not the directory of a run"):
        resume(directory)


@pytest.mark.slow
@pytest.mark.parametrize("last_words", ["before", "after"])
def test_a_run_killed_at_each_call_of_writing_its_first_checkpoints_is_recovered(
    last_words: str, untouched: tuple[dict[str, Any], float], folder: Path
) -> None:
    for number in range(1, 25, 4):
        directory = folder / f"{number}"
        child = in_child(lambda number=number, directory=directory: die_at(number, last_words, directory))
        assert exit_code(child) == -signal.SIGKILL
        recover(directory)
        assert outcome(directory) == untouched[0], f"killed {last_words} call {number}"
        leftover = [path.name for path in directory.rglob("*") if path.name.endswith((".tmp", ".new"))]
        assert not leftover


def die_at(number: int, when: str, directory: Path) -> None:
    """Runs until so many calls that make a file durable; is killed before or after the last of them."""
    calls = 0

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **options)
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    for name in ("fsync", "replace", "unlink", "rename"):
        setattr(os, name, deadly(getattr(os, name)))
    start(directory, f"epochs={EPOCHS}")


@pytest.mark.slow
def test_a_run_killed_after_early_stopping_is_not_trained_further(folder: Path) -> None:
    """The epoch in which it stopped is in the last checkpoint, but that it had ended is only in the result."""
    words = ("epochs=60", "early_stopping.patience=2", "early_stopping.min_delta=0.2")
    start(folder / "whole", *words)
    start(folder / "killed", *words)
    wanted = outcome(folder / "whole")
    assert 2 < len(wanted["metrics"]) < 40
    for name in ("result.json", "model.pt", "checkpoints/best.pt"):
        (folder / "killed" / name).unlink()
    resume(folder / "killed")
    assert outcome(folder / "killed") == wanted
    assert read_result(folder / "killed" / "result.json").stopped_at == len(wanted["metrics"]) - 1


class Keeper(Silent):
    """Keeps a copy of the run as it is on the disk after each epoch's checkpoint."""

    def __init__(self, directory: Path, copies: Path) -> None:
        super().__init__()
        self.directory, self.copies = directory, copies

    def on_step(self, done: int, steps: int) -> None: ...

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        # called before this epoch's checkpoint is written: the one there is of the epoch before
        shutil.copytree(self.directory, self.copies / str(int(row["epoch"]) - 1))


@pytest.fixture
def kept(folder: Path) -> Path:
    """A folder of copies of one run, made after each of its epochs; the whole run is in `whole`."""
    keeper = Keeper(folder / "whole", folder)
    train_single([*STATEFUL, f"epochs={EPOCHS}", f"hydra.run.dir={folder / 'whole'}"], callback=keeper, log=False)
    return folder


@pytest.mark.slow
def test_a_resume_from_every_epochs_checkpoint_equals_the_uninterrupted_run(kept: Path) -> None:
    wanted = outcome(kept / "whole")
    states = [trained(kept / str(epoch) / "checkpoints" / "last.pt") for epoch in range(EPOCHS)]
    assert len({*states, wanted["last"]}) == EPOCHS + 1  # so that this test can fail
    for epoch in range(EPOCHS):
        resume(kept / str(epoch))
        assert outcome(kept / str(epoch)) == wanted, f"from epoch {epoch}"
        result = read_result(kept / str(epoch) / "result.json")
        assert result is not None
        assert [sitting["epoch"] for sitting in result.history["resumed"]] == [epoch]


@pytest.mark.slow
def test_a_moved_run_resumes_with_other_workers_and_checkpoint_intervals(kept: Path) -> None:
    (kept / "elsewhere").mkdir()
    moved = (kept / "5").rename(kept / "elsewhere" / "moved")
    resume(moved, "workers=2", "checkpoint.every=4")
    assert outcome(moved) == outcome(kept / "whole")


def test_a_damaged_checkpoint_is_skipped_and_reported(kept: Path) -> None:
    last = kept / "6" / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:-100])
    said = resume(kept / "6")
    assert outcome(kept / "6") == outcome(kept / "whole")
    assert any(warning and "skipped" in text and "last.pt" in text for text, warning in said.messages)


def test_an_extended_run_equals_one_with_all_epochs_from_the_start(folder: Path) -> None:
    constant = ("scheduler=none", "batch_size=16")
    start(folder / "long", *constant, "epochs=9")
    start(folder / "short", *constant, "epochs=5")
    resume(folder / "short", "epochs=9")
    assert outcome(folder / "short") == outcome(folder / "long")


def test_a_finished_run_is_left_as_it_is(kept: Path) -> None:
    def stamps() -> dict[str, tuple[int, int]]:
        files = [path for path in (kept / "whole").rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}

    before = stamps()
    assert len(before) > 6
    assert resume_run(kept / "whole", [], callback=Silent()) is None
    assert stamps() == before


@pytest.mark.sample(2)
@pytest.mark.parametrize("words", ["optimizer.lr=0.5", "batch_size=4", "seed=2", "scheduler.eta_min=0.1"])
def test_changes_that_make_a_different_run_are_refused_by_name(words: str, kept: Path) -> None:
    key, _, value = words.partition("=")
    before = (kept / "3" / "checkpoints" / "last.pt").read_bytes()
    with pytest.raises(InputError, match=f"{key}: .* in the run, {value} now.*--fork"):
        resume(kept / "3", words)
    with pytest.raises(InputError, match="epochs=2: the run has trained 3 epochs already"):
        resume(kept / "3", "epochs=2")
    with pytest.raises(InputError, match="did you mean"):
        resume(kept / "3", "optimizer.lrr=1")
    assert (kept / "3" / "checkpoints" / "last.pt").read_bytes() == before


def test_a_fork_continues_with_changes_and_records_its_parent(kept: Path) -> None:
    before = (kept / "3" / "checkpoints" / "last.pt").read_bytes()
    resume(kept / "3", "optimizer.betas=[0.5,0.9]", fork=True)
    assert (kept / "3" / "checkpoints" / "last.pt").read_bytes() == before
    assert not (kept / "3" / "result.json").exists()
    result = read_result(kept / "3-fork" / "result.json")
    assert result is not None
    assert result.history["parent"]["directory"] == str(kept / "3")
    assert (result.history["parent"]["epoch"], result.epochs) == (3, EPOCHS)
    assert result.history["parent"]["changes"] == {"optimizer.betas": [0.5, 0.9]}
    forked, whole = metrics(kept / "3-fork"), metrics(kept / "whole")
    assert forked[:4] == whole[:4]
    assert all(mine != theirs for mine, theirs in zip(forked[4:], whole[4:], strict=True))


@pytest.mark.slow
def test_another_environment_is_reported_in_one_line_and_recorded(kept: Path) -> None:
    path = kept / "4" / "checkpoints" / "last.pt"
    state = load(path)
    environment = {**json.loads(state["environment"]), "torch": "1.0"}
    save(path, {**state, "environment": json.dumps(environment)})
    said = resume(kept / "4")
    lines = [text for text, warning in said.messages if warning and "torch 1.0 ->" in text]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    result = read_result(kept / "4" / "result.json")
    assert result is not None
    assert any("torch 1.0 ->" in text for text in result.history["resumed"][0]["environment"])


def test_a_run_whose_data_have_changed_is_not_resumed(kept: Path) -> None:
    path = kept / "4" / "checkpoints" / "last.pt"
    save(path, {**load(path), "data_digest": "0" * 64})
    before = path.read_bytes()
    with pytest.raises(InputError, match="other data than it was trained on"):
        resume(kept / "4")
    assert path.read_bytes() == before


@pytest.mark.parametrize("done", [1, 2])
def test_a_signal_between_the_renames_of_a_checkpoint_does_not_block_later_ones(
    done: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(folder, every=1)
    for epoch in (1, 2):
        checkpoints.write({"epoch": epoch})
    rename, calls = os.replace, 0

    def interrupted(source: Path, target: Path) -> None:
        nonlocal calls
        rename(source, target)
        if target.name in ("previous.pt", "last.pt"):
            calls += 1
            if calls == done:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.write({"epoch": 3})
    checkpoints.write({"epoch": 4})
    assert load(checkpoints.last)["epoch"] == 4
    assert load(checkpoints.previous)["epoch"] in (2, 3)


def test_everything_a_checkpoint_needs_is_on_disk_before_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders' names, the configuration as Hydra wrote it, the file itself: a power cut loses none of them."""
    flush, rename, done = os.fsync, os.replace, []

    def noted(handle: int) -> None:
        flush(handle)
        done.append(os.readlink(f"/proc/self/fd/{handle}").removeprefix(f"{folder}/"))

    def renamed(source: Path, target: Path) -> None:
        done.append(f"-> {target.name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", renamed)
    start(Path("new") / "run", "epochs=2")
    before = done[: done.index("-> last.pt")]
    configuration = {f"new/run/.hydra/{name}.yaml" for name in ("config", "hydra", "overrides")}
    assert {str(folder), "new", "new/run", "new/run/.hydra", *configuration} <= set(before)
    assert before[-1].startswith("new/run/checkpoints/.last.pt.")
    assert done[done.index("-> last.pt") + 1] == "new/run/checkpoints"


def test_a_run_whose_directory_is_removed_stops_training(folder: Path) -> None:
    class Remover(Silent):
        def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
            super().on_epoch_end(row)
            if row["epoch"] == 3:
                (folder / "run").rename(folder / "elsewhere")

    callback = Remover()
    words = [*STATEFUL, "checkpoint.every=1000000", "epochs=100000", f"hydra.run.dir={folder / 'run'}"]
    with pytest.raises(MachineError, match=r"run/metrics.csv: No such file or directory"):
        train_single(words, callback=callback, log=False)
    assert len(callback.rows) == 3
    assert not (folder / "run").exists()
    (folder / "elsewhere").rename(folder / "back")
    resume(folder / "back", "epochs=5")
