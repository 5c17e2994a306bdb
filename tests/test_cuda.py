"""What a GPU could make different: each test runs on a GPU where there is one, and on the CPU to be sound."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ch12cli.data.synthetic import write_images
from ch12cli.files.result_json import read_result
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.fused.twister import drawing_on
from ch12cli.run.build import build_training
from ch12cli.run.start import train_single
from ch12cli.run.task import build_task
from ch12cli.run.train import Outcome
from ch12cli.saved.evaluate import evaluate
from ch12cli.saved.predict import predict
from ch12cli.saved.resume import resume_run
from ch12cli.sweeps.launch import environment_on
from ch12cli.sweeps.workers.worker_pool import ProcessDiedError
from ch12cli.training.checkpoint import load, save
from tests.conftest import Silent
from tests.fused.test_stack_training import CASES, EPOCHS, require_same_bits
from tests.fused.test_stack_training import train as train_stack
from tests.sweeps.driver import CPU, Together, one_thread, relative, settings_of, stack_of, sweep, typed
from tests.training.test_stack import OPTIMIZERS

LIKE_SINGLE = 1e-9  # relative, in float64
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no NVIDIA GPU here")
TORCHS_OWN = ("optimizer=adamw", "+optimizer.foreach=false")  # an argument that ch12's form of it does not have
IRIS = Path(__file__).parents[1] / "ch12cli" / "data" / "iris.csv"


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=NO_GPU)])
def device(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Each device by its name; the test runs in an empty folder."""
    with one_thread():
        yield str(request.param)


def train(*words: str, into: str) -> Outcome:
    return train_single([*words, f"hydra.run.dir={into}"], callback=Silent(), log=False)


def weights(outcome: Outcome) -> torch.Tensor:
    return torch.cat([value.cpu().reshape(-1) for value in outcome.model.state_dict().values()])


@pytest.mark.parametrize("optimizer", [("optimizer=adam",), ("optimizer=sgd",), TORCHS_OWN], ids=" ".join)
def test_a_run_has_the_metrics_that_it_has_on_the_cpu(device: str, optimizer: tuple[str, ...]) -> None:
    words = ("epochs=5", "precision=float64", "clip_grad_norm=1", "clip_grad_value=0.5", "scheduler=one_cycle")
    here = train(f"device={device}", *words, *optimizer, into="here")
    expected = train("device=cpu", *words, *optimizer, into="expected")
    assert next(here.model.parameters()).device.type == device
    assert relative(weights(here), weights(expected)) < 1e-8
    for row, wanted in zip(here.rows, expected.rows, strict=True):
        for name, value in wanted.items():
            assert name == "seconds" or relative(row[name], value) < 1e-8, name


def stacked(device: str, settings: list[dict[str, Any]]) -> Together:
    return stack_of(settings, torch.device(device))


def of_optimizer(name: str, *, device: str, **values: Any) -> list[dict[str, Any]]:
    """Settings of four runs in which every value of the optimiser differs."""
    common = {"epochs": 4, "batch_size": 8, "precision": "float64", "device": device, **values}
    common |= {"early_stopping.min_delta": 0.02}
    each = [
        {f"optimizer.{key}": options[run % len(options)] for key, options in OPTIMIZERS[name].items()}
        | {"seed": run, "clip_grad_norm": 0.5 + run, "early_stopping.patience": 1 + run}
        for run in range(4)
    ]
    return [settings_of(common | one, optimizer=name) for one in each]


