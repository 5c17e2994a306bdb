"""`ch12 watch`: follows what another process trains, and disturbs nothing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ch12cli.catalogue.sweep_progress import SweepFollower
from ch12cli.cli.main import main
from ch12cli.files.result_json import read_result

CH12 = [sys.executable, "-m", "ch12cli"]
WORDS = ["train", "device=cpu", "-q", "batch_size=30", "threads=1"]


@contextmanager
def training(*words: str, until: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that trains, once a file is there. It is ended afterwards if it has not."""
    with subprocess.Popen([*CH12, *WORDS, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not until.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.slow
def test_a_run_is_followed_to_its_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with training("epochs=1500", "hydra.run.dir=run", until=folder / "run" / "metrics.csv") as process:
        assert main(["watch", "run"]) == 0
        assert process.wait(30) == 0
    lines = capsys.readouterr().out.splitlines()
    epochs = [int(line.split()[0]) for line in lines if line[:5].strip().isdigit()]
    assert len(epochs) > 5
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == 1500
    assert any(line.startswith("finished  1500 epochs") for line in lines)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.slow
def test_a_sweep_is_followed_to_its_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-m", "seed=range(30)", "epochs=600", "sweep.max_stacked=5", "sweep.fused=false", "hydra.sweep.dir=sweep"]
    with training(*words, until=folder / "sweep" / "sweep.csv") as process:
        assert main(["watch", "sweep"]) == 0
        assert process.wait(30) == 0
    text = capsys.readouterr().out
    assert "finished  30 finished" in text
    told = re.findall(r"(\d+) of 30 jobs: .*; ([\d,]+) of 18,000 epochs", text)
    ended, epochs = ([int(pair[place].replace(",", "")) for pair in told] for place in (0, 1))
    assert len(told) > 1
    assert (ended, epochs) == (sorted(ended), sorted(epochs))
    assert any(0 < done < 18_000 and done % 600 for done in epochs)  # within stacks too
    assert re.search(r"about \d+:\d\d left", text)
    assert not (folder / "sweep" / ".ch12" / "progress.json").exists()


def test_a_killed_sweep_is_shown_from_its_directories(folder: Path) -> None:
    assert main([*WORDS, "-m", "seed=range(4)", "epochs=2", "hydra.sweep.dir=sweep"]) == 0
    (folder / "sweep" / "sweep.csv").unlink()
    shutil.rmtree(folder / "sweep" / "3")
    (folder / "sweep" / ".ch12" / "progress.json").write_text(
        '{"format": 1, "began": 1, "stacks": [[[2, 3], 0, 1]]}', encoding="utf-8"
    )
    far = SweepFollower(folder / "sweep").read()
    assert (far.jobs, far.ended, far.epochs, far.total_epochs) == (4, {"finished": 3}, 7, 8)
    for damaged in ("[", "{}", '{"format": 1, "began": null, "stacks": [1]}'):
        (folder / "sweep" / ".ch12" / "progress.json").write_text(damaged, encoding="utf-8")
        assert SweepFollower(folder / "sweep").read().epochs == 6


@pytest.mark.slow
def test_ctrl_c_ends_watch_and_not_the_run(folder: Path) -> None:
    with training("epochs=100000", "hydra.run.dir=run", until=folder / "run" / "metrics.csv") as process:
        with subprocess.Popen([*CH12, "watch", "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
            assert watching.stdout is not None
            os.set_blocking(watching.stdout.fileno(), True)
            watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            _, errors = watching.communicate(timeout=30)
        assert watching.returncode == 130
        assert b"Traceback" not in errors
        rows = (folder / "run" / "metrics.csv").stat().st_size
        time.sleep(0.3)
        assert process.poll() is None
        assert (folder / "run" / "metrics.csv").stat().st_size > rows
    result = read_result(folder / "run" / "result.json")
    assert result is not None
    assert result.status == "interrupted"


def test_a_finished_run_is_shown_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "epochs=2", "hydra.run.dir=run"]) == 0
    capsys.readouterr()
    assert main(["watch", "run"]) == 0
    watched = capsys.readouterr().out
    assert main(["show", "run"]) == 0
    assert capsys.readouterr().out == watched


@pytest.mark.parametrize("words", [[], ["nothing"], ["."], ["a", "b"]])
def test_mistakes_are_said(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_watching_does_not_import_torch(folder: Path) -> None:
    assert main([*WORDS, "epochs=2", "hydra.run.dir=run"]) == 0
    code = "import sys; from ch12cli.cli.main import main; main(sys.argv[1:]); print('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "watch", "run"], capture_output=True, text=True, check=True)
    assert "torch" not in done.stdout.rpartition("\n ")[2].split()
