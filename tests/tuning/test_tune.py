"""Tuning: ranges that suit the data, baselines against independent computations, and the verb as a whole."""

import math
import signal
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor

from ch12cli.catalogue.best_setting import BestSetting
from ch12cli.cli.main import main
from ch12cli.cli.verbs.tune import format_final, format_tuned
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.recorded import resume_line
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.run.task import Task
from ch12cli.saved.predict import predict_features
from ch12cli.sweeps.hydra_sweep import read_sweep
from ch12cli.sweeps.launch import SweepOutcome
from ch12cli.sweeps.start import Finished
from ch12cli.tuning.baselines import baselines, least_squares, logistic_regression
from ch12cli.tuning.final import (
    Final,
    FinalSetting,
    Searched,
    accuracy_or_loss,
    affordable,
    best_settings,
    few_of_each_structure,
    late_growth,
    values_in_best_epoch,
)
from ch12cli.tuning.tune import Tuned, chosen_settings, ranges_of, tune
from tests.sweeps.driver import Looker, Stopping, table


def task_of(*overrides: str) -> Task:
    return chosen_settings([*overrides, "dataset.valid_size=0.2"], ()).task


def test_the_ranges_suit_the_number_of_rows_and_what_is_given_stays() -> None:
    words, task, folds, _ = chosen_settings(["dataset=iris", "epochs=7"], ())
    in_stacks = ["search.n_jobs=16", "search.structures=4"]
    assert words == [
        "search=small", "dataset=iris", "epochs=7", "dataset.folds=5", "early_stopping.patience=null",
        "monitor=valid_accuracy", *in_stacks,
    ]  # fmt: skip
    assert len(task.data.train.y) == 120
    assert task.data.valid is None
    assert [len(fold.data.valid.y) for fold in folds if fold.data.valid is not None] == [24] * 5
    given = ["dataset=two_class", "dataset.size=20000"]
    words = chosen_settings([*given, "search=large", "model.width=8,16"], ()).words
    assert words[:2] == given
    assert "epochs=30" in words
    assert {"search=medium", "dataset.folds=3"} < set(chosen_settings(given, ()).words)
    words = chosen_settings(["dataset=toy_regression", "dataset.kind=curve", "dataset.size=100"], ()).words
    assert "dataset.target_scaling=standard" in words
    assert not any(word.startswith("monitor=") for word in words)
    assert {"epochs=100", "early_stopping.patience=10"} < set(words)


def test_ranges_leave_out_what_the_model_does_not_have() -> None:
    linear = chosen_settings(["dataset=iris", "model=linear"], ()).words
    assert [word for word in linear if word.startswith(("search=", "model.", "activation"))] == []
    assert {"optimizer=choice(adam, sgd)", 'search.when={optimizer.momentum: "optimizer=sgd"}'} < set(linear)
    of_images = ranges_of("large", {"_target_": "ch12cli.models.cnn", "channels": 8, "depth": 2})
    assert [word for word in of_images if word.startswith("model.")] == ["model.depth=choice(2, 3)"]
    assert "activation=choice(relu, silu)" in of_images
    assert not any(word.startswith("search.when") for word in of_images)  # that file has no conditions
    with hydra_session():
        sweep = read_sweep(Composer(), [*linear, "search.n_trials=4"])
    assert sweep.search is not None


def test_classes_of_small_tables_are_compared_by_accuracy_unless_something_else_is_said() -> None:
    for given, expected in (
        ([], "monitor=valid_accuracy"),
        (["monitor=valid_loss"], "monitor=valid_loss"),
        (["dataset.valid_size=0"], None),  # there is nothing to validate on
        (["dataset=two_class", "dataset.size=3000"], None),
    ):
        words = chosen_settings(["dataset=iris", *given], ()).words
        assert next((word for word in words if word.startswith("monitor=")), None) == expected


