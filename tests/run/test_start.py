"""One run from its overrides to its record: what is written, how it ends, and each option against plain torch."""

import copy
import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.cli.main import main
from ch12cli.data import iris, toy_regression
from ch12cli.data.prepared import Prepared, prepare
from ch12cli.files.result_json import read_result
from tests.conftest import Silent, Train

QUICK = ("epochs=4", "batch_size=16", "seed=3")


def iris_parts() -> Prepared:
    """As `dataset=iris` gives them."""
    return prepare(iris(), test_size=0.2, valid_size=0.2, split="stratified", split_seed=1, scaling="standard")


def as_tensors(part: Any, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.tensor(part.x, dtype=dtype), torch.tensor(part.y)


def network_4_16_3() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


Loop = Iterator[tuple[int, nn.Module, list[float]]]


def plain_loop(
    *,
    epochs: int = 4,
    seed: int = 3,
    dtype: torch.dtype = torch.float32,
    predict: Callable[[nn.Module, Tensor], Tensor] = lambda model, x: model(x),
    before_step: Callable[[nn.Module], object] = lambda model: None,
    make: Callable[[], nn.Module] = network_4_16_3,
    lr: float = 0.001,
) -> Loop:
    """Iris with Adam and batches of 16 by hand: after each epoch its number, the network, the losses of its steps."""
    x, y = as_tensors(iris_parts().train, dtype)
    torch.manual_seed(seed)
    loader = DataLoader(TensorDataset(x, y), 16, shuffle=True)
    model = make().to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(1, epochs + 1):
        losses = []
        for x_batch, y_batch in loader:
            loss = nn.CrossEntropyLoss()(predict(model, x_batch), y_batch)
            optimizer.zero_grad()
            loss.backward()
            before_step(model)
            optimizer.step()
            losses.append(loss.item())
        yield epoch, model, losses


def last_of(loop: Loop) -> nn.Module:
    return list(loop)[-1][1]


def same(mine: nn.Module, theirs: nn.Module) -> bool:
    return all(torch.equal(a.detach(), b.detach()) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))


def rows_of(directory: Path) -> list[dict[str, str]]:
    with open(directory / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def result_of(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "result.json").read_text(encoding="utf-8"))


# The record


def test_a_run_leaves_its_whole_record(train: Train) -> None:
    directory = train(*QUICK, "hydra.run.dir=here").directory
    assert directory == Path.cwd() / "here"
    names = {file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()}
    assert names >= {
        ".hydra/config.yaml",
        ".hydra/hydra.yaml",
        ".hydra/overrides.yaml",
        "metrics.csv",
        "model.pt",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
        "result.json",
        "train.log",
    }
    assert [name for name in names if name.endswith((".tmp", ".new"))] == []
    times = {name: (directory / name).stat().st_mtime_ns for name in names - {"train.log"}}
    assert max(times, key=lambda name: times[name]) == "result.json"


def test_the_default_directory_names_date_time_and_choices(train: Train, folder: Path) -> None:
    directory = train(*QUICK).directory
    day, run = directory.relative_to(folder / "outputs").parts
    assert time.strptime(day, "%Y-%m-%d")
    assert run[8:] == "-iris-mlp"
    assert time.strptime(run[:8], "%H-%M-%S")


def test_hydras_files_hold_the_configuration_as_it_was_composed(train: Train) -> None:
    directory = train(*QUICK, "optimizer=sgd", "+optimizer.maximize=false").directory
    config = OmegaConf.load(directory / ".hydra" / "config.yaml")
    assert "hydra" not in config
    assert config.epochs == 4
    assert config.optimizer._target_ == "torch.optim.SGD"
    stopping: Any = OmegaConf.to_container(config.early_stopping, resolve=False)
    assert stopping["metric"] == "${monitor}"
    overrides = OmegaConf.load(directory / ".hydra" / "overrides.yaml")
    assert list(overrides) == ["device=cpu", *QUICK, "optimizer=sgd", "+optimizer.maximize=false"]
    hydra = OmegaConf.load(directory / ".hydra" / "hydra.yaml").hydra
    assert hydra.job.name == "train"
    assert hydra.runtime.choices.optimizer == "sgd"
    assert Path(hydra.runtime.output_dir) == directory


