"""An exception in torch that an object of the user's caused is the user's input, as one in the user's own code is."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.result_json import read_result
from ch12cli.saved.evaluate import evaluate
from ch12cli.saved.reproduce import reproduce
from tests.conftest import Silent, Train

HERE = "tests.run.test_users_errors"
ROWS = ["dataset.test_size=0.2", "dataset.valid_size=0.2"]  # 90 training rows of iris


def normalised(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs))


class Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)


class Retaining(Linear):
    """Keeps the graph of the last batch, as a recurrent network whose state is not detached does."""

    state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        if self.training:
            self.state = y.mean() if self.state is None else self.state.tanh()
            y = y + self.state
        return y


class InPlace(Linear):
    """Changes what the gradient needs, which torch notices in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x).exp()
        y.mul_(2)
        return y


class Vanishing(nn.Module):
    """A loss that no longer depends on the network in training, of which the backward pass complains."""

    calls = 0

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        Vanishing.calls += 1
        value = nn.functional.cross_entropy(prediction, target)
        return value if Vanishing.calls < 3 else value.detach()


class Narrow(Linear):
    """Fails in a layer of torch's for batches of more than 25 rows."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 25:
            x = x[:, 1:]
        y: Tensor = self.layer(x)
        return y


def choice(group: str, target: str, folder: Path) -> None:
    (folder / "conf" / group).mkdir(parents=True, exist_ok=True)
    (folder / "conf" / group / "mine.yaml").write_text(f"_target_: {target}\n")


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("group", "target", "cause"),
    [
        ("model", f"{HERE}.Retaining", "RuntimeError: Trying to backward through the graph a second time"),
        ("model", f"{HERE}.InPlace", "RuntimeError: one of the variables needed for gradient computation"),
        ("loss", f"{HERE}.Vanishing", "RuntimeError: element 0 of tensors does not require grad"),
    ],
)
def test_an_error_inside_torch_is_a_message(
    group: str, target: str, cause: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice(group, target, folder)
    code = main(["train", "--config-dir", "conf", f"{group}=mine", "epochs=2", "device=cpu", "hydra.run.dir=r"])
    told = capsys.readouterr().err
    assert code == 2, told
    assert group in told.splitlines()[-1]
    assert cause in told
    assert "Traceback" not in told
    result = read_result(folder / "r/result.json")
    assert result is not None
    assert result.status == "failed"
    assert str(result.error).startswith(cause)


@pytest.mark.parametrize("batch_size", [1, 89])
def test_batch_normalisation_and_a_batch_of_one_row_are_refused_before_training(
    batch_size: int, folder: Path, train: Train
) -> None:
    choice("model", f"{HERE}.normalised", folder)
    with pytest.raises(InputError, match=r"more than 1 value per channel.*one row; choose another batch_size"):
        train("model=mine", f"batch_size={batch_size}", *ROWS, "hydra.run.dir=r", folders=[folder / "conf"])
    assert not (folder / "r").exists()


def test_trying_a_batch_of_one_row_changes_nothing(folder: Path, train: Train) -> None:
    choice("model", f"{HERE}.Counting", folder)
    found = train("model=mine", "batch_size=89", "epochs=1", *ROWS, folders=[folder / "conf"]).model
    assert int(found.get_buffer("seen")) == 90


class Counting(Linear):
    """Counts the rows that it is trained on, in a buffer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Any:
        if self.training:
            self.get_buffer("seen").add_(len(x))
        return self.layer(x)