@pytest.mark.parametrize(
    ("given", "valid", "folds"),
    [
        (["dataset.valid_size=0.3"], 45, 0),
        (["dataset.folds=4"], 0, 4),
        (["dataset.folds=4", "dataset.fold=1"], 30, 0),
        (["dataset.valid_size=0"], 0, 0),
        (["monitor=valid_accuracy"], 0, 5),
    ],
)
def test_a_validation_that_is_given_stays(given: list[str], valid: int, folds: int) -> None:
    words, task, tasks, _ = chosen_settings(given, ())
    assert valid == (0 if task.data.valid is None else len(task.data.valid.y))
    assert len(tasks) == folds
    assert ("search.finalists=3" in words) == (folds == 0)


def test_many_rows_have_a_single_validation_part() -> None:
    words, task, folds, _ = chosen_settings(["dataset=two_class", "dataset.size=80000"], ())
    assert "dataset.valid_size=0.2" in words
    assert task.data.valid is not None
    assert not folds


def searched_of(accuracy: list[list[float]], loss: list[list[float]]) -> Searched:
    """A setting with these curves of each fold."""
    runs = [
        SweepRow(job=fold, directory="", status="finished", overrides={"dataset.fold": f"{fold}"})
        for fold in range(len(accuracy))
    ]
    metrics = [
        [{"valid_accuracy": one, "valid_loss": other} for one, other in zip(*curves, strict=True)]
        for curves in zip(accuracy, loss, strict=True)
    ]
    return Searched({}, (), runs, metrics)


def test_the_curve_of_a_run_that_stopped_goes_on_with_its_last_value() -> None:
    curves = searched_of([[0.4, 0.2, 0.3], [0.2]], [[4.0, 2.0, 3.0], [2.0]]).curves("valid_loss")
    assert curves.tolist() == [[4, 2, 3], [2, 2, 2]]


def test_accuracy_decides_only_where_it_grows_after_the_loss_has_turned() -> None:
    epochs = np.arange(100)
    loss = [list(np.abs(epochs - 20) / 50 + 0.3)] * 5  # least after 20 epochs
    noise = np.random.default_rng(1).normal(0, 0.01, (3, 5, 100))  # of three settings and five folds
    grows, falls, flat = np.minimum(epochs, 90) / 200 + 0.5, 0.9 - epochs / 2000, np.full(100, 0.9)

    def metric_of(curves: Any) -> str:
        return accuracy_or_loss([searched_of((curves + of_setting).tolist(), loss) for of_setting in noise])

    assert metric_of(grows) == "valid_accuracy"
    assert metric_of(falls) == "valid_loss"
    assert metric_of(flat) == "valid_loss"
    assert metric_of(np.stack([grows, falls, flat, flat, falls])) == "valid_loss"  # the folds disagree
    assert accuracy_or_loss([searched_of([grows.tolist()], loss[:1])]) == "valid_loss"  # one run tells nothing
    assert accuracy_or_loss([]) == "valid_loss"


def test_late_growth_is_the_mean_of_the_last_tenth_less_that_around_the_least_loss() -> None:
    accuracy = np.stack([np.arange(40.0), np.full(40, 7.0)])
    loss = np.stack([np.abs(np.arange(40.0) - 12), np.abs(np.arange(40.0) - 12)])
    assert late_growth(accuracy, loss).tolist() == [np.mean([36, 37, 38, 39]) - np.mean([10, 11, 12, 13, 14]), 0]


Curves = dict[str, list[list[float]]]  # of each setting, by its structure and learning rate: of each fold


def chosen_of(folder: Path, curves: Curves) -> list[tuple[str, int]]:
    """The final settings of a search with these curves of the loss, and their epochs."""
    rows: list[SweepRow] = []
    for setting, folds in curves.items():
        width, lr = setting.split()
        for fold, curve in enumerate(folds):
            job = len(rows)
            (folder / f"{job}").mkdir()
            lines = [f"{epoch + 1},{value}" for epoch, value in enumerate(curve)]
            (folder / f"{job}/metrics.csv").write_text("\n".join(["epoch,valid_loss", *lines]) + "\n")
            overrides = {"model.width": width, "optimizer.lr": lr, "dataset.fold": f"{fold}"}
            row = SweepRow(job=job, directory=f"{job}", status="finished", overrides=overrides)
            rows.append(replace(row, monitor="valid_loss", objective=min(curve)))
    found = best_settings(few_of_each_structure(rows, "valid_loss", folder), "valid_loss")
    return [(f"{each.values['model.width']} {each.values['optimizer.lr']}", each.epochs) for each in found]