def test_metrics_csv_has_a_row_for_each_epoch_in_full_precision(train: Train) -> None:
    outcome = train(*QUICK)
    rows = rows_of(outcome.directory)
    assert list(rows[0]) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_accuracy",
        "lr",
        "seconds",
    ]
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    for written, figures in zip(rows, outcome.rows, strict=True):
        assert {name: float(value) for name, value in written.items()} == figures
    assert all(float(row["seconds"]) > 0 for row in rows)
    n = len(iris_parts().train.x)
    for (_, _, losses), row in zip(plain_loop(), rows, strict=True):
        sizes = [16] * (len(losses) - 1) + [n - 16 * (len(losses) - 1)]
        total = 0.0
        for loss, size in zip(losses, sizes, strict=True):
            total += loss * size
        assert float(row["train_loss"]) == total / n


def test_metrics_csv_has_only_the_columns_that_apply(train: Train) -> None:
    columns = list(rows_of(train("dataset=toy_regression", "epochs=1").directory)[0])
    assert columns == ["epoch", "train_loss", "train_mae", "train_r2", "lr", "seconds"]
    columns = list(rows_of(train("dataset=two_class", "epochs=1").directory)[0])
    assert columns[1:5] == ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy"]
    columns = list(rows_of(train("dataset=two_class", "epochs=1", "monitor=valid_auc", "metrics=f1").directory)[0])
    assert columns[1:5] == ["train_loss", "train_accuracy", "train_f1", "train_auc"]
    assert columns[5:9] == ["valid_loss", "valid_accuracy", "valid_f1", "valid_auc"]


def test_the_saved_files_load_as_data_and_give_the_metrics_of_the_result(train: Train) -> None:
    outcome = train(*QUICK, "epochs=6", "optimizer.lr=0.05")
    state = torch.load(outcome.directory / "model.pt")
    for name in ("last.pt", "best.pt"):
        assert torch.load(outcome.directory / "checkpoints" / name, weights_only=True)
    model = network_4_16_3()
    model.load_state_dict(state)
    assert same(model, last_of(plain_loop(epochs=6, lr=0.05)))
    x, y = as_tensors(iris_parts().test)
    with torch.no_grad():
        prediction = model(x)
    result = result_of(outcome.directory)
    assert result["test"]["loss"] == pytest.approx(nn.CrossEntropyLoss()(prediction, y).item(), rel=1e-6)
    assert result["test"]["accuracy"] == pytest.approx((prediction.argmax(1) == y).double().mean().item())


def test_the_best_checkpoint_holds_the_weights_of_the_best_epoch(train: Train) -> None:
    outcome = train(*QUICK, "epochs=12", "optimizer.lr=0.3", "monitor=valid_loss")
    losses = [row["valid_loss"] for row in outcome.rows]
    best = losses.index(min(losses)) + 1
    assert best < 12  # else the test would show nothing
    assert result_of(outcome.directory)["best"] == outcome.rows[best - 1]
    saved = torch.load(outcome.directory / "checkpoints" / "best.pt")
    for epoch, model, _ in plain_loop(epochs=12, lr=0.3):
        if epoch == best:
            assert saved["epoch"] == best
            for mine, theirs in zip(saved["network"].values(), model.parameters(), strict=True):
                assert torch.equal(mine, theirs)


