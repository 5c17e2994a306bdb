"""What ch12 uses of torch that torch does not document: these tests break when torch changes it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.training import activations, losses, torch_internals
from ch12cli.training.network import Network
from ch12cli.training.stack import Stack
from ch12cli.training.torch_internals import (
    ALIGNMENT,
    DERIVATIVES,
    aligned_size,
    aten,
    backward,
    fused_adam,
    has_hooks,
    is_convolution,
    is_dropout,
    workers_of,
)
from tests.sweeps.driver import CPU


def test_the_installed_torch_needs_no_fallback() -> None:
    assert vars(torch_internals)["_engine_run_backward"] is not None
    assert torch_internals.HAS_DERIVATIVES
    assert torch_internals.HAS_FUSED_ADAM


@pytest.mark.parametrize("name", DERIVATIVES)
def test_every_derivative_is_a_kernel_of_torch(name: str) -> None:
    assert callable(getattr(aten, name).default)


@pytest.mark.parametrize("way", ["engine", "fallback"])
def test_backward_equals_the_method_of_a_tensor(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "fallback":
        monkeypatch.setattr(torch_internals, "_engine_run_backward", None)
    x, y = (torch.tensor([1.0, -2.0, 3.0], requires_grad=True) for _ in range(2))
    for leaf in (x, y):
        leaf.grad = torch.ones(3)  # to which the gradient is added
    loss = (x**3).sum()
    backward(loss, torch.ones_like(loss))
    (y**3).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert torch.equal(x.grad, y.grad)
    assert x.grad.tolist() == [4.0, 13.0, 28.0]


def two_steps(make: Any) -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    network = make([nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double() for _ in range(2)])
    torch.manual_seed(5)
    x, y = torch.randn(2, 6, 3).double(), torch.randint(2, (2, 6))
    if not network.stacked:
        x, y = x[0], y[0]
    loss = losses.StackedLoss(nn.CrossEntropyLoss()) if network.stacked else nn.CrossEntropyLoss()
    value, _ = network.forward_backward(loss)(x, y)
    return value, network.gradient.clone()


@pytest.mark.parametrize(
    "make",
    [
        lambda modules: Network(modules[0], device=CPU, precision="float64"),
        lambda modules: Stack(modules, [1, 2], device=CPU, dtype=torch.float64),
    ],
    ids=["single", "stacked"],
)
def test_without_the_derivatives_torchs_engine_gives_the_same(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    value, gradient = two_steps(make)
    monkeypatch.setattr(activations, "HAS_DERIVATIVES", False)
    monkeypatch.setattr(losses, "HAS_DERIVATIVES", False)
    without: list[Any] = []

    def make_without(modules: Any) -> Any:
        without.append(make(modules))
        return without[0]

    expected_value, expected = two_steps(make_without)
    assert without[0].layers is None
    assert torch.allclose(value, expected_value, rtol=1e-13)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_fused_kernel_of_adam_equals_torchs_adam(amsgrad: bool) -> None:
    torch.manual_seed(1)
    start, gradients = torch.randn(50).double(), torch.randn(3, 50).double()
    leaf = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([leaf], lr=0.01, betas=(0.8, 0.95), eps=1e-6, amsgrad=amsgrad)
    found, moments = start.clone(), [torch.zeros(50).double() for _ in range(3)]
    for step, gradient in enumerate(gradients, 1):
        leaf.grad = gradient.clone()
        optimizer.step()
        largest = moments[2] if amsgrad else None
        fused_adam(
            *(found, gradient, moments[0], moments[1], largest),
            steps=torch.tensor(float(step)),
            lr=0.01,
            beta1=0.8,
            beta2=0.95,
            eps=1e-6,
        )
    assert torch.allclose(found, leaf.detach(), rtol=1e-12)
    assert not torch.allclose(found, start)


def test_hooks_are_found_in_every_submodule() -> None:
    def modules() -> nn.Sequential:
        return nn.Sequential(nn.Linear(2, 2), nn.Tanh())

    assert not has_hooks(modules())
    for register in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
        module = modules()
        getattr(module[1], register)(lambda *_: None)
        assert has_hooks(module), register
    module = modules()
    module.register_full_backward_pre_hook(lambda *_: None)
    assert has_hooks(module)
    module = modules()
    module.get_parameter("0.weight").register_hook(lambda gradient: gradient)
    assert has_hooks(module)


def test_dropouts_and_convolutions_are_distinguished_from_other_modules() -> None:
    assert all(map(is_dropout, (nn.Dropout(), nn.Dropout1d(), nn.Dropout2d(), nn.Dropout3d(), nn.AlphaDropout())))
    assert all(map(is_convolution, (nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1), nn.ConvTranspose2d(1, 1, 1))))
    for other in (nn.Linear(1, 1), nn.ReLU(), nn.BatchNorm1d(1)):
        assert not is_dropout(other)
        assert not is_convolution(other)


def test_the_workers_of_a_loader_are_its_processes_once_they_have_started() -> None:
    loader = DataLoader(TensorDataset(torch.arange(4)), batch_size=2, num_workers=1, persistent_workers=True)
    assert workers_of(loader) is None
    assert len(list(loader)) == 2
    workers = workers_of(loader)
    assert workers is not None
    assert [process.is_alive() for process in workers] == [True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_the_memory_of_each_tensor_is_aligned(dtype: torch.dtype) -> None:
    places = [torch.empty(values, dtype=dtype).data_ptr() % ALIGNMENT for values in range(1, 70)]
    assert set(places) == {0}
    assert [aligned_size(values, dtype) * dtype.itemsize for values in (1, 16, 17)] == (
        [64, 64, 128] if dtype.itemsize == 4 else [64, 128, 192]
    )