def test_the_final_settings_are_the_best_of_each_structure_then_the_second(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def folds(loss: float) -> list[list[float]]:
        noise = rng.normal(0, 0.05, 4)
        return [[9.0, fold + loss + each, 9.5] for fold, each in enumerate(noise - noise.mean())]

    near_copies = {f"8 0.0{number}": folds(0.1 + number / 1000) for number in range(1, 9)}
    others = {"16 0.1": folds(0.12), "32 0.1": folds(0.11), "64 0.1": folds(5.0), "16 0.2": folds(0.13)}
    found = chosen_of(tmp_path, {**near_copies, **others})
    # 64 is far worse in every fold; of 8 three count, though eight are better than all others
    assert found == [(name, 2) for name in ("8 0.01", "8 0.02", "8 0.03", "32 0.1", "16 0.1", "16 0.2")]


def test_one_epoch_counts_for_all_runs_of_a_final_setting(tmp_path: Path) -> None:
    # by its own best epochs the first setting has a mean of 1, but no epoch in which the mean is less than 5
    curves = {"8 0.1": [[1.0, 9.0], [9.0, 1.0]], "16 0.2": [[4.0, 2.0], [4.0, 2.1]]}
    assert chosen_of(tmp_path, curves) == [("16 0.2", 2), ("8 0.1", 1)]


def test_the_best_setting_has_the_values_of_the_epoch_in_which_its_mean_is_best(tmp_path: Path) -> None:
    losses, accuracies = [[5.0, 1.0, 6.0], [5.0, 4.0, 3.0]], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    runs = []
    for job, columns in enumerate(zip(losses, accuracies, strict=True)):
        (tmp_path / f"{job}").mkdir()
        lines = [f"{epoch + 1},{loss},{right}" for epoch, (loss, right) in enumerate(zip(*columns, strict=True))]
        (tmp_path / f"{job}/metrics.csv").write_text("\n".join(["epoch,valid_loss,valid_accuracy", *lines]) + "\n")
        runs.append(SweepRow(job=job, directory=f"{job}", status="finished", overrides={"seed": f"{job}"}))
    assert values_in_best_epoch(runs, "valid_loss", "valid_accuracy", tmp_path) == [0.2, 0.5]  # of the second: 2.5
    assert values_in_best_epoch(runs, "valid_accuracy", "valid_accuracy", tmp_path) == [0.3, 0.6]


def test_without_repetitions_the_final_settings_are_the_best_whatever_their_structures(tmp_path: Path) -> None:
    curves = {f"8 0.{number}": [[1 + number / 10]] for number in range(1, 4)} | {"16 0.1": [[1.15]], "32 0.1": [[9.0]]}
    assert [name for name, _ in chosen_of(tmp_path, curves)] == ["8 0.1", "16 0.1", "8 0.2", "8 0.3", "32 0.1"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1000, (3, 5)), (60, (3, 4)), (40, (2, 4)), (15, (1, 3)), (11, (1, 2)), (0.1, (1, 1))],
)
def test_the_final_networks_are_as_many_as_the_time_allows(seconds: float, expected: tuple[int, int]) -> None:
    settings = [FinalSetting(SweepRow(job=job, directory=str(job), status="finished"), 40) for job in range(3)]
    assert affordable(settings, seconds=seconds, of_epoch=0.1) == expected  # 5 s a network


def test_the_linear_model_is_the_least_squares_fit() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 3))
    y = x @ [1.0, -2.0, 0.5] + 4 + 0.1 * rng.normal(size=500)
    expected = np.linalg.lstsq(np.column_stack([x, np.ones(500)]), y, rcond=None)[0]
    rows = rng.normal(size=(10, 3))
    assert least_squares(x, y)(rows) == pytest.approx(rows @ expected[:3] + expected[3], abs=0.02)


