"""`logger`: what TensorBoard's and MLflow's own readers find is what metrics.csv and result.json say."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from ch12cli.cli.main import main
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.trackers.mlflow import MLflow
from ch12cli.trackers.protocol import TrackedRun

# of the trackers' own packages: MLflow uses what SQLAlchemy has deprecated
pytestmark = pytest.mark.filterwarnings("ignore")

WORDS = ["train", "-q", "device=cpu", "epochs=4"]
FIGURES = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "lr", "seconds")


def events(directory: Path) -> EventAccumulator:
    found = EventAccumulator(str(directory))
    found.Reload()
    return found


def require_same_in_tensorboard(directory: Path) -> None:
    found, rows = events(directory), read_metrics(directory / "metrics.csv")
    for name in FIGURES:
        part, _, metric = name.partition("_")
        scalars = found.Scalars(f"{metric}/{part}" if metric else name)
        assert [event.step for event in scalars] == [int(row["epoch"]) for row in rows]
        assert [event.value for event in scalars] == pytest.approx([row[name] for row in rows], rel=1e-6)  # float32


def hparams(directory: Path) -> dict[str, Any]:
    """What the HPARAMS view shows of a run."""
    content = events(directory).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = HParamsPluginData.FromString(content).session_start_info
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}


def tracked() -> list[Run]:
    client = MlflowClient(tracking_uri=f"sqlite:///{Path.cwd()}/mlflow.db")
    experiment = client.get_experiment_by_name("ch12")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["start_time ASC"]))


def require_same_in_mlflow(run: Run, directory: Path) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{Path.cwd()}/mlflow.db")
    rows = read_metrics(directory / "metrics.csv")
    for name in FIGURES:
        history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda metric: metric.step)
        assert [(each.step, each.value) for each in history] == [(int(row["epoch"]), row[name]) for row in rows]
    result = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    assert run.data.metrics["test_accuracy"] == result["test"]["accuracy"]
    assert run.data.metrics["objective"] == result["objective"]


def test_a_run_has_the_same_metrics_in_both_trackers_and_its_files(folder: Path) -> None:
    assert main([*WORDS, "logger=[tensorboard,mlflow]", "hydra.run.dir=run", "optimizer.lr=0.02", "model.width=5"]) == 0
    require_same_in_tensorboard(folder / "run")
    shown = hparams(folder / "run")
    assert (shown["optimizer.lr"], shown["model.width"], shown["dataset"], shown["seed"]) == (0.02, 5.0, "iris", 1.0)
    (found,) = tracked()
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert (found.data.params["optimizer.lr"], found.data.params["model"]) == ("0.02", "mlp")
    require_same_in_mlflow(found, folder / "run")


@pytest.mark.slow
def test_a_resumed_run_is_one_tracked_run_without_rows_after_its_checkpoint(folder: Path) -> None:
    assert main([*WORDS, "logger=[tensorboard,mlflow]", "hydra.run.dir=run", "checkpoint.every=2"]) == 0
    (folder / "run" / "result.json").unlink()  # as if it had been killed in epoch 4, with the checkpoint of epoch 2
    shutil.copy(folder / "run" / "checkpoints" / "previous.pt", folder / "run" / "checkpoints" / "last.pt")
    assert main(["resume", "run", "epochs=6", "-q", "--trust"]) == 0
    require_same_in_tensorboard(folder / "run")
    (found,) = tracked()
    assert found.info.status == "FINISHED"
    assert found.data.metrics["valid_loss"] == read_metrics(folder / "run" / "metrics.csv")[-1]["valid_loss"]


@pytest.mark.slow
def test_a_run_with_more_epochs_shows_them_in_both_trackers(folder: Path) -> None:
    assert main([*WORDS, "logger=[tensorboard,mlflow]", "hydra.run.dir=run"]) == 0
    (first,) = tracked()
    MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").set_tag(first.info.run_id, "note", "mine")
    assert main(["resume", "run", "epochs=6", "-q", "--trust"]) == 0
    (found,) = tracked()
    assert (found.data.params["epochs"], found.data.tags["note"], found.info.status) == ("6", "mine", "FINISHED")
    require_same_in_mlflow(found, folder / "run")
    assert hparams(folder / "run")["epochs"] == 6
    require_same_in_tensorboard(folder / "run")


@pytest.mark.slow
def test_a_new_run_in_the_place_of_a_removed_one_has_its_own_record(folder: Path) -> None:
    for epochs in (4, 2):
        assert main(["train", "-q", "device=cpu", f"epochs={epochs}", "logger=mlflow", "hydra.run.dir=run"]) == 0
        last = read_metrics(folder / "run" / "metrics.csv")[-1]
        shutil.rmtree(folder / "run")
    first, second = tracked()
    assert (first.data.params["epochs"], second.data.params["epochs"]) == ("4", "2")
    assert second.data.metrics["train_loss"] == last["train_loss"]


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_has_one_record(folder: Path) -> None:
    for number in range(2):
        tracker = MLflow(TrackedRun(folder / "run", "run", {"epochs": 2}, is_new=True))
        tracker.on_epoch_end({"epoch": 1, "train_loss": 0.5 + number})
        tracker.flush()  # and then the process is killed
    (found,) = tracked()
    assert found.data.metrics == {"train_loss": 1.5}


@pytest.mark.slow
def test_each_job_of_a_stacked_sweep_is_in_both_trackers(folder: Path) -> None:
    sweep = ["-m", "hydra.sweep.dir=sweep", "seed=1,2,3", "optimizer.lr=0.01,1e30", "optimizer=sgd"]
    assert main([*WORDS, "logger=[tensorboard,mlflow]", *sweep]) == 0
    rows = read_sweep_csv(folder / "sweep" / "sweep.csv")
    found = {run.data.tags["ch12.directory"].rpartition("/")[2]: run for run in tracked()}
    assert sorted(found) == [str(row.job) for row in rows]
    for row in rows:
        run, directory = found[str(row.job)], folder / "sweep" / str(row.job)
        assert run.info.run_name == f"sweep/{row.job}"
        assert run.data.params["seed"] == row.overrides["seed"]
        assert run.data.tags["ch12.status"] == row.status
        assert hparams(directory)["seed"] == float(row.overrides["seed"])
        if row.status == "finished":
            require_same_in_tensorboard(directory)
            require_same_in_mlflow(run, directory)
    assert {row.status for row in rows} == {"finished", "diverged"}


@pytest.mark.slow
def test_a_job_under_another_launcher_is_tracked_too(folder: Path) -> None:
    sweep = ["-m", "hydra/launcher=basic", "hydra.sweep.dir=sweep", "seed=1,2"]
    assert main([*WORDS, "logger=tensorboard", *sweep]) == 0
    for job in "01":
        require_same_in_tensorboard(folder / "sweep" / job)


def test_a_tracker_that_fails_does_not_end_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///no/such/folder/x.db")
    (folder / "no").touch()
    assert main([*WORDS, "logger=[mlflow,tensorboard]", "hydra.run.dir=run"]) == 0
    said = capsys.readouterr().err
    assert "warning: logger=mlflow: " in said
    assert "continues without it" in said
    assert "Traceback" not in said
    require_same_in_tensorboard(folder / "run")


def test_a_failing_tracker_is_reported_once_in_a_sweep(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///no/such/folder/x.db")
    (folder / "no").touch()
    assert main([*WORDS, "logger=mlflow", "-m", "seed=range(5)", "hydra.sweep.dir=sweep"]) == 0
    assert capsys.readouterr().err.count("logger=mlflow: ") == 1


@pytest.mark.parametrize("more", [[], ["-m", "seed=1,2"]], ids=["run", "sweep"])
def test_a_missing_tracker_is_reported_with_the_command_that_installs_it(
    more: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main([*WORDS, "logger=tensorboard", *more]) == 2
    assert (
        "logger=tensorboard: tensorboard is not installed: pip install 'ch12[tensorboard]'" in capsys.readouterr().err
    )
    assert not list(folder.rglob("metrics.csv"))


@pytest.mark.parametrize("value", ["tensorbord", "[mlflow,neptune]", "[]", "null", "1"])
def test_an_invalid_tracker_is_refused(value: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, f"logger={value}"]) == 2
    assert "must be one of csv, tensorboard, mlflow, wandb, or a list of them" in capsys.readouterr().err
