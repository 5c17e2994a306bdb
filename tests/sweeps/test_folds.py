"""Cross-validation: a sweep trains each fold, and its table averages over the folds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ch12cli.catalogue.keys_of_settings import repetitions_in_words
from ch12cli.catalogue.summary import fold_seeds
from ch12cli.cli.main import main
from ch12cli.data import Table, iris
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.saved.evaluate import evaluate
from tests.conftest import Train
from tests.sweeps.driver import relative, sweep

WORDS = ["epochs=3", "batch_size=16", "dataset.folds=5", "precision=float64", "sweep.processes=1"]

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.slow
def test_a_sweep_trains_every_fold_like_the_run_alone(train: Train) -> None:
    swept = sweep(*WORDS, "seed=1,2", "dataset.test_size=10")
    assert [(row["seed"], row["dataset.fold"]) for row in swept.rows.values()] == [
        (seed, str(fold)) for seed in "12" for fold in range(5)
    ]
    (plan,) = swept.looker.plans
    assert [len(item.jobs) for item in plan.items] == [10]  # one stack
    for job in (0, 3, 9):
        row = swept.rows[job]
        alone = train(*WORDS[:-1], f"seed={row['seed']}", "dataset.test_size=10", f"dataset.fold={row['dataset.fold']}")
        assert alone.result.test is not None
        expected = {f"test_{name}": value for name, value in alone.result.test.items()}
        for name, value in {**expected, **alone.rows[-1]}.items():
            if name not in ("epoch", "lr", "seconds"):
                assert relative(float(row[name]), value) < 1e-9, name
        assert (
            relative(swept.weights(job), torch.cat([p.detach().reshape(-1) for p in alone.model.parameters()])) < 1e-6
        )
        metrics = evaluate(swept.directory / row["directory"], split="valid").parts["valid"].metrics
        assert relative(metrics["loss"], float(row["valid_loss"])) < 1e-9  # with the fold's own scaling
    (folded,) = fold_seeds(list(read_sweep_csv(swept.directory / "sweep.csv")), ["seed", "dataset.fold"])
    objectives = np.array([float(row["objective"]) for row in swept.rows.values()])
    assert folded.runs == 10
    assert folded.mean["objective"] == pytest.approx(objectives.mean())


def flowers(weighted: bool = False) -> Table:
    """The iris flowers, with weights if asked for. Each reading leaves a mark in the file `reads`."""
    with open("reads", "a") as file:
        file.write("x")
    table = iris()
    return replace(table, weights=1.0 + np.arange(150) % 3) if weighted else table


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("words", "stacks"),
    [
        (["dataset.folds=4", "seed=1,2"], [4, 4]),  # 37.5 rows a fold
        (["dataset.folds=3", "dataset.split=random", "dataset.class_weight=balanced", "seed=1,2"], [2, 2, 2]),
        (["dataset.folds=5", "dataset.weighted=true", "early_stopping.patience=1", "optimizer.lr=0.001,0.3"], [10]),
    ],
)
def test_folds_of_equal_size_are_one_stack_and_the_data_are_read_once(
    folder: Path, train: Train, words: list[str], stacks: list[int]
) -> None:
    (folder / "mine" / "dataset").mkdir(parents=True)
    text = "_target_: tests.sweeps.test_folds.flowers\nweighted: false\nsplit: stratified\nscaling: standard\n"
    (folder / "mine" / "dataset" / "flowers.yaml").write_text(text)
    common = ["dataset=flowers", "epochs=6", "batch_size=16", "precision=float64", "early_stopping.min_delta=0.02"]
    swept = sweep(*common, *words, "sweep.processes=1", folders=[folder / "mine"])
    (plan,) = swept.looker.plans
    assert sorted(len(item.jobs) for item in plan.items) == stacks
    assert Path("reads").read_text() == "x"
    if "early_stopping.patience=1" in words:
        assert len({row["epochs"] for row in swept.rows.values()}) > 1
    for job in range(1, len(swept.rows), 3):
        row = swept.rows[job]
        keys = {word.partition("=")[0] for word in words} | {"dataset.fold"}
        alone = train(*common, *(f"{key}={row[key]}" for key in sorted(keys)), folders=[folder / "mine"])
        assert int(row["epochs"]) == len(alone.rows)
        for name, value in alone.rows[-1].items():
            if name not in ("epoch", "lr", "seconds"):
                assert relative(float(row[name]), value) < 1e-8, (job, name)


def test_a_fold_whose_training_rows_lack_a_category_is_trained_apart() -> None:
    towns = ["Lima", *["Rome", "Oslo"] * 20]
    Path("t.csv").write_text("town,n,y\n" + "".join(f"{town},{n},{n % 3}.5\n" for n, town in enumerate(towns)))
    swept = sweep("dataset=table", "dataset.file=t.csv", "dataset.test_size=1", *WORDS)
    assert [row["status"] for row in swept.rows.values()] == ["finished"] * 5
    (plan,) = swept.looker.plans
    assert sorted(task.inputs for task in plan.tasks) == [3, 4]
    assert sorted(len(item.jobs) for item in plan.items) == [1, 4]


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
