"""The row of a job is the same from the running sweep and from its directory, and its command repeats the job.

Each sweep here runs in a process of its own and is killed while its last job trains. Its table has the rows that were
written as the other jobs ended. The same rows must come from the directories alone, and from the table that
`ch12 resume` writes. They agree in `seconds` too, because that is a field of result.json. Only a job that is trained
again, because it was killed, takes other seconds.
"""

import csv
import os
import shlex
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.cli.main import main
from ch12cli.files.plan_json import read_plan
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import METRICS, RESULT, SWEEP
from ch12cli.files.sweep_csv import SweepRow, read_sweep_csv
from tests.sweeps.killed import exit_code, in_child

HALVING = {"sweep.halving": {"metric": "valid_loss", "min_epochs": 1, "factor": 2}, "model.width": 4}
# A job for each way to end, by a name. The last job waits for a file until the sweep is killed.
JOBS: dict[str, dict[str, object]] = {
    "finished": {"optimizer.lr": 0.01},
    "also finished": {"optimizer.lr": 0.02, "seed": 3},
    "other metric": {"monitor": "valid_accuracy", "dataset.valid_size": 0.2, "seed": 3},
    "also other metric": {"monitor": "valid_accuracy", "dataset.valid_size": 0.2, "seed": 4},
    "training metric": {"monitor": "train_loss"},
    "stopped early": {"optimizer.lr": 1e-9, "early_stopping.patience": 1, "early_stopping.min_delta": 1.0},
    "diverged": {"optimizer.lr": 1e30},
    "left first": {**HALVING, "optimizer.lr": 1e-5},
    "left first too": {**HALVING, "optimizer.lr": 1e-4},
    "left second": {**HALVING, "optimizer.lr": 1e-2},
    "stayed": {**HALVING, "optimizer.lr": 1e-1},
    "no network": {"model": "unlucky", "model.raises": 1},
    "failed in training": {"model": "raising"},
    "process killed": {"model": "unlucky", "model.killed": 1},
    "sweep killed": {"model": "waiting"},
}
# The status and the fields of those that do not finish all their epochs.
ENDINGS = {
    "stopped early": ("finished", {"stopped_at": 2}),
    "diverged": ("diverged", {"diverged_at": 1}),
    "left first": ("finished", {"left_at": 1}),
    "left first too": ("finished", {"left_at": 1}),
    "left second": ("finished", {"left_at": 2}),
    "no network": ("failed", {}),
    "failed in training": ("failed", {}),
    "process killed": ("failed", {}),
}
EXIT_CODES = {"finished": 0, "diverged": 5, "failed": 2}
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 3},
    "unlucky": {"_target_": "tests.sweeps.networks.Unlucky", "raises": -1, "killed": -1},
    "raising": {"_target_": "tests.sweeps.networks.RaisesInForward"},
    "waiting": {"_target_": "tests.sweeps.networks.Waiting", "file": "", "batches": 8},
}
# How the jobs of a sweep may be composed. {folder} is the user's own.
COMPOSED = {
    "--config-name": ["--config-dir", "mine", "--config-name", "top"],
    "hydra.searchpath": ["hydra.searchpath=[file://{folder}/mine]"],
}


