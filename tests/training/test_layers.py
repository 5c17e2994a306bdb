"""A Sequential differentiated layer by layer against torch's own engine: the same bits."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ch12cli.training.layers import single_layers
from ch12cli.training.network import Network
from tests.sweeps.driver import CPU

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": lambda: nn.ELU(0.7),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gelu tanh": lambda: nn.GELU(approximate="tanh"),
    "mish": nn.Mish,
    "selu": nn.SELU,
    "softplus": lambda: nn.Softplus(beta=2.0, threshold=3.0),
    "relu in place": lambda: nn.ReLU(inplace=True),
    "leaky_relu in place": lambda: nn.LeakyReLU(0.2, inplace=True),
    "softmax": lambda: nn.Softmax(dim=-1),
    "log_softmax": lambda: nn.LogSoftmax(dim=-1),
}
LOSSES: dict[str, tuple[nn.Module, list[nn.Module]]] = {
    "cross_entropy": (nn.CrossEntropyLoss(), []),
    "cross_entropy of softmax": (nn.CrossEntropyLoss(), [nn.Softmax(dim=-1)]),
    "nll": (nn.NLLLoss(), [nn.LogSoftmax(dim=-1)]),
    "mse": (nn.MSELoss(), []),
    "bce": (nn.BCELoss(), [nn.Sigmoid()]),
    "bce_logits": (nn.BCEWithLogitsLoss(), []),
    "l1": (nn.L1Loss(), []),
    "huber": (nn.HuberLoss(), []),
    "cross_entropy, smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1), []),
    "cross_entropy, summed": (nn.CrossEntropyLoss(reduction="sum"), []),
}


def batch(loss: str, rows: int, features: int, outputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    x = torch.randn(rows, features, dtype=dtype)
    if loss.startswith(("cross_entropy", "nll")):
        return x, torch.randint(outputs, (rows,))
    return x, torch.randint(2, (rows, outputs)).to(dtype) if loss.startswith("bce") else torch.randn(
        rows, outputs, dtype=dtype
    )


def by_the_engine(module: nn.Module, loss: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    prediction = module(x)
    value = loss(prediction, y)
    return value.detach(), prediction.detach(), list(torch.autograd.grad(value, list(module.parameters())))


@pytest.mark.sample(60)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_loss_prediction_and_gradient_equal_autograd_bit_for_bit(
    activation: str, loss: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(len(activation) + 100 * len(loss))
    for rows, features, width, outputs, bias in ((1, 3, 5, 2, True), (7, 1, 1, 3, False), (65, 200, 130, 4, True)):
        of, end = LOSSES[loss]
        layers = [nn.Linear(features, width, bias=bias), ACTIVATIONS[activation](), nn.Linear(width, width, bias=bias)]
        module = nn.Sequential(*layers, ACTIVATIONS[activation](), nn.Linear(width, outputs, bias=bias), *end)
        network = Network(module, device=CPU, precision=str(dtype).removeprefix("torch."))
        assert network.layers is not None
        for _ in range(2):  # the second time over the first one's gradient
            x, y = batch(loss, rows, features, outputs, dtype)
            value, prediction = network.forward_backward(of)(x, y)
            wanted_value, wanted_prediction, gradients = by_the_engine(module, of, x, y)
            assert torch.equal(value, wanted_value)
            assert torch.equal(prediction, wanted_prediction)
            assert not value.requires_grad
            assert torch.equal(network.gradient[network.places], torch.cat([one.reshape(-1) for one in gradients]))
            assert all(
                p.grad is not None and torch.equal(p.grad, g)
                for p, g in zip(module.parameters(), gradients, strict=True)
            )


def test_the_loss_may_change_from_step_to_step() -> None:
    torch.manual_seed(1)
    network = Network(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), device=CPU)
    x, y = batch("mse", 5, 3, 2, torch.float32)
    for of in (nn.L1Loss(), nn.MSELoss(), nn.HuberLoss()):
        value, _ = network.forward_backward(of)(x, y)
        wanted, _, gradients = by_the_engine(network.module, of, x, y)
        assert torch.equal(value, wanted)
        assert torch.equal(network.gradient[network.places], torch.cat([one.reshape(-1) for one in gradients]))


def test_other_modules_than_a_sequential_of_known_layers_use_autograd() -> None:
    def by_layers(*layers: nn.Module) -> bool:
        network = Network(nn.Sequential(*layers), device=CPU)
        return network.layers is not None

    assert by_layers(nn.Linear(2, 2), nn.ReLU())
    assert by_layers(nn.Tanh(), nn.Sequential(nn.Linear(2, 2)))
    for other in (nn.Dropout(0.5), nn.Hardswish(), nn.BatchNorm1d(2), nn.Softmax(dim=0), nn.Softmax()):
        assert not by_layers(nn.Linear(2, 2), other)
    assert single_layers(nn.Sequential(nn.Tanh())) is None
    twice, tied = nn.Linear(2, 2), nn.Linear(2, 2)
    tied.weight = twice.weight
    assert not by_layers(twice, nn.Tanh(), twice)
    assert not by_layers(twice, nn.Tanh(), tied)
    frozen = nn.Linear(2, 2)
    frozen.bias.requires_grad = False
    assert not by_layers(nn.Linear(2, 2), frozen)
    watched = nn.Linear(2, 2)
    watched.register_forward_hook(lambda *_: None)
    assert not by_layers(watched)
    held = nn.Linear(2, 2)
    held.weight.register_hook(lambda gradient: gradient * 2)
    assert not by_layers(held)

    class Mine(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    assert single_layers(Mine(nn.Linear(2, 2))) is None
    assert Network(nn.Sequential(nn.Linear(2, 2)), device=CPU, precision="bfloat16").layers is None
