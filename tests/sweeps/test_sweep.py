"""Whole sweeps: each job is the run alone, whatever its company, and what ends one job ends no other."""

import csv
import json
import random
import shlex
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ch12cli.catalogue.summary import by_monitor
from ch12cli.catalogue.sweep_jobs import best_job, sweep_monitor
from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.sweeps.jobs import SweepJob
from ch12cli.sweeps.workers.work_item import Done
from tests.conftest import Train
from tests.sweeps.driver import Looker, Swept, apart, relative, sweep, without_times
from tests.sweeps.networks import Unlucky

SMALL = ("dataset=two_class", "dataset.size=40", "batch_size=8", "epochs=4", "precision=float64")
TINY = ("dataset=toy_regression", "batch_size=5", "epochs=3", "precision=float64", "optimizer=sgd")

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def models(folder: Path) -> Path:
    """A configuration folder with networks of a user's own."""
    (folder / "mine" / "model").mkdir(parents=True)
    for name, arguments in {
        "Unlucky": "raises: -1\nexits: -1\ndies: -1\nkilled: -1\n",
        "RaisesInForward": "fails: true\n",
        "Picky": "size: 1\n",
        "Residual": "width: 3\n",
        "WithBuffers": "",
    }.items():
        (folder / "mine" / "model" / f"{name.lower()}.yaml").write_text(
            f"_target_: tests.sweeps.networks.{name}\n{arguments}"
        )
    return folder / "mine"


def metrics(directory: Path) -> list[dict[str, float]]:
    with open(directory / "metrics.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def result(swept: Swept, job: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (swept.directory / swept.rows[job]["directory"] / "result.json").read_text(encoding="utf-8")
    )
    return found


def assert_like_alone(swept: Swept, job: int, train: Train, *, folders: list[Path] = []) -> None:  # noqa: B006
    """The job's directory against the run that its line in the table trains."""
    row = swept.rows[job]
    program, verb, *words = shlex.split(row["command"])
    assert (program, verb) == ("ch12", "train")
    while words[0] == "--config-dir":
        del words[:2]
    alone = train(*words, f"hydra.run.dir=alone/{swept.directory.name}/{job}", folders=folders)
    directory = swept.directory / row["directory"]
    for name in ("model.pt", "checkpoints/best.pt", "checkpoints/last.pt"):
        states = [torch.load(folder / name, weights_only=True) for folder in (directory, alone.directory)]
        found, expected = (state.get("network", state) for state in states)
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert relative(found[key], value) < 1e-9
        # a run of a stack writes its last checkpoint once, with the rows in it
        assert states[0].keys() - {"compiled", "rows_beside"} == states[1].keys() - {"rows_beside"}
    found_rows = metrics(directory)
    assert len(found_rows) == alone.result.epochs == int(row["epochs"])
    for found_row, expected_row in zip(found_rows, alone.rows, strict=True):
        assert list(found_row) == list(expected_row)
        assert all(relative(found_row[key], expected_row[key]) < 1e-9 for key in expected_row if key != "seconds")
    found_result = result(swept, job)
    for key in ("status", "epochs", "monitor", "parameters", "stopped_at", "data"):
        assert found_result.get(key) == alone.result.to_dict().get(key)
    assert found_result["best"]["epoch"] == alone.result.best_epoch == int(row["best_epoch"])
    assert relative(float(row["objective"]), alone.result.objective) < 1e-9
    for key, value in (alone.result.test or {}).items():
        assert relative(float(row[f"test_{key}"]), value) < 1e-9


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "words",
    [
        ("dataset=iris", "batch_size=16", "optimizer.lr=0.02,0.05", "early_stopping.patience=1,3"),
        ("dataset=two_class", "dataset.test_size=0.2", "optimizer=sgd", "optimizer.momentum=0.9,0.5", "model.width=40"),
        ("dataset=toy_regression", "model=linear", "scheduler=cosine", "optimizer.lr=0.1,0.5", "clip_grad_norm=1,0.1"),
    ],
    ids=["iris", "two_class", "toy_regression"],
)
def test_each_job_equals_the_run_of_its_command(words: tuple[str, ...], train: Train) -> None:
    swept = sweep(*words, "epochs=8", "precision=float64", "seed=1,2")
    assert {row["status"] for row in swept.rows.values()} == {"finished"}
    assert [group.reason for group in swept.looker.plans[0].groups] == [""]
    for job in (0, 3):
        assert_like_alone(swept, job, train)
    assert len({row["train_loss"] for row in swept.rows.values()}) >= 4


