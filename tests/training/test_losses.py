"""The loss of each run of a stack, and its gradient, against torch's loss of that run and autograd."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ch12cli.config.choices import choices_of_group, keys_of_choice
from ch12cli.training.losses import StackedLoss, loss_and_grad, with_nan

RUNS, ROWS, CLASSES = 5, 7, 3


class FourthPower(nn.Module):
    """A user's own loss."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).pow(4).mean()


class Pinball(nn.Module):
    """A user's own loss with a branch."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        error = target - prediction
        return torch.maximum(0.9 * error, -0.1 * error).mean()


class DoubledSquares(nn.MSELoss):
    """A subclass that returns twice the loss of its base class."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return 2 * super().forward(prediction, target)


class DoubledCrossEntropy(nn.CrossEntropyLoss):
    """A subclass that returns twice the loss of its base class."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return 2 * super().forward(prediction, target)


def values() -> tuple[Tensor, Tensor]:
    return torch.randn(RUNS, ROWS, 1).double(), torch.randn(RUNS, ROWS, 1).double()


def probabilities() -> tuple[Tensor, Tensor]:
    return torch.rand(RUNS, ROWS, 1).double(), torch.randint(2, (RUNS, ROWS, 1)).double()


def logits() -> tuple[Tensor, Tensor]:
    return 3 * torch.randn(RUNS, ROWS, 1).double(), torch.randint(2, (RUNS, ROWS, 1)).double()


def classes() -> tuple[Tensor, Tensor]:
    return 3 * torch.randn(RUNS, ROWS, CLASSES).double(), torch.randint(CLASSES, (RUNS, ROWS))


def log_probabilities() -> tuple[Tensor, Tensor]:
    prediction, target = classes()
    return prediction.log_softmax(-1), target


LOSSES: list[tuple[nn.Module, Callable[[], tuple[Tensor, Tensor]]]] = [
    (nn.MSELoss(), values),
    (nn.L1Loss(), values),
    (nn.HuberLoss(), values),
    (nn.HuberLoss(delta=0.3), values),
    (nn.SmoothL1Loss(), values),
    (nn.SmoothL1Loss(beta=0.5), values),
    (nn.BCELoss(), probabilities),
    (nn.BCEWithLogitsLoss(), logits),
    (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]).double()), logits),
    (nn.CrossEntropyLoss(), classes),
    (nn.CrossEntropyLoss(label_smoothing=0.1), classes),
    (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]).double()), classes),
    (nn.NLLLoss(), log_probabilities),
    (nn.NLLLoss(weight=torch.tensor([1.0, 2.0, 0.5]).double()), log_probabilities),
    (nn.MSELoss(reduction="sum"), values),
    (nn.CrossEntropyLoss(reduction="sum"), classes),
    (FourthPower(), values),
    (Pinball(), values),
    (DoubledSquares(), values),
    (DoubledCrossEntropy(), classes),
]


def test_every_loss_of_the_configuration_is_compared() -> None:
    targets = {str(keys_of_choice(choice)["loss._target_"]) for choice in choices_of_group("loss")} - {"auto"}
    assert len(targets) >= 7
    assert targets <= {f"torch.nn.{type(loss).__name__}" for loss, _ in LOSSES}


@pytest.mark.parametrize(("loss", "make"), LOSSES, ids=lambda value: str(value) if isinstance(value, nn.Module) else "")
def test_each_runs_loss_and_gradient_are_those_of_the_single_run(
    loss: nn.Module, make: Callable[[], tuple[Tensor, Tensor]]
) -> None:
    torch.manual_seed(3)
    prediction, target = make()
    stacked = StackedLoss(loss)
    # in memory the runs come first or last
    for laid_out in (prediction, prediction.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        kept = laid_out.clone()
        each = stacked(laid_out, target)
        found, gradient = stacked.loss_and_grad(laid_out, target)
        assert torch.equal(laid_out, kept)
        assert each.shape == found.shape == (RUNS,)
        assert gradient.shape == prediction.shape
        for run in range(RUNS):
            leaf = prediction[run].clone().requires_grad_()
            expected = loss(leaf, target[run])
            expected.backward()
            assert torch.allclose(each[run], expected, rtol=1e-12)
            assert torch.allclose(found[run], expected, rtol=1e-12)
            assert torch.allclose(gradient[run], leaf.grad, rtol=1e-10, atol=1e-14)
    assert len(set(found.tolist())) == RUNS


def test_the_binary_cross_entropy_of_nan_is_nan_in_place_of_an_error() -> None:
    prediction, target = torch.tensor([[0.25], [torch.nan], [1.0]]), torch.tensor([[0.0], [1.0], [1.0]])
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        nn.BCELoss()(prediction, target)
    loss = with_nan(nn.BCELoss(weight=torch.tensor([2.0])))
    assert loss(prediction, target).isnan()
    assert with_nan(nn.BCELoss(reduction="sum"))(prediction, target).isnan()
    assert torch.equal(
        loss(prediction[::2], target[::2]), nn.BCELoss(torch.tensor([2.0]))(prediction[::2], target[::2])
    )
    value, gradient = loss_and_grad(with_nan(nn.BCELoss()))(prediction, target)
    assert value.isnan()
    assert gradient.isnan().all()
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        loss(prediction[::2] * 9, target[::2])  # a mistake of the user's
    of_runs = StackedLoss(with_nan(nn.BCELoss()))(
        torch.stack([prediction, prediction.nan_to_num(0.5)]), target.expand(2, 3, 1)
    )
    assert of_runs.isnan().tolist() == [True, False]


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.MSELoss(), nn.BCEWithLogitsLoss()], ids=str)
def test_a_run_whose_predictions_are_not_finite_changes_no_other_run(loss: nn.Module) -> None:
    torch.manual_seed(3)
    prediction, target = classes() if isinstance(loss, nn.CrossEntropyLoss) else logits()
    clean, gradient = StackedLoss(loss).loss_and_grad(prediction, target)
    for bad in (torch.nan, torch.inf):
        spoilt = prediction.clone()
        spoilt[2] = bad
        found, other = StackedLoss(loss).loss_and_grad(spoilt, target)
        rest = [0, 1, 3, 4]
        assert not found[2].isfinite()
        assert torch.equal(found[rest], clean[rest])
        assert torch.equal(other[rest], gradient[rest])
