"""Values that a precision cannot tell apart, metrics without a value, and outputs that a loss misunderstands."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.data import Table, prepare
from ch12cli.data.prepared import Prepared
from ch12cli.run.value_checks import (
    far_off_hint,
    most_rounding_loss,
    output_notes,
    precision_notes,
    precision_problems,
    rounding_loss,
    undefined_metric_problems,
)
from tests.conftest import Silent, Train
from tests.sweeps.driver import sweep

NOISE = np.random.default_rng(1).normal(size=200)


def data_of(
    y: Sequence[float] | np.ndarray, *, x: np.ndarray | None = None, valid_size: int | float = 0.25
) -> Prepared:
    y = np.asarray(y, np.float64)
    x = np.linspace(-1, 1, len(y))[:, None] if x is None else x
    table = Table(x, y, feature_names=tuple(f"x{n}" for n in range(x.shape[1])), target_name="y", source="t.csv")
    return prepare(table, valid_size=valid_size)


def test_huge_targets_are_refused_without_a_warning() -> None:  # which would be an error here
    data = data_of(NOISE * 1e200)
    (problem,) = precision_problems(data, "float32")
    assert "too large for float32" in problem
    assert precision_notes(data, "float32") == []


def test_a_target_that_float32_makes_one_value_is_refused_with_what_to_do() -> None:
    data = data_of(1e9 + NOISE)
    assert len(np.unique(data.train.y.astype(np.float32))) == 1  # as numpy rounds
    (problem,) = precision_problems(data, "float32")
    assert "one and the same in float32" in problem
    assert "dataset.target_scaling=standard" in problem
    assert "precision=float64" in problem
    assert precision_problems(data, "bfloat16") == [problem]
    assert precision_problems(data, "float64") == []


@pytest.mark.parametrize(
    ("offset", "precision", "noted"),
    [
        (0, "float32", False),
        (1e4, "float32", False),
        (1e6, "float32", True),
        (1e6, "float64", False),
        (1, "bfloat16", False),
        (100, "bfloat16", True),
    ],
)
def test_a_target_that_loses_digits_by_rounding_gives_a_note(offset: float, precision: str, noted: bool) -> None:
    notes = precision_notes(data_of(offset + NOISE), precision)
    assert ["rounding to" in note for note in notes] == [True] * noted


def test_features_that_lose_digits_by_rounding_give_a_note() -> None:
    x = np.column_stack([NOISE, 1e9 + NOISE, 1e12 + NOISE])
    data = data_of(NOISE, x=x)  # as with dataset.scaling=none
    (note,) = precision_notes(data, "float32")
    assert note.startswith("t.csv: x1 and 1 more feature")
    assert precision_notes(data, "float64") == []


@pytest.mark.parametrize(("y", "x"), [(1e39 * NOISE, NOISE), (NOISE, 1e39 * NOISE)])
def test_values_too_large_for_float32_are_refused(y: np.ndarray, x: np.ndarray) -> None:
    data = data_of(y, x=x[:, None])
    assert len(precision_problems(data, "float32")) == 1
    assert precision_problems(data, "float64") == []


@pytest.mark.parametrize(("valid_size", "same", "problems"), [(1, False, 1), (0.25, True, 1), (0.25, False, 0)])
def test_an_r2_without_a_value_cannot_be_monitored(valid_size: float, same: bool, problems: int) -> None:
    data = data_of(np.ones(200) if same else NOISE, valid_size=valid_size)
    found = undefined_metric_problems(data, {"monitor": "valid_r2", "early_stopping.metric": "valid_loss"})
    assert len(found) == problems
    assert all(problem.key == "monitor" and "valid_mae" in problem.hint for problem in found)


@pytest.mark.parametrize(("metric", "reason"), [("auc", "rows of class a only"), ("f1", "no row of class b")])
def test_a_metric_that_one_class_alone_has_not_cannot_be_monitored(metric: str, reason: str) -> None:
    y = np.arange(40) % 2
    y[20:] = 0
    table = Table(NOISE[:40, None], y, feature_names=("x",), target_name="y", class_names=("a", "b"), source="t.csv")
    data = prepare(table, valid_size=0.5, split="ordered")
    (problem,) = undefined_metric_problems(data, {"monitor": f"valid_{metric}", "early_stopping.metric": "train_f1"})
    assert reason in str(problem)
    assert "valid_accuracy" in str(problem)


@pytest.mark.slow
def test_a_run_and_a_sweep_refuse_a_metric_without_a_value(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dataset=toy_regression", "dataset.valid_size=1", "epochs=2", "device=cpu", "early_stopping.patience=1"]
    for key, more in (
        ("monitor", ["monitor=valid_r2"]),
        ("early_stopping.metric", ["early_stopping.metric=valid_r2"]),
        ("monitor", ["-m", "seed=1,2", "monitor=valid_r2"]),
        ("sweep.halving.metric", ["-m", "seed=1,2", "+sweep.halving={metric: valid_r2,min_epochs: 1,factor: 2}"]),
    ):
        more = [word.replace("+sweep", "sweep") for word in more]
        assert main(["train", *words, *more]) == 2, more
        assert f"{key}=valid_r2: has no value" in capsys.readouterr().err
    assert not Path("outputs").exists()


USERS_LOSS = """
import torch


class Unstable(torch.nn.MSELoss):
    def forward(self, prediction, target):
        return super().forward(prediction, target) * (1.0 if torch.is_grad_enabled() else float("nan"))
