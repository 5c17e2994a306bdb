"""What is said of the jobs of a sweep that was interrupted: how far they came, and how to go on."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ch12cli.api import runs
from ch12cli.catalogue.entries import job_entries
from ch12cli.catalogue.names import find_run_directory
from ch12cli.catalogue.sweep_progress import SweepFollower
from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.locks import is_locked, locked
from ch12cli.training.checkpoint import load
from tests.sweeps.driver import sweep
from tests.sweeps.killed import exit_code, in_child
from tests.sweeps.test_sweep_resume import wait_for_a_stack

EPOCHS = 200_000
LONG = ("dataset=two_class", "dataset.size=40", "batch_size=8", f"epochs={EPOCHS}", "seed=range(8)")
CUT = Path("outputs/cut")
Lines = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Carries out a command line and gives all that it prints."""

    def text(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(list(words)) == code
        return "".join(capsys.readouterr())

    return text


def interrupt(*words: str, number: int = signal.SIGINT) -> None:
    """Trains a sweep until a checkpoint of a stack is there and it has gone on for a while."""
    child = in_child(lambda: sweep(*LONG, *words, into=str(CUT), signalled=True))
    wait_for_a_stack(CUT)
    time.sleep(0.3)
    os.kill(child, number)
    assert exit_code(child) == (0 if number == signal.SIGINT else -number)
    while is_locked(CUT):  # by workers that notice that they are alone
        time.sleep(0.01)


@pytest.mark.parametrize("words", [(), ("sweep.record=compact",)])
def test_an_interrupted_job_has_the_epochs_of_its_checkpoint(folder: Path, said: Lines, words: Sequence[str]) -> None:
    interrupt(*words)
    checkpoint = next(path for path in (CUT / ".ch12").glob("stack-*.pt") if "previous" not in path.name)
    epoch = load(checkpoint)["epoch"]
    assert 0 < epoch < EPOCHS
    listed = job_entries(CUT)
    assert {(entry.status, entry.values.get("epochs")) for entry in listed} == {("interrupted", epoch)}
    assert len(listed) == 8
    assert SweepFollower(CUT).read().epochs == 8 * epoch  # as `ch12 show` has it
    assert said("runs", "cut", "--limit", "1").splitlines()[1].split() == ["cut/7", "interrupted", str(epoch)]
    assert "none of the 8 runs" in said("runs", "cut", "--filter", f"epochs={EPOCHS}")
    assert {row["epochs"] for row in runs(CUT)} == {epoch}
    for verb in ("show", "eval", "predict", "resume"):
        text = said(verb, "cut/5", code=2)
        assert f"cut/5: job 5 was interrupted after epoch {epoch:,}, together with its stack" in text
        assert "`ch12 resume outputs/cut` goes on with it" in text


def test_a_job_of_a_killed_sweep_is_found_in_its_plan(folder: Path, said: Lines) -> None:
    interrupt(number=signal.SIGKILL)
    assert said("runs", "cut").startswith("no runs in cut")
    text = said("show", "cut/5", code=2)
    assert "job 5 " in text
    assert "`ch12 resume outputs/cut` " in text
    assert "was not started" not in text
    (CUT / ".ch12/progress.json").unlink(missing_ok=True)
    assert "cut/5: job 5 has not ended, and has no files before; `ch12 resume outputs/cut` trains it" in said(
        "show", "cut/5", code=2
    )
    with pytest.raises(InputError, match="cut/8: no such directory"):
        find_run_directory("cut/8")


def test_a_job_in_training_is_not_said_to_be_interrupted(folder: Path) -> None:
    interrupt()
    with locked(CUT, key=str(CUT)), pytest.raises(InputError, match=r"has not ended.*`ch12 watch outputs/cut` follows"):
        find_run_directory("cut/5")


def test_jobs_of_stacks_that_were_not_begun_are_said_not_to_be_started(folder: Path) -> None:
    interrupt("sweep.max_stacked=2", "sweep.processes=1")
    assert [entry.values.get("epochs") for entry in job_entries(CUT)][2:] == [None] * 6
    with pytest.raises(InputError, match="cut/5: job 5 was not started; `ch12 resume outputs/cut` trains"):
        find_run_directory("cut/5")
    with pytest.raises(InputError, match="cut/1: job 1 was interrupted after epoch"):
        find_run_directory("cut/1")


def test_a_job_whose_directory_is_gone_is_not_said_to_be_unstarted(folder: Path) -> None:
    directory = sweep("epochs=1", "batch_size=40", "seed=1,2").directory
    shutil.rmtree(directory / "1")
    with pytest.raises(InputError, match="job 1 has finished, but its directory is gone; `ch12 resume sweep` trains"):
        find_run_directory("sweep/1")


def test_a_damaged_job_does_not_have_the_epochs_of_its_configuration(folder: Path, said: Lines) -> None:
    directory = sweep("seed=1,2", "epochs=2", "batch_size=40", into="outputs/bad").directory
    lines = (directory / "sweep.csv").read_text().splitlines(keepends=True)
    (directory / "sweep.csv").write_text("".join(lines[:2]))
    (directory / "1/result.json").write_text("{")
    found = {entry.status: entry.values.get("epochs") for entry in job_entries(directory)}
    assert found == {"finished": 2, "damaged": None}
    assert {row["status"]: row["epochs"] for row in runs("outputs")} == found
    listed = said("runs", "bad", "--filter", "epochs=2 and dataset=iris").splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [["bad/0", "finished"]]
