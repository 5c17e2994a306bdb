"""A run against the loop that a reader would write by hand: the same weights and the same losses, bit for bit.

The loops here use torch alone. All they take from ch12 are the arrays of the data set, which have tests of their own.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.cli.text.run_display import RunDisplay
from ch12cli.data import iris, toy_regression, two_class
from ch12cli.data.prepared import prepare
from tests.conftest import Train

CONFIGURATIONS = 44
Row = Mapping[str, float]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=-1),
    "identity": nn.Identity,
}

# name, arguments of ch12's optimizer node, the same optimiser of torch
OPTIMIZERS: list[tuple[str, dict[str, Any], Callable[..., torch.optim.Optimizer]]] = [
    ("sgd", {"lr": 0.05}, torch.optim.SGD),
    ("sgd", {"lr": 0.02, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}, torch.optim.SGD),
    ("sgd", {"lr": 0.01, "momentum": 0.8, "nesterov": True, "weight_decay": 0.001}, torch.optim.SGD),
    ("adam", {"lr": 0.01}, torch.optim.Adam),
    ("adam", {"lr": 0.003, "betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.02}, torch.optim.Adam),
    ("adam", {"lr": 0.01, "amsgrad": True}, torch.optim.Adam),
    ("adamw", {"lr": 0.01, "weight_decay": 0.1}, torch.optim.AdamW),
    ("rmsprop", {"lr": 0.005, "alpha": 0.9}, torch.optim.RMSprop),
    ("rmsprop", {"lr": 0.005, "momentum": 0.5, "centered": True, "weight_decay": 0.01}, torch.optim.RMSprop),
    ("adagrad", {"lr": 0.05, "lr_decay": 0.01, "weight_decay": 0.001}, torch.optim.Adagrad),
    ("nadam", {"lr": 0.01}, torch.optim.NAdam),  # the user's own file, below
    ("sgd_maximize", {"lr": 0.001}, lambda p, lr: torch.optim.SGD(p, lr=lr, maximize=True)),
]
USERS_FILES = {
    "nadam": "_target_: torch.optim.NAdam\nlr: 0.002\nmomentum_decay: 0.004\n",
    "sgd_maximize": "_target_: torch.optim.SGD\nlr: 0.01\nmaximize: true\n",  # which ch12's own SGD does not have
}

# data set: overrides of ch12, the table, its losses: name -> (torch's loss, its activation of the output, outputs)
TO_CLASSES: dict[str, tuple[Callable[[], nn.Module], nn.Module | None]] = {
    "cross_entropy": (nn.CrossEntropyLoss, None),
    "cross_entropy loss.label_smoothing=0.1": (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), None),
    "cross_entropy model.output=softmax": (nn.CrossEntropyLoss, nn.Softmax(dim=-1)),
    "nll": (nn.NLLLoss, nn.LogSoftmax(dim=-1)),
}
TO_TWO: dict[str, tuple[Callable[[], nn.Module], nn.Module | None]] = {
    "bce": (nn.BCELoss, nn.Sigmoid()),
    "bce_logits": (nn.BCEWithLogitsLoss, None),
}
TO_VALUES: dict[str, tuple[Callable[[], nn.Module], nn.Module | None]] = {
    "mse": (nn.MSELoss, None),
    "l1": (nn.L1Loss, None),
    "huber loss.delta=0.5": (lambda: nn.HuberLoss(delta=0.5), None),
}
DATA: dict[str, tuple[Callable[[], Any], dict[str, Any], dict[str, Any]]] = {
    "dataset=iris": (iris, TO_CLASSES, {}),
    "dataset=two_class dataset.size=60": (lambda: two_class("xor", 60), {**TO_TWO, **TO_CLASSES}, {}),
    "dataset=two_class dataset.shape=moons dataset.size=50 dataset.noise=0.1 dataset.seed=3": (
        lambda: two_class("moons", 50, noise=0.1, seed=3),
        {**TO_TWO, **TO_CLASSES},
        {},
    ),
    "dataset=toy_regression": (toy_regression, TO_VALUES, {}),
    "dataset=toy_regression dataset.kind=curve dataset.size=70 dataset.noise=0.1": (
        lambda: toy_regression("curve", 70, noise=0.1),
        TO_VALUES,
        {},
    ),
}


@dataclass(frozen=True)
class Configuration:
    """A drawn run. depth -1: the linear model."""

    data: str
    parts: dict[str, Any]
    loss: str
    activation: str
    width: int
    depth: int
    dropout: float
    optimizer: int
    batch_size: int
    epochs: int
    seed: int
    workers: int
    progress: bool
    watch: tuple[str, ...] = field(default=())

    @property
    def overrides(self) -> list[str]:
        """As typed on the command line."""
        name, arguments, _ = OPTIMIZERS[self.optimizer]
        model = ["model=linear"]
        if self.depth >= 0:
            model = ["model=mlp", f"model.width={self.width}", f"model.depth={self.depth}"]
            model += [f"model.dropout={self.dropout}", f"activation={self.activation}"]
        typed = {name: str(value).replace(" ", "").lower() for name, value in arguments.items()}
        return [
            *self.data.split(),
            *model,
            *f"loss={self.loss}".split(),
            *(f"dataset.{name}={value}" for name, value in self.parts.items()),
            f"optimizer={name}",
            *(f"optimizer.{name}={value}" for name, value in typed.items()),
            f"batch_size={self.batch_size}",
            f"epochs={self.epochs}",
            f"seed={self.seed}",
            f"workers={self.workers}",
            *self.watch,
        ]


def drawn() -> list[Configuration]:
    """A fixed draw in which each optimiser comes up equally often."""
    draw = random.Random(12)
    found = []
    for number in range(CONFIGURATIONS):
        data = draw.choice(list(DATA))
        split = draw.choice(["random", "ordered"] + ([] if "toy" in data else ["stratified"]))
        parts: dict[str, object] = {"test_size": draw.choice([0, 0.2]), "valid_size": draw.choice([0, 0.2, 0.3])}
        parts |= {"split": split, "split_seed": draw.randrange(100)}
        batch_size = draw.choice([1, 2, 5, 16, 64])
        watch = ["checkpoint.every=1"] if draw.random() < 0.6 else []
        watch += ["early_stopping.patience=50"] if draw.random() < 0.3 else []
        found.append(
            Configuration(
                data=data,
                parts={**parts, "scaling": draw.choice(["standard", "global", "none"])},
                loss=draw.choice(list(DATA[data][1])),
                activation=draw.choice(list(ACTIVATIONS)),
                width=draw.choice([1, 3, 16, 64]),
                depth=draw.choice([-1, 0, 1, 1, 2, 3]),
                dropout=draw.choice([0.0, 0.0, 0.4]),
                optimizer=number % len(OPTIMIZERS),
                batch_size=batch_size,
                epochs=2 if batch_size == 1 else 4,
                seed=draw.randrange(2**32),
                workers=draw.choice([0, 0, 2]),
                progress=draw.random() < 0.5,
                watch=tuple(watch),
            )
        )
    return found


@dataclass
class Plain:
    """What the loop by hand ends with. losses: of each epoch."""

    model: nn.Module
    losses: list[float]
    valid_loss: float | None


def plain_run(c: Configuration) -> Plain:
    """The chapter's loop."""
    make_table, losses_of, _ = DATA[c.data]
    table = make_table()
    make_loss, output = losses_of[c.loss]
    arguments = {"split": "random", "scaling": "none"} | c.parts
    parts = prepare(table, **arguments)
    by_class = isinstance(make_loss(), nn.CrossEntropyLoss | nn.NLLLoss)
    outputs = table.classes if by_class else 1

    def tensors(part: Any) -> tuple[Tensor, Tensor]:
        x = torch.tensor(part.x, dtype=torch.float32)
        y = torch.tensor(part.y)
        return x, y if by_class else y.float().reshape(-1, 1)

    x, y = tensors(parts.train)
    torch.manual_seed(c.seed)
    loader = DataLoader(TensorDataset(x, y), c.batch_size, shuffle=True)
    model = by_hand(x.shape[1], outputs, c)
    if output is not None:
        model.append(output)
    loss_fn = make_loss()
    _, values, kind = OPTIMIZERS[c.optimizer]
    optimizer = kind(model.parameters(), **values)
    losses = []
    for _ in range(c.epochs):
        total = 0.0
        for x_batch, y_batch in loader:
            loss = loss_fn(model(x_batch), y_batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(x_batch)
        losses.append(total / len(x))
    valid_loss = None
    if parts.valid is not None:
        model.eval()
        with torch.no_grad():
            x, y = tensors(parts.valid)
            valid_loss = loss_fn(model(x), y).item()
    return Plain(model, losses, valid_loss)


def by_hand(inputs: int, outputs: int, c: Configuration) -> nn.Sequential:
    """The network, layer by layer."""
    layers: list[nn.Module] = []
    for _ in range(max(c.depth, 0)):
        layers += [nn.Linear(inputs, c.width), ACTIVATIONS[c.activation]()]
        if c.dropout:
            layers.append(nn.Dropout(c.dropout))
        inputs = c.width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def name_of(c: Configuration) -> str:
    words = [c.data.split()[0][8:], c.loss.split()[0], OPTIMIZERS[c.optimizer][0], f"{c.width}x{c.depth}"]
    return "-".join([*words, f"batch{c.batch_size}", f"workers{c.workers}"])


def equal_weights(module: nn.Module, plain: nn.Module) -> bool:
    """True if both have the same parameters in the same order, bit for bit."""
    pairs = zip(module.parameters(), plain.parameters(), strict=True)
    return all(torch.equal(mine.detach(), theirs.detach()) for mine, theirs in pairs)


def test_the_drawn_configurations_cover_every_option() -> None:
    found = drawn()
    assert len(found) >= 40
    assert {OPTIMIZERS[c.optimizer][0] for c in found} == {name for name, _, _ in OPTIMIZERS}
    assert {c.loss.split()[0] for c in found} == {"cross_entropy", "nll", "bce", "bce_logits", "mse", "l1", "huber"}
    assert {c.data for c in found} == set(DATA)
    assert {c.batch_size for c in found} == {1, 2, 5, 16, 64}
    assert len({c.activation for c in found if c.depth > 0}) >= 9
    assert sum(c.workers == 2 for c in found) >= 8
    assert sum(c.dropout > 0 and c.depth > 0 for c in found) >= 5
    assert sum(c.progress for c in found) >= 10
    assert sum("checkpoint.every=1" in c.watch for c in found) >= 10
    assert sum(bool(c.parts["valid_size"]) for c in found) >= 20


@pytest.mark.sample(5)
@pytest.mark.parametrize("c", drawn(), ids=name_of)
def test_a_run_equals_the_loop_by_hand_bit_for_bit(c: Configuration, train: Train, folder: Path) -> None:
    (folder / "mine" / "optimizer").mkdir(parents=True)
    for name, text in USERS_FILES.items():
        (folder / "mine" / "optimizer" / f"{name}.yaml").write_text(text)
    callback = {}
    if c.progress:
        console = Console(file=StringIO(), force_terminal=True, width=80)
        callback = {"callback": RunDisplay(console=console, errors=console)}

    outcome = train(*c.overrides, folders=[folder / "mine"], **callback)
    plain = plain_run(c)

    assert equal_weights(outcome.model, plain.model)
    assert [row["train_loss"] for row in outcome.rows] == plain.losses
    if plain.valid_loss is not None:
        assert outcome.rows[-1]["valid_loss"] == pytest.approx(plain.valid_loss, rel=1e-6)


def test_two_seeds_give_different_weights(train: Train) -> None:
    first, second = (train("epochs=1", "batch_size=16", f"seed={seed}").model for seed in (1, 2))
    assert not equal_weights(first, second)


def test_a_run_leaves_the_random_stream_of_its_caller_as_it_was(train: Train) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    train("epochs=1", "batch_size=16", "model.dropout=0.5")
    drawn_after = torch.rand(3), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    assert torch.equal(drawn_after[0], torch.rand(3))
    assert drawn_after[1] == np.random.rand()
