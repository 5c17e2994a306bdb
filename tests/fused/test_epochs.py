"""Compiled epochs of a stack: each run is trained as the run alone is, whatever the structure."""

import math
import os
import random
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ch12cli.data.streaming.cache_folder import cache_folder
from ch12cli.fused import compiler
from ch12cli.fused import epochs as epochs_module
from ch12cli.fused.compiler import CannotCompileError, library
from ch12cli.fused.epochs import TrainedEpochs, cpu_library, whole_epochs
from ch12cli.training.activations import activation
from ch12cli.training.batches import Part, batches
from ch12cli.training.layers import flat_layers
from ch12cli.training.loop import Limits
from ch12cli.training.losses import LOSSES
from ch12cli.training.metrics import Metric, Right, accuracy, binary_accuracy
from ch12cli.training.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from ch12cli.training.stack import Stack
from ch12cli.training.streams import seed_stream

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")

CPU = torch.device("cpu")
ROWS, EPOCHS = 23, 2
HIDDEN: list[Any] = [
    nn.ReLU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.Mish, nn.SELU, nn.GELU, nn.Identity,
    lambda: nn.GELU("tanh"), lambda: nn.LeakyReLU(0.1), lambda: nn.ELU(0.7), lambda: nn.Softplus(2, 5),
    lambda: nn.Softmax(-1), lambda: nn.LogSoftmax(-1),
]  # fmt: skip
OUTPUTS: list[tuple[nn.Module, list[nn.Module]]] = [  # a loss, and the layers that end a network for it
    (nn.CrossEntropyLoss(), []), (nn.NLLLoss(), [nn.LogSoftmax(-1)]), (nn.MSELoss(), []), (nn.L1Loss(), []),
    (nn.HuberLoss(delta=0.3), []), (nn.BCELoss(), [nn.Sigmoid()]), (nn.BCEWithLogitsLoss(), []),
]  # fmt: skip
OPTIMIZERS: list[tuple[type[Optimizer], type[torch.optim.Optimizer], dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.5, "nesterov": True}),
    (Adam, torch.optim.Adam, {"lr": 0.01}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.7, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    (AdamW, torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.3}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "weight_decay": 0.01}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.5, "alpha": 0.8}),
    (Adagrad, torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1}),
]
IS_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)


def network(sizes: list[int], hidden: Any, last: list[nn.Module], *, seed: int, bias: bool = True) -> nn.Sequential:
    seed_stream(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, bias=bias), hidden()]
    return nn.Sequential(*layers[:-1], *last)


def data(loss: nn.Module, features: int, outputs: int, dtype: torch.dtype) -> Part:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(ROWS, features, generator=generator, dtype=torch.float64).to(dtype)
    if isinstance(loss, IS_OF_CLASSES):
        return Part(x, torch.randint(outputs, (ROWS,), generator=generator))
    return Part(x, (torch.rand(ROWS, outputs, generator=generator) > 0.5).to(dtype))


def order_of(run: int, epoch: int) -> Tensor:
    return torch.randperm(ROWS, generator=torch.Generator().manual_seed(100 * epoch + run))


def limits(**clips: Any) -> Limits:
    return Limits(epochs=EPOCHS, monitor="train_loss", stop_on="train_loss", **clips)