def test_the_result_has_the_documented_fields(train: Train) -> None:
    outcome = train(*QUICK)
    result = result_of(outcome.directory)
    assert result.items() >= json.loads(outcome.result.to_json()).items()
    assert result["status"] == "finished"
    assert result["epochs"] == 4
    assert result["final"] == outcome.rows[-1]
    assert result["objective"] == min(row["valid_loss"] for row in outcome.rows)
    assert result["parameters"] == 4 * 16 + 16 + 16 * 3 + 3
    assert result["environment"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert result["seconds"] > 0


def test_a_second_run_into_the_same_directory_is_refused_and_changes_nothing(
    train: Train, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = train(*QUICK, "hydra.run.dir=here").directory
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in directory.rglob("*") if file.is_file()}
    assert len(before) >= 9
    assert main(["train", *QUICK, "hydra.run.dir=here"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "hydra.run.dir=here: holds a run already" in said.err
    after = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in directory.rglob("*") if file.is_file()}
    assert after == before


def test_the_run_is_in_hydras_directory_even_if_the_working_directory_changes(train: Train, folder: Path) -> None:
    outcome = train(*QUICK, "hydra.run.dir=deep/er", "hydra.job.chdir=true")
    assert outcome.directory == folder / "deep" / "er"
    assert (outcome.directory / "result.json").is_file()
    assert Path.cwd() == folder


# How a run ends


def plain_divergence(lr: float, epochs: int = 50) -> tuple[int, int, nn.Module]:
    """Epoch and step, both from 1, of the first loss that is not finite, and the network of the epoch before."""
    data = prepare(toy_regression(), split="ordered", scaling="standard")
    x, y = torch.tensor(data.train.x), torch.tensor(data.train.y).reshape(-1, 1)
    torch.manual_seed(1)
    loader = DataLoader(TensorDataset(x, y), 1, shuffle=True)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch in range(1, epochs + 1):
        before = copy.deepcopy(model)
        for step, (x_batch, y_batch) in enumerate(loader, start=1):
            loss = nn.MSELoss()(model(x_batch), y_batch)
            if not math.isfinite(loss.item()):
                return epoch, step, before
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    raise AssertionError("did not diverge")


@pytest.mark.parametrize("lr", [1e20, 1.5])
def test_a_non_finite_loss_ends_the_run_at_once(lr: float, train: Train, silent: Silent) -> None:
    outcome = train(
        "dataset=toy_regression",
        "model=linear",
        "optimizer=sgd",
        f"optimizer.lr={lr}",
        "batch_size=1",
        "seed=1",
        "checkpoint.every=1",
    )
    epoch, step, before = plain_divergence(lr)
    result = result_of(outcome.directory)
    assert outcome.status == result["status"] == "diverged"
    assert (result["diverged_at"], result["diverged_step"]) == (epoch, step)
    assert result["epochs"] == len(rows_of(outcome.directory)) == epoch - 1
    saved = torch.load(outcome.directory / "checkpoints" / "last.pt")
    assert saved["epoch"] == epoch - 1
    assert not (outcome.directory / "model.pt").exists()
    (message,) = [text for text, warning in silent.messages if warning]
    assert f"epoch {epoch}, step {step}" in message
    for mine, theirs in zip(saved["network"].values(), before.parameters(), strict=True):
        assert torch.isfinite(mine).all()
        assert torch.equal(mine, theirs)


def test_a_slow_divergence_keeps_the_epochs_before_it() -> None:
    assert plain_divergence(1e20)[0] == 1
    assert plain_divergence(1.5)[0] > 1  # so that both cases above are real


def test_the_command_exits_with_5_and_names_the_step_of_the_first_non_finite_loss(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["dataset=toy_regression", "model=linear", "optimizer=sgd", "optimizer.lr=1e20", "device=cpu"]
    assert main(["train", *words]) == 5
    said = capsys.readouterr()
    assert "epoch 1, step" in said.out + said.err
    assert "Traceback" not in said.err


def test_early_stopping_ends_at_the_epoch_of_a_plain_loop(train: Train, silent: Silent) -> None:
    patience, lr = 2, 0.1
    outcome = train(*QUICK, "epochs=60", f"optimizer.lr={lr}", f"early_stopping.patience={patience}")
    x, y = as_tensors(iris_parts().valid)
    best, waited, stopped = math.inf, 0, None
    for epoch, model, _ in plain_loop(epochs=60, lr=lr):
        with torch.no_grad():
            loss = nn.CrossEntropyLoss()(model(x), y).item()
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited >= patience:
            stopped = epoch
            break
    assert stopped is not None
    assert stopped < 60
    result = result_of(outcome.directory)
    assert result["status"] == "finished"
    assert result["stopped_at"] == result["epochs"] == stopped
    assert result["objective"] == pytest.approx(best, rel=1e-7)
    assert same(outcome.model, model)
    assert any(f"stopped early in epoch {stopped}" in text for text, _ in silent.messages)


def test_early_stopping_can_use_another_metric_and_a_minimum_improvement(train: Train) -> None:
    watched = train(*QUICK, "epochs=60", "early_stopping.metric=train_accuracy", "early_stopping.patience=3")
    accuracies = [row["train_accuracy"] for row in watched.rows]
    best = [max(accuracies[: n + 1]) for n in range(len(accuracies))]
    assert len(accuracies) < 60
    assert best[-1] == best[-4]  # three epochs without improvement, and none such before
    assert all(best[n] > best[n - 3] for n in range(3, len(best) - 1))
    greedy = train(*QUICK, "epochs=60", "early_stopping.patience=1", "early_stopping.min_delta=10")
    assert len(greedy.rows) == 2


@pytest.mark.slow
@pytest.mark.sample(1)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_its_record_and_a_checkpoint(number: int, code: int, folder: Path) -> None:
    directory = folder / "run"
    words = [sys.executable, "-m", "ch12cli", "train", f"hydra.run.dir={directory}", "device=cpu", "-q"]
    words += ["epochs=1000000", "checkpoint.every=1", "workers=2" if number == signal.SIGINT else "workers=0"]
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        wait_for_rows(directory, 3, process)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: loader processes get it too
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == code, errors
    assert b"Traceback" not in errors
    rows, result = rows_of(directory), result_of(directory)
    assert result["status"] == "interrupted"
    assert result["epochs"] == len(rows) >= 3
    saved = torch.load(directory / "checkpoints" / "last.pt")
    assert saved["epoch"] == len(rows)
    assert not (directory / "model.pt").exists()


def wait_for_rows(directory: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    """Waits until metrics.csv has so many rows."""
    metrics = directory / "metrics.csv"
    for _ in range(1200):
        if metrics.is_file() and metrics.read_bytes().count(b"\n") > rows:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"no {rows} rows after a minute")


# Options, each against plain torch


def test_clipping_by_norm_is_torchs(train: Train) -> None:
    outcome = train(*QUICK, "clip_grad_norm=0.05")
    clipped = last_of(plain_loop(before_step=lambda model: nn.utils.clip_grad_norm_(model.parameters(), 0.05)))
    assert same(outcome.model, clipped)
    assert not same(clipped, last_of(plain_loop()))


def test_clipping_by_value_is_torchs(train: Train) -> None:
    outcome = train(*QUICK, "clip_grad_value=0.01")
    clipped = last_of(plain_loop(before_step=lambda model: nn.utils.clip_grad_value_(model.parameters(), 0.01)))
    assert same(outcome.model, clipped)
    assert not same(clipped, last_of(plain_loop()))


def test_float64_is_the_loop_in_double_precision(train: Train) -> None:
    outcome = train(*QUICK, "precision=float64")
    assert all(parameter.dtype == torch.float64 for parameter in outcome.model.parameters())
    assert same(outcome.model, last_of(plain_loop(dtype=torch.float64)))
    assert torch.load(outcome.directory / "model.pt")["0.weight"].dtype == torch.float64


def test_bfloat16_is_the_loop_under_autocast(train: Train) -> None:
    def predict(model: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x).float()

    outcome = train(*QUICK, "precision=bfloat16")
    assert all(parameter.dtype == torch.float32 for parameter in outcome.model.parameters())
    under_autocast = last_of(plain_loop(predict=predict))
    assert same(outcome.model, under_autocast)
    assert not same(under_autocast, last_of(plain_loop()))


def test_deterministic_and_threads_apply_only_during_the_run(train: Train) -> None:
    seen = []

    class Looker(Silent):
        def on_step(self, done: int, steps: int) -> None: ...

        def on_epoch_end(self, row: Any) -> None:
            seen.append((torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()))

    before = torch.get_num_threads()
    outcome = train(*QUICK, "deterministic=true", "threads=3", callback=Looker())
    assert seen == [(True, 3)] * 4
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before
    assert same(outcome.model, last_of(plain_loop()))


@pytest.mark.slow  # a quarter of a minute for the compiler
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's compiler, of torch itself
def test_a_compiled_network_trains_as_the_plain_one_does(train: Train) -> None:
    assert shutil.which("g++"), "torch.compile needs a C++ compiler"
    outcome = train(*QUICK, "compile=true")
    for mine, theirs in zip(outcome.model.parameters(), last_of(plain_loop()).parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert list(torch.load(outcome.directory / "model.pt")) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def torch_rates(
    make: Callable[[torch.optim.Optimizer], Any], *, epochs: int, steps: int, each: str, metric: list[float]
) -> list[float]:
    """The rate of each epoch's last step, by torch's scheduler. each: when it is stepped, "epoch", "step", "metric"."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    scheduler = make(optimizer)
    rates = []
    for epoch in range(epochs):
        for step in range(steps):
            optimizer.step()
            if step == steps - 1:
                rates.append(optimizer.param_groups[0]["lr"])
            if each == "step" and (epoch, step) != (epochs - 1, steps - 1):
                scheduler.step()
        if each == "epoch":
            scheduler.step()
        elif each == "metric":
            scheduler.step(metric[epoch])
    return rates


LR = torch.optim.lr_scheduler


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("words", "each", "make"),
    [
        (
            "scheduler=step scheduler.step_size=3 scheduler.gamma=0.5",
            "epoch",
            lambda o, total: LR.StepLR(o, step_size=3, gamma=0.5),
        ),
        ("scheduler=cosine", "epoch", lambda o, total: LR.CosineAnnealingLR(o, T_max=10)),
        (
            "scheduler=cosine scheduler.T_max=4 scheduler.eta_min=0.001",
            "epoch",
            lambda o, total: LR.CosineAnnealingLR(o, T_max=4, eta_min=0.001),
        ),
        (
            "scheduler=one_cycle",
            "step",
            lambda o, total: LR.OneCycleLR(o, max_lr=0.05, total_steps=total, cycle_momentum=False),
        ),
        (
            "scheduler=reduce_on_plateau scheduler.patience=1 scheduler.factor=0.5",
            "metric",
            lambda o, total: LR.ReduceLROnPlateau(o, patience=1, factor=0.5),
        ),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else None,
)
def test_the_lr_column_is_torchs_scheduler(words: str, each: str, make: Callable[..., Any], train: Train) -> None:
    outcome = train("optimizer=sgd", "optimizer.lr=0.05", "epochs=10", "batch_size=16", *words.split())
    steps = -(-len(iris_parts().train.x) // 16)
    rates = torch_rates(
        lambda optimizer: make(optimizer, 10 * steps),
        epochs=10,
        steps=steps,
        each=each,
        metric=[row["valid_loss"] for row in outcome.rows],
    )
    np.testing.assert_allclose([row["lr"] for row in outcome.rows], rates, rtol=1e-12)


def test_the_plateau_scheduler_lowers_the_rate_in_a_run(train: Train) -> None:
    words = "optimizer=sgd optimizer.lr=5 epochs=12 batch_size=16 scheduler=reduce_on_plateau scheduler.patience=1"
    outcome = train(*words.split(), "monitor=valid_accuracy")
    rates = [row["lr"] for row in outcome.rows]
    by_torch = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=5)
    scheduler = LR.ReduceLROnPlateau(by_torch, mode="max", patience=1)
    expected = []
    for row in outcome.rows:
        expected.append(by_torch.param_groups[0]["lr"])
        scheduler.step(row["valid_accuracy"])
    assert rates[-1] < rates[0]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_warm_up_rises_step_by_step(train: Train) -> None:
    outcome = train("optimizer=sgd", "optimizer.lr=0.05", "epochs=4", "batch_size=16", "scheduler.warmup=2.5")
    steps = -(-len(iris_parts().train.x) // 16)
    expected = [0.05 * min(1.0, epoch * steps / (2.5 * steps)) for epoch in range(1, 5)]
    np.testing.assert_allclose([row["lr"] for row in outcome.rows], expected, rtol=1e-12)


# What is the user's own

USERS = '''
import torch
from torch import nn


class Wide(nn.Module):
    """With an activation of the configuration's."""

    def __init__(self, inputs, outputs, activation, hidden=5):
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.activation = activation()
        self.last = nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.last(self.activation(self.first(x)))


class Plain(nn.Module):
    """Without, with a buffer, a frozen parameter and batch normalisation."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.normal = nn.BatchNorm1d(inputs)
        self.layer = nn.Linear(inputs, outputs, bias=False)
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x):
        return self.layer(self.normal(x)) * self.scale


class Noisy(nn.Module):
    """Draws in evaluation mode too."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.layer(x + 0.1 * torch.randn_like(x))


class Counted(nn.MSELoss):
    calls = 0

    def forward(self, prediction, target):
        Counted.calls += 1
        return super().forward(prediction, target)


def points(count=30, shift=0.0):
    x = [[i / count + shift, (i * 7 % count) / count] for i in range(count)]
    return x, ["high" if a + b > 1 + shift else "low" for a, b in x]


class FocalLoss(nn.Module):
    def forward(self, prediction, target):
        p = torch.softmax(prediction, 1)[torch.arange(len(target)), target]
        return (-((1 - p) ** 2) * torch.log(p)).mean()
'''


@pytest.fixture
def users(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's configuration and code."""
    root = tmp_path_factory.mktemp("users")
    files = {
        "users_own.py": USERS,
        "model/wide.yaml": "# Mine.\n_target_: users_own.Wide\nhidden: 6\n",
        "model/plain.yaml": "_target_: users_own.Plain\n",
        "model/noisy.yaml": "_target_: users_own.Noisy\n",
        "loss/counted.yaml": "_target_: users_own.Counted\n",
        "dataset/points.yaml": "_target_: users_own.points\ncount: 40\nvalid_size: 0.25\nsplit: ordered\n",
        "loss/focal.yaml": "_target_: users_own.FocalLoss\n",
        "optimizer/bare.yaml": "_target_: torch.optim.NAdam\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(str(root))
    return root


def test_a_module_of_the_users_takes_the_activation_and_its_own_arguments(train: Train, users: Path) -> None:
    outcome = train(*QUICK, "model=wide", "activation=tanh", folders=[users])
    from users_own import Wide

    assert same(outcome.model, last_of(plain_loop(make=lambda: Wide(4, 3, nn.Tanh, hidden=6))))


def test_a_module_of_the_users_need_not_take_an_activation(train: Train, users: Path) -> None:
    outcome = train(*QUICK, "model=plain", folders=[users])
    from users_own import Plain

    plain = last_of(plain_loop(make=lambda: Plain(4, 3)))
    assert same(outcome.model, plain)
    for (name, mine), theirs in zip(outcome.model.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(mine, theirs), name


def test_a_module_that_draws_when_it_is_evaluated_does_not_disturb_its_own_training(train: Train, users: Path) -> None:
    """Validation, checks and checkpoints leave the random stream as the loop by hand has it."""
    outcome = train(*QUICK, "model=noisy", "checkpoint.every=1", folders=[users])
    from users_own import Noisy

    assert "valid_loss" in outcome.rows[0]
    assert same(outcome.model, last_of(plain_loop(make=lambda: Noisy(4, 3))))


def test_no_step_is_taken_after_a_non_finite_loss(train: Train, users: Path) -> None:
    words = "dataset=toy_regression dataset.kind=line dataset.size=500 model=linear loss=counted optimizer=sgd"
    from users_own import Counted

    train("epochs=1", "batch_size=1", *words.split(), folders=[users])
    calls = Counted.calls
    assert calls >= 500
    outcome = train("epochs=1", "batch_size=1", "optimizer.lr=1e20", *words.split(), folders=[users])
    assert outcome.status == "diverged"
    step = outcome.result.diverged_step
    assert step < 20
    assert Counted.calls - calls == step + (calls - 500)  # what is tried before the first step, the first time too


def test_a_users_data_set_and_loss_are_used_for_training(train: Train, users: Path) -> None:
    outcome = train("dataset=points", "loss=focal", "epochs=3", "batch_size=8", "seed=4", folders=[users])
    from users_own import FocalLoss, points

    x, labels = points(40)
    x, y = torch.tensor(x)[:30], torch.tensor([["high", "low"].index(label) for label in labels])[:30]
    torch.manual_seed(4)
    loader = DataLoader(TensorDataset(x, y), 8, shuffle=True)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for _ in range(3):
        for x_batch, y_batch in loader:
            optimizer.zero_grad()
            FocalLoss()(model(x_batch), y_batch).backward()
            optimizer.step()
    assert same(outcome.model, model)
    assert outcome.result.data["source"] == "users_own.points"


def test_a_users_data_set_is_split_and_scaled(train: Train, users: Path) -> None:
    (users / "dataset" / "bare.yaml").write_text("# Points.\n_target_: users_own.points\ncount: 40\n")
    words = ["dataset.test_size=0.25", "dataset.valid_size=5", "dataset.scaling=standard", "epochs=1"]
    outcome = train("dataset=bare", *words, folders=[users])
    state = torch.load(outcome.directory / "checkpoints" / "last.pt")
    from users_own import points

    part = np.array(points(40)[0])[np.random.RandomState(1).permutation(40)[15:]]
    assert state["scaling"]["mean"] == pytest.approx(part.mean(0).tolist())
    assert outcome.result.test is not None
    assert "valid_loss" in outcome.rows[0]
    assert train("dataset=bare", "epochs=1", folders=[users]).result.test is None


def test_hydras_search_path_finds_the_users_files_as_config_dir_does(train: Train, users: Path) -> None:
    by_folder = train(*QUICK, "model=wide", folders=[users])
    by_path = train(*QUICK, "model=wide", f"hydra.searchpath=[file://{users}]")
    assert same(by_folder.model, by_path.model)


def test_an_optimizers_file_without_a_rate_trains_with_torchs_own(train: Train, users: Path) -> None:
    outcome = train(*QUICK, "optimizer=bare", folders=[users])
    assert {row["lr"] for row in outcome.rows} == {0.002}  # of torch.optim.NAdam
    outcome = train(*QUICK, "~optimizer.lr")
    assert {row["lr"] for row in outcome.rows} == {0.001}  # of torch.optim.Adam
    assert same(outcome.model, last_of(plain_loop()))


def test_softmax_before_cross_entropy_gives_a_warning(train: Train, silent: Silent) -> None:
    train(*QUICK, "model.output=softmax")
    (warning,) = [text for text, warning in silent.messages if warning]
    assert "model.output=softmax" in warning
    assert "model.output=none" in warning


@pytest.mark.slow
def test_a_log_that_cannot_be_written_does_not_end_the_run(folder: Path) -> None:
    words = ["train", "epochs=2", "device=cpu", "hydra.job_logging.handlers.file.filename=/dev/full"]
    command = [sys.executable, "-m", "ch12cli", *words, f"hydra.run.dir={folder / 'run'}", "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert read_result(folder / "run" / "result.json") is not None