def test_logistic_regression_predicts_as_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4))
    y = (x @ rng.normal(size=(4, 3)) + rng.gumbel(size=(300, 3))).argmax(1)
    rows = rng.normal(size=(2000, 4))
    expected = LogisticRegression(max_iter=1000).fit(x, y).predict(rows)
    assert (logistic_regression(x, y, classes=3)(rows) == expected).mean() > 0.999


def test_baselines_of_classes_are_accuracies_on_each_part() -> None:
    task = task_of("dataset=iris")
    found = {baseline.name: baseline for baseline in baselines(task)}
    assert found["most frequent class"].valid == pytest.approx(1 / 3, abs=0.1)
    assert task.data.valid is not None
    assert task.data.test is not None
    expected = LogisticRegression().fit(task.data.train.x, task.data.train.y)
    scores = [expected.score(part.x, part.y) for part in (task.data.valid, task.data.test)]
    one = found["logistic regression"]
    assert [one.valid, one.test] == pytest.approx(scores)
    assert "scikit-learn's network" in found


def test_scikit_learns_network_learns_values_scaled() -> None:
    task = task_of("dataset=toy_regression", "dataset.kind=line", "dataset.size=200")
    train, valid = task.data.train, task.data.valid
    assert valid is not None
    network = MLPRegressor(random_state=1).fit(train.x, (train.y - train.y.mean()) / train.y.std())
    predicted = network.predict(valid.x) * train.y.std() + train.y.mean()
    found = {baseline.name: baseline.valid for baseline in baselines(task)}
    assert found["scikit-learn's network"] == pytest.approx(r2_score(valid.y, predicted), abs=1e-6)


def test_baselines_of_values_have_r2() -> None:
    task = task_of("dataset=toy_regression", "dataset.kind=line", "dataset.size=200")
    found = {baseline.name: baseline.valid for baseline in baselines(task)}
    assert found["mean"] == pytest.approx(0, abs=0.2)
    assert found["linear model"] is not None
    assert found["linear model"] > 0.5


def test_what_the_data_are_taken_for_is_said_in_lines_of_a_terminal(folder: Path) -> None:
    wide = [f"column_with_a_long_name_{number}" for number in range(9)]
    rows = [",".join([f"{row * column}" for column in range(9)] + [f"{row}", f"{row % 3}"]) for row in range(30)]
    (folder / "x.csv").write_text("\n".join([",".join([*wide, "id", "rating"]), *rows]) + "\n")
    words = ["dataset=table", "dataset.file=x.csv", "dataset.exclude=[id]"]
    about = chosen_settings(words, ()).about
    assert about == [
        "data       x.csv, rows: 24 to train on, 6 for the test",
        "features   9: column_with_a_long_name_0, column_with_a_long_name_1 and 7 more",
        "left out   id",
        "to learn   rating, 3 classes: 0, 1, 2",
        "           as classes; dataset.target_type=values learns them as numbers",
    ]
    as_numbers = chosen_settings([*words, "dataset.target_type=values", "dataset.valid_size=0.2"], ()).about
    assert as_numbers[0] == "data       x.csv, rows: 18 to train on, 6 to validate on, 6 for the test"
    assert as_numbers[3:] == ["to learn   rating, a number from 0 to 2"]


def test_a_class_with_a_comma_is_quoted_in_the_list_of_classes(folder: Path) -> None:
    rows = [f"{row},{('Bonn', chr(34) + 'Paris, FR' + chr(34))[row % 2]}" for row in range(20)]
    (folder / "x.csv").write_text("\n".join(["a,city", *rows]) + "\n")
    about = chosen_settings(["dataset=table", "dataset.file=x.csv", "dataset.folds=2"], ()).about
    assert about[-1] == "to learn   city, 2 classes: Bonn, 'Paris, FR'"


