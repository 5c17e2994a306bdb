"""Studies of Optuna: what a sweep becomes in one, by Optuna's own functions, and what is read from one."""

import csv
import shutil
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.search.optuna_samplers import silent_optuna
from ch12cli.search.optuna_study import distribution_of_texts, read_study, write_study
from ch12cli.search.space import Interval, Options, Space, WholeNumbers
from tests.sweeps.driver import Swept, sweep

SMALL = ("dataset=toy_regression", "batch_size=5", "optimizer=sgd", "epochs=4")
LR = Interval("optimizer.lr", 1e-4, 1e10, log=True)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A grid of three learning rates, one of which diverges and one of which halving stops, with two seeds each."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("study")
        patch.chdir(folder)
        halving = "sweep.halving={metric:valid_loss,min_epochs:2,factor:2}"
        words = ("optimizer.lr=1e-4,0.02,1e9", "seed=1,2", halving, "dataset.valid_size=0.2")
        found = sweep(*SMALL, *words, into=str(folder / "grid"))
        assert write_study(found.directory, str(folder / "study.log")).states == {"pruned": 1, "complete": 1, "fail": 1}
        return found


def loaded(swept: Swept, name: str = "grid") -> optuna.Study:
    with silent_optuna():
        storage = JournalStorage(JournalFileBackend(str(swept.directory.parent / "study.log")))
        return optuna.load_study(study_name=name, storage=storage)


def metrics(swept: Swept, job: int) -> dict[int, float]:
    with open(swept.directory / str(job) / "metrics.csv", encoding="utf-8") as file:
        return {int(row["epoch"]): float(row["valid_loss"]) for row in csv.DictReader(file)}


def test_a_grid_is_a_study_with_the_means_over_its_seeds(swept: Swept) -> None:
    study = loaded(swept)
    assert (study.direction.name, study.metric_names) == ("MINIMIZE", ["valid_loss"])
    by_rate = {trial.params["optimizer.lr"]: trial for trial in study.trials}
    assert set(by_rate) == {1e-4, 0.02, 1e9}
    best = by_rate[0.02]
    jobs = [job for job, row in swept.rows.items() if row["optimizer.lr"] == "0.02"]
    assert best == study.best_trial
    assert best.value == pytest.approx(sum(float(swept.rows[job]["objective"]) for job in jobs) / 2)
    runs = [metrics(swept, job) for job in jobs]
    assert best.intermediate_values == pytest.approx(
        {epoch: (runs[0][epoch] + runs[1][epoch]) / 2 for epoch in runs[0]}
    )
    assert [Path(each).name for each in best.user_attrs["directory"]] == [str(job) for job in jobs]
    assert all(Path(each, "result.json").is_file() for each in best.user_attrs["directory"])
    assert best.distributions["optimizer.lr"] == FloatDistribution(1e-4, 1e9, log=True)


def test_stopped_and_diverged_settings_are_pruned_and_failed_trials(swept: Swept) -> None:
    states = {trial.params["optimizer.lr"]: trial for trial in loaded(swept).trials}
    assert states[1e-4].state == TrialState.PRUNED
    assert list(states[1e-4].intermediate_values) == [1, 2]
    assert states[1e9].state == TrialState.FAIL
    assert states[1e9].user_attrs["status"] == "diverged"


def test_a_setting_with_a_missing_job_is_no_complete_trial(folder: Path) -> None:
    found = sweep(*SMALL, "optimizer.lr=0.01,0.02", "seed=1,2", "dataset.valid_size=0.2", into="killed")
    last = max(found.rows)
    shutil.rmtree(found.directory / str(last))
    table = found.directory / "sweep.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith(f"{last},")))
    written = write_study(found.directory, "study.log")
    assert (written.states, written.left_out) == ({"complete": 1, "fail": 1}, 1)
    with silent_optuna():
        study = optuna.load_study(study_name="killed", storage=JournalStorage(JournalFileBackend("study.log")))
    (trial,) = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert (trial.params, trial.user_attrs["status"]) == ({"optimizer.lr": 0.02}, "interrupted")
    assert study.best_params == {"optimizer.lr": 0.01}


