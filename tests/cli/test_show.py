"""`ch12 show`: what it says of runs and sweeps, sound, damaged and hostile."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.metrics_csv import check_metrics, read_metrics, read_sample
from ch12cli.files.result_json import seal
from ch12cli.plots.plot import Lines
from ch12cli.plots.recorded import sweep_curves

WORDS = ["train", "device=cpu", "-q", "epochs=4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert main([*WORDS, "hydra.run.dir=run", "optimizer.lr=0.01", "model.width=7"]) == 0
        assert (
            main([*WORDS, "hydra.sweep.dir=sweep", "-m", "seed=1,2,3", "optimizer=sgd", "optimizer.lr=0.1,1e30"]) == 0
        )
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def shown(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(trained)
    capsys.readouterr()

    def of(*words: str) -> str:
        assert main(["show", *words]) == 0
        return capsys.readouterr().out

    return of


def test_a_run_is_shown_with_its_metrics_its_curve_and_the_command_that_repeats_it(
    shown: Callable[..., str], trained: Path
) -> None:
    text = shown("run")
    result = json.loads((trained / "run" / "result.json").read_text(encoding="utf-8"))
    assert text.startswith("finished  4 epochs")
    assert f"{result['test']['accuracy']:.4f}" in text
    assert f"{result['final']['valid_loss']:#.4g}" in text
    assert "valid loss" in text.partition("epoch  1")[2]
    assert "repeat       ch12 train device=cpu epochs=4 optimizer.lr=0.01 model.width=7" in text
    assert f"parameters   {4 * 7 + 7 + 7 * 3 + 3}" in text


def test_a_sweep_is_shown_with_its_varying_keys_and_its_errors(shown: Callable[..., str], trained: Path) -> None:
    text = shown("sweep")
    with open(trained / "sweep" / "sweep.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    objectives = [float(row["objective"]) for row in rows if row["status"] == "finished"]
    assert len(objectives) == 3
    assert "3 finished, 3 diverged" in text
    assert "best valid loss" in text
    assert any(line.split()[1] == f"{mean(objectives):.4f}" for line in text.splitlines() if line.startswith("0.1 "))
    assert "no longer finite" in text


def test_a_run_that_was_resumed_and_killed_is_shown_as_far_as_it_came(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained / "run", tmp_path / "run")
    with (run / "metrics.csv").open("a") as file:  # the second session wrote an epoch, and no result
        file.write((run / "metrics.csv").read_text().splitlines()[-1].replace("4,", "5,", 1) + "\n")
    os.utime(run / "metrics.csv", (2e9, 2e9))
    config = run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 4", "epochs: 9"))
    capsys.readouterr()
    assert main(["show", str(run)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("killed  after 5 of 9 epochs\n")
    assert f"go on        ch12 resume {run}\n" in text


def test_a_run_and_a_sweep_are_shown_as_json(shown: Callable[..., str], trained: Path) -> None:
    run = json.loads(shown("run", "--format", "json"))
    result = json.loads((trained / "run" / "result.json").read_text(encoding="utf-8"))
    assert (run["directory"], run["kind"], run["status"], run["resume"]) == ("run", "run", "finished", None)
    assert run["result"]["test"] == result["test"]
    assert run["settings"]["model.width"] == 7
    assert run["commands"] == ["ch12 train device=cpu epochs=4 optimizer.lr=0.01 model.width=7"]
    sweep = json.loads(shown("sweep", "--format", "json"))
    rows = list(csv.DictReader((trained / "sweep" / "sweep.csv").read_text(encoding="utf-8").splitlines()))
    assert [job["status"] for job in sweep["jobs"]] == [row["status"] for row in rows]
    assert [job["command"] for job in sweep["jobs"]] == [row["command"] for row in rows]
    assert (sweep["planned_jobs"], sweep["jobs_by_status"]) == (6, {"finished": 3, "diverged": 3})


def test_train_resume_and_repro_answer_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*words, "--format", "json"]) == code
        return json.loads(capsys.readouterr().out)

    assert answer("train", "epochs=1", "device=cpu", "hydra.run.dir=r")["result"]["epochs"] == 1
    assert answer("resume", "r", "epochs=2")["result"]["epochs"] == 2
    assert answer("repro", "r")["same"] is True
    diverging = ("optimizer=sgd", "optimizer.lr=1e30", "device=cpu")
    assert answer("train", *diverging, "hydra.run.dir=d", code=5)["status"] == "diverged"
    assert answer("train", "-m", "seed=1,2", "epochs=1", "device=cpu")["jobs_by_status"] == {"finished": 2}


def test_a_killed_sweep_is_shown_with_the_jobs_on_disk(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = shutil.copytree(trained / "sweep", tmp_path / "sweep")
    (sweep / "sweep.csv").unlink()
    shutil.rmtree(sweep / "0")
    capsys.readouterr()
    assert main(["show", str(sweep)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("killed  2 finished, 3 diverged of 6 jobs")
    assert "  20 of 24 epochs over all jobs" in text
    assert f"go on        ch12 resume {sweep}\n" in text
    assert "no longer finite" in text
    assert main(["show", str(sweep / "2")]) == 0


def test_the_best_setting_of_a_killed_sweep_has_all_its_seeds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = folder / "sweep"
    words = ["optimizer.lr=0.001,0.1", "seed=1,2,3", "epochs=2", "device=cpu", f"hydra.sweep.dir={sweep}"]
    assert main(["train", "-m", *words, "-q"]) == 0
    assert "best of 2 settings: optimizer.lr=0.1\n" in (shown_of(sweep, capsys))
    lines = (sweep / "sweep.csv").read_text().splitlines(keepends=True)
    (sweep / "sweep.csv").write_text("".join(lines[:-1]))  # as a kill leaves it: the last job was not recorded
    shutil.rmtree(sweep / "5")
    text = shown_of(sweep, capsys)
    assert "best of 2 settings, 1 of them incomplete: optimizer.lr=0.001\n" in text
    assert "5 finished of 6 jobs" in text
    assert main(["compare", str(sweep), "--format", "csv"]) == 0
    first = next(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert first["optimizer.lr"] == "0.001"
    first_panel = sweep_curves(sweep).panels[0]
    assert isinstance(first_panel, Lines)
    assert first_panel.lines[0].name == "lr=0.001 (3 runs)"
    assert main(["train", "--best-of", str(sweep), "epochs=1", "hydra.run.dir=best", "-q"]) == 0
    assert "optimizer.lr=0.001" in (folder / "best" / ".hydra" / "overrides.yaml").read_text()


def shown_of(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["show", str(path)]) == 0
    return capsys.readouterr().out


def test_overwritten_metrics_make_a_run_damaged_and_a_diverged_run_gives_its_reason(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained / "run", tmp_path / "run")
    (run / "metrics.csv").write_bytes(bytes(range(256)))
    os.utime(run / "metrics.csv", (2e9, 2e9))
    capsys.readouterr()
    assert main(["show", str(run)]) == 0
    assert capsys.readouterr().out.startswith("damaged")
    assert main(["show", str(trained / "sweep" / "1")]) == 0
    assert "the loss was no longer finite in epoch 1" in capsys.readouterr().out


def test_the_readable_parts_of_a_killed_or_damaged_run_are_shown(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = shutil.copytree(trained / "run", tmp_path / "killed")
    (killed / "result.json").unlink()
    (killed / "metrics.csv").write_bytes((killed / "metrics.csv").read_bytes()[:-20])
    capsys.readouterr()
    assert main(["show", str(killed)]) == 0
    assert capsys.readouterr().out.startswith("killed  after 3 of 4 epochs")
    for name in ("result.json", "metrics.csv", ".hydra/config.yaml", ".hydra/overrides.yaml"):
        damaged = shutil.copytree(trained / "run", tmp_path / name.replace("/", "-"))
        (damaged / name).write_bytes(b"\xff\xfe\x1b[31m{[")
        assert main(["show", str(damaged)]) == 0
        captured = capsys.readouterr()
        assert bool(captured.err) == (not name.startswith("."))
        assert "\x1b" not in captured.out + captured.err


@pytest.mark.parametrize(
    "change",
    [
        {"final": "text"},
        {"final": {"epoch": 10**400, "train_loss": {}}},
        {"test": [1, 2]},
        {"test": {"loss": "x", "accuracy": []}},
        {"seconds": "soon"},
        {"seconds": 10**400},
        {"epochs": "many"},
        {"environment": "here"},
        {"data": ["x"]},
        {"monitor": 3, "objective": [1]},
        {"status": ["finished"]},
        {"error": {"a": "\x1b[2J"}},
        {"parameters": "\x1b[2J"},
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["show", "runs", "compare"])
def test_a_hostile_result_is_shown_or_refused_without_a_traceback(
    change: dict[str, Any], verb: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained / "run", tmp_path / "run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    del result["checksum"]
    (run / "result.json").write_bytes(seal({**result, **change}))
    capsys.readouterr()
    words = {
        "show": [["show", str(run)]],
        "runs": [["runs", str(run)], ["runs", str(run), "--sort", "status", "--format", "csv"]],
        "compare": [["compare", str(run), str(trained / "run")], ["compare", *[str(run)] * 5]],
    }
    for line in words[verb]:
        assert main(line) in (0, 2)
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out.replace("\x1b[0m", "") + captured.err


def test_metrics_are_read_up_to_the_last_complete_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert read_metrics(path) == []
    path.write_text("epoch,train_loss\n1,0.5\n2,nan\n3,0.", encoding="utf-8")
    assert [row["epoch"] for row in read_metrics(path)] == [1, 2]


def test_evenly_spaced_rows_of_a_long_file_are_read_and_damage_is_still_found(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert read_sample(path, 3) == ([], 0)
    lines = ["epoch,train_loss,lr", *(f"{n},{n / 7!r},nan" for n in range(1, 22))]
    path.write_text("\n".join([*lines, "22,"]))
    rows, epochs = read_sample(path, 3)
    assert ([row["epoch"] for row in rows], epochs) == ([1, 11, 21], 21)
    assert rows[1]["train_loss"] == 11 / 7
    assert len(read_sample(path, 21)[0]) == len(read_sample(path)[0]) == 21
    check_metrics(path.read_bytes(), path)
    for line in ("3,0.5", "3,x,nan", "3,0.5,nan,1"):
        path.write_text("\n".join([*lines[:3], line, *lines[4:], ""]))
        with pytest.raises(InputError, match=r"metrics.csv: damaged"):
            read_sample(path, 3)
        with pytest.raises(InputError, match=r"metrics.csv: damaged"):
            check_metrics(path.read_bytes(), path)


@pytest.mark.slow
def test_showing_does_not_import_torch(trained: Path) -> None:
    code = "import sys; from ch12cli.cli.main import main; main(sys.argv[1:]); print('\\n', *sys.modules)"
    for what in ("run", "sweep"):
        words = [sys.executable, "-c", code, "show", what]
        done = subprocess.run(words, cwd=trained, capture_output=True, text=True, check=True)
        assert "torch" not in done.stdout.rpartition("\n ")[2].split()