def train_all(
    modules: list[nn.Sequential], optimizer: tuple[type[Optimizer], dict[str, Any]], part: Part, loss: nn.Module,
    *, batch_size: int, bounds: Limits,
) -> tuple[Stack, list[np.ndarray[Any, Any]], list[Tensor]]:  # fmt: skip
    """Trains copies of the modules by compiled epochs. Returns the stack, and losses and predictions of each epoch."""
    stack = Stack(modules, range(len(modules)), device=CPU, dtype=part.x.dtype, batch_size=batch_size, runs_last=True)
    made = optimizer[0](stack.parameters, **optimizer[1])
    epochs = whole_epochs(stack, loss, made, part, batch_size=batch_size, limits=bounds, wanted=True)
    lrs = np.broadcast_to(np.asarray(optimizer[1]["lr"], np.float64), (-(-ROWS // batch_size), len(modules)))
    losses, predictions = [], []
    for epoch in range(EPOCHS):
        order = torch.stack([order_of(run, epoch) for run in range(len(modules))])
        done = epochs(order[None], lrs[None], bounds)
        losses.append(done.losses)
        predictions.append(done.predictions)
    return stack, losses, predictions


def own(value: Any, run: int) -> float:
    """A run's own value of one for all runs, or one for each."""
    return float(value[run] if isinstance(value, np.ndarray) else value)


def train_alone(
    module: nn.Sequential, optimizer: torch.optim.Optimizer, part: Part, loss: nn.Module,
    *, run: int, batch_size: int, bounds: Limits,
) -> tuple[list[list[float]], list[Tensor]]:  # fmt: skip
    """The plain loop of torch: losses and predictions of each epoch."""
    losses, predictions = [], []
    for epoch in range(EPOCHS):
        of_steps, predicted = [], []
        for x, y in batches(part, order_of(run, epoch), batch_size):
            prediction = module(x)
            value = loss(prediction, y)
            optimizer.zero_grad()
            value.backward()
            if bounds.clip_grad_value is not None:
                nn.utils.clip_grad_value_(module.parameters(), own(bounds.clip_grad_value, run))
            if bounds.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(module.parameters(), own(bounds.clip_grad_norm, run))
            optimizer.step()
            of_steps.append(value.item())
            predicted.append(prediction.detach())
        losses.append(of_steps)
        predictions.append(torch.cat(predicted))
    return losses, predictions


def require_equal(draw: random.Random, dtype: torch.dtype, *, runs: int) -> None:
    """Draws a structure, trains a stack of it by compiled epochs and its runs by torch's loop, and compares all."""
    loss, last = draw.choice(OUTPUTS)
    own, of_torch, values = draw.choice(OPTIMIZERS)
    hidden = draw.choice(HIDDEN)
    sizes = [draw.randint(1, draw.choice([9, 9, 40])) for _ in range(draw.randint(2, 4))]
    batch_size, bias = draw.randint(1, ROWS + 3), draw.random() < 0.8
    clips: dict[str, Any] = {}
    if draw.random() < 0.3:
        clips["clip_grad_norm"] = np.array([0.05 + run for run in range(runs)])
    if draw.random() < 0.3:
        clips["clip_grad_value"] = 0.02
    each = {name: np.array([value * (1 + 0.1 * run) for run in range(runs)])
            for name, value in values.items() if name in ("lr", "weight_decay") and draw.random() < 0.5}  # fmt: skip
    modules = [network(sizes, hidden, last, seed=run, bias=bias).to(dtype) for run in range(runs)]
    part = data(loss, sizes[0], sizes[-1], dtype)
    stack, losses, predictions = train_all(
        modules, (own, values | each), part, loss, batch_size=batch_size, bounds=limits(**clips)
    )
    exact_part = Part(part.x.double(), part.y.double() if part.y.is_floating_point() else part.y)
    for run, module in enumerate(modules):
        mine = values | {name: float(value[run]) for name, value in each.items()}

        def alone(module: nn.Sequential, part: Part, run: int = run, mine: dict[str, Any] = mine) -> list[Tensor]:
            """The weights, losses and predictions of the run alone."""
            optimizer = of_torch(module.parameters(), **mine)
            bounds = limits(**clips)
            losses, predictions = train_alone(
                module, optimizer, part, loss, run=run, batch_size=batch_size, bounds=bounds
            )
            return [*module.state_dict().values(), torch.tensor(losses, dtype=torch.float64), *predictions]

        exact = alone(deepcopy(module).double(), exact_part)
        wanted = alone(module, part)
        of_run = torch.from_numpy(np.stack(losses)[:, :, run])
        found = [*stack.state_of(stack.parameters[run]).values(), of_run, *(each[run] for each in predictions)]
        what = f"{sizes} {hidden} {type(loss).__name__} {mine} batch {batch_size} {clips} run {run}"
        for one, other, truth in zip(found, wanted, exact, strict=True):
            # a run may itself be off: where a number nearly cancels, rounding decides on the direction of a step
            off = 0.0 if dtype == torch.float64 else 2e-3 + 2 * float((other.double() - truth.double()).abs().max())
            torch.testing.assert_close(one.double(), other.double(), rtol=1e-9, atol=1e-9 + off, msg=what)


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", range(300))
def test_each_run_of_a_drawn_structure_equals_torchs_loop(number: int) -> None:
    draw = random.Random(number)
    require_equal(draw, draw.choice([torch.float32, torch.float64]), runs=draw.choice([2, 7, 19]))


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", range(40))
def test_code_of_its_own_gives_a_structure_the_same_bits(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(500 + number)
    loss, last = draw.choice(OUTPUTS)
    kind, _, values = draw.choice(OPTIMIZERS)
    hidden, dtype = draw.choice(HIDDEN), draw.choice([torch.float32, torch.float64])
    sizes = [draw.randint(1, draw.choice([12, 50])) for _ in range(draw.randint(2, 4))]
    batch_size, part = draw.randint(1, 9), data(loss, sizes[0], sizes[-1], dtype)
    bounds = limits(clip_grad_norm=0.5) if draw.random() < 0.3 else limits()

    def train(seconds: float) -> list[Tensor]:
        monkeypatch.setattr(epochs_module, "WORTH_ITS_OWN", seconds)
        monkeypatch.setattr(epochs_module, "is_cached", lambda source: False)
        modules = [network(sizes, hidden, last, seed=run).to(dtype) for run in range(9)]
        stack, losses, predictions = train_all(
            modules, (kind, values), part, loss, batch_size=batch_size, bounds=bounds
        )
        return [stack.parameters, *map(torch.from_numpy, losses), *predictions]

    for one, other in zip(train(math.inf), train(0.0), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_every_shipped_activation_and_loss_with_a_derivative_of_its_own_has_a_compiled_form() -> None:
    from ch12cli.fused import program
    from ch12cli.training.activations import ACTIVATIONS

    assert {nn.Identity, *program.ACTIVATIONS, *program.ROWWISE} == set(ACTIVATIONS)
    assert set(program.LOSSES) == set(LOSSES)
    assert all(activation(made, 1) is not None for made in (kind() for kind in program.ACTIVATIONS))
    assert flat_layers(nn.Sequential(nn.Linear(2, 3), *(kind() for kind in program.ACTIVATIONS))) is not None


def test_dropout_drops_what_the_stack_drops_step_by_step() -> None:
    loss, part = nn.MSELoss(), data(nn.MSELoss(), 4, 2, torch.float64)

    def make(run: int) -> nn.Sequential:
        return network([4, 6, 5, 2], lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.4)), [], seed=run).double()

    modules = [make(run) for run in range(5)]
    stack, _, predictions = train_all(modules, (Adam, {"lr": 0.01}), part, loss, batch_size=4, bounds=limits())
    from ch12cli.training.losses import StackedLoss
    from ch12cli.training.step import TrainingStep

    other = Stack([make(run) for run in range(5)], list(range(5)), device=CPU, dtype=torch.float64, runs_last=True)
    step = TrainingStep(other, StackedLoss(loss), Adam(other.parameters, lr=0.01))
    for epoch in range(EPOCHS):
        order = torch.stack([order_of(run, epoch) for run in range(5)])
        done = [step(part.x[rows], part.y[rows], 0.01)[1] for rows in order.split(4, 1)]
        torch.testing.assert_close(predictions[epoch], torch.cat(done, 1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(stack.parameters, other.parameters, rtol=1e-9, atol=1e-9)
    assert stack.masks.step == other.masks.step > 0


@pytest.mark.parametrize("runs", [1, 3, 17])
def test_a_run_that_explodes_shows_it_in_the_same_step_and_changes_no_bit_of_the_others(runs: int) -> None:
    loss, part = nn.MSELoss(), data(nn.MSELoss(), 4, 2, torch.float32)
    bad = runs - 1

    def train(lr_of_bad: float) -> tuple[Stack, list[np.ndarray[Any, Any]]]:
        modules = [network([4, 6, 2], nn.ReLU, [], seed=run) for run in range(runs)]
        lrs = np.array([0.01] * (runs - 1) + [lr_of_bad])
        return train_all(modules, (SGD, {"lr": lrs}), part, loss, batch_size=4, bounds=limits())[:2]

    calm, calm_losses = train(0.01)
    wild, losses = train(1e15)
    assert torch.equal(calm.parameters[:bad], wild.parameters[:bad])
    assert all(np.array_equal(a[:, :bad], b[:, :bad]) for a, b in zip(calm_losses, losses, strict=True))
    alone = network([4, 6, 2], nn.ReLU, [], seed=bad)
    single, _ = train_alone(
        alone, torch.optim.SGD(alone.parameters(), lr=1e15), part, loss, run=bad, batch_size=4, bounds=limits()
    )
    first = [math.isfinite(value) for value in single[0]].index(False)
    assert [math.isfinite(value) for value in losses[0][:, bad]].index(False) == first


def test_a_run_has_the_same_bits_whatever_runs_are_beside_it() -> None:
    loss, part = nn.CrossEntropyLoss(), data(nn.CrossEntropyLoss(), 4, 3, torch.float32)

    def train(runs: int) -> Tensor:
        modules = [network([4, 6, 3], nn.Tanh, [], seed=run) for run in range(runs)]
        return train_all(modules, (Adam, {"lr": 0.01}), part, loss, batch_size=5, bounds=limits())[0].parameters

    assert torch.equal(train(40)[:3], train(3))


Rule = tuple[Right, nn.Module, list[nn.Module], int, Metric]
RULES: list[Rule] = [
    ("largest", nn.CrossEntropyLoss(), [], 3, accuracy),
    ("largest", nn.NLLLoss(), [nn.LogSoftmax(-1)], 4, accuracy),
    ("positive", nn.BCEWithLogitsLoss(), [], 1, binary_accuracy("positive")),
    ("half", nn.BCELoss(), [nn.Sigmoid()], 1, binary_accuracy("half")),
    ("half", nn.MSELoss(), [], 1, binary_accuracy("half")),
]


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", RULES)
def test_right_rows_and_losses_are_those_of_the_predictions(
    case: Rule, dtype: torch.dtype, special: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs_module, "WORTH_ITS_OWN", 0.0 if special else math.inf)
    monkeypatch.setattr(epochs_module, "is_cached", lambda source: False)
    require_counted(case, dtype)


def require_counted(case: Rule, dtype: torch.dtype) -> None:
    """Trains a stack with its right rows counted, and again with predictions, and compares them."""
    rule, loss, last, outputs, metric = case
    part, valid, runs = data(loss, 4, outputs, dtype), data(loss, 4, outputs, dtype), 19
    valid = Part(valid.x[:11] + 0.1, valid.y[:11])

    def train(right: Right | None) -> TrainedEpochs:
        modules = [network([4, 6, outputs], nn.Tanh, last, seed=run).to(dtype) for run in range(runs)]
        next(modules[3].parameters()).data.fill_(math.inf)  # of which every prediction is NaN
        stack = Stack(modules, range(runs), device=CPU, dtype=dtype, batch_size=5, runs_last=True)
        optimizer = Adam(stack.parameters, lr=0.01)
        epochs = whole_epochs(
            stack, loss, optimizer, part, valid=valid, batch_size=5, limits=limits(), wanted=True, right=right
        )
        order = torch.stack([torch.stack([order_of(run, epoch) for run in range(runs)]) for epoch in range(EPOCHS)])
        return epochs(order, np.full((EPOCHS, -(-ROWS // 5), runs), 0.01), limits())

    counted, predicted = train(rule), train(None)
    assert counted.predictions is None
    assert counted.valid is None
    assert predicted.predictions is not None
    assert predicted.valid is not None
    assert counted.right is not None
    assert counted.valid_right is not None
    assert counted.valid_loss is not None
    np.testing.assert_array_equal(counted.losses, predicted.losses)
    assert torch.equal(counted.parameters.nan_to_num(), predicted.parameters.nan_to_num())
    orders = torch.cat([torch.stack([order_of(run, epoch) for run in range(runs)]) for epoch in range(EPOCHS)])
    for index, order in enumerate(orders):
        assert counted.right[index] == metric(predicted.predictions[index], part.y[order]).item()
        assert counted.valid_right[index] == metric(predicted.valid[index], valid.y).item()
        expected = (
            math.nan
            if index % runs == 3
            else loss(
                predicted.valid[index].double(),
                valid.y.to(torch.int64 if isinstance(loss, IS_OF_CLASSES) else torch.float64),
            ).item()
        )
        np.testing.assert_allclose(counted.valid_loss[index], expected, rtol=1e-6 if dtype == torch.float32 else 1e-12)


def test_runs_that_are_left_have_no_weight_decay_of_the_others() -> None:
    loss, part = nn.CrossEntropyLoss(), data(nn.CrossEntropyLoss(), 4, 3, torch.float64)
    kept, decays = torch.tensor([0, 2]), np.array([0.0, 0.1, 0.0])
    modules = [network([4, 6, 3], nn.Tanh, [], seed=run).double() for run in range(3)]
    stack = Stack(modules, range(3), device=CPU, dtype=torch.float64, batch_size=5, runs_last=True)
    optimizer = AdamW(stack.parameters, lr=0.01, weight_decay=decays)
    epochs = whole_epochs(stack, loss, optimizer, part, batch_size=5, limits=limits(), wanted=True)
    lrs = np.full((-(-ROWS // 5), 3), 0.01)
    epochs(torch.stack([order_of(run, 0) for run in range(3)])[None], lrs[None], limits())
    stack.keep(kept)
    optimizer.keep(kept, stack.parameters)
    epochs(torch.stack([order_of(run, 1) for run in (0, 2)])[None], lrs[None, :, :2], limits())
    for row, run in enumerate((0, 2)):
        alone = modules[run]
        made = torch.optim.AdamW(alone.parameters(), lr=0.01, weight_decay=0.0)
        train_alone(alone, made, part, loss, run=run, batch_size=5, bounds=limits())
        for name, value in stack.state_of(stack.parameters[row]).items():
            torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-9, atol=1e-9)


def test_weight_decay_that_begins_later_counts() -> None:
    loss, part = nn.CrossEntropyLoss(), data(nn.CrossEntropyLoss(), 4, 3, torch.float64)
    modules = [network([4, 6, 3], nn.Tanh, [], seed=run).double() for run in range(2)]
    stack = Stack(modules, range(2), device=CPU, dtype=torch.float64, batch_size=5, runs_last=True)
    optimizer = Adam(stack.parameters, lr=0.01)
    epochs = whole_epochs(stack, loss, optimizer, part, batch_size=5, limits=limits(), wanted=True)
    lrs = np.full((1, -(-ROWS // 5), 2), 0.01)
    decays = np.array([0.1, 0.0])
    for epoch in range(2):
        epochs(torch.stack([order_of(run, epoch) for run in range(2)])[None], lrs, limits())
        optimizer.set_values({"weight_decay": decays})
    for run, alone in enumerate(modules):
        made = torch.optim.Adam(alone.parameters(), lr=0.01)
        for epoch in range(2):
            for x, y in batches(part, order_of(run, epoch), 5):
                made.zero_grad()
                loss(alone(x), y).backward()
                made.step()
            made.param_groups[0]["weight_decay"] = float(decays[run])
        for name, value in stack.state_of(stack.parameters[run]).items():
            torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-9, atol=1e-9)


FADING: list[tuple[type[Optimizer], type[torch.optim.Optimizer], dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.01, "momentum": 0.9}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.9, 0.95)}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "centered": True, "momentum": 0.9}),
]


@pytest.mark.parametrize(("own", "of_torch", "values"), FADING)
def test_what_fades_in_an_optimizers_state_becomes_zero_and_changes_no_weight(
    own: type[Optimizer], of_torch: type[torch.optim.Optimizer], values: dict[str, Any]
) -> None:
    loss, part, steps = nn.MSELoss(), data(nn.MSELoss(), 4, 1, torch.float32), 2000
    least = torch.finfo(torch.float32).smallest_normal
    module = network([4, 5, 1], nn.ReLU, [], seed=1)
    stack = Stack([module], [1], device=CPU, dtype=torch.float32, batch_size=ROWS, runs_last=True)
    made, alone = own(stack.parameters, **values), of_torch(module.parameters(), **values)
    epochs = whole_epochs(stack, loss, made, part, batch_size=ROWS, limits=limits(), wanted=True)

    def train(count: int) -> None:
        order, lrs = torch.arange(ROWS).expand(count, 1, ROWS), np.full((count, 1, 1), 0.01)
        epochs(order, lrs, limits())
        for _ in range(count):
            alone.zero_grad()
            loss(module(part.x), part.y).backward()
            alone.step()

    train(3)
    with torch.no_grad():  # no hidden unit is active any more: their gradients are 0
        module.state_dict()["0.bias"].fill_(-1000.0)
        stack.parameters[:] = torch.cat([value.flatten() for value in module.state_dict().values()])
    train(steps)
    states = [values for values in made.state.values() if values.is_floating_point()]
    of_alone = [value for state in alone.state.values() for value in state.values() if torch.is_tensor(value)]
    assert any(((value != 0) & (value.abs() < least)).any() for value in of_alone)
    assert not any(((value != 0) & (value.abs() < least)).any() for value in states)
    for name, value in stack.state_of(stack.parameters[0]).items():
        off = 2e-3 if name == "2.bias" else 1e-6  # it has arrived where its gradient is nothing but rounding
        torch.testing.assert_close(value, module.state_dict()[name], rtol=1e-6, atol=off)


def test_squares_below_the_normal_numbers_count_beside_a_tiny_eps() -> None:
    loss, values = nn.MSELoss(), {"lr": 0.1, "betas": (0.9, 0.5), "eps": 1e-22}
    part = Part(torch.full((ROWS, 1), 1e-21), torch.ones(ROWS, 1))
    modules = [network([1, 1], nn.Identity, [], seed=run, bias=False) for run in range(2)]
    stack, _, _ = train_all(
        modules, (Adam, values | {"eps": np.array([1e-8, 1e-22])}), part, loss, batch_size=4, bounds=limits()
    )
    alone = modules[1]
    (weight,) = alone.parameters()
    before = weight.detach().clone()
    made = torch.optim.Adam(alone.parameters(), **values)  # type: ignore[arg-type]
    train_alone(alone, made, part, loss, run=1, batch_size=4, bounds=limits())
    assert abs(weight.detach() - before) > 0.5
    torch.testing.assert_close(stack.parameters[1:], weight.detach(), rtol=0.02, atol=0)


def test_what_has_no_compiled_form_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    part = data(nn.CrossEntropyLoss(), 4, 3, torch.float32)

    def why(
        loss: nn.Module, *, wanted: bool | None = True, hidden: Any = nn.ReLU, width: int = 6, epochs: int = EPOCHS
    ) -> str:
        modules = [network([4, width, width, 3], hidden, [], seed=0)]
        stack = Stack(modules, [0], device=CPU, dtype=torch.float32, batch_size=20, runs_last=True)
        bounds = replace(limits(), epochs=epochs)
        with pytest.raises(CannotCompileError) as raised:
            whole_epochs(stack, loss, Adam(stack.parameters), part, batch_size=20, limits=bounds, wanted=wanted)
        return str(raised.value)

    assert "have no compiled form" in why(nn.CrossEntropyLoss(label_smoothing=0.1))
    assert "have no compiled form" in why(nn.CrossEntropyLoss(weight=torch.ones(3)))
    assert "have no compiled form" in why(nn.SmoothL1Loss())
    assert "have no compiled form" in why(nn.CrossEntropyLoss(), hidden=nn.Hardtanh)  # torch vectorises it
    assert "too few steps" in why(nn.CrossEntropyLoss(), wanted=None)
    assert "so few runs" in why(nn.CrossEntropyLoss(), wanted=None, width=150, epochs=1000)
    assert "so wide layers" in why(nn.CrossEntropyLoss(), width=300)
    assert why(nn.CrossEntropyLoss(), wanted=False) == "sweep.fused=false"
    cpu_library.cache_clear()
    monkeypatch.setattr(compiler, "compiler", lambda: None)
    assert why(nn.CrossEntropyLoss()) == "there is no C compiler"


def test_on_a_gpu_epochs_are_compiled_only_if_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    part = data(nn.CrossEntropyLoss(), 4, 3, torch.float32)
    stack = Stack([network([4, 6, 3], nn.ReLU, [], seed=0)], [0], device=CPU, dtype=torch.float32, runs_last=True)
    stack.device = torch.device("cuda")
    compiled = []
    monkeypatch.setattr(epochs_module, "launcher_on_gpu", lambda *given: compiled.append(given))
    for wanted in (None, False):
        with pytest.raises(CannotCompileError, match=r"sweep\.fused"):
            whole_epochs(
                stack, nn.CrossEntropyLoss(), Adam(stack.parameters), part, batch_size=2, limits=limits(), wanted=wanted
            )
    assert not compiled
    whole_epochs(stack, nn.CrossEntropyLoss(), Adam(stack.parameters), part, batch_size=2, limits=limits(), wanted=True)
    assert compiled


@pytest.mark.slow
@pytest.mark.parametrize("vector", [16, 32])
def test_narrower_vectors_give_the_same_bits(vector: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor without AVX-512 or AVX: the number of lanes changes no run."""
    loss, part = nn.CrossEntropyLoss(), data(nn.CrossEntropyLoss(), 4, 3, torch.float32)

    def train() -> Tensor:
        modules = [network([4, 6, 3], nn.Tanh, [], seed=run) for run in range(21)]
        return train_all(modules, (Adam, {"lr": 0.01}), part, loss, batch_size=5, bounds=limits())[0].parameters

    before = train()
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, f"-DVECTOR={vector}"))
    cpu_library.cache_clear()
    assert torch.equal(train(), before)
    cpu_library.cache_clear()


def test_a_damaged_library_in_the_cache_is_compiled_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("whole", "damaged"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        folder = cache_folder("fused")
        for file in (tmp_path / "whole" / "ch12" / "fused").glob("*/*.so"):
            if name == "damaged":
                (folder / file.parent.name).mkdir()
                (folder / file.parent.name / file.name).write_bytes(file.read_bytes()[:1000])
        assert library("int three(void) { return 3; }").three() == 3
    with pytest.raises(CannotCompileError, match="error: expected"):
        library("int three(void) { return }")
    assert len([*folder.iterdir()]) == len([*folder.glob("*/*")]) == 1


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounts a file system, as root on Linux")
def test_a_full_disk_leaves_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(tmp_path)], check=True)
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with pytest.raises(CannotCompileError):
            library("int five(void) { return 5; }")
        assert not [*tmp_path.rglob("*.so")]
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_cache_that_others_may_write_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder("fused").chmod(0o777)
    with pytest.raises(CannotCompileError, match="others may write it"):
        library("int four(void) { return 4; }")
