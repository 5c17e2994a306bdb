"""Runs in a stack against the same runs alone, and its layers against autograd of the plain modules."""

import math
import random
from collections.abc import Callable, Iterator
from functools import reduce
from itertools import combinations, product
from operator import add
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ch12cli.config.choices import choices_of_group
from ch12cli.models.feedforward import OUTPUTS
from ch12cli.training.loop import added_in_order
from ch12cli.training.losses import StackedLoss
from ch12cli.training.stack import CannotStackError, Stack
from tests.sweeps.driver import Together, alone, one_thread, relative, settings_of, stack_of
from tests.sweeps.networks import Residual

RUNS = 3
LIKE_SINGLE = 1e-9  # relative, of weights after 100 steps and of every column of metrics.csv

# data set, loss; batch size and epochs that make more than 100 steps
TASKS = [
    ("iris", "cross_entropy", 16, 18),
    ("iris", "nll", 20, 21),
    ("two_class", "bce", 16, 15),
    ("two_class", "bce_logits", 25, 26),
    ("two_class", "cross_entropy", 17, 17),
    ("two_class", "nll", 33, 26),
    ("toy_regression", "mse", 3, 26),
    ("toy_regression", "l1", 2, 21),
    ("toy_regression", "huber", 3, 26),
]
# what differs between the runs
OPTIMIZERS: dict[str, dict[str, list[Any]]] = {
    "sgd": {
        "lr": [0.1, 0.03, 0.01, 0.05],
        "momentum": [0.9, 0.5, 0.0, 0.8],
        "dampening": [0.0, 0.5, 0.0, 0.2],
        "weight_decay": [0.0, 0.01, 0.0, 0.1],
    },
    "adam": {
        "lr": [0.01, 0.003, 0.001, 0.02],
        "betas": [[0.9, 0.999], [0.8, 0.99], [0.9, 0.99], [0.5, 0.9]],
        "eps": [1e-8, 1e-6, 1e-3, 1e-8],
        "weight_decay": [0.0, 0.01, 0.1, 0.0],
        "amsgrad": [True],
    },
    "adamw": {"lr": [0.01, 0.003, 0.001, 0.02], "eps": [1e-8, 1e-4, 1e-8, 1e-6], "weight_decay": [0.1, 0.01, 0.0, 1]},
    "rmsprop": {
        "lr": [0.01, 0.003, 0.001, 0.02],
        "alpha": [0.99, 0.9, 0.5, 0.99],
        "momentum": [0.0, 0.9, 0.5, 0.0],
        "centered": [True],
    },
    "adagrad": {
        "lr": [0.1, 0.05, 0.01, 0.2],
        "lr_decay": [0.0, 0.1, 0.01, 0.0],
        "initial_accumulator_value": [0.0, 0.5, 0.1, 1.0],
    },
}
SCHEDULERS: dict[str, dict[str, list[Any]]] = {
    "none": {"warmup": [0, 2, 1.5, 3]},
    "step": {"step_size": [2, 3, 5, 4], "gamma": [0.5, 0.9, 0.1, 0.3], "warmup": [0, 1, 0, 0.5]},
    "cosine": {"T_max": [5, 9, 20, 13], "eta_min": [0.0, 1e-4, 0.0, 1e-3]},
    "one_cycle": {
        "pct_start": [0.3, 0.5, 0.1, 0.9],
        "div_factor": [25, 10, 5, 2],
        "final_div_factor": [1e4, 1e2, 10, 5],
    },
    "reduce_on_plateau": {"factor": [0.5, 0.1, 0.9, 0.3], "patience": [0, 1, 2, 1], "cooldown": [0, 1, 0, 2]},
}
CLIPPING: list[dict[str, list[Any]]] = [
    {},
    {"clip_grad_norm": [0.1, 0.5, 1.0, 5.0]},
    {"clip_grad_value": [0.01, 0.1, 0.5, 0.05]},
    {"clip_grad_norm": [0.7], "clip_grad_value": [0.3]},
]
STOPPING: list[dict[str, list[Any]]] = [
    {},
    {"early_stopping.patience": [3, 2, None, 5], "early_stopping.min_delta": [0.05, 0.0, 0.0, 0.01]},
]
NETWORKS = ["linear", "mlp narrow", "mlp wide"]


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