@pytest.fixture
def folder(folder: Path) -> Path:
    """A folder with a user's own configuration: the networks above, and the configuration `top`."""
    (folder / "mine" / "model").mkdir(parents=True)
    for name, settings in NETWORKS.items():
        settings = {**settings, "file": str(folder / "go")} if "file" in settings else settings
        (folder / "mine" / "model" / f"{name}.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (folder / "mine" / "top.yaml").write_text("defaults:\n  - config\n  - _self_\nseed: 7\n", encoding="utf-8")
    return folder


def end_while_the_last_job_trains(*argv: str, jobs: int, by: signal.Signals = signal.SIGKILL) -> list[str]:
    """Runs a sweep until all its jobs but the last have rows, and ends it by a signal.

    Returns the lines of its table at that moment.
    """
    words = [*argv, "epochs=3", "batch_size=16", "device=cpu", "sweep.processes=1", "hydra.sweep.dir=sweep"]

    def work() -> None:
        os.setsid()  # a process group of its own, with its workers
        main(["train", "-q", "-m", *words])

    child = in_child(work)
    table, last = Path("sweep", SWEEP), Path("sweep", str(jobs - 1), METRICS)
    deadline = time.monotonic() + 120
    try:
        while not (table.exists() and len(read_sweep_csv(table)) == jobs - 1 and len(metrics_of(last)) == 1):
            assert os.waitpid(child, os.WNOHANG) == (0, 0), "the sweep ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        lines = table.read_text(encoding="utf-8").splitlines()
        if by != signal.SIGKILL:
            os.kill(child, by)
            os.waitpid(child, 0)
    finally:
        with suppress(ProcessLookupError, ChildProcessError):  # it and its workers have ended
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return lines


def metrics_of(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a metrics.csv without the seconds; none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def by_job(rows: Sequence[SweepRow]) -> dict[int, SweepRow]:
    return {row.job: row for row in rows}


def rows_of_table() -> dict[int, SweepRow]:
    return by_job(read_sweep_csv(Path("sweep", SWEEP)))


def rows_of_directories() -> dict[int, SweepRow]:
    """Returns the rows of the ended jobs, read without the table."""
    Path("sweep", SWEEP).rename("table")
    rows = by_job(read_sweep_rows(Path("sweep")))
    Path("table").rename(Path("sweep", SWEEP))
    return rows


def require_same_rows_after_resume(lines: Sequence[str]) -> dict[int, SweepRow]:
    """Checks the rows of a killed sweep, resumes it, and checks them again. Returns all rows.

    lines: of its table, before it was killed.
    """
    told = rows_of_table()
    assert rows_of_directories() == told
    Path("go").touch()
    failed = any(row.status == "failed" for row in told.values())
    assert main(["resume", "-q", "sweep", "--trust"]) == (3 if failed else 0)
    assert set(lines) <= set(Path("sweep", SWEEP).read_text(encoding="utf-8").splitlines())
    rows = rows_of_table()
    assert rows_of_directories() == rows
    assert rows.keys() == {*told, max(told) + 1}
    return rows


def require_repeated(row: SweepRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that the row's command, given in another directory, trains the same run.

    A job that halving removed has fewer epochs. The metrics of a stack may differ by rounding.
    """
    program, verb, *words = shlex.split(row.command)
    assert (program, verb) == ("ch12", "train")
    swept, result = metrics_of(Path("sweep", row.directory, METRICS)), read_result(Path("sweep", row.directory, RESULT))
    assert result is not None
    elsewhere = Path("elsewhere", row.directory)
    elsewhere.mkdir(parents=True)
    argv = ["train", "-q", *words, "hydra.run.dir=again"]
    with monkeypatch.context() as patch:
        patch.chdir(elsewhere)
        if "signal 9" in (row.error or ""):  # it kills the process that trains it
            assert exit_code(in_child(lambda: main(argv))) == -signal.SIGKILL
        else:
            assert main(argv) == EXIT_CODES[row.status]
    again = metrics_of(elsewhere / "again" / METRICS)
    assert len(swept) == row.epochs
    assert len(again) == (3 if row.left_at is not None else len(swept))
    if not result.stacked:
        assert again == swept
    for left, right in zip(swept, again, strict=row.left_at is None):
        assert left.keys() == right.keys()
        for name in left:
            assert float(right[name]) == pytest.approx(float(left[name]), rel=1e-4, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [[], pytest.param(["sweep.max_stacked=1"], marks=pytest.mark.slow)], ids=["stacked", "single"]
)
def test_rows_of_ended_jobs_are_the_same_after_the_sweep_was_killed(
    options: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("jobs.yaml").write_text(yaml.safe_dump([*JOBS.values()]), encoding="utf-8")
    argv = ["--config-dir", "mine", "--jobs", "jobs.yaml", *options]
    rows = require_same_rows_after_resume(end_while_the_last_job_trains(*argv, jobs=len(JOBS)))
    assert len(rows) == len(JOBS)
    for row, name in zip(rows.values(), JOBS, strict=True):
        found = {field: getattr(row, field) for field in ("left_at", "stopped_at", "diverged_at")}
        ending = row.status, {field: value for field, value in found.items() if value is not None}
        assert ending == ENDINGS.get(name, ("finished", {}))
        assert (row.error is not None) == (row.status == "failed")
        require_repeated(row, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPOSED)
def test_the_command_of_a_job_names_its_configuration_folders(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [word.format(folder=folder) for word in COMPOSED[name]]
    rows = require_same_rows_after_resume(
        end_while_the_last_job_trains("model=plain,waiting", "optimizer.lr=0.1", *options, jobs=2)
    )
    for row in rows.values():
        require_repeated(row, monkeypatch)
    seed = (folder / "elsewhere" / "0" / "again" / ".hydra" / "config.yaml").read_text(encoding="utf-8")
    assert ("seed: 7\n" in seed) == (name == "--config-name")


@pytest.mark.parametrize("by", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_the_row_of_an_interrupted_job_is_the_same_from_its_directory(
    by: signal.Signals, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--config-dir", "mine", "model=plain,waiting"]
    lines = end_while_the_last_job_trains(*argv, jobs=2, by=by)
    plan, told = read_plan(Path("sweep")), rows_of_table()
    assert {job: row.status for job, row in told.items()} == {0: "finished", 1: "interrupted"}
    assert {job.number: SweepRow.of_directory(plan.facts(job), Path("sweep")) for job in plan.jobs} == told
    Path("go").touch()
    assert main(["resume", "-q", "sweep", "--trust"]) == 0
    assert set(lines) <= set(Path("sweep", SWEEP).read_text(encoding="utf-8").splitlines())
    rows = rows_of_table()
    assert rows_of_directories() == rows
    assert (rows[1].status, rows[1].command) == ("finished", told[1].command)
    require_repeated(rows[1], monkeypatch)