def test_a_saved_run_reports_errors_of_its_network_too(
    folder: Path, train: Train, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice("model", f"{HERE}.Linear", folder)
    monkeypatch.setattr(Linear, "forward", lambda self, x: self.layer(x), raising=False)
    directory = train("model=mine", "epochs=2", folders=[folder / "conf"]).directory
    monkeypatch.setattr(Linear, "forward", Narrow.forward)
    with pytest.raises(InputError, match="code of your own raised while evaluating: RuntimeError: mat1 and mat2"):
        evaluate(directory, split="train", trust=True)
    with pytest.raises(InputError, match="code of your own raised while training: RuntimeError: mat1 and mat2"):
        reproduce(directory, callback=silent, trust=True)


@pytest.mark.parametrize(("loss", "outputs"), [("auto", 1), ("bce_logits", 1), ("cross_entropy", 2)])
def test_a_network_of_ones_own_learns_two_classes(loss: str, outputs: int, folder: Path, train: Train) -> None:
    choice("model", f"{HERE}.Straight", folder)
    line = ["model=mine", "dataset=two_class", "dataset.size=40", f"loss={loss}", "epochs=1"]
    outcome = train(*line, folders=[folder / "conf"])
    recorded = (outcome.directory / "train.log").read_text()
    assert {"auto": "bce_logits"}.get(loss, loss) in recorded
    weight, bias = (value.detach() for value in outcome.model.parameters())
    assert weight.shape == (outputs, 2)
    assert bias.shape == (outputs,)


class Straight(Linear):
    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


WANDERING = """
import os
from torch import nn


class Wanders(nn.Linear):
    def __init__(self, inputs, outputs, kind=0):
        super().__init__(inputs, outputs)
        self.kind = kind
        if kind == 0:
            os.chdir("/")

    def forward(self, x):
        if self.kind == 1:
            os.chdir("/")
        if self.kind == 2 and self.training and len(x) == 45:
            raise KeyboardInterrupt
        return super().forward(x)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [0, 1])
def test_code_that_changes_the_directory_moves_no_output(kind: int, folder: Path) -> None:
    (folder / "wandering.py").write_text(WANDERING, encoding="utf-8")
    words = ["epochs=1", "device=cpu", "-q", "batch_size=45", "model=linear", "model._target_=wandering.Wanders"]
    words += ["~model.output", "~model.init", f"+model.kind={kind}"]
    assert main(["train", *words, "hydra.run.dir=r"]) == 0
    assert (folder / "r" / "result.json").exists()
    assert Path.cwd() == folder
    assert main(["train", *words, "-m", "seed=1,2", "hydra.sweep.dir=s"]) == 0
    assert all((folder / "s" / str(job) / "result.json").exists() for job in (0, 1))


@pytest.mark.slow
def test_a_keyboard_interrupt_of_the_users_code_fails_its_job(folder: Path) -> None:
    (folder / "wandering.py").write_text(WANDERING, encoding="utf-8")
    words = ["epochs=1", "device=cpu", "-q", "batch_size=45", "model=linear", "model._target_=wandering.Wanders"]
    assert main(["train", *words, "~model.output", "~model.init", "-m", "+model.kind=1,2", "hydra.sweep.dir=s"]) == 3
    rows = (folder / "s" / "sweep.csv").read_text(encoding="utf-8")
    assert "KeyboardInterrupt, raised by code of your own" in rows
    assert (folder / "s" / "0" / "result.json").exists()


class Scaled(nn.Module):
    """A linear network whose outputs are multiplied by `gain`. kind: what is odd about it."""

    def __init__(self, inputs: int, outputs: int, kind: str = "") -> None:
        super().__init__()
        if kind == "lazy":
            self.layer: Any = nn.LazyLinear(outputs)
        else:
            odd: Any = {"meta": {"device": "meta"}, "complex": {"dtype": torch.complex64}}.get(kind, {})
            self.layer = nn.Linear(inputs, outputs, **odd)
        self.kind = kind
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Any:
        if self.kind == "complex":
            return self.layer(x.to(torch.complex64)).real
        if self.kind == "growing" and self.training:
            self.seen = torch.cat([self.get_buffer("seen"), torch.zeros(1)])
        if self.kind == "gradient":
            return self.with_gradient(x)
        if self.kind == "gradient recorded":
            with torch.enable_grad():
                return self.with_gradient(x)
        return self.layer(x) * (torch.nan if self.kind == "nan" else 1)

    def with_gradient(self, x: Tensor) -> Any:
        x = x.detach().requires_grad_()
        y = self.layer(x)
        (gradient,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
        return y + gradient.sum(1, keepdim=True)

    def get_extra_state(self) -> Any:
        return {"kind": self.kind}

    def set_extra_state(self, state: Any) -> None:
        pass


class Plain(Scaled):
    """The same, whose state has tensors alone."""

    get_extra_state = nn.Module.get_extra_state
    set_extra_state = nn.Module.set_extra_state


ODD = [
    ("Plain", "lazy", "its layer.weight has no shape before the first batch"),
    ("Plain", "meta", "its layer.weight is on the meta device"),
    ("Plain", "complex", "its layer.weight is complex"),
    ("Plain", "gradient", "torch.enable_grad()"),
    ("Scaled", "", "its state_dict has _extra_state, a dict"),
]


@pytest.mark.parametrize(("name", "kind", "reason"), ODD)
def test_a_network_that_cannot_be_trained_is_refused_in_a_line(
    name: str, kind: str, reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice("model", f"{HERE}.{name}\nkind: '{kind}'", folder)
    words = ["train", "-q", "--config-dir", "conf", "epochs=1", "device=cpu"]
    assert main([*words, "model=mine", "hydra.run.dir=r"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("ch12: model")
    assert reason in told
    assert not Path("r").exists()
    assert main([*words, "-m", "model=linear,mine", "hydra.sweep.dir=s"]) == 3
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("run 1 (model=mine) failed: ")
    assert reason in told
    first = read_result(Path("s/0/result.json"))
    assert first is not None
    assert first.status == "finished"


def test_a_network_that_records_gradients_itself_is_trained_and_evaluated(folder: Path, train: Train) -> None:
    choice("model", f"{HERE}.Plain\nkind: gradient recorded", folder)
    outcome = train("model=mine", "epochs=2", *ROWS, "precision=float64", folders=[folder / "conf"])
    job = evaluate(outcome.directory, split="valid", trust=True)
    assert job.parts["valid"].metrics["loss"] == outcome.rows[-1]["valid_loss"]


@pytest.mark.parametrize("more", ["batch_size=89", "devices=2"])
def test_a_network_that_cannot_load_its_own_state_is_refused_where_that_is_tried(
    more: str, folder: Path, train: Train
) -> None:
    choice("model", f"{HERE}.Plain\nkind: growing", folder)
    with pytest.raises(InputError, match=r"Plain cannot load its own saved state .*: size mismatch for seen"):
        train("model=mine", more, *ROWS, folders=[folder / "conf"])


def test_a_saved_state_that_does_not_fit_says_what_does_not(folder: Path, train: Train) -> None:
    choice("model", f"{HERE}.Plain\nkind: growing", folder)
    directory = train("model=mine", "epochs=1", *ROWS, folders=[folder / "conf"]).directory
    with pytest.raises(InputError, match=r"Error\(s\) in loading state_dict for Plain: size mismatch for seen: "):
        evaluate(directory, trust=True)


def test_predictions_that_are_not_numbers_have_no_class(
    folder: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    choice("model", f"{HERE}.Plain\nkind: nan", folder)
    directory = train("model=mine", "epochs=1", *ROWS, folders=[folder / "conf"]).directory
    assert main(["eval", "--trust", "--split", "valid", str(directory)]) == 0
    shown = capsys.readouterr()
    assert "accuracy  nan" in shown.out
    assert "predicted class" not in shown.out
    assert "valid: the network's outputs are not numbers (NaN) for 30 of 30 rows" in shown.err


class Summed(nn.Module):
    """A loss of the user's own: the sum of squares, or something that is like a mean. kind: which."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.calls = kind, 0
        self.lock = threading.Lock() if kind == "lock" else None  # which cannot be copied

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        errors = (prediction - target).square().sum(1)
        weights = torch.arange(1, len(errors) + 1)
        values = {
            "sum": errors.sum(),
            "norm": errors.sum().sqrt(),
            "weighted": (errors * weights).sum() / weights.sum(),
            "deviation": errors.mean() + (prediction - target).std(),
            "largest": errors.max(),
        }
        if self.kind == "two" and len(errors) not in (2, 16, 8):
            raise ValueError("takes batches of 16 rows")
        return values.get(self.kind, errors.mean())


@pytest.mark.parametrize("kind", ["mean", "norm", "weighted", "deviation", "largest", "lock", "two"])
def test_a_loss_of_ones_own_need_be_no_plain_mean(kind: str, folder: Path, train: Train) -> None:
    choice("loss", f"{HERE}.Summed\nkind: {kind}", folder)
    more = [
        "dataset=toy_regression",
        "dataset.kind=line",
        "dataset.size=40",
        "dataset.test_size=0",
        "dataset.valid_size=0",
        "batch_size=16",
    ]
    assert train("loss=mine", "epochs=1", *more, folders=[folder / "conf"]).status == "finished"


def test_a_loss_that_adds_up_the_rows_is_refused(folder: Path, train: Train) -> None:
    choice("loss", f"{HERE}.Summed\nkind: sum", folder)
    data = ["dataset=toy_regression", "dataset.kind=line", "dataset.size=40"]
    with pytest.raises(InputError, match="loss: Summed grows with the number of rows"):
        train("loss=mine", *data, folders=[folder / "conf"])
    for loss in ("mse", "l1", "huber"):
        with pytest.raises(InputError, match=r"loss\.reduction=sum: adds up the rows"):
            train(f"loss={loss}", "+loss.reduction=sum", *data)
    for loss, outputs in (("cross_entropy", ""), ("bce", "dataset=two_class"), ("bce_logits", "dataset=two_class")):
        with pytest.raises(InputError, match=r"loss\.reduction=sum: adds up the rows"):
            train(f"loss={loss}", "+loss.reduction=sum", *outputs.split())