def test_early_stopping_freezes_each_run_at_its_own_epoch(train: Train) -> None:
    words = ("dataset=iris", "batch_size=45", "epochs=30", "precision=float64", "optimizer.lr=0.3")
    swept = sweep(*words, "seed=range(6)", "early_stopping.patience=1,2,null")
    epochs = {job: int(row["epochs"]) for job, row in swept.rows.items()}
    stopped = [job for job, row in swept.rows.items() if row["stopped_at"] == str(epochs[job])]
    # more than half of them: those that go on do so in a smaller stack
    assert 9 < len(stopped) < 18
    assert len({epochs[job] for job in stopped}) > 3
    assert all(epochs[job] == 30 for job in swept.rows if job not in stopped)
    for job in [stopped[0], stopped[-1], *(job for job in swept.rows if job not in stopped)][:4]:
        assert_like_alone(swept, job, train)


@pytest.mark.slow
def test_branching_and_unstackable_networks_equal_their_single_runs(models: Path, train: Train) -> None:
    words = ("dataset=toy_regression", "epochs=5", "batch_size=5", "precision=float64", "seed=1,2")
    swept = sweep(*words, "model=residual,withbuffers", folders=[models])
    reasons = [group.reason for group in swept.looker.plans[0].groups]
    assert reasons == ["", "its network has buffers (such as running means), which a stack cannot share"]
    assert len(swept.rows) == 4
    for job in swept.rows:
        assert_like_alone(swept, job, train, folders=[models])