def test_a_study_is_replaced_by_one_of_the_same_name_and_others_stay(swept: Swept) -> None:
    target = str(swept.directory.parent / "study.log")
    with silent_optuna():
        storage = JournalStorage(JournalFileBackend(target))
        optuna.create_study(storage=storage, study_name="other")
    write_study(swept.directory, target)
    assert len(loaded(swept).trials) == 3
    assert loaded(swept, "other").trials == []
    with pytest.raises(InputError, match=r"name one of its studies, as in .*study.log#NAME; it has .*other"):
        read_study(target, Space.of([LR]), ["valid_loss"])


def test_the_trials_of_a_study_are_read_as_those_of_a_search(swept: Swept) -> None:
    target = f"{swept.directory.parent / 'study.log'}#grid"
    found = read_study(target, Space.of([LR]), ["valid_loss"])
    assert {trial.setting["optimizer.lr"]: trial.status for trial in found} == {
        "0.0001": "pruned",
        "0.02": "complete",
        "1000000000.0": "failed",
    }
    assert {trial.epochs for trial in found if trial.status == "pruned"} == {2}
    options = Space.of([Options("optimizer.lr", ("2e-2", "1.0"))])
    assert [trial.setting for trial in read_study(target, options, ["valid_loss"])] == [{"optimizer.lr": "2e-2"}]
    for space, metric, message in (
        (Space.of([Interval("optimizer.lr", 1.0, 2.0)]), "valid_loss", "has no complete trial in this space"),
        (Space.of([LR]), "valid_r2", "its objective is to minimize valid_loss, not to maximize valid_r2"),
    ):
        with pytest.raises(InputError, match=message):
            read_study(target, space, [metric])


@pytest.mark.parametrize(
    ("texts", "declared", "expected"),
    [
        (["8", "16"], None, IntDistribution(8, 16)),
        (["1", "100"], None, IntDistribution(1, 100, log=True)),
        (["0.5", "1"], None, FloatDistribution(0.5, 1.0)),
        (["relu", "tanh", "relu"], None, CategoricalDistribution(("relu", "tanh"))),
        (["null", "1"], None, CategoricalDistribution((None, 1))),
        (["8"], WholeNumbers("k", 4, 9), IntDistribution(4, 9)),
        (["3"], WholeNumbers("k", 4, 9), IntDistribution(3, 3)),
        (["0.2"], Interval("k", 0.1, 1.0, log=True), FloatDistribution(0.1, 1.0, log=True)),
        (["16"], Options("k", ("8", "16")), CategoricalDistribution((8, 16))),
        (["16"], Options("k", ("8", "16"), ordered=True), IntDistribution(8, 16)),
    ],
)
def test_the_distribution_of_a_key_is_its_range_or_that_of_its_values(
    texts: list[str], declared: Any, expected: Any
) -> None:
    assert distribution_of_texts(texts, declared) == expected


@pytest.mark.slow
def test_a_study_that_is_not_there_is_not_made(folder: Path) -> None:
    with pytest.raises(InputError, match=r"search\.from=sqlite:///none\.db: there is no none\.db"):
        read_study("sqlite:///none.db", Space.of([LR]), ["valid_loss"])
    assert not Path("none.db").exists()


def test_without_optuna_a_study_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("ch12cli.search.optuna_study.lacks_package", lambda _name: True)
    with pytest.raises(InputError, match="optuna is not installed"):
        read_study("study.log", Space.of([LR]), ["valid_loss"])


def test_a_sweep_is_exported_by_a_command(swept: Swept, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(swept.directory), "--format", "optuna", "-o", "sqlite:///study.db"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sqlite:///study.db",
        "study grid: 3 trials (1 pruned, 1 complete, 1 failed)",
    ]
    with silent_optuna():
        study = optuna.load_study(study_name=None, storage="sqlite:///study.db")
    assert len(study.trials) == 3
    (folder / "text.log").write_text("nothing\n")
    for words, message in (
        (["-o", "text.log"], "text.log: cannot be used as a study"),
        (["-o", "sqlite:///no/such/folder/study.db"], "cannot be used as a study"),
        (["-o", "none/study.log"], "-o none/study.log: there is no directory none"),
    ):
        assert main(["export", str(swept.directory), "--format", "optuna", *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["export", str(swept.directory / "0"), "--format", "optuna"]) == 2
    assert "is no sweep" in capsys.readouterr().err