def test_what_the_search_and_the_final_networks_warn_of_is_said_once(folder: Path) -> None:
    rows = [f"{row},{'' if row % 7 == 0 else row % 5},{row % 2}" for row in range(60)]
    (folder / "x.csv").write_text("\n".join(["a,b,c", *rows]) + "\n")
    looker = Looker()
    words = [
        "dataset=table",
        "dataset.file=x.csv",
        "dataset.missing=drop",
        "model.width=4",
        "epochs=1",
        "activation=relu",
    ]
    tuned = tune([*words, "search=small"], budget="1s", folders=(), callback=looker, trials=1)
    assert tuned.final is not None
    assert tuned.final.combined is not None
    warnings = [text for text in looker.messages if "rows left out" in text]
    assert warnings == ["x.csv: 9 of 60 rows left out, which have missing values"]


def test_the_limits_of_a_search_are_options_of_tuning() -> None:
    for words, trials, message in (
        (["search.timeout=4s"], None, "search.timeout=4s: tuning has --budget for it; write --budget 4s"),
        (["hydra.sweeper.n_trials=3"], None, "hydra.sweeper.n_trials=3: tuning has --trials for it; write --trials 3"),
        ([], 0, "--trials 0: must be a whole number from 1 to 1000000"),
    ):
        with pytest.raises(InputError) as raised:
            tune(words, budget="1m", folders=(), callback=Looker(), trials=trials)
        assert str(raised.value) == message


def test_an_interrupted_tuning_says_that_there_is_no_final_model_and_quotes_every_command() -> None:
    outcome = SweepOutcome(Path("with space"), (), 0, signal.SIGINT)
    setting = BestSetting("valid_loss", {}, 2, 1, "", 0.5, math.nan, None, (7,), 7)
    tuned = Tuned(Finished(outcome, "valid_loss", []), ["search=small"], setting, "accuracy", [0.5], [], None)
    assert format_tuned(tuned, ["dataset.file=a b.csv"], width=80, ascii_only=False) == [
        "interrupted: no final model was trained",
        "go on: ch12 tune 'dataset.file=a b.csv' 'hydra.sweep.dir=with space'",
        "predict with a network of the best setting: ch12 predict --checkpoint best 'with space/7' ROWS.csv",
        "more seeds: ch12 train --best-of 'with space' 'seed=range(20)'",
        "the same search: ch12 train -m search=small",
    ]


def test_folds_in_place_of_a_validation_part_have_a_best_setting_and_a_final_model(folder: Path) -> None:
    data = ["dataset=toy_regression", "dataset.kind=line", "dataset.size=60"]  # its dataset.valid_size is 0
    words = [*data, "epochs=2", "device=cpu", "model.width=4", "model.depth=1", "hydra.sweep.dir=tuned"]
    tuned = tune([*words, "sweep.processes=1"], budget="20s", folders=(), callback=Looker(), trials=2)
    assert tuned.finished.monitor == "valid_loss"
    rows = table(folder / "tuned").values()
    means = {lr: np.mean([float(row["objective"]) for row in rows if row["optimizer.lr"] == lr]) for lr in lrs(rows)}
    assert tuned.best is not None
    assert tuned.best.mean == pytest.approx(min(means.values()))
    assert (folder / "tuned-model/model.pt").exists()


def lrs(rows: Iterable[Mapping[str, str]]) -> set[str]:
    return {row["optimizer.lr"] for row in rows}


def test_a_tuning_without_a_finished_run_says_that_there_is_no_final_model() -> None:
    tuned = Tuned(Finished(SweepOutcome(Path("x")), "valid_loss", []), ["search=small"], None, "accuracy", [], [], None)
    assert format_tuned(tuned, [], width=80, ascii_only=False) == [
        "no final model was trained, because no run of a setting has finished",
        "the same search: ch12 train -m search=small",
    ]


def test_a_tuning_that_was_stopped_while_it_searched_goes_on_with_its_own_command(folder: Path) -> None:
    words = ["dataset=iris", "epochs=1", "dataset.folds=2", "device=cpu"]
    command = ("tune", *words)
    tuned = tune(words, budget="1m", folders=(), callback=Stopping(2), trials=2, command=command)
    directory = tuned.finished.outcome.directory
    assert resume_line(directory) == f"ch12 tune {' '.join(words)} hydra.sweep.dir={directory}"