@pytest.mark.parametrize("layout", ["narrow", "wide", "compiled"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_run_of_a_stack_equals_the_single_run(
    device: str, optimizer: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ch12cli.training.stack.RUNS_LAST_UP_TO", 0 if layout == "wide" else math.inf)
    compiled = layout == "compiled"
    batch = {"batch_size": 2} if compiled else {}  # what fits into the memory of a GPU's block
    settings = of_optimizer(optimizer, device=device, **{"sweep.fused": compiled}, **batch)
    together = stacked(device, settings).go(4)
    assert together.network.runs_last is (layout != "wide")
    assert (together.training.whole is not None) is compiled, together.training.why_steps
    assert together.network.parameters.device.type == device
    for run in (0, 3):
        training, network = build_training(typed(settings[run]), together.task, torch.device(device))
        for number in range(4):
            epoch = training.one_epoch()
            for name, value in epoch.columns.items():
                assert name == "seconds" or relative(together.epochs[number].columns[name][run], value[0]) < LIKE_SINGLE
            assert together.epochs[number].stopped[run] == epoch.stopped[0]
        alone = network.parameters[network.places].cpu()  # without the gaps between the parameters
        assert relative(together.weights[-1][run].cpu(), alone) < LIKE_SINGLE
    assert relative(together.weights[-1][0].cpu(), together.weights[-1][3].cpu()) > 1e-3


@pytest.mark.parametrize("runs", [3, 40])
@pytest.mark.parametrize(("values", "choices"), CASES)
def test_epochs_trained_at_once_have_the_bits_of_epochs_one_by_one(
    device: str, values: dict[str, Any], choices: dict[str, str], runs: int
) -> None:
    common = values | {"epochs": EPOCHS, "sweep.fused": True, "device": device}
    settings = [settings_of(common | {"seed": seed}, **choices) for seed in range(runs)]
    columns, state, counts = train_stack(settings, most=EPOCHS, device=torch.device(device))
    expected, expected_state, _ = train_stack(settings, most=1, device=torch.device(device))
    assert max(counts) > 1 or choices.get("scheduler") == "reduce_on_plateau"
    require_same_bits(columns, expected)
    require_same_bits(state, expected_state)
    without, *_ = train_stack([one | {"sweep": one["sweep"] | {"fused": False}} for one in settings], most=1,
                              device=torch.device(device))  # fmt: skip
    for name, found in columns.items():
        assert relative(found[0], without[name][0]) < 1e-3, name  # the first epoch, in single precision


@NO_GPU
@pytest.mark.parametrize("rows", [1, 2, 90, 398, 626, 3000])
def test_row_orders_drawn_on_a_gpu_are_those_of_torch(rows: int) -> None:
    seeds = np.random.default_rng(rows).integers(0, 2**63 - 1, 70)
    drawn = drawing_on(torch.device("cuda"))(seeds, rows)
    assert drawn.device.type == "cuda"
    for seed, order in zip(seeds.tolist(), drawn.cpu(), strict=True):
        assert torch.equal(order, torch.randperm(rows, generator=torch.Generator().manual_seed(seed)))


@NO_GPU
@pytest.mark.parametrize("batch_size", [2, 7])
@pytest.mark.parametrize("layout", ["narrow", "wide"])
def test_a_recorded_graph_gives_what_its_operations_give(
    folder: Path, layout: str, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ch12cli.training.stack.RUNS_LAST_UP_TO", math.inf if layout == "narrow" else 0)
    settings = of_optimizer("adam", device="cuda", batch_size=batch_size)  # 90 rows: the last of 7 has 6
    recorded = stacked("cuda", settings).go(2)
    recorded.training.keep(np.array([0, 2, 3]))
    recorded.go(2)
    monkeypatch.setattr("ch12cli.training.stack.CudaGraphs", lambda function, _device: function)
    launched = stacked("cuda", settings).go(2)
    launched.training.keep(np.array([0, 2, 3]))
    launched.go(2)
    for one, other in zip(recorded.epochs, launched.epochs, strict=True):
        for name, values in one.columns.items():
            assert name == "seconds" or relative(values, other.columns[name]) < LIKE_SINGLE, name
    assert relative(recorded.weights[-1].cpu(), launched.weights[-1].cpu()) < LIKE_SINGLE


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stack_that_shrank_continues_from_its_checkpoint_bit_for_bit(device: str, optimizer: str) -> None:
    settings = of_optimizer(optimizer, device=device, **{"model.dropout": 0.2})
    whole = stacked(device, settings).go(2)
    whole.training.keep(np.array([0, 1, 3]))
    whole.training.remember(np.array([True, True, True]))
    whole_best = whole.training.best_state["parameters"].cpu() + 1
    whole.training.best_state["parameters"].copy_(whole_best)  # as of an earlier epoch
    save(Path("stack.pt"), {**whole.training.state_dict(), "step": whole.network.masks.step})
    whole.go(2)
    state = load(Path("stack.pt"))
    again = stacked(device, settings)
    again.training.keep(np.array(state["source"]["members"]))
    again.training.load_state_dict(state)
    again.network.masks.step = state["step"]
    again.training.remember(np.array([True, False, True]))  # beside best weights that come from the checkpoint
    best = again.training.best_state["parameters"]
    assert best.device.type == device
    assert torch.equal(best[0], again.network.parameters[0])
    assert torch.equal(best[1].cpu(), whole_best[1])
    assert not torch.equal(best[1], again.network.parameters[1])
    again.go(2)
    assert torch.equal(again.weights[-1], whole.weights[-1])


def test_dropout_masks_are_repeatable_and_equal_on_every_device(device: str) -> None:
    def trained(on: str) -> torch.Tensor:
        return stacked(on, of_optimizer("adam", device=on, **{"model.dropout": 0.4})).go(3).weights[-1].cpu()

    assert torch.equal(trained(device), trained(device))
    assert relative(trained(device), trained("cpu")) < 1e-8


def test_a_resumed_run_equals_the_uninterrupted_one(device: str) -> None:
    words = (f"device={device}", "model.dropout=0.3", "optimizer.amsgrad=true", "scheduler=reduce_on_plateau")
    whole = train(*words, "epochs=6", into="whole")
    train(*words, "epochs=3", into="part")
    resumed = resume_run(Path("part"), ["epochs=6"], callback=Silent())
    assert resumed is not None
    assert torch.equal(weights(resumed), weights(whole))
    assert [row["valid_loss"] for row in resumed.rows] == [row["valid_loss"] for row in whole.rows]


def test_an_evaluation_and_predictions_are_those_of_training(device: str) -> None:
    outcome = train(f"device={device}", "epochs=3", into="run")
    evaluation = evaluate(Path("run"), split="test")
    result = read_result(Path("run/result.json"))
    assert result is not None
    assert relative(evaluation.parts["test"].metrics["loss"], result.test["loss"]) < 1e-6
    predictions = predict(Path("run"), IRIS.read_bytes(), source="iris.csv")
    assert predictions.probabilities is not None
    assert predictions.probabilities.shape == (150, 3)
    assert np.array_equal(predictions.probabilities.argmax(1), predictions.values)
    assert result.environment["device"].partition(":")[0] == device
    assert outcome.status == "finished"


def test_pictures_decoded_by_workers_are_the_same_in_training_and_validation(device: str, folder: Path) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    (folder / "pictures").mkdir()
    write_images(folder / "pictures")
    words = ["dataset=image_folder", "dataset.folder=pictures", "dataset.cache=none", "epochs=2", f"device={device}"]
    loaded = train(*words, "workers=2", "pin_memory=true", into="loaded")
    plain = train(*words, into="plain")
    assert "valid_loss" in loaded.rows[0]
    assert torch.equal(weights(loaded), weights(plain))
    assert [row["valid_loss"] for row in loaded.rows] == [row["valid_loss"] for row in plain.rows]


def test_batches_loaded_by_workers_into_pinned_memory_are_the_same(device: str) -> None:
    words = (f"device={device}", "epochs=2", "batch_size=16")
    loaded = train(*words, "workers=2", "pin_memory=true", into="loaded")
    assert torch.equal(weights(loaded), weights(train(*words, into="plain")))


def test_bfloat16_learns_what_float32_learns(device: str) -> None:
    words = ("epochs=10", "batch_size=16", "optimizer.lr=0.01")
    found = train(f"device={device}", *words, "precision=bfloat16", into="bfloat16")
    expected = train("device=cpu", *words, into="float32")
    assert all(parameter.dtype == torch.float32 for parameter in found.model.parameters())
    assert found.rows[-1]["train_loss"] < 0.7 * found.rows[0]["train_loss"]
    assert relative(found.rows[-1]["valid_loss"], expected.rows[-1]["valid_loss"]) < 0.1
    assert not torch.equal(weights(found), weights(expected))


# prints where torch.load, as it stands, puts the tensors of a file
PLACES = """
import sys, torch
def places(value):
    if isinstance(value, torch.Tensor):
        return {value.device.type}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return set().union(*map(places, inner))
for path in sys.argv[1:]:
    print(*sorted(places(torch.load(path, weights_only=True))))
"""


def without_gpu(*command: str) -> str:
    """What a command prints on a machine that is like this one but has no GPU."""
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, *command], env=hidden, capture_output=True, text=True, check=True)
    return done.stdout


def test_saved_files_load_on_a_machine_without_a_gpu(device: str) -> None:
    train(f"device={device}", "epochs=2", *TORCHS_OWN, into="alone")
    files = [Path("alone", name) for name in ("model.pt", "checkpoints/last.pt", "checkpoints/best.pt")]
    assert without_gpu("-c", PLACES, *map(str, files)).split() == ["cpu"] * 3
    printed = json.loads(without_gpu("-m", "ch12cli", "eval", "alone", "--format", "json"))
    assert printed["epoch"] == 2


# in a process of its own: workers are forked, which a process that has used a GPU may not do
def test_a_sweep_equals_its_single_runs_and_loads_on_every_device(device: str) -> None:
    words = ("-m", "ch12cli", "train", "-m", f"device={device}", "epochs=4", "precision=float64", "batch_size=8")
    lines = ("seed=range(6)", "optimizer.lr=0.01,0.001,1e30", "sweep.verify=4", "hydra.sweep.dir=sweep")
    done = subprocess.run([sys.executable, *words, *lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = read_sweep_csv(Path("sweep/sweep.csv"))
    assert len(rows) == 18
    assert {row.status for row in rows if row.overrides["optimizer.lr"] != "1e30"} == {"finished"}
    files = [str(Path("sweep", row.directory, "checkpoints/last.pt")) for row in rows]
    assert without_gpu("-c", PLACES, *files).split() == ["cpu"] * 18
    settings = [settings_of({"epochs": 4, "precision": "float64", "batch_size": 8, "optimizer.lr": 0.01, "seed": 2})]
    training, network = build_training(typed(settings[0]), build_task(typed(settings[0])), CPU)
    for _ in range(4):
        training.one_epoch()
    (row,) = [row for row in rows if (row.overrides["seed"], row.overrides["optimizer.lr"]) == ("2", "0.01")]
    swept = torch.load(Path("sweep", row.directory, "model.pt"), weights_only=True)
    assert (
        relative(torch.cat([value.reshape(-1) for value in swept.values()]), network.parameters[network.places].cpu())
        < 1e-8
    )


def test_the_process_that_forks_a_sweeps_workers_never_uses_a_gpu_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started() -> None:
        with open("users", "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        raise RuntimeError("no GPU can be used here")

    monkeypatch.setattr("ch12cli.config.combinations.GPU_DRIVERS", ("/",))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_lazy_init", started)
    monkeypatch.setattr("torch.cuda.random._lazy_init", started)
    words = ("device=cuda", "seed=1,2,3", "epochs=1")
    for _ in range(2):  # the second looks back on what the first left
        swept = sweep(*words, into="swept")
        assert {row["status"] for row in swept.rows.values()} == {"failed"}
    environment_on.cache_clear()
    with pytest.raises(ProcessDiedError):
        environment_on(torch.device("cuda"))
    users = set(Path("users").read_text(encoding="utf-8").split())
    assert len(users) > 1
    assert str(os.getpid()) not in users