def cases() -> list[tuple[int, ...]]:
    """(task, optimiser, scheduler, clipping, stopping, network): each two of their values meet in some case."""
    draw = random.Random(7955)  # the first seed with which they do
    found: list[tuple[int, ...]] = []
    for task in range(len(TASKS)):
        clipping = [*draw.sample(range(4), 4), draw.randrange(4)]
        found += [
            (task, number, (task + number) % 5, clipping[number], draw.randrange(2), draw.randrange(3))
            for number in range(len(OPTIMIZERS))
        ]
    return found


def other_cases() -> list[tuple[int, ...]]:
    """The rest of all tasks with all optimisers and all schedulers, everything else drawn."""
    draw, met = random.Random(5), {case[:3] for case in cases()}
    return [
        (*three, draw.randrange(len(CLIPPING)), draw.randrange(len(STOPPING)), draw.randrange(len(NETWORKS)))
        for three in product(range(len(TASKS)), range(len(OPTIMIZERS)), range(len(SCHEDULERS)))
        if three not in met
    ]


def named(case: tuple[int, ...]) -> str:
    task, optimizer, scheduler, clipping, stopping, network = case
    dataset, loss, *_ = TASKS[task]
    words = [dataset, loss, list(OPTIMIZERS)[optimizer], list(SCHEDULERS)[scheduler], NETWORKS[network]]
    return "-".join([*words, *CLIPPING[clipping], *(["stopping"] if stopping else [])]).replace(" ", "-")


def settings_of_case(case: tuple[int, ...]) -> list[dict[str, Any]]:
    """The settings of the runs of a case."""
    task, optimizer, scheduler, clipping, stopping, network = case
    dataset, loss, batch_size, epochs = TASKS[task]
    optimizer_name, scheduler_name = list(OPTIMIZERS)[optimizer], list(SCHEDULERS)[scheduler]
    choices_of_group = {"dataset": dataset, "loss": loss, "optimizer": optimizer_name, "scheduler": scheduler_name}
    common: dict[str, Any] = {"batch_size": batch_size, "epochs": epochs, "precision": "float64", "device": "cpu"}
    match NETWORKS[network]:
        case "linear":
            choices_of_group["model"] = "linear"
        case "mlp narrow":
            choices_of_group["activation"] = "tanh"
            common |= {"model.width": 5, "model.depth": 2}
        case "mlp wide":
            choices_of_group["activation"] = "sigmoid"
            common |= {"model.width": 20, "model.depth": 2}
    values = {f"optimizer.{name}": value for name, value in OPTIMIZERS[optimizer_name].items()}
    values |= {f"scheduler.{name}": value for name, value in SCHEDULERS[scheduler_name].items()}
    values |= CLIPPING[clipping] | STOPPING[stopping] | {"seed": [3, 1, 4]}
    each = [{key: value[run % len(value)] for key, value in values.items()} for run in range(RUNS)]
    return [settings_of(common | one, **choices_of_group) for one in each]


