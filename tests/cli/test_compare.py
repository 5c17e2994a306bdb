"""`ch12 compare`: what differs, found by hand too."""

import csv
import io
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from ch12cli.cli.main import main
from ch12cli.cli.verbs.compare import side_by_side

T_OF_TWO = 4.302652729911275  # Student's t of two degrees of freedom, 97.5 %: any table of it


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    before = Path.cwd()
    os.chdir(folder)
    try:
        words = ["train", "device=cpu", "-q", "epochs=3"]
        for number, rate in enumerate(("0.001", "0.01", "0.1")):
            assert main([*words, f"hydra.run.dir=run{number}", f"optimizer.lr={rate}"]) == 0
        assert main([*words, "hydra.sweep.dir=sweep", "-m", "seed=1,2,3", "model.width=4,8"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def compare(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(trained)
    capsys.readouterr()

    def of(*words: str) -> str:
        assert main(["compare", *words]) == 0
        return capsys.readouterr().out

    return of


def result(directory: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_two_runs_are_compared_in_all_that_differs_and_nothing_else(compare: Callable[..., str], trained: Path) -> None:
    found = json.loads(compare("run0", "run1", "--format", "json"))
    assert found["optimizer.lr"] == {"run0": 0.001, "run1": 0.01}
    for name in ("objective", "test", "final"):
        values = [result(trained / run)[name] for run in ("run0", "run1")]
        if name == "objective":
            assert list(found["objective"].values()) == values
    figures = {"objective", "best_epoch", "lr"}
    named = {name for name in found if not name.startswith(("train_", "valid_", "test_"))}
    assert named - figures == {"optimizer.lr"}


def test_the_best_is_marked(compare: Callable[..., str], trained: Path) -> None:
    objectives = [result(trained / f"run{number}")["objective"] for number in range(3)]
    header = compare("run0", "run1", "run2").splitlines()[0].split()
    best = objectives.index(min(objectives))  # type: ignore[type-var]
    assert header.index("*") == best + 1


def test_a_run_differs_in_nothing_from_itself(compare: Callable[..., str]) -> None:
    assert compare("run0", "run0") == "no difference\n"


def test_the_seeds_of_a_sweep_are_summarised_as_mean_and_interval(compare: Callable[..., str], trained: Path) -> None:
    table = list(csv.DictReader(io.StringIO(compare("sweep", "--format", "csv"))))
    assert [row["runs"] for row in table] == ["3", "3"]
    with open(trained / "sweep" / "sweep.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in table:
        values = [float(r["test_accuracy"]) for r in rows if r["model.width"] == row["model.width"]]
        assert math.isclose(float(row["test_accuracy"]), mean(values))
        assert math.isclose(
            float(row["test_accuracy_interval"]), T_OF_TWO * stdev(values) / math.sqrt(3), abs_tol=1e-12
        )
    assert float(table[0]["objective"]) <= float(table[1]["objective"])


def test_many_runs_are_rows_averaged_over_seeds(compare: Callable[..., str]) -> None:
    text = compare(*(f"sweep/{number}" for number in range(6)))
    assert text.splitlines()[0].startswith("mean")
    assert "model.width" in text or "width" in text
    assert [line.split()[1] for line in text.splitlines()[-6:]] == [f"sweep/{number}" for number in range(6)]


def test_runs_of_different_data_are_side_by_side_and_none_is_best(
    compare: Callable[..., str], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (trained / "points").exists():
        words = ["train", "device=cpu", "-q", "epochs=1", "dataset=toy_regression"]
        assert main([*words, "hydra.run.dir=points"]) == 0
    monkeypatch.setenv("COLUMNS", "80")
    lines = compare("run0", "run1", "run2", "points", "sweep/0", "sweep/1").splitlines()
    heads = [line.split() for line in lines if line.startswith(" ")]
    assert heads == [["run0", "run1", "run2", "points"], ["sweep/0", "sweep/1"]]
    assert max(map(len, lines)) <= 80
    assert not any("*" in line for line in lines)
    assert next(line.split()[1:] for line in lines if line.startswith("dataset ")) == [
        "iris",
        "iris",
        "iris",
        "…y_regression",
    ]
    assert not any(line.startswith("dataset._target_") for line in lines)  # the choice says it


def test_numbers_side_by_side_are_rounded_not_cut() -> None:
    table: list[list[Any]] = [["", "one", "two"], ["objective", -1.23457e-10, 0.5], ["data", "0123456789abcdef", "x"]]
    (lines,) = side_by_side(table, 38, marked={(0, 0), (1, 0)})
    assert [line.split() for line in lines] == [
        ["one", "*", "two"],
        ["objective", "-1.235e-10", "*", "0.5"],
        ["data", "…56789abcdef", "x"],
    ]


def test_a_damaged_run_is_skipped(trained: Path, compare: Callable[..., str], tmp_path: Path) -> None:
    damaged = shutil.copytree(trained / "run2", tmp_path / "damaged")
    (damaged / "result.json").write_text("{", encoding="utf-8")
    assert list(json.loads(compare("run0", str(damaged), "run1", "--format", "json"))["optimizer.lr"]) == [
        "run0",
        "run1",
    ]
    assert main(["compare", "run0", str(damaged)]) == 2


def test_of_many_damaged_runs_a_few_are_named(
    trained: Path, compare: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = [shutil.copytree(trained / "run2", tmp_path / f"damaged{number}") for number in range(9)]
    for run in damaged:
        (run / "result.json").write_text("{", encoding="utf-8")
    for others, rest in (
        (["run0", "run1"], "ch12: warning: and 5 more like these"),
        ([], "ch12: and 5 more like these"),
    ):
        main(["compare", *others, *map(str, damaged)])
        lines = capsys.readouterr().err.splitlines()
        assert (len(lines), lines[-1]) == (5, rest)


def test_the_best_combination_is_marked_and_limit_sets_the_number_of_rows(compare: Callable[..., str]) -> None:
    _, _, first, second = compare("sweep").splitlines()
    assert (first.endswith(" *"), second.endswith(" *")) == (True, False)
    lines = compare("sweep", "--limit", "1").splitlines()
    assert (lines[2], lines[3]) == (first, "and 1 more combination; --limit N shows more")
    assert len(compare("sweep", "--limit", "1", "--format", "csv").splitlines()) == 2


def test_the_markdown_of_a_sweep_has_means_with_their_intervals_and_marks_the_best(compare: Callable[..., str]) -> None:
    head, _, first, second = (
        [cell.strip() for cell in line.split("|")] for line in compare("sweep", "--format", "md").splitlines()
    )
    assert head[1:3] == ["model.width", "valid_loss"]
    assert not any("interval" in name for name in head)
    assert re.fullmatch(r"\d\.\d+ ± \d\.\d+ \*", first[2])
    assert re.fullmatch(r"\d\.\d+ ± \d\.\d+", second[2])


def test_markdown_is_a_table(compare: Callable[..., str]) -> None:
    lines = compare("run0", "run1", "--format", "md").splitlines()
    assert set(lines[1]) <= set("|- ")
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "compare: no run given"),
        (["run0"], "a single run"),
        (["sweep", "run0"], "a sweep is compared by itself"),
        (["run0", "nothing"], "no such directory"),
        (["run0", ".."], "is neither a run nor a sweep"),
        (["run0", "run1", "--format", "html"], "--format"),
    ],
)
def test_mistakes_are_reported(
    words: list[str], message: str, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    capsys.readouterr()
    assert main(["compare", *words]) == 2
    assert message in capsys.readouterr().err


def test_ten_thousand_jobs_are_compared_in_time_that_grows_with_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = (
        "job,directory,status,cause,optimizer.lr,seed,epochs,best_epoch,objective,test_loss,parameters,seconds,command"
    )
    spent = []
    for count in (1000, 10_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        lines = [
            f"{n},{n},finished,,{rate},{seed},5,5,0.{n},0.{n},131,0.1,ch12 train optimizer.lr={rate} seed={seed}"
            for n in range(count)
            for seed, rate in [divmod(n, 10)]
        ]
        (folder / "sweep.csv").write_text("\n".join([header, *lines, ""]), encoding="utf-8")
        start = time.process_time()
        assert main(["compare", str(folder), "--format", "csv"]) == 0
        spent.append(time.process_time() - start)
        assert len(capsys.readouterr().out.splitlines()) == 11
    assert spent[1] < 30 * spent[0]