def files_of(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_a_jobs_directory_holds_the_files_of_a_single_run(train: Train, models: Path) -> None:
    words = ("dataset=iris", "epochs=2", "batch_size=45")
    stacked = sweep(*words, "seed=1,2")
    single = sweep(*words, "activation=relu,tanh", into="singles")
    assert {group.reason for group in single.looker.plans[0].groups} == {"the only job of its structure"}
    alone = train(*words, "seed=1")
    # the fixture's runs write no log; the checkpoint before the last is kept only where there is one
    # predictions are recorded of runs alone
    expected = files_of(alone.directory) - {"checkpoints/previous.pt", "predictions.npz"} | {"train.log"}
    assert {".hydra/config.yaml", "result.json", "metrics.csv", "model.pt", "checkpoints/last.pt"} <= expected
    for swept in (stacked, single):
        assert {path.name for path in swept.directory.iterdir()} == {"0", "1", ".ch12", "sweep.csv", "multirun.yaml"}
        for job in swept.rows:
            found = files_of(swept.directory / str(job)) - {"checkpoints/previous.pt"}
            assert found | {"checkpoints/last.rows"} == expected  # a run of a stack has the rows in its checkpoint
            assert set(alone.result.to_dict()) <= set(result(swept, job))
    for name in ("model.pt", "checkpoints/best.pt", "checkpoints/last.pt"):
        for folder in (stacked.directory / "0", single.directory / "0", alone.directory):
            state = torch.load(folder / name, weights_only=True)
            others = torch.load(alone.directory / name, weights_only=True).keys() - {"rows_beside"}
            assert state.keys() - {"compiled", "rows_beside"} == others
    for name in ("config.yaml", "overrides.yaml"):
        found = yaml.safe_load((stacked.directory / "0" / ".hydra" / name).read_text(encoding="utf-8"))
        assert found == yaml.safe_load((alone.directory / ".hydra" / name).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_order_chunks_and_processes_do_not_matter() -> None:
    seeds, rates = list(range(12)), [0.1, 0.03, 0.01]
    mixed = random.Random(3).sample(seeds, len(seeds))

    def train(into: str, order: list[int], *words: str) -> dict[tuple[str, str], torch.Tensor]:
        listed = f"seed={','.join(map(str, order))}", f"optimizer.lr={','.join(map(str, rates))}"
        swept = sweep(*SMALL, *listed, *words, into=into)
        assert len(swept.rows) == 36
        return {(row["seed"], row["optimizer.lr"]): swept.weights(job) for job, row in swept.rows.items()}

    whole = train("whole", seeds, "sweep.processes=1")
    chunks = train("chunks", seeds, "sweep.max_stacked=9", "sweep.processes=1")
    parallel = train("parallel", seeds, "sweep.max_stacked=9", "sweep.processes=2")
    shuffled = train("shuffled", mixed, "sweep.max_stacked=7", "sweep.processes=2")
    for key, weights in whole.items():
        assert torch.equal(parallel[key], chunks[key])  # the same stacks, whoever trains them
        assert apart(chunks[key], weights) < 1e-12
        assert apart(shuffled[key], weights) < 1e-12
    for one, other in product(whole, whole):
        assert one == other or apart(whole[one], whole[other]) > 1e-3


def with_one_exploding(runs: int, *words: str, into: str, bad: int = 17) -> Swept:
    """A sweep over seeds in which one job, 17, has a learning rate of 1e20, from a table of jobs."""
    lines = [f"{seed},{'1e20' if seed == bad and into != 'sane' else '0.01'}" for seed in range(runs)]
    Path(f"{into}.csv").write_text("\n".join(["seed,optimizer.lr", *lines]) + "\n")
    return sweep(*words, "sweep.processes=1", jobs_file=Path(f"{into}.csv"), into=into)


def assert_untouched_by_one(runs: int, *words: str) -> None:
    sane, mad = with_one_exploding(runs, *words, into="sane"), with_one_exploding(runs, *words, into="mad")
    assert mad.failed == 0
    assert mad.rows[17]["status"] == "diverged"
    assert int(mad.rows[17]["diverged_step"]) >= 1
    assert not (mad.directory / "17" / "model.pt").exists()
    assert result(mad, 17)["diverged_at"] == int(mad.rows[17]["epochs"]) + 1 == int(mad.rows[17]["diverged_at"])
    same = [name for name in sane.rows[0] if name not in ("seconds", "command")]
    for job in range(runs):
        if job != 17:
            assert torch.equal(sane.weights(job), mad.weights(job))
            assert [sane.rows[job][name] for name in same] == [mad.rows[job][name] for name in same]


WIDE = ("dataset=iris", "model.width=64", "batch_size=16", "optimizer=sgd", "activation=identity")
IMAGES = ("dataset=image_folder", "model=cnn", "batch_size=16", "optimizer=sgd")


@pytest.mark.slow
@pytest.mark.parametrize("words", [WIDE, pytest.param(IMAGES, marks=pytest.mark.slow)])
def test_a_run_that_explodes_beside_another_changes_no_bit_of_it(words: tuple[str, ...]) -> None:
    """Without the one that exploded, the stack would be of one run, which rounds otherwise."""
    sane, mad = (with_one_exploding(2, *words, "epochs=3", into=into, bad=1) for into in ("sane", "mad"))
    assert [row["status"] for row in mad.rows.values()] == ["finished", "diverged"]
    assert mad.looker.messages == []
    assert torch.equal(sane.weights(0), mad.weights(0))
    assert sane.rows[0]["train_loss"] == mad.rows[0]["train_loss"]


@pytest.mark.slow
def test_runs_that_explode_in_wide_stacks_change_no_bit_of_the_others(folder: Path) -> None:
    assert_untouched_by_one(40, *WIDE, "epochs=3")


@pytest.mark.slow
def test_a_run_that_explodes_changes_no_bit_of_the_others() -> None:
    assert_untouched_by_one(100, *TINY)


@pytest.mark.slow
def test_a_run_that_explodes_changes_no_bit_of_999_others() -> None:
    assert_untouched_by_one(1000, "dataset=iris", "optimizer=sgd", "activation=identity", "epochs=20")


CULPRITS = {"raises": 13, "exits": 42, "dies": 57, "killed": 71}


@pytest.mark.slow
def test_failing_jobs_among_a_hundred_do_not_end_others(models: Path) -> None:
    words = (*TINY, "model=unlucky", "optimizer.lr=0.01", "seed=range(100)", "sweep.processes=2")
    clean = sweep(*words, folders=[models], into="clean")
    bad = [f"model.{how}={seed}" for how, seed in CULPRITS.items()]
    swept = sweep(*words, *bad, folders=[models])
    assert (clean.failed, swept.failed) == (0, 4)
    causes = {job: row["error"] for job, row in swept.rows.items() if row["status"] == "failed"}
    failed = {job: cause.partition(" (networks.py")[0] for job, cause in causes.items()}
    assert failed == {
        13: "model: tests.sweeps.networks.Unlucky refused: no network for seed 13",
        42: "it called sys.exit('enough of seed 42')",
        57: "the process that trained it died (exit code 7)",
        71: "the process that trained it died (signal 9)",
    }
    assert {done.number for done in swept.looker.ended if done.status == "failed"} == set(CULPRITS.values())
    assert sorted(done.number for done in swept.looker.ended) == list(range(100))
    for job in set(range(100)) - set(CULPRITS.values()):
        assert apart(swept.weights(job), clean.weights(job)) < 1e-12
    # a failed job is no finished one: the same command tries it again, and it alone
    again = sweep(*words, *bad, folders=[models])
    assert again.failed == 4
    assert {done.number for done in again.looker.ended} == set(CULPRITS.values())
    assert without_times(again.rows) == without_times(swept.rows)


@pytest.mark.slow
def test_the_command_trains_97_of_100_jobs_and_says_which_three_ended_badly_and_why(
    models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, rate in (("clean", "0.01"), ("swept", "9e37")):
        rows = "".join(f"{seed},{rate if seed == 71 else 0.01}\n" for seed in range(100))
        Path(f"{name}.csv").write_text(f"seed,optimizer.lr\n{rows}")
    words = ["train", "-m", "-q", "-cd", str(models), "device=cpu", *TINY, "model=unlucky"]
    assert main([*words, "--jobs", "clean.csv", "hydra.sweep.dir=clean"]) == 0
    assert capfd.readouterr().err == ""
    bad = ["model.raises=13", "model.exits=42"]
    assert main([*words, *bad, "--jobs", "swept.csv", "hydra.sweep.dir=swept"]) == 3
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 3
    assert told[0].startswith(
        "run 13 (seed=13, optimizer.lr=0.01) failed: model: tests.sweeps.networks.Unlucky refused"
    )
    assert told[1] == "run 42 (seed=42, optimizer.lr=0.01) failed: it called sys.exit('enough of seed 42')"
    assert told[2].startswith("run 71 (seed=71, optimizer.lr=9e37) diverged: the loss was no longer finite in epoch 3")
    table = read_sweep_csv(Path("swept/sweep.csv"))
    assert [row.status for row in table].count("finished") == 97
    for row in table:
        if row.status == "finished":
            swept, clean = (
                torch.load(f"{folder}/{row.job}/model.pt", weights_only=True) for folder in ("swept", "clean")
            )
            assert all(relative(swept[name], clean[name]) < 1e-12 for name in clean)


def test_a_failed_job_has_a_directory_with_its_error(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TINY, "model=unlucky", "seed=1,2,3")
    swept = sweep(*words, "model.raises=2", folders=[models])
    assert result(swept, 1)["status"] == "failed"
    assert result(swept, 1)["error"] == swept.rows[1]["error"]
    hydras = {f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")}
    assert files_of(swept.directory / "1") == {*hydras, "result.json"}
    assert (swept.directory / "1/.hydra/overrides.yaml").read_text(encoding="utf-8").count("seed=2") == 1
    assert main(["show", "sweep/1"]) == 0
    assert "no network for seed 2" in capsys.readouterr().out
    # as the sweep is told to try again, with what made it fail mended, it is trained in the stack of the others
    monkeypatch.setattr(Unlucky, "forgiving", True)
    (swept.directory / "0/result.json").unlink()
    again = sweep(*words, "model.raises=2", folders=[models])
    assert {done.number: done.status for done in again.looker.ended} == {0: "finished", 1: "finished"}
    assert result(again, 1)["status"] == again.rows[1]["status"] == "finished"


def test_the_table_is_written_during_the_sweep(models: Path) -> None:
    """Else a sweep that is killed has nothing to show for itself."""
    seen: list[int] = []

    class Reading(Looker):
        def on_job_end(self, done: Done, job: SweepJob) -> None:
            super().on_job_end(done, job)
            seen.append(len(read_sweep_csv(Path("sweep/sweep.csv"))))

    Path("mine/model/slow.yaml").write_text("_target_: tests.sweeps.networks.slow_linear\nseconds: 0.6\n")
    words = (*TINY, "model=slow", "seed=range(6)", "sweep.max_stacked=1", "sweep.processes=1")
    sweep(*words, folders=[models], looker=Reading())
    assert seen[-1] >= 3


@pytest.mark.slow
def test_objectives_of_different_metrics_are_reported_separately() -> None:
    swept = sweep("dataset=iris,toy_regression", "epochs=1", "batch_size=30", "seed=1,2")
    assert [row["monitor"] for row in swept.rows.values()] == ["valid_loss"] * 2 + ["train_loss"] * 2
    rows = read_sweep_csv(swept.directory / "sweep.csv")
    assert {name: len(alike) for name, alike in by_monitor(rows, "x").items()} == {"valid_loss": 2, "train_loss": 2}
    assert sweep_monitor(swept.directory, rows) == "objective"
    assert best_job(swept.directory, rows) == {}
    assert sweep_monitor(swept.directory, rows[:2]) == "valid_loss"


@pytest.mark.slow
def test_a_job_that_was_not_started_is_reported_as_such(models: Path) -> None:
    words = (*TINY, "model=unlucky", "model.raises=1", "seed=1,2,3", "sweep.max_stacked=1", "sweep.fail_fast=true")
    sweep(*words, "sweep.processes=1", folders=[models])
    for verb in ("show", "resume"):
        with pytest.raises(InputError, match=r"sweep/2: job 2 was not started; `ch12 resume sweep` trains"):
            import_module(f"ch12cli.cli.verbs.{verb}").run(["sweep/2"])


@pytest.mark.slow
def test_values_that_a_users_network_refuses_fail_only_their_jobs(models: Path) -> None:
    causes = {
        3: "model: tests.sweeps.networks.Picky refused: three is too many (networks.py, line ",
        4: "it called sys.exit(4)",
        5: "the process that trained it died (exit code 5)",
    }
    swept = sweep(*TINY, "model=picky", "model.size=1,3,4,5,2", "seed=1,2", folders=[models])
    assert swept.failed == 6
    for row in swept.rows.values():
        expected = causes.get(int(row["model.size"]))
        assert row["status"] == ("failed" if expected else "finished")
        assert row["error"].startswith(expected or "")
    reasons = [group.reason for group in swept.looker.plans[0].groups]
    assert ["trying its network failed" in reason for reason in reasons] == [False, True, True, True, False]
    for size in causes:
        with pytest.raises(InputError):  # where it is so for all jobs it is wrong input
            sweep(*TINY, "model=picky", f"model.size={size}", "seed=1,2", folders=[models], into="none")
        assert not Path("none").exists()


def test_a_network_that_fails_in_training_fails_only_its_jobs(models: Path) -> None:
    swept = sweep(*TINY, "model=raisesinforward", "model.fails=false,true", "seed=1,2", folders=[models])
    assert [row["status"] for row in swept.rows.values()] == ["finished", "finished", "failed", "failed"]
    assert "the forward pass failed" in swept.rows[2]["error"]


@pytest.mark.slow
def test_fail_fast_ends_the_sweep_with_the_first_failure(models: Path) -> None:
    words = (*TINY, "model=unlucky", "model.raises=3", "seed=range(8)", "sweep.max_stacked=2", "sweep.processes=1")
    swept = sweep(*words, "sweep.fail_fast=true", folders=[models])
    assert swept.failed == 1
    statuses = [row["status"] for row in swept.rows.values()]
    assert statuses == ["finished"] * 2 + ["interrupted", "failed"] + ["interrupted"] * 4
    batches = sweep(*words, "sweep.fail_fast=true", "hydra.sweeper.max_batch_size=4", folders=[models], into="batches")
    assert [row["status"] for row in batches.rows.values()] == statuses
    assert batches.failed == 1


@pytest.mark.slow
def test_the_configuration_is_read_when_the_sweep_starts(models: Path) -> None:
    file = models / "optimizer" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("_target_: torch.optim.SGD\nlr: 0.05\n")
    words = (*TINY[:-1], "optimizer=mine", "model=linear,mlp", "seed=1,2", "sweep.max_stacked=1", "sweep.processes=1")

    def change(_plan: Any) -> None:
        file.write_text("_target_: torch.optim.SGD\nlr: 5000\n")

    changed = sweep(*words, folders=[models], into="changed", looker=Looker(change))
    assert "5000" in file.read_text(encoding="utf-8")
    file.write_text("_target_: torch.optim.SGD\nlr: 0.05\n")
    kept = sweep(*words, folders=[models], into="kept")
    for job in kept.rows:
        assert torch.equal(changed.weights(job), kept.weights(job))
        config = yaml.safe_load((changed.directory / str(job) / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        assert config["optimizer"]["lr"] == 0.05


@pytest.mark.slow
def test_a_file_that_changed_since_the_sweep_began_is_noticed(models: Path) -> None:
    file = models / "optimizer" / "mine.yaml"
    file.parent.mkdir()
    file.write_text("_target_: torch.optim.SGD\nlr: 0.05\n")
    words = (*TINY[:-1], "optimizer=mine", "seed=1,2,3", "optimizer.lr=0.05,0.1")
    sweep(*words, folders=[models])
    again = sweep(*words, "workers=2", "sweep.max_stacked=2", folders=[models])  # which change no result
    assert again.looker.ended == []
    file.write_text("_target_: torch.optim.SGD\nlr: 5000\n")
    again = sweep(*words, folders=[models])  # each job sets it
    assert again.looker.ended == []
    file.write_text("_target_: torch.optim.SGD\nlr: 0.05\nmomentum: 0.5\n")
    with pytest.raises(InputError) as error:
        sweep(*words, folders=[models])
    assert str(error.value).startswith(
        "hydra.sweep.dir=sweep: 6 of its jobs had other settings when they were planned: "
        "optimizer.momentum=none, now 0.5; a configuration file has changed since"
    )
    assert sweep(*words, folders=[models], into="other").failed == 0


def test_mistakes_of_all_jobs_are_reported_together_before_anything_is_written() -> None:
    with pytest.raises(InputError) as error:
        sweep(*SMALL, "seed=1,-2", "epochs=5,0", "optimizer.lr=0.1,high", "model.widht=3", "optimizer=adam,sdg")
    told = error.value.messages
    assert len(told) == 5
    assert "seed=-2: must be a whole number from 0" in "\n".join(told)
    assert any(text.startswith("epochs=0: ") and text.endswith("(job 8, 9, 10 and 5 more)") for text in told)
    assert any("optimizer.lr=high" in text for text in told)
    assert any("model.widht=3: no such key; did you mean `model.width`?" in text for text in told)
    assert any("optimizer=sdg: no such choice" in text for text in told)
    assert not list(Path().iterdir())


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["device=cuda:7"], "device=cuda:7: this machine has"),
        (["loss=mse", "dataset=toy_regression", "dataset.size=10", "+loss.reduction=none"], "must be one number"),
        (["model._target_=ch12cli.models.nix"], "ch12cli.models has no nix"),
        (["dataset.valid_size=200"], "dataset.valid_size"),
        (["hydra.sweep.subdir=all"], "hydra.sweep.subdir=all: gives 'all' for job 1 and 'all' for job 0"),
        (["hydra.sweep.subdir=../${seed}"], "must name a directory within the sweep's"),
        (["hydra.sweep.subdir=/tmp/${seed}"], "must name a directory within the sweep's"),
        (["hydra.sweep.subdir=.ch12/${seed}"], "must name a directory within the sweep's"),
        (["hydra.sweep.subdir=sweep.csv/${seed}"], "must name a directory within the sweep's"),
        (["hydra.sweep.subdir=multirun.yaml/${seed}"], "must name a directory within the sweep's"),
        (["hydra.sweep.subdir=${sead}"], "hydra.sweep.subdir=${sead}: "),
    ],
)
def test_mistakes_found_while_building_leave_no_files(words: list[str], problem: str) -> None:
    with pytest.raises(InputError) as error:
        sweep(*SMALL, *words, "seed=1,2", into="outputs/some/where")
    assert problem in str(error.value)
    assert not list(Path().iterdir())


def test_a_sweep_refuses_a_directory_with_other_content() -> None:
    sweep(*TINY, "seed=1,2", into="first")
    before = {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}
    Path("first/5").mkdir()
    Path("first/5/precious.txt").write_text("mine")
    with pytest.raises(InputError, match=r"first: 5 exists already, and does not belong to job 5 \(.*seed=8\)"):
        sweep(*TINY, "seed=1,2,5,6,7,8", into="first")
    with pytest.raises(InputError, match=r"hydra.sweep.dir=first/0: is the directory of a run"):
        sweep(*TINY, "seed=1,2", into="first/0")
    Path("file").write_text("no folder")
    for name in ("file", "file/below"):
        with pytest.raises(InputError, match="there is a file of that name in its path"):
            sweep(*TINY, "seed=1,2", into=name)
    assert {path: path.read_bytes() for path in before} == before
    assert Path("first/5/precious.txt").read_text(encoding="utf-8") == "mine"
    # what the very same jobs have left there is taken up, also where the sweep's own notes are lost
    for path in Path("first/.ch12").iterdir():
        path.unlink()
    again = sweep(*TINY, "seed=1,2", into="first")
    assert again.looker.ended == []
    assert [row["status"] for row in again.rows.values()] == ["finished", "finished"]


@pytest.mark.slow
def test_hydra_sweep_subdir_names_the_directories() -> None:
    words = (*TINY, "optimizer.lr=0.1,0.01", "seed=1,2", "sweep.max_stacked=3")
    pattern = "hydra.sweep.subdir=${hydra:runtime.choices.optimizer}_${optimizer.lr}/${hydra.job.num}_seed_${seed}"
    swept = sweep(*words, pattern)
    places = ["sgd_0.1/0_seed_1", "sgd_0.1/1_seed_2", "sgd_0.01/2_seed_1", "sgd_0.01/3_seed_2"]
    assert [row["directory"] for row in swept.rows.values()] == places
    plain = sweep(*words, into="plain")
    for job, place in enumerate(places):
        assert files_of(swept.directory / place) == files_of(plain.directory / str(job))
        assert torch.equal(swept.weights(job), plain.weights(job))
        hydra = yaml.safe_load((swept.directory / place / ".hydra" / "hydra.yaml").read_text(encoding="utf-8"))["hydra"]
        assert hydra["runtime"]["output_dir"] == str((swept.directory / place).absolute())
        assert hydra["sweep"]["subdir"] == pattern.partition("=")[2]
    again = sweep(*words, pattern)
    assert again.looker.ended == []
    assert again.rows == swept.rows


@pytest.mark.slow
def test_a_directory_may_be_named_by_all_overrides() -> None:
    swept = sweep(*TINY[1:], "dataset=toy_regression", "seed=1,2", "hydra.sweep.subdir=${hydra.job.override_dirname}")
    names = [row["directory"] for row in swept.rows.values()]
    common = "batch_size=5,dataset=toy_regression,device=cpu,epochs=3,optimizer=sgd,precision=float64"
    assert names == [f"{common},seed=1", f"{common},seed=2"]


@pytest.mark.slow
def test_a_directory_within_that_of_another_job_is_refused() -> None:
    pattern = ("hydra.sweep.subdir=${hydra.job.override_dirname}", "hydra.job.config.override_dirname.item_sep=/")
    for seeds in (["", "3"], ["3", ""]):
        Path("jobs.csv").write_text("seed,model\n" + "".join(f"{seed},mlp\n" for seed in seeds))
        with pytest.raises(InputError, match=r"gives '.*/seed=3' for job \d and '.*float64' for job \d"):
            sweep(*TINY, *pattern, jobs_file=Path("jobs.csv"))


def test_a_sweep_without_a_given_directory_gets_a_new_one() -> None:
    words = [*TINY, "seed=1,2"]
    first, second = (sweep(*words, into="outputs/${now:%Y}-sweep") for _ in range(2))
    assert first.directory == second.directory  # named: the same sweep again
    assert second.looker.ended == []


@pytest.mark.slow
def test_the_command_in_the_table_names_the_configuration_folders(models: Path, train: Train) -> None:
    swept = sweep(*TINY, "model=residual", "seed=1,2", folders=[models])
    words = shlex.split(swept.rows[0]["command"])
    assert words[:4] == ["ch12", "train", "--config-dir", str(models)]
    searched = sweep(*TINY, "model=residual", "seed=1,2", f"hydra.searchpath=[file://{models}]", into="searched")
    words = shlex.split(searched.rows[0]["command"])[2:]
    assert words[0] == f"hydra.searchpath=[file://{models}]"
    alone = train(*words)
    weights = torch.cat([value.reshape(-1) for value in alone.model.state_dict().values()])
    assert apart(searched.weights(0), weights) < 1e-9


def test_verification_trains_jobs_again_as_single_runs() -> None:
    swept = sweep(*SMALL, "seed=range(5)", "sweep.verify=3")
    differences = swept.finished.differences
    assert len({difference.job for difference in differences}) == 3
    assert not any(difference.error for difference in differences)
    for difference in differences:
        assert 0 <= difference.weights < 1e-9
        assert 0 <= difference.objective < 1e-9


FAILS_OUTSIDE_A_WORKER = """
import multiprocessing

import torch


class Fragile(torch.nn.Linear):
    def forward(self, x):
        if multiprocessing.parent_process() is None and type(x) is torch.Tensor and len(x) > 2:  # not when it is tried
            raise RuntimeError("only in a worker")
        return super().forward(x)
"""


@pytest.mark.slow
def test_an_error_of_the_users_network_in_verification_and_export_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "fragile_network.py").write_text(FAILS_OUTSIDE_A_WORKER)
    (folder / "mine" / "model").mkdir(parents=True)
    text = "_target_: fragile_network.Fragile\nin_features: 4\nout_features: 3\n"
    (folder / "mine" / "model" / "fragile.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    words = ["train", "-m", "--config-dir", "mine", "model=fragile", "epochs=1", "seed=1,2", "batch_size=5"]
    assert main([*words, "sweep.verify=1", "hydra.sweep.dir=sweep"]) == 0
    assert "could not be verified: code of your own raised while verifying" in capsys.readouterr().err
    assert main(["export", "sweep/0", "--format", "torch_export", "--trust"]) == 2
    error = capsys.readouterr().err
    assert "raised while exporting" in error
    assert "only in a worker (fragile_network.py, line " in error


def test_equal_jobs_are_trained_once() -> None:
    path = Path("jobs.csv")
    path.write_text("seed\n1\n1\n2\n1\n")
    swept = sweep(*TINY, jobs_file=path)
    assert list(swept.rows) == [0, 2]
    assert swept.looker.plans[0].numbers == [0, 0, 2, 0]


COUNTED = '''"""A data set that notes each time that it is read."""
import numpy as np


def rows(file: str) -> tuple[np.ndarray, np.ndarray]:
    with open(file, "a") as notes:
        notes.write("read\\n")
    draw = np.random.default_rng(1)
    return draw.normal(size=(40, 3)), draw.integers(0, 2, 40)
'''


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "swept",
    [
        ["seed=range(128)"],
        ["model.width=2,3,4", "seed=1,2"],
        ["dataset.split_seed=1,2,3,4", "sweep.verify=1"],
        ["++optimizer._target_=torch.optim.Adamax", "~optimizer.amsgrad", "seed=range(6)"],
        ["dataset.folds=5", "dataset.scaling=standard,none"],
    ],
    ids=["seeds", "widths", "splits", "singles", "folds"],
)
def test_a_data_set_is_read_once_for_a_whole_sweep(
    swept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counted.py").write_text(COUNTED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    data = ["dataset._target_=counted.rows", f"+dataset.file={tmp_path / 'notes'}", "epochs=1"]
    assert {row["status"] for row in sweep(*data, *swept).rows.values()} == {"finished"}
    assert (tmp_path / "notes").read_text() == "read\n"