"""


def test_a_metric_that_never_has_a_value_neither_stops_a_run_nor_makes_an_epoch_the_best(
    train: Train, folder: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss of this kind is not a number where no gradient is taken: in validation."""
    Path("unstable_loss.py").write_text(USERS_LOSS)
    Path("mine/loss").mkdir(parents=True)
    Path("mine/loss/unstable.yaml").write_text("_target_: unstable_loss.Unstable\n")
    monkeypatch.syspath_prepend(str(folder))
    words = ["dataset=toy_regression", "dataset.valid_size=0.3", "epochs=6", "loss=unstable"]
    outcome = train(*words, "early_stopping.patience=2", "hydra.run.dir=run", folders=[Path("mine")])
    assert len(outcome.rows) == 6
    assert outcome.result.best is None
    assert outcome.result.objective is None
    assert outcome.result.stopped_at is None
    assert not Path("run/checkpoints/best.pt").exists()
    assert any("valid_loss was not a number in any of 6 epochs" in text for text, warning in silent.messages if warning)
    assert main(["eval", "run", "--trust", "--checkpoint", "best"]) == 2
    assert "has no best epoch" in capsys.readouterr().err
    assert main(["eval", "run", "--trust"]) == 0
    swept = sweep(*words, "early_stopping.patience=2", "seed=1,2", folders=[Path("mine")])
    assert [row["error"] for row in swept.rows.values()] == ["", ""]
    assert [row["epochs"] for row in swept.rows.values()] == ["6", "6"]
    assert not list(Path("sweep").glob("*/checkpoints/best.pt"))
    assert any("valid_loss was not a number" in text for text in swept.looker.messages)


@pytest.mark.parametrize(
    ("r2", "y", "hinted"),
    [(-20, 5000 + 1200 * NOISE, True), (-20, NOISE, False), (0.5, 5000 + NOISE, False), (np.nan, 5000 + NOISE, False)],
)
def test_an_r2_far_below_0_of_large_targets_gives_a_hint(r2: float, y: np.ndarray, hinted: bool) -> None:
    assert ("dataset.target_scaling=standard" in far_off_hint(r2, y, "y")) == hinted


@pytest.mark.slow
def test_a_run_and_a_sweep_with_targets_of_thousands_hint_once(train: Train, silent: Silent, folder: Path) -> None:
    rows = [f"{x:.3f},{5000 + 1200 * x:.2f}" for x in NOISE[:40]]
    Path("t.csv").write_text("\n".join(["x,y", *rows]))
    words = ["dataset=csv", "dataset.file=t.csv", "epochs=2"]
    train(*words)
    swept = sweep(*words, "seed=1,2")
    for messages in ([text for text, _ in silent.messages], swept.looker.messages):
        assert len([text for text in messages if text.startswith("R² is -") and "target_scaling" in text]) == 1


LOGITS = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.1, -0.2]])


@pytest.mark.parametrize(
    ("outputs", "loss", "noted"),
    [
        (LOGITS, "NLLLoss", True),
        (LOGITS.softmax(-1), "NLLLoss", True),
        (LOGITS.log_softmax(-1), "NLLLoss", False),
        (LOGITS, "CrossEntropyLoss", False),
        (LOGITS.log_softmax(-1), "CrossEntropyLoss", False),
        (LOGITS.softmax(-1), "CrossEntropyLoss", True),
        (LOGITS[:, :1], "BCEWithLogitsLoss", False),
    ],
)
def test_outputs_that_a_loss_misunderstands_give_a_note(outputs: torch.Tensor, loss: str, noted: bool) -> None:
    assert bool(output_notes(outputs, loss, classes=3)) == noted


@pytest.mark.slow
def test_notes_on_data_and_network_are_given_once_by_a_run_and_by_a_sweep(
    train: Train, silent: Silent, folder: Path
) -> None:
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/plain.yaml").write_text("_target_: torch.nn.Linear\nin_features: 1\nout_features: 3\n")
    rows = [f"r{n},{x:.3f},{'abc'[n % 3]}" for n, x in enumerate(NOISE[:60])]
    Path("t.csv").write_text("\n".join([",x,kind", *rows]))
    words = ["dataset=csv", "dataset.file=t.csv", "epochs=1", "model=plain", "loss=nll"]
    train(*words, folders=[Path("mine")])
    stacked = sweep(*words, "seed=1,2", folders=[Path("mine")])
    basic = sweep(*words, "seed=1,2", "hydra/launcher=basic", into="basic", folders=[Path("mine")])
    for messages, notes in (
        ([text for text, _ in silent.messages], ["names the rows", "loss=nll takes log-probabilities"]),
        (stacked.looker.messages, ["names the rows", "loss=nll takes log-probabilities"]),
        (basic.looker.messages, ["names the rows"]),
    ):
        for note in notes:
            assert len([text for text in messages if note in text]) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_feature_loses_more_by_rounding_than_the_bound_says(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(1)
    scales = np.array([1, 1, 1, 1, 1, 1, 1e12, 1e-30, 1e-42])
    offsets = np.array([0, 1, 1e3, 1e5, 1e7, 1e9, 0, 0, 0])
    x = rng.normal(size=(1000, len(offsets))) * scales + offsets
    found = [rounding_loss(column, dtype) for column in x.T]
    bound = most_rounding_loss(x, dtype)
    assert (bound >= found).all()
    assert max(found) > 0.1
    assert bound[0] < 0.1