@pytest.fixture(params=["narrow", "wide"])
def runs_last(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Lays every stack out with the runs last in memory, then first; returns which."""
    monkeypatch.setattr("ch12cli.training.stack.RUNS_LAST_UP_TO", math.inf if request.param == "narrow" else 0)
    return bool(request.param == "narrow")


def test_every_pair_of_choices_occurs_in_a_case() -> None:
    sizes = (len(TASKS), len(OPTIMIZERS), len(SCHEDULERS), len(CLIPPING), len(STOPPING), len(NETWORKS))
    for first, second in combinations(range(len(sizes)), 2):
        assert len({(case[first], case[second]) for case in cases()}) == sizes[first] * sizes[second]


def test_every_task_occurs_with_every_optimizer_and_scheduler() -> None:
    assert len({case[:3] for case in (*cases(), *other_cases())}) == 225
    assert len(other_cases()) == 180


@pytest.mark.sample(5)
@pytest.mark.parametrize("case", cases(), ids=named)
def test_each_run_of_a_stack_equals_the_single_run(case: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_each_run_equals_the_single_run(case, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("case", other_cases(), ids=named)
def test_each_run_of_other_stacks_equals_the_single_run(case: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_each_run_equals_the_single_run(case, monkeypatch)


def assert_each_run_equals_the_single_run(case: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of_case(case)
    epochs = settings[0]["epochs"]
    runs_last = NETWORKS[case[-1]] != "mlp wide"
    monkeypatch.setattr("ch12cli.training.stack.RUNS_LAST_UP_TO", math.inf if runs_last else 0)
    together = stack_of(settings)
    assert together.network.layers is not None
    assert together.network.runs_last is runs_last
    at_first = together.network.parameters.detach().clone()
    together.go(epochs)
    for run in (0, RUNS - 1):
        training, network = alone(settings[run], together.task)
        assert torch.equal(network.parameters[network.places], at_first[run])
        for number in range(epochs):
            epoch, stacked = training.one_epoch(), together.epochs[number]
            assert list(epoch.columns) == list(stacked.columns)
            for name, value in epoch.columns.items():
                assert name == "seconds" or relative(stacked.columns[name][run], value[0]) < LIKE_SINGLE, name
            assert stacked.stopped[run] == epoch.stopped[0]
            assert stacked.better[run] == epoch.better[0]
            weights = network.parameters[network.places]
            near_zero = 1e-3 * float(weights.abs().max())
            assert relative(together.weights[number][run], weights, near_zero=near_zero) < LIKE_SINGLE
        assert together.training.best.epoch[run] == training.best.epoch[0]
        # where the stream stands afterwards shows that the orders of all epochs were the same
        assert np.array_equal(together.streams.states_after([run], epochs), torch.get_rng_state()[None])
    assert epochs * len(training.schedule.learning_rates(0)) >= 100
    for one, other in combinations(range(RUNS), 2):
        assert not torch.allclose(at_first[one], at_first[other])
        assert relative(together.weights[-1][one], together.weights[-1][other]) > 1e-3
    assert len(set(together.epochs[-1].columns["train_loss"])) == RUNS


# --- layers -------------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": lambda: nn.ELU(1.5),
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu by tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": lambda: nn.Softplus(beta=2.0, threshold=3.0),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),
    "identity": nn.Identity,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "leaky_relu in place": lambda: nn.LeakyReLU(0.2, inplace=True),
    "elu in place": lambda: nn.ELU(inplace=True),
    "selu in place": lambda: nn.SELU(inplace=True),
    "silu in place": lambda: nn.SiLU(inplace=True),
    "mish in place": lambda: nn.Mish(inplace=True),
}


def test_every_activation_of_the_configuration_is_compared() -> None:
    names = {choice.name for choice in choices_of_group("activation")}
    assert len(names) == 12
    assert names <= set(ACTIVATIONS)


def flat_gradient(module: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.reshape(-1) for parameter in module.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_of_every_activation_is_that_of_autograd(name: str, runs_last: bool) -> None:
    assert_gradients_are_autograds(ACTIVATIONS[name], None, runs_last=runs_last)


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_gradient_of_every_output_is_that_of_autograd(output: str, runs_last: bool) -> None:
    assert_gradients_are_autograds(nn.Tanh, OUTPUTS[output], runs_last=runs_last)


def assert_gradients_are_autograds(
    activation: Callable[[], nn.Module], output: Callable[[], nn.Module] | None, *, runs_last: bool
) -> None:
    width = 16
    for runs in (3, 30):  # below and above the size from which sums are chained
        torch.manual_seed(5)
        modules = []
        for _ in range(runs):
            layers = [nn.Linear(3, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 4)]
            modules.append(nn.Sequential(*layers, *([output()] if output else [])).double())
        nn.init.zeros_(modules[0][0].bias)  # type: ignore[arg-type]
        x, y = torch.randn(runs, 20, 3, dtype=torch.float64), torch.randn(runs, 20, 4, dtype=torch.float64)
        x[0, 0] = 0  # with no bias either, the first activation's kink
        stack = Stack(modules, list(range(runs)), device=torch.device("cpu"), dtype=torch.float64)
        assert stack.layers is not None
        assert stack.runs_last is runs_last
        loss, prediction = stack.forward_backward(StackedLoss(nn.MSELoss()))(x, y)
        for run in (0, 1, runs - 1):
            expected = modules[run](x[run])
            mse = nn.functional.mse_loss(expected, y[run])
            mse.backward()
            assert torch.allclose(prediction[run], expected, rtol=1e-10, atol=1e-12)
            assert abs(loss[run] - mse.detach()) < 1e-12
            assert torch.allclose(stack.gradient[run], flat_gradient(modules[run]), rtol=1e-10, atol=1e-12)


def test_layers_without_bias_and_before_the_first_linear_one_are_differentiated_too(runs_last: bool) -> None:
    torch.manual_seed(6)
    width = 16
    modules = [
        nn.Sequential(nn.Tanh(), nn.Linear(3, width, bias=False), nn.Sequential(nn.Tanh(), nn.Linear(width, 2)))
        for _ in range(3)
    ]
    for module in modules:
        module.double()
    x, y = torch.randn(3, 5, 3, dtype=torch.float64), torch.randint(2, (3, 5))
    stack = Stack(modules, [0, 1, 2], device=torch.device("cpu"), dtype=torch.float64)
    assert stack.layers is not None
    assert stack.runs_last is runs_last
    stack.forward_backward(StackedLoss(nn.CrossEntropyLoss()))(x, y)
    for run, module in enumerate(modules):
        nn.functional.cross_entropy(module(x[run]), y[run]).backward()
        assert torch.allclose(stack.gradient[run], flat_gradient(module), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dataset", ["iris", "two_class", "toy_regression"])
def test_a_users_own_network_is_vectorised_and_equals_the_single_run(dataset: str) -> None:
    settings = [
        settings_of(
            {"seed": seed, "epochs": 18, "batch_size": 16, "precision": "float64", "device": "cpu", "optimizer.lr": lr},
            dataset=dataset,
            loss="bce_logits" if dataset == "two_class" else "auto",
        )
        | {"model": {"_target_": "tests.sweeps.networks.Residual", "width": 5}}
        for seed, lr in [(1, 0.01), (2, 0.003), (3, 0.03)]
    ]
    together = stack_of(settings)
    assert type(together.network.module).__name__ == Residual.__name__
    assert together.network.layers is None
    together.go(18)
    for run, single in enumerate(settings):
        training, network = alone(single, together.task)
        for number in range(18):
            epoch = training.one_epoch()
            for name, value in epoch.columns.items():
                assert name == "seconds" or relative(together.epochs[number].columns[name][run], value[0]) < 1e-9
        assert relative(together.weights[-1][run], network.parameters[network.places]) < LIKE_SINGLE
        state = together.network.state_of(together.network.parameters.detach()[run])
        assert list(state) == list(network.module.state_dict())
    assert relative(together.weights[-1][0], together.weights[-1][1]) > 1e-3


def shared() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def frozen() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    return network.requires_grad_(False) and nn.Sequential(network, nn.Linear(3, 3))


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    network[0].register_forward_hook(lambda _module, _given, gives: gives * 0.1)
    return network


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, 4), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.layer(x))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "running means"),
        (shared, "share parameters"),
        (frozen, "frozen"),
        (hooked, "have hooks"),
        (Branch, "dropout, and is not a plain Sequential"),
    ],
)
def test_a_network_with_unsupported_features_cannot_be_stacked(make: Callable[[], nn.Module], reason: str) -> None:
    with pytest.raises(CannotStackError, match=reason):
        Stack([make(), make()], [1, 2], device=torch.device("cpu"), dtype=torch.float32)


# --- dropout ------------------------------------------------------------------------------------------------------


def masks(seeds: list[int], *, steps: int, width: int = 6, rows: int = 50, share: float = 0.3) -> Tensor:
    """The masks that dropout puts on ones: (steps, runs, rows, units)."""
    modules = []
    for _ in seeds:
        layer = nn.Linear(1, width)
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
        modules.append(nn.Sequential(layer, nn.Dropout(share)))
    stack = Stack(modules, seeds, device=torch.device("cpu"), dtype=torch.float64)
    x, y = torch.zeros(len(seeds), rows, 1, dtype=torch.float64), torch.zeros(len(seeds), rows, width).double()
    return torch.stack([stack.forward_backward(StackedLoss(nn.MSELoss()))(x, y)[1] for _ in range(steps)]) * (1 - share)


def test_dropout_masks_do_not_depend_on_other_runs_or_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    company = masks([5, 3, 9, 1000], steps=3)
    assert torch.equal(masks([3], steps=3)[:, 0], company[:, 1])
    assert torch.equal(masks([1000, 3], steps=3), company[:, [3, 1]])
    monkeypatch.setattr("ch12cli.training.stack.RUNS_LAST_UP_TO", 0)  # every stack has its runs first now
    assert torch.equal(masks([5, 3, 9, 1000], steps=3), company)


def test_dropout_masks_keep_the_right_share_and_differ_between_runs_and_steps() -> None:
    share, rows, width, steps = 0.3, 200, 6, 8
    found = masks([0, 1, 2, 2**32 - 1], steps=steps, rows=rows, width=width, share=share)
    values = found.unique().tolist()
    assert len(values) == 2
    assert values[0] == 0
    assert values[1] == pytest.approx(1)
    numbers = rows * width
    for mask in found.flatten(0, 1):
        assert abs(mask.mean() - (1 - share)) < 5 * (share * (1 - share) / numbers) ** 0.5
    units = found.mean((0, 1, 2))  # no unit is preferred
    assert (units - (1 - share)).abs().max() < 5 * (share * (1 - share) / (numbers * steps * 4 / width)) ** 0.5
    agree = share**2 + (1 - share) ** 2  # of two independent masks
    for one, other in combinations(found.flatten(0, 1).flatten(1), 2):
        same = float((one.bool() == other.bool()).double().mean())
        assert abs(same - agree) < 6 * (agree * (1 - agree) / numbers) ** 0.5


def test_two_dropout_layers_have_different_masks() -> None:
    layer = nn.Linear(1, 40)
    nn.init.zeros_(layer.weight)
    nn.init.ones_(layer.bias)
    stack = Stack(
        [nn.Sequential(layer, nn.Dropout(0.5), nn.Dropout(0.5))], [1], device=torch.device("cpu"), dtype=torch.float32
    )
    both = stack(torch.zeros(1, 100, 1))
    assert abs((both != 0).double().mean() - 0.25) < 0.05


def with_dropout(seeds: list[int], **values: Any) -> Together:
    common = {"model.dropout": 0.4, "epochs": 3, "batch_size": 8, "device": "cpu", "precision": "float64"}
    return stack_of([settings_of(common | {"seed": seed} | values) for seed in seeds])


def test_dropout_keeps_the_single_runs_start_and_order_but_has_its_own_masks() -> None:
    together = with_dropout([3, 1, 4])
    at_first = together.network.parameters.detach().clone()
    order = together.training.source.order()
    together.training.source.epoch = 0
    together.go(3)
    training, network = alone(together.jobs[1], together.task)
    assert torch.equal(network.parameters[network.places], at_first[1])
    assert torch.equal(training.source.order(), order[1])
    training, network = alone(together.jobs[1], together.task)
    for _ in range(3):
        training.one_epoch()
    assert not torch.allclose(network.parameters[network.places], together.weights[-1][1])
    # a mask is drawn in training only: evaluated, the stack's weights are those of a plain network
    with torch.no_grad():
        nn.utils.vector_to_parameters(together.weights[-1][1], network.module.parameters())
    valid = training.evaluate(training.valid)
    assert relative(together.epochs[-1].columns["valid_loss"][1], valid["loss"][0]) < 1e-12


def test_a_run_with_dropout_does_not_depend_on_the_other_runs() -> None:
    weights = with_dropout([3, 1, 4, 15, 9]).go(3).weights[-1]
    assert relative(with_dropout([1]).go(3).weights[-1][0], weights[1]) < 1e-11
    assert relative(with_dropout([9, 15, 1]).go(3).weights[-1], weights[[4, 3, 1]]) < 1e-11
    left = with_dropout([3, 1, 4, 15, 9]).go(1)
    left.training.keep(np.array([1, 4]))
    assert relative(left.go(2).weights[-1], weights[[1, 4]]) < 1e-11


# --- company ------------------------------------------------------------------------------------------------------


def of_adam(pairs: list[tuple[int, float]], **values: Any) -> Together:
    """Iris runs of these seeds and learning rates."""
    common = {"epochs": 3, "batch_size": 8, "device": "cpu", "precision": "float64", **values}
    return stack_of([settings_of(common | {"seed": seed, "optimizer.lr": lr}) for seed, lr in pairs])


PAIRS = [(seed, lr) for seed in range(10) for lr in (0.01, 0.003, 0.001)]


def test_order_and_number_of_the_runs_do_not_matter(runs_last: bool) -> None:
    two = {"model.width": 16, "model.depth": 2}
    together = of_adam(PAIRS, **two)
    assert together.network.runs_last is runs_last
    weights = together.go(3).weights[-1]
    scale = weights.abs().max()
    mixed = random.Random(1).sample(range(len(PAIRS)), len(PAIRS))
    shuffled = of_adam([PAIRS[run] for run in mixed], **two).go(3).weights[-1]
    assert (shuffled - weights[mixed]).abs().max() < 1e-12 * scale
    for start, size in [(0, 1), (0, 7), (7, 23)]:
        part = of_adam(PAIRS[start : start + size], **two).go(3).weights[-1]
        assert (part - weights[start : start + size]).abs().max() < 1e-12 * scale


@pytest.mark.sample(3)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_that_explodes_changes_no_bit_of_the_others(optimizer: str, runs_last: bool) -> None:
    def train(lr: float) -> Together:
        common = {"epochs": 3, "batch_size": 8, "device": "cpu", "clip_grad_norm": 5.0}
        rates = [0.01] * 40 + [lr] + [0.01] * 59
        choices_of_group = {"optimizer": optimizer, "activation": "tanh", "dataset": "toy_regression"}
        values = [common | {"seed": seed, "optimizer.lr": rate} for seed, rate in enumerate(rates)]
        return stack_of([settings_of(value, **choices_of_group) for value in values]).go(3)

    sane, mad = train(0.01), train(1e20)
    assert sane.network.runs_last is runs_last
    others = [run for run in range(100) if run != 40]
    assert not mad.weights[-1][40].isfinite().all() or mad.weights[-1][40].abs().max() > 1e15
    for number in range(3):
        assert torch.equal(sane.weights[number][others], mad.weights[number][others])
        for name, values in sane.epochs[number].columns.items():
            assert name == "seconds" or np.array_equal(values[others], mad.epochs[number].columns[name][others])


def test_runs_that_are_dropped_change_the_rest_by_rounding_only() -> None:
    values = {"clip_grad_value": 0.5, "early_stopping.patience": 4, "epochs": 6}
    whole, fewer = of_adam(PAIRS, **values), of_adam(PAIRS, **values)
    whole.go(6)
    fewer.go(2)
    fewer.training.keep(np.array([2, 3, 17, 29]))
    fewer.go(2)
    fewer.training.keep(np.array([1, 3]))
    fewer.go(2)
    scale = whole.weights[-1].abs().max()
    assert (fewer.weights[-1] - whole.weights[-1][[3, 29]]).abs().max() < 1e-12 * scale
    for name, columns in fewer.epochs[-1].columns.items():
        assert name == "seconds" or relative(columns, whole.epochs[-1].columns[name][[3, 29]]) < 1e-10
    assert fewer.training.best.epoch.tolist() == whole.training.best.epoch[[3, 29]].tolist()
    best, expected = fewer.training.best_state["parameters"], whole.training.best_state["parameters"]
    assert (best - expected[[3, 29]]).abs().max() < 1e-12 * scale


def test_a_restored_stack_continues_bit_for_bit(runs_last: bool) -> None:
    values = {"model.dropout": 0.2, "epochs": 5}
    whole = of_adam(PAIRS, **values).go(5)
    assert whole.network.runs_last is runs_last
    stopped = of_adam(PAIRS, **values).go(2)
    stopped.training.keep(np.arange(0, 30, 2))
    stopped.go(1)
    state, step = stopped.training.state_dict(), stopped.network.masks.step
    stopped.go(2)
    again = of_adam(PAIRS, **values)
    again.training.keep(np.array(state["source"]["members"]))
    again.training.load_state_dict(state)
    again.network.masks.step = step
    again.go(2)
    for number in (-1, -2):
        assert torch.equal(again.weights[number], stopped.weights[number])
    assert not torch.equal(again.weights[-1], again.weights[-2])
    assert relative(again.weights[-1], whole.weights[-1][::2]) < 1e-9


@pytest.mark.slow
def test_in_float32_whole_runs_end_as_single_runs() -> None:
    assert share_like_alone(200, batch_size=30, epochs=8) >= 0.99


@pytest.mark.slow
def test_in_float32_a_thousand_runs_of_the_default_configuration_end_as_single_runs() -> None:
    assert share_like_alone(1000, batch_size=2, epochs=100) >= 0.99


def share_like_alone(runs: int, **values: Any) -> float:
    """Share of Iris runs in float32 whose last validation loss is within 1e-3, relative, of the run alone."""
    settings = [settings_of({"seed": seed, "device": "cpu", **values}) for seed in range(runs)]
    together = stack_of(settings).go(values["epochs"])
    close = []
    for run, single in enumerate(settings):
        training, _ = alone(single, together.task)
        for _ in range(values["epochs"]):
            epoch = training.one_epoch()
        close.append(relative(together.epochs[-1].columns["valid_loss"][run], epoch.columns["valid_loss"][0]) < 1e-3)
    return float(np.mean(close))


@pytest.mark.parametrize("runs", [1, 63, 64, 200])
def test_the_losses_of_many_runs_are_added_like_those_of_one(runs: int) -> None:
    """One after the other, bit for bit: a sum in another order rounds otherwise."""
    values = np.random.default_rng(runs).normal(size=(45, runs))
    expected = [reduce(add, column.tolist()) for column in values.T]
    assert added_in_order(values).tolist() == expected
