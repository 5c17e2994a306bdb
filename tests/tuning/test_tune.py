"""Tuning: ranges that suit the data, baselines against independent computations, and the verb as a whole."""

from pathlib import Path

import numpy as np
import pytest

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.run.task import Task
from ch12cli.tuning.baselines import baselines, least_squares
from ch12cli.tuning.tune import chosen_settings, tune
from tests.sweeps.driver import Looker, table


def task_of(*overrides: str) -> Task:
    return chosen_settings(overrides, ())[1]


def test_the_ranges_suit_the_number_of_rows_and_what_is_given_stays() -> None:
    words, _ = chosen_settings(["dataset=iris", "epochs=7"], ())
    assert words == ["search=small", "dataset=iris", "epochs=7", "early_stopping.patience=10"]
    words, _ = chosen_settings(["dataset=two_class", "dataset.size=20000", "search=large", "model.width=8,16"], ())
    assert words[:2] == ["dataset=two_class", "dataset.size=20000"]
    assert "epochs=30" in words
    assert "search=medium" in chosen_settings(["dataset=two_class", "dataset.size=20000"], ())[0]
    words, task = chosen_settings(["dataset=toy_regression", "dataset.kind=curve", "dataset.size=100"], ())
    assert "dataset.target_scaling=standard" in words
    assert task.data.valid is not None


def test_the_linear_model_is_the_least_squares_fit() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 3))
    y = x @ [1.0, -2.0, 0.5] + 4 + 0.1 * rng.normal(size=500)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(500)]), y, rcond=None)[0]
    rows = rng.normal(size=(10, 3))
    assert least_squares(x, y, classes=0)(rows) == pytest.approx(rows @ expected[:3] + expected[3], abs=0.02)


def test_baselines_of_classes_are_accuracies_on_each_part() -> None:
    found = {baseline.name: baseline for baseline in baselines(task_of("dataset=iris"))}
    assert found["most frequent class"].valid == pytest.approx(1 / 3, abs=0.1)
    assert found["linear model"].valid is not None
    assert 0.6 < found["linear model"].valid <= 1
    assert "scikit-learn's network" in found


def test_baselines_of_values_have_r2() -> None:
    task = task_of("dataset=toy_regression", "dataset.kind=line", "dataset.size=200")
    found = {baseline.name: baseline.valid for baseline in baselines(task)}
    assert found["mean"] == pytest.approx(0, abs=0.2)
    assert found["linear model"] is not None
    assert found["linear model"] > 0.5


def test_a_wrong_budget_or_key_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="must be a time, such as 90s, 10m or 2h"):
        tune([], budget="soon", folders=(), callback=Looker())
    with pytest.raises(InputError, match="optimzer"):
        tune(["optimzer=sgd"], budget="1m", folders=(), callback=Looker())


@pytest.mark.slow
def test_a_table_is_tuned_by_one_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (200, 2))
    lines = [f"{a:.4f},{b:.4f},{'in' if a * a + b * b < 0.5 else 'out'}" for a, b in x]
    (folder / "x.csv").write_text("\n".join(["a,b,kind", *lines]) + "\n")
    words = ["dataset=csv", "dataset.file=x.csv", "epochs=10", "device=cpu", "hydra.sweep.dir=tuned"]
    assert main(["tune", *words, "--budget", "60s", "--trials", "12"]) == 0
    rows = table(folder / "tuned")
    assert len(rows) == 12 + 3 * 5  # the finalists' further seeds
    printed = capsys.readouterr().out
    assert "over 6 seeds" in printed
    assert "scikit-learn's network" in printed
    assert "the same search: ch12 train -m search=small" in printed
    assert main(["show", "tuned"]) == 0
    assert "best of 12 settings" in capsys.readouterr().out