def test_the_final_model_is_described_by_its_settings_epochs_and_networks() -> None:
    rows = [SweepRow(job=job, directory=str(job), status="finished") for job in (4, 9)]
    settings = [
        FinalSetting(rows[0], 93, {"optimizer.lr": "0.01", "model.width": "16"}),
        FinalSetting(rows[1], 8, {"optimizer.lr": "0.02", "model.width": "16"}),
    ]
    final = Final(Path("x-final"), settings, "valid_accuracy", 5, None)
    assert format_final(final, width=80, ascii_only=False) == [
        "final model: the mean of 10 networks, trained on all rows but those of the test",
        "its settings and epochs by valid accuracy, of different structures if as good:",
        "lr    as in job  epochs  networks",
        "0.01          4      93         5",
        "0.02          9       8         5",
        "all of these: model.width=16",
    ]
    precise = [
        FinalSetting(row, 93, {"optimizer.lr": lr, "model.width": width})
        for row, lr, width in zip(rows, ("4.334e-05", "0.00748"), ("8", "16"), strict=True)
    ]
    assert format_final(Final(Path("x-final"), precise, "valid_loss", 5, None), width=41, ascii_only=False)[2:] == [
        "lr     width  as in job  epochs  networks",
        "4e-05  8              4      93         5",
        "0.007  16             9      93         5",
    ]


def test_the_only_setting_of_the_final_model_is_said_whole() -> None:
    values = {"optimizer": "adam", "optimizer.lr": "4.334e-05", "model.width": "16"}
    only = FinalSetting(SweepRow(job=4, directory="4", status="finished"), 93, values)
    assert format_final(Final(Path("x-final"), [only], "valid_loss", 5, None), width=80, ascii_only=False)[1:] == [
        "its setting and epochs by valid loss: optimizer=adam, optimizer.lr=4.334e-05,",
        "model.width=16",
        "as in job  epochs  networks",
        "        4      93         5",
    ]


def test_a_wrong_budget_or_key_is_refused(folder: Path) -> None:
    for budget in ("soon", "0s", "0.0h", "0"):
        with pytest.raises(InputError) as raised:
            tune([], budget=budget, folders=(), callback=Looker())
        assert str(raised.value) == f"--budget {budget}: must be a time greater than 0, such as 90s, 10m or 2h"
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
    assert len(rows) == 12 * 5
    printed = capsys.readouterr().out
    assert "over 5 folds" in printed
    assert "scikit-learn's network" in printed
    assert "the same search: ch12 train -m search=small" in printed
    assert "predict with it: ch12 predict tuned-model ROWS.csv" in printed
    assert printed.startswith("data       x.csv, rows: 160 to train on, 40 for the test\nfeatures   2: a, b\n")
    finals = table(folder / "tuned-final")
    assert {row["status"] for row in finals.values()} == {"finished"}
    settings = [tuple(row[key] for key in ("optimizer.lr", "model.width", "activation")) for row in finals.values()]
    assert 1 <= len(set(settings)) <= 6
    members = [predict_features(folder / "tuned-final" / str(job), x[:50].round(4)).probabilities for job in finals]
    mean = np.mean(np.array(members, np.float64), axis=0)
    np.testing.assert_allclose(predict_features(folder / "tuned-model", x[:50].round(4)).probabilities, mean, atol=1e-5)
    assert main(["show", "tuned"]) == 0
    assert "best of 12 settings" in capsys.readouterr().out
    assert main(["show", "tuned-model"]) == 0
    shown = capsys.readouterr().out
    assert f"finished  the mean of {len(finals)} networks" in shown
    assert "choices      dataset=csv model=ensemble\n" in shown
    assert main(["ensemble", "tuned"]) == 2
    refused = capsys.readouterr().err
    assert "have other folds, so that no rows are left to combine them by" in refused
    assert "tuning trained a final model of it: tuned-model" in refused
