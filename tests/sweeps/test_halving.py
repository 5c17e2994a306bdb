"""Halving: who leaves at which rung, and that those who stay end as they would have without it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ch12cli.cli.text.plan_view import describe_halving, format_plan
from ch12cli.errors import InputError
from ch12cli.sweeps.groups import why_not_halved
from ch12cli.sweeps.halving import Halving
from ch12cli.sweeps.start import plan_many
from ch12cli.sweeps.workers.attempts import StackCheckpoints
from tests.sweeps.driver import Stopping, Swept, apart, jobs_of, sweep

WORDS = ("dataset=two_class", "dataset.size=40", "batch_size=10", "epochs=10", "precision=float64", "seed=range(24)")
RUNGS = [2, 6]  # min_epochs=2, factor=3; 18 comes after the end


def test_rungs_are_powers_of_the_factor() -> None:
    halving = Halving("valid_loss", min_epochs=2, factor=3)
    assert [epoch for epoch in range(1, 200) if halving.is_rung(epoch)] == [2, 6, 18, 54, 162]
    assert [epoch for epoch in range(1, 40) if Halving("x", min_epochs=1, factor=2).is_rung(epoch)] == [
        1,
        2,
        4,
        8,
        16,
        32,
    ]
    assert [epoch for epoch in range(1, 40) if Halving("x", min_epochs=5, factor=2).is_rung(epoch)] == [5, 10, 20]


def leaving(metric: str, values: list[float], *, factor: int = 2, epoch: int = 1) -> list[bool]:
    halving = Halving(metric, min_epochs=1, factor=factor)
    return halving.leaving(epoch, np.array(values)).tolist()


def test_the_worse_runs_leave_by_the_direction_of_the_metric() -> None:
    values = [0.4, 0.1, 0.3, 0.2]
    assert leaving("valid_loss", values) == [True, False, True, False]
    assert leaving("valid_accuracy", values) == [False, True, False, True]
    assert leaving("train_mae", values) == [True, False, True, False]
    assert leaving("train_r2", values) == [False, True, False, True]
    assert leaving("valid_loss", values, epoch=3) == [False] * 4


def test_one_in_factor_stays_and_at_least_one() -> None:
    values = [float(value) for value in range(10)]
    for factor, stay in [(2, 5), (3, 3), (4, 2), (11, 1), (100, 1)]:
        assert leaving("valid_loss", values, factor=factor) == [False] * stay + [True] * (10 - stay)
    assert leaving("valid_loss", [0.5]) == [False]


def test_ended_runs_neither_leave_nor_count() -> None:
    nan = np.nan
    assert leaving("valid_loss", [nan, 3.0, nan, 1.0, 2.0, 4.0]) == [False, True, False, False, False, True]
    assert leaving("valid_loss", [nan, nan, 1.0]) == [False, False, False]


def test_all_runs_of_a_setting_leave_or_stay_by_the_mean_of_those_that_have_not_ended() -> None:
    nan, halving = np.nan, Halving("valid_loss", min_epochs=1, factor=2)
    settings = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    values = np.array([0.1, 0.3, 0.2, nan, 0.9, 0.3, nan, nan])  # means 0.5, 0.3, 0.2, none
    assert halving.leaving(1, values, settings).tolist() == [True, True, False, False, True, True, False, False]
    assert not halving.leaving(1, values, np.zeros(8, np.int64)).any()
    assert not halving.leaving(3, values, settings).any()


def test_among_equal_runs_the_first_stay() -> None:
    assert leaving("valid_loss", [1.0, 1.0, 1.0, 1.0]) == [False, False, True, True]


def test_an_infinite_loss_leaves_before_a_finite_one() -> None:
    assert leaving("valid_loss", [np.inf, 5.0, np.inf, 1.0]) == [True, False, True, False]


def values_at(swept: Swept, epoch: int) -> dict[int, float]:
    """The validation loss of each job after an epoch, as metrics.csv of the whole sweep has it."""
    values = {}
    for job in swept.rows:
        rows = (swept.directory / str(job) / "metrics.csv").read_text(encoding="utf-8").splitlines()
        values[job] = float(dict(zip(rows[0].split(","), rows[epoch].split(","), strict=True))["valid_loss"])
    return values


@pytest.mark.usefixtures("folder")
def test_the_best_runs_continue_and_end_as_without_halving() -> None:
    whole = sweep(*WORDS, into="whole")
    halved = sweep(*WORDS, "sweep.halving={metric:valid_loss,min_epochs:2,factor:3}", into="halved")
    assert halved.failed == 0
    left: dict[int, int] = {}
    running = set(whole.rows)
    for rung in RUNGS:
        values = values_at(whole, rung)
        best = set(sorted(running, key=lambda job: (values[job], job))[: len(running) // 3])
        left |= dict.fromkeys(running - best, rung)
        running = best
    assert len(running) == 2
    for job, row in halved.rows.items():
        assert row["status"] == "finished"
        assert row["left_at"] == str(left.get(job, ""))
        assert int(row["epochs"]) == left.get(job, 10)
        result = json.loads((halved.directory / str(job) / "result.json").read_text(encoding="utf-8"))
        assert result.get("left_at") == left.get(job)
        found = (halved.directory / str(job) / "metrics.csv").read_text(encoding="utf-8").splitlines()
        assert len(found) == left.get(job, 10) + 1
    for job in running:
        assert apart(halved.weights(job), whole.weights(job)) < 1e-12
        same = [name for name in whole.rows[job] if name.startswith(("train_", "valid_", "test_", "best"))]
        assert same
        for name in same:
            assert float(halved.rows[job][name]) == pytest.approx(float(whole.rows[job][name]), rel=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_same_jobs_without_halving_are_different_jobs() -> None:
    """Else a sweep that was halved would count as done without it."""
    halved = sweep(*WORDS, "epochs=3", "sweep.halving={metric:valid_loss,min_epochs:1,factor:2}")
    assert {int(row["epochs"]) for row in halved.rows.values()} == {1, 2, 3}
    whole = sweep(*WORDS, "epochs=3")
    assert len(whole.rows) == 48
    assert {int(row["epochs"]) for job, row in whole.rows.items() if job >= 24} == {3}


UNLUCKY = "_target_: tests.sweeps.networks.Unlucky\nraises: -1\nexits: -1\ndies: -1\n"
BATCHES = "hydra.sweeper.max_batch_size"
HALVING = "sweep.halving={metric:valid_loss,min_epochs:1,factor:2}"


def left_at(swept: Swept) -> dict[int, str]:
    """How each job ended."""
    return {
        job: row["left_at"] or row["stopped_at"] or row["error"].partition(" (networks.py")[0]
        for job, row in swept.rows.items()
    }


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_runs_that_do_not_fit_into_one_stack_are_compared_with_all_others() -> None:
    words = (*WORDS, "epochs=5", HALVING)
    whole = sweep(*words, into="whole")
    parted = sweep(*words, "sweep.max_stacked=5", into="parted")
    assert len({*left_at(whole).values()}) == 4  # after epoch 1, 2, 4; never
    assert left_at(parted) == left_at(whole)
    (item,) = parted.looker.plans[0].items
    assert [len(part) for part in item.parts()] == [4, 5, 5, 5, 5]
    for job, row in parted.rows.items():
        assert apart(parted.weights(job), whole.weights(job)) < 1e-12
        assert (row["epochs"], row["best_epoch"]) == (whole.rows[job]["epochs"], whole.rows[job]["best_epoch"])
    assert [path.name for path in Path("parted/.ch12").iterdir()] == ["plan.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("at_once", "stops"),
    [(24, (7,)), (5, (19,)), *(pytest.param(n, (1, 7, 13, 19, 23), marks=pytest.mark.slow) for n in (24, 5))],
)
def test_an_interrupted_halving_resumes_with_the_same_runs(
    at_once: int, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*WORDS, "epochs=5", HALVING, f"sweep.max_stacked={at_once}")
    whole = sweep(*words, into="whole")

    monkeypatch.setattr("ch12cli.sweeps.workers.worker_pool.REFRESH", 0.0)
    for stop in stops:
        looker = Stopping(stop)  # while others of the same rung have not left yet
        sweep(*words, into=f"stopped-{stop}", looker=looker, signalled=True)
        again = sweep(*words, into=f"stopped-{stop}")
        assert left_at(again) == left_at(whole)
        assert all(apart(again.weights(job), whole.weights(job)) < 1e-12 for job in whole.rows)
        assert [path.name for path in Path(f"stopped-{stop}/.ch12").iterdir()] == ["plan.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_checkpoints_are_removed_when_nothing_is_left_to_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep can be killed when its last job has ended and before its checkpoints are removed."""
    words = (*WORDS, "epochs=5", "checkpoint.every=1", HALVING, "sweep.max_stacked=5")
    remove = StackCheckpoints.remove

    def keep_and_remove(checkpoints: StackCheckpoints) -> None:
        if not Path("kept").exists():
            shutil.copytree("swept/.ch12", "kept")
        remove(checkpoints)

    with monkeypatch.context() as changed:
        changed.setattr(StackCheckpoints, "remove", keep_and_remove)
        sweep(*words, into="swept")
    shutil.copytree("kept", "swept/.ch12", dirs_exist_ok=True)
    left = {path.suffix for path in Path("swept/.ch12").iterdir()}
    assert left >= {".json", ".pt", ".rungs"}
    again = sweep(*words, into="swept")
    assert again.looker.ended == []
    assert [path.name for path in Path("swept/.ch12").iterdir()] == ["plan.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("at_once", ["auto", "5"])
def test_failed_jobs_do_not_split_the_group_of_the_others(at_once: str) -> None:
    """Else each piece of the stack that they end would be halved by itself."""
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/unlucky.yaml").write_text(UNLUCKY)
    words = (*WORDS[:-1], "epochs=5", "model=unlucky", "loss=bce_logits", HALVING, f"sweep.max_stacked={at_once}")
    bad = ("model.raises=3", "model.exits=5", "model.dies=7")
    swept = sweep(*words, *bad, "seed=range(24)", folders=[Path("mine")])
    others = ",".join(str(seed) for seed in range(24) if seed not in (3, 5, 7))
    clean = sweep(*words, f"seed={others}", folders=[Path("mine")], into="clean")
    assert swept.failed == 3
    assert left_at(swept)[7] == "the process that trained it died (exit code 7)"
    by_seed = {row["seed"]: left_at(swept)[job] for job, row in swept.rows.items() if row["status"] != "failed"}
    assert by_seed == {row["seed"]: left_at(clean)[job] for job, row in clean.rows.items()}
    assert swept.looker.messages == []
    assert [path.name for path in Path("sweep/.ch12").iterdir()] == ["plan.json"]


REFUSED = {
    "{metric:loss,min_epochs:1,factor:2}": "must be null, or 'sweep.halving={metric: valid_loss",
    "{metric:valid_loss,min_epochs:0,factor:2}": "must be null, or 'sweep.halving={metric: valid_loss",
    "{metric:valid_loss,min_epochs:1,factor:1}": "must be null, or 'sweep.halving={metric: valid_loss",
    "{metric:valid_loss,min_epochs:1}": "must be null, or 'sweep.halving={metric: valid_loss",
    "3": "must be null, or 'sweep.halving={metric: valid_loss",
    "{metric:valid_mae,min_epochs:1,factor:2}": "sweep.halving.metric=valid_mae: is for values",
}


def test_an_impossible_halving_is_refused() -> None:
    for halving, problem in REFUSED.items():
        with pytest.raises(InputError) as error:
            jobs_of([["seed=1"], [f"sweep.halving={halving}"]])
        (told,) = error.value.messages
        assert problem in told
        assert told.endswith("(job 1)")
    with pytest.raises(InputError, match="there is no validation part"):
        jobs_of([["dataset.valid_size=0", "sweep.halving={metric:valid_loss,min_epochs:1,factor:2}"]])


@pytest.mark.sample(2)
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["precision=bfloat16"], "no job can be halved: precision=bfloat16 has no stacked form; leave it out"),
        (["epochs=1"], "no job can be halved: min_epochs=1 is not before the last of 1 epoch; leave it out"),
        (["hydra/launcher=basic"], "hydra/launcher=basic trains each job by itself; leave one of them out"),
        (
            ["hydra.sweeper.max_batch_size=6"],
            "compares all jobs with each other; leave out hydra.sweeper.max_batch_size",
        ),
    ],
)
def test_a_halving_without_effect_is_refused(words: list[str], problem: str) -> None:
    words = [*WORDS[:3], "epochs=3", "seed=range(12)", HALVING, *words]
    with pytest.raises(InputError) as error:
        sweep(*words)
    assert str(error.value) == f"sweep.halving: {problem}"
    with pytest.raises(InputError):
        plan_many(["device=cpu", *words], folders=[], config_name="config")
    assert not Path("sweep").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_jobs_that_are_not_halved_are_reported_and_train_all_epochs() -> None:
    words = (*WORDS[:3], "seed=range(6)", "epochs=3", "precision=float64,bfloat16", HALVING)
    swept = sweep(*words)
    plan = swept.looker.plans[0]
    assert [why_not_halved(group) for group in plan.groups] == ["", "precision=bfloat16 has no stacked form"]
    lines = format_plan(plan, width=120)
    assert "not halved: precision=bfloat16 has no stacked form (6 jobs, group 2)" in lines
    assert describe_halving(plan.groups) == [
        ("halving", "by valid_loss, 1 in 2 stays after epoch 1, 2"),
        ("", "not halved: precision=bfloat16 has no stacked form (6 jobs, group 2)"),
    ]
    epochs: dict[str, list[int]] = {row["precision"]: [] for row in swept.rows.values()}
    for row in swept.rows.values():
        epochs[row["precision"]].append(int(row["epochs"]))
    assert {key: sorted(values) for key, values in epochs.items()} == {
        "float64": [1, 1, 1, 2, 2, 3],
        "bfloat16": [3] * 6,
    }


@pytest.mark.usefixtures("folder")
def test_verification_trains_only_jobs_that_halving_kept() -> None:
    swept = sweep(*WORDS[:4], "precision=float64", "epochs=3", "seed=range(6)", HALVING, "sweep.verify=3")
    assert len(swept.finished.differences) == 1
    assert swept.finished.to_verify == 3
