"""Runs and sweeps in the formats of other versions: those of version 0.1.0 are read, newer ones are refused.

`format_1/` holds a run and a sweep of six jobs, five of which halving took out, as version 0.1.0 wrote them.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.files.plan_json import count_planned, read_plan
from ch12cli.files.result_json import Result, read_result, seal
from ch12cli.files.sealed_json import checksum
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.training.checkpoint import fingerprint

FORMAT_1 = Path(__file__).parent / "format_1"
LEFT = {0: 4, 1: 2, 2: 4, 4: 2, 5: 2}  # the epochs after which halving took jobs out
NEWER = "written by a newer ch12 .format 99; this version reads up to [23].: upgrade ch12"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of the run and the sweep."""
    for name in ("run", "sweep"):
        shutil.copytree(FORMAT_1 / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(list(argv)) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_the_result_of_a_run_of_format_1_is_read() -> None:
    content = json.loads((FORMAT_1 / "run" / "result.json").read_text(encoding="utf-8"))
    assert "format" not in content
    result = read_result(FORMAT_1 / "run" / "result.json")
    assert result is not None
    assert (result.status, result.epochs, result.objective) == ("finished", 6, content["objective"])
    assert (result.final, result.best, result.files) == (content["final"], content["best"], content["files"])


@pytest.mark.parametrize(
    ("old_fields", "fields"),
    [
        ({"stopped_early": 7}, {"stopped_at": 7}),
        ({"left_at": 4}, {"left_at": 4}),
        ({"status": "diverged", "diverged": {"epoch": 3, "step": 9}}, {"diverged_at": 3, "diverged_step": 9}),
        ({"status": "failed", "cause": "ValueError: no"}, {"error": "ValueError: no"}),
    ],
    ids=str,
)
def test_the_ending_of_a_result_of_format_1_becomes_fields(old_fields: dict[str, Any], fields: dict[str, Any]) -> None:
    result = Result.from_json(seal({"status": "finished", "epochs": 7, **old_fields}), "result.json")
    names = ("left_at", "stopped_at", "diverged_at", "diverged_step", "error")
    assert {name: value for name in names if (value := getattr(result, name)) is not None} == fields


def test_the_table_and_the_plan_of_a_sweep_of_format_1_are_read() -> None:
    rows = read_sweep_csv(FORMAT_1 / "sweep" / "sweep.csv")
    assert [row.job for row in rows] == list(range(6))
    assert {row.job: row.left_at for row in rows if row.left_at is not None} == LEFT
    plan = read_plan(FORMAT_1 / "sweep")
    assert len(plan.jobs) == count_planned(FORMAT_1 / "sweep") == 6
    assert {plan.epochs(job) for job in plan.jobs} == {8}


def test_a_run_of_format_1_is_listed_shown_compared_evaluated_and_repeated(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = printed(capsys, "runs", str(old), "--format", "csv").splitlines()
    assert len(listed) == 3
    assert "finished  6 epochs" in printed(capsys, "show", "run")
    assert "epochs" in printed(capsys, "compare", "run", "sweep/3")
    assert "loss" in printed(capsys, "eval", "run", "--split", "valid")
    Path("rows.csv").write_text("x1,x2\n0.5,0.5\n", encoding="utf-8")
    printed(capsys, "predict", "run", "rows.csv")
    capsys.readouterr()
    main(["repro", "run", "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["messages"]) == ([], [])
    assert max(found["weights"], found["losses"]) < 1e-6  # not 0 on every processor: torch has kernels for each


def test_a_run_of_format_1_is_resumed(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (old / "run" / "metrics.csv").read_text(encoding="utf-8")
    printed(capsys, "resume", "-q", "run", "epochs=8", "early_stopping.patience=2")
    assert (old / "run" / "metrics.csv").read_text(encoding="utf-8").startswith(before)
    result = read_result(old / "run" / "result.json")
    assert result is not None
    assert result.epochs == 8
    assert json.loads((old / "run" / "result.json").read_text(encoding="utf-8"))["format"] == 2


def test_a_sweep_of_format_1_is_shown_and_resumed(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "5 left by halving: 3 after epoch 2, 2 after epoch 4" in printed(capsys, "show", "sweep")
    shutil.rmtree(old / "sweep" / "3")
    table = (old / "sweep" / "sweep.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (old / "sweep" / "sweep.csv").write_text("".join(line for line in table if not line.startswith("3,")))
    printed(capsys, "resume", "-q", "sweep")
    rows = read_sweep_csv(old / "sweep" / "sweep.csv")
    assert [(row.job, row.status) for row in rows] == [(job, "finished") for job in range(6)]
    assert {row.job: row.left_at for row in rows if row.left_at is not None} == LEFT
    header = (old / "sweep" / "sweep.csv").read_text(encoding="utf-8").partition("\n")[0].split(",")
    assert "left_at" in header
    assert "cause" not in header


def newer_result(old: Path) -> None:
    path = old / "run" / "result.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["checksum"]
    path.write_bytes(seal({"format": 99, **content}))


def newer_plan(old: Path) -> None:
    path = old / "sweep" / ".ch12" / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    del plan["checksum"]
    plan = {"format": 99, "job_count": 6, **plan}
    path.write_text(json.dumps({**plan, "checksum": checksum(plan)}), encoding="utf-8")


def newer_checkpoint(old: Path) -> None:
    path = old / "run" / "checkpoints" / "last.pt"
    state = torch.load(path, weights_only=True)
    del state["fingerprint"]
    state = {**state, "format": 99}
    torch.save({**state, "fingerprint": fingerprint(state)}, path)


@pytest.mark.parametrize(
    ("change", "argv"),
    [
        (newer_result, ["show", "run"]),
        (newer_result, ["resume", "run", "epochs=8"]),
        (newer_plan, ["show", "sweep"]),
        (newer_plan, ["resume", "sweep"]),
        (newer_checkpoint, ["resume", "run", "epochs=8"]),
        (newer_checkpoint, ["eval", "run"]),
    ],
)
def test_a_newer_format_is_refused(
    change: Callable[[Path], None], argv: list[str], old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(old)
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert re.search(NEWER, " ".join(printed(capsys, *argv, code=2).split()))
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_a_newer_run_and_sweep_are_listed_as_newer(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer_result(old)
    newer_plan(old)
    assert printed(capsys, "runs", str(old), "--format", "csv").count(",newer,") == 2
