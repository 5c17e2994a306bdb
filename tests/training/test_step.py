"""The step against a loop written by hand with torch's own modules: forward, backward, clip, update."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ch12cli.training.losses import StackedLoss
from ch12cli.training.network import Network
from ch12cli.training.optimizers import SGD
from ch12cli.training.stack import Stack
from ch12cli.training.step import TrainingStep
from tests.sweeps.driver import CPU

LRS = [0.1, 0.2, 0.05]


class Residual(nn.Module):
    """A module that torch's engine has to differentiate."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.first(x).tanh())


def sequential() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def modules_of(make: Callable[[], nn.Module], runs: int = len(LRS)) -> list[nn.Module]:
    modules = []
    for seed in range(runs):
        torch.manual_seed(seed)
        modules.append(make().double())
    return modules


def batches(runs: int) -> list[tuple[Tensor, Tensor]]:
    """Five batches of x (runs, 7, 3) and y (runs, 7, 2)."""
    torch.manual_seed(9)
    return [(torch.randn(runs, 7, 3).double(), 3 * torch.randn(runs, 7, 2).double()) for _ in range(5)]


def by_hand(module: nn.Module, x: Tensor, y: Tensor, lr: float) -> tuple[Tensor, Tensor]:
    """One step of gradient descent, the gradient's elements clipped to 0.4 and then its norm to 0.5."""
    prediction = module(x)
    loss = nn.functional.mse_loss(prediction, y)
    module.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(module.parameters(), 0.4)
    nn.utils.clip_grad_norm_(module.parameters(), 0.5)
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.add_(parameter.grad, alpha=-lr)
    return loss.detach(), prediction.detach()


def flat(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])


@pytest.mark.parametrize("make", [sequential, Residual])
def test_a_step_of_a_single_run_is_the_step_by_hand(make: Callable[[], nn.Module]) -> None:
    (module,), (network_module,) = modules_of(make, 1), modules_of(make, 1)
    network = Network(network_module, device=CPU, precision="float64")
    assert (network.layers is not None) is (make is sequential)
    step = TrainingStep(network, nn.MSELoss(), SGD(network.parameters), clip_grad_norm=0.5, clip_grad_value=0.4)
    before = network.parameters.clone()
    for x, y in batches(1):
        loss, prediction = step(x[0], y[0], 0.1)
        expected, expected_prediction = by_hand(module, x[0], y[0], 0.1)
        assert loss == expected.item()
        assert torch.equal(prediction, expected_prediction)
    assert torch.equal(network.parameters[network.places], flat(module))
    assert not torch.allclose(network.parameters, before)


@pytest.mark.parametrize("runs_last", [True, False])
@pytest.mark.parametrize("make", [sequential, Residual])
def test_a_step_of_a_stack_is_the_step_of_each_run_by_hand(make: Callable[[], nn.Module], runs_last: bool) -> None:
    modules = modules_of(make)
    stack = Stack(modules_of(make), [0, 1, 2], device=CPU, dtype=torch.float64, runs_last=runs_last)
    clips: dict[str, Any] = {"clip_grad_norm": np.full(3, 0.5), "clip_grad_value": np.full(3, 0.4)}
    step = TrainingStep(stack, StackedLoss(nn.MSELoss()), SGD(stack.parameters), **clips)
    for x, y in batches(3):
        losses, predictions = step(x, y, np.array(LRS))
        for run, (module, lr) in enumerate(zip(modules, LRS, strict=True)):
            loss, prediction = by_hand(module, x[run], y[run], lr)
            assert torch.allclose(losses[run], loss, rtol=1e-12)
            assert torch.allclose(predictions[run], prediction, rtol=1e-12)
    for run, module in enumerate(modules):
        assert torch.allclose(stack.parameters[run], flat(module), rtol=1e-12)


def test_a_loss_that_is_not_finite_changes_no_weight_of_a_single_run() -> None:
    (module,) = modules_of(sequential, 1)
    network = Network(module, device=CPU, precision="float64")
    step = TrainingStep(network, nn.MSELoss(), SGD(network.parameters))
    before = network.parameters.clone()
    x, y = batches(1)[0]
    loss, _ = step(x[0] * math.inf, y[0], 0.1)
    assert not math.isfinite(loss)
    assert torch.equal(network.parameters, before)
    step(x[0], y[0], 0.1)
    assert not torch.equal(network.parameters, before)
