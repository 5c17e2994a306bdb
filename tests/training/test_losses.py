"""The losses of a stack against torch's loss of each run by itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ch12cli.training.losses import StackedLoss

RUNS, ROWS, CLASSES = 5, 7, 3


def stack_of(kind: str) -> tuple[Tensor, Tensor]:
    """prediction (runs, rows, outputs) in float64, and target (runs, rows[, 1]), of a kind of loss."""
    generator = torch.Generator().manual_seed(7)
    if kind == "classes":
        prediction = torch.randn(RUNS, ROWS, CLASSES, generator=generator, dtype=torch.float64)
        return prediction, torch.randint(CLASSES, (RUNS, ROWS), generator=generator)
    prediction = torch.randn(RUNS, ROWS, 1, generator=generator, dtype=torch.float64)
    target = torch.randn(RUNS, ROWS, 1, generator=generator, dtype=torch.float64)
    if kind == "values":
        return prediction, target
    return (prediction.sigmoid() if kind == "probabilities" else prediction), (target > 0).double()


class Pinball(nn.Module):
    """A loss of a user's own."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        error = target - prediction
        return torch.maximum(0.9 * error, -0.1 * error).mean()


CASES: list[tuple[str, Callable[[], nn.Module]]] = [
    ("values", nn.MSELoss),
    ("values", nn.L1Loss),
    ("values", nn.HuberLoss),
    ("values", lambda: nn.HuberLoss(delta=0.3)),
    ("values", nn.SmoothL1Loss),
    ("values", Pinball),
    ("values", lambda: nn.MSELoss(reduction="sum")),
    ("probabilities", nn.BCELoss),
    ("logits", nn.BCEWithLogitsLoss),
    ("logits", lambda: nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0], dtype=torch.float64))),
    ("classes", nn.CrossEntropyLoss),
    ("classes", lambda: nn.CrossEntropyLoss(label_smoothing=0.2)),
    ("classes", lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))),
    ("classes", lambda: nn.CrossEntropyLoss(reduction="sum")),
    ("classes", nn.NLLLoss),
    ("classes", lambda: nn.NLLLoss(weight=torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))),
]


def alone(make: Callable[[], nn.Module], prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss () and gradient (rows, outputs) of one run, by torch."""
    leaf = prediction.detach().clone().requires_grad_()
    loss = make()(leaf, target)
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


@pytest.mark.parametrize(("kind", "make"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_stacks_loss_and_gradient_are_those_of_each_run(kind: str, make: Callable[[], nn.Module]) -> None:
    prediction, target = stack_of(kind)
    loss_of = StackedLoss(make())
    losses, gradient = loss_of.loss_and_grad(prediction.clone(), target)
    assert losses.shape == (RUNS,)
    assert gradient.shape == prediction.shape
    assert len(set(losses.tolist())) == RUNS  # the runs differ
    for run in range(RUNS):
        loss, slope = alone(make, prediction[run], target[run])
        torch.testing.assert_close(losses[run], loss, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(loss_of(prediction, target)[run], loss, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(gradient[run], slope, rtol=1e-13, atol=1e-13)


def test_a_subclass_of_a_torch_loss_is_computed_by_its_own_forward() -> None:
    class Doubled(nn.MSELoss):
        def forward(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002 - torch's own name
            return 2 * super().forward(input, target)

    prediction, target = stack_of("values")
    losses, gradient = StackedLoss(Doubled()).loss_and_grad(prediction, target)
    for run in range(RUNS):
        loss, slope = alone(Doubled, prediction[run], target[run])
        torch.testing.assert_close(losses[run], loss)
        torch.testing.assert_close(gradient[run], slope)


@pytest.mark.parametrize(("kind", "make"), [("values", nn.MSELoss), ("classes", nn.CrossEntropyLoss)])
def test_a_run_whose_loss_is_not_finite_changes_no_other_run(kind: str, make: Callable[[], nn.Module]) -> None:
    prediction, target = stack_of(kind)
    clean, gradient = StackedLoss(make()).loss_and_grad(prediction.clone(), target)
    spoilt = prediction.clone()
    spoilt[2] = torch.inf
    losses, beside = StackedLoss(make()).loss_and_grad(spoilt, target)
    others = [0, 1, 3, 4]
    assert torch.equal(losses[others], clean[others])
    assert torch.equal(beside[others], gradient[others])
    assert not torch.isfinite(losses[2])
