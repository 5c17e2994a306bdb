"""The row of a job is the same from the running sweep and from its directory, and its command repeats the job.

Each sweep here runs in a process of its own, to its end or until SIGKILL. The rows of its table were made as the jobs
ended. Then the table is removed, and the rows are made again from the directories.
"""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.cli.main import main
from ch12cli.files.run_directory import RESULT, SWEEP
from ch12cli.files.sweep_csv import SweepRow, read_sweep_csv

MODELS = '''
import sys
import time

import torch


class Plain(torch.nn.Linear):
    """A network, or none for some seeds."""

    def __init__(self, in_features: int, out_features: int, fails: int = -1) -> None:
        super().__init__(in_features, out_features)
        if torch.initial_seed() == fails:
            raise ValueError('no network, "quoted",\\nfor this seed')


class Slow(torch.nn.Linear):
    def forward(self, x):
        time.sleep(0.02 if self.training else 0.0)
        return super().forward(x)
'''
SWEEPS: dict[str, list[str]] = {
    "finished and stopped early": ["optimizer=sgd", "optimizer.lr=0.0001,1", "early_stopping.patience=1", "epochs=6"],
    "halved": ["optimizer.lr=0.001,0.01,0.1,1", "epochs=4", "sweep.halving={metric:valid_loss,min_epochs:1,factor:2}"],
    "diverged": ["loss=mse", "dataset=toy_regression", "model=linear", "optimizer=sgd", "optimizer.lr=0.001,1e30"],
    "failed": ["model=plain", "seed=1,2,3", "model.fails=2"],
    "another metric": ["monitor=valid_accuracy,train_loss"],
}
COMPOSED = {
    "--config-dir": (["--config-dir", "mine"], ["model=plain", "model.fails=-1"]),
    "--config-name": (["--config-dir", "mine", "--config-name", "top"], []),
    "hydra.searchpath": (["hydra.searchpath=[file://{folder}/mine]"], ["model=plain", "model.fails=-1"]),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with classes of the user's own and the configuration that names them."""
    (tmp_path / "users_models.py").write_text(MODELS, encoding="utf-8")
    (tmp_path / "mine" / "model").mkdir(parents=True)
    for name, kind in (("plain", "Plain"), ("slow", "Slow")):
        text = f"_target_: users_models.{kind}\nin_features: 4\nout_features: 3\n" + "fails: -1\n" * (name == "plain")
        (tmp_path / "mine" / "model" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mine" / "top.yaml").write_text("defaults:\n  - config\n  - _self_\nseed: 7\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def start(folder: Path, *argv: str) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "ch12cli", "train", "-q", "-m", *argv, "device=cpu", "hydra.sweep.dir=sweep"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    return subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)


def rows_by_job(rows: list[SweepRow]) -> dict[int, SweepRow]:
    return {row.job: row for row in rows}


def metrics_of(directory: Path) -> list[dict[str, str]]:
    with open(directory / "metrics.csv", newline="", encoding="utf-8") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def require_repeated(row: SweepRow, sweep: Path, elsewhere: Path) -> None:
    """The row's command, given in another directory, trains the same run."""
    program, verb, *words = shlex.split(row.command)
    assert (program, verb) == ("ch12", "train")
    elsewhere.mkdir()
    before = Path.cwd()
    os.chdir(elsewhere)
    try:
        code = main(["train", "-q", *words, "hydra.run.dir=again"])
    finally:
        os.chdir(before)
    assert code == {"finished": 0, "diverged": 5, "failed": 2}[row.status]
    if row.status == "failed":
        return
    swept, again = metrics_of(sweep / row.directory), metrics_of(elsewhere / "again")
    if row.left_at is None:
        assert len(again) == len(swept)
    for left, right in zip(swept, again, strict=False):
        assert left.keys() == right.keys()
        for name in left:
            assert float(right[name]) == pytest.approx(float(left[name]), rel=1e-4, abs=1e-6)


def require_same_rows(folder: Path) -> dict[int, SweepRow]:
    """The rows of the table of a sweep that has ended, which its directories give as well."""
    told = rows_by_job(read_sweep_csv(folder / "sweep" / SWEEP))
    (folder / "sweep" / SWEEP).unlink()
    assert rows_by_job(read_sweep_rows(folder / "sweep")) == told
    return told


@pytest.mark.parametrize("name", SWEEPS)
def test_rows_are_the_same_from_the_sweep_and_from_its_directories(name: str, folder: Path) -> None:
    options = ["--config-dir", "mine"] if "model=plain" in SWEEPS[name] else []
    assert start(folder, *options, "epochs=3", "batch_size=16", *SWEEPS[name]).wait(timeout=300) in (0, 3)
    rows = require_same_rows(folder)
    endings = {
        "finished and stopped early": {(None, True), (None, False)},
        "halved": {(1, False), (2, False), (None, False)},
    }
    if name in endings:
        assert {(row.left_at, row.stopped_at is not None) for row in rows.values()} == endings[name]
    if name == "diverged":
        assert {row.status: row.diverged_at is not None for row in rows.values()} == {
            "finished": False,
            "diverged": True,
        }
    if name == "failed":
        assert [(row.status, row.error is not None) for row in rows.values()] == [
            ("finished", False),
            ("failed", True),
            ("finished", False),
        ]
    for job in (0, max(rows)) if name != "failed" else (0, 1):
        require_repeated(rows[job], folder / "sweep", folder / f"again{job}")


@pytest.mark.parametrize("name", COMPOSED)
def test_the_command_of_a_row_names_where_its_configuration_comes_from(name: str, folder: Path) -> None:
    options, lines = COMPOSED[name]
    argv = [word.format(folder=folder) for word in [*options, *lines]]
    assert start(folder, *argv, "epochs=2", "batch_size=16", "optimizer.lr=0.01,0.1").wait(timeout=300) == 0
    rows = require_same_rows(folder)
    require_repeated(rows[1], folder / "sweep", folder / "again")
    if name == "--config-name":
        hydra = (folder / "again" / "again" / ".hydra" / "config.yaml").read_text(encoding="utf-8")
        assert "seed: 7\n" in hydra


def test_rows_are_the_same_after_the_sweep_was_killed(folder: Path) -> None:
    lines = ["--config-dir", "mine", "model=slow", "seed=range(8)", "epochs=2", "batch_size=16"]
    process = start(folder, *lines, "sweep.max_stacked=1", "sweep.processes=1")
    table = folder / "sweep" / SWEEP
    deadline = time.monotonic() + 300
    while not (table.exists() and len(read_sweep_csv(table)) >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    told = rows_by_job(read_sweep_csv(table))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    ended = {
        int(path.parent.name)
        for path in (folder / "sweep").glob(f"*/{RESULT}")
        if json.loads(path.read_text(encoding="utf-8"))["status"] == "finished"
    }
    assert told.keys() <= ended
    told = rows_by_job(read_sweep_csv(table))
    table.unlink()
    found = rows_by_job(read_sweep_rows(folder / "sweep"))
    assert found.keys() == ended
    assert {job: found[job] for job in told} == told
    require_repeated(found[min(found)], folder / "sweep", folder / "again")
