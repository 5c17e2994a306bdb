"""Cross-validation: a sweep trains each fold, and its table averages over the folds."""

from pathlib import Path

import numpy as np
import pytest

from ch12cli.catalogue.summary import fold_seeds, repetitions_in_words
from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import read_sweep_csv
from tests.conftest import Train
from tests.sweeps.driver import relative, sweep

WORDS = ["epochs=3", "batch_size=16", "dataset.folds=5", "precision=float64", "sweep.processes=1"]

pytestmark = pytest.mark.usefixtures("folder")


def test_a_sweep_trains_every_fold_like_the_run_alone(train: Train) -> None:
    swept = sweep(*WORDS, "seed=1,2", "dataset.test_size=10")
    assert [(row["seed"], row["dataset.fold"]) for row in swept.rows.values()] == [
        (seed, str(fold)) for seed in "12" for fold in range(5)
    ]
    for job in (0, 3, 9):
        row = swept.rows[job]
        alone = train(*WORDS[:-1], f"seed={row['seed']}", "dataset.test_size=10", f"dataset.fold={row['dataset.fold']}")
        assert alone.result.test is not None
        expected = {f"test_{name}": value for name, value in alone.result.test.items()}
        for name, value in {**expected, **alone.rows[-1]}.items():
            if name not in ("epoch", "lr", "seconds"):
                assert relative(float(row[name]), value) < 1e-9, name
    (folded,) = fold_seeds(list(read_sweep_csv(swept.directory / "sweep.csv")), ["seed", "dataset.fold"])
    objectives = np.array([float(row["objective"]) for row in swept.rows.values()])
    assert folded.runs == 10
    assert folded.mean["objective"] == pytest.approx(objectives.mean())


def test_chosen_folds_are_the_only_ones() -> None:
    assert [row["dataset.fold"] for row in sweep(*WORDS, "dataset.fold=1,3").rows.values()] == ["1", "3"]
    Path("jobs.csv").write_text("dataset.fold,seed\n2,1\n4,7\n")
    rows = sweep(*WORDS, into="listed", jobs_file=Path("jobs.csv")).rows
    assert [(row["dataset.fold"], row["seed"]) for row in rows.values()] == [("2", "1"), ("4", "7")]


def test_several_numbers_of_folds_ask_for_one() -> None:
    with pytest.raises(InputError, match=r"add dataset\.fold=0, or train all folds"):
        sweep(*WORDS[:2], "dataset.folds=3,5")


def test_tables_say_what_they_average_over(capsys: pytest.CaptureFixture[str]) -> None:
    sweep("epochs=1", "batch_size=32", "dataset.folds=3")
    for verb in (["show"], ["compare"]):
        capsys.readouterr()
        assert main([*verb, "sweep"]) == 0
        assert "95 % confidence interval over the folds" in capsys.readouterr().out
    assert main(["report", "sweep", "-o", "page.html"]) == 0
    assert "over the folds, best first" in Path("page.html").read_text(encoding="utf-8")
    assert repetitions_in_words(["seed", "dataset.fold", "model.width"]) == "seeds and folds"
