"""Runs of drawn shapes against the loop by hand, bit for bit: any number of features, any batch, both precisions.

The bits of a matrix product depend on the shape and the place in memory of its factors. The loop here uses torch alone.
"""

import random
import runpy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.cli.main import main
from tests.conftest import Train
from tests.promises.test_plain_loop import ACTIVATIONS, OPTIMIZERS, USERS_FILES, equal_weights

QUICK = 16  # runs of a fixed draw
SEED = 1
SLOW = 200  # runs of a draw that differs each time

LOSSES = {
    "cross_entropy": nn.CrossEntropyLoss(),
    "bce_logits": nn.BCEWithLogitsLoss(),
    "mse": nn.MSELoss(),
    "l1": nn.L1Loss(),
}
SCHEDULERS: dict[str, Any] = {
    "": None,
    "scheduler=step scheduler.step_size=1 scheduler.gamma=0.3": lambda o: lr_scheduler.StepLR(o, 1, gamma=0.3),
    "scheduler=cosine scheduler.T_max=3": lambda o: lr_scheduler.CosineAnnealingLR(o, 3),
}


@dataclass(frozen=True)
class Run:
    """A drawn run on a table of its own. depth 0: the linear model."""

    features: int
    rows: int
    batch_size: int
    precision: str
    loss: str
    width: int
    depth: int
    activation: str
    dropout: float
    optimizer: int
    scheduler: str
    clip_grad_norm: float | None
    workers: int
    seed: int
    epochs: int = 3

    @property
    def overrides(self) -> list[str]:
        name, arguments, _ = OPTIMIZERS[self.optimizer]
        typed = {name: str(value).replace(" ", "").lower() for name, value in arguments.items()}
        model = ["model=linear"]
        if self.depth:
            model = ["model=mlp", f"model.width={self.width}", f"model.depth={self.depth}"]
            model += [f"model.dropout={self.dropout}", f"activation={self.activation}"]
        clip = [] if self.clip_grad_norm is None else [f"clip_grad_norm={self.clip_grad_norm}"]
        return [
            *("dataset=csv", "dataset.file=table.csv", "dataset.target=y", "dataset.scaling=none"),
            *("dataset.test_size=0", "dataset.valid_size=0", "dataset.split=ordered"),
            *model,
            *clip,
            *self.scheduler.split(),
            f"precision={self.precision}",
            f"loss={self.loss}",
            f"optimizer={name}",
            *(f"optimizer.{name}={value}" for name, value in typed.items()),
            *(f"{name}={getattr(self, name)}" for name in ("batch_size", "workers", "seed", "epochs")),
        ]

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "float64" else torch.float32

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """The features, (rows, features), and the target, (rows,): classes or values."""
        draw = np.random.default_rng(self.seed)
        y = draw.integers({"cross_entropy": 3, "bce_logits": 2}[self.loss], size=self.rows) if self.by_class else None
        x = draw.normal(size=(self.rows, self.features))
        if y is not None:
            y[:3] = np.arange(3) if self.loss == "cross_entropy" else (0, 1, 0)  # each class has a row
        return x, draw.normal(size=self.rows) if y is None else y

    @property
    def by_class(self) -> bool:
        return self.loss in ("cross_entropy", "bce_logits")

    def write_table(self, path: Path) -> None:
        x, y = self.table()
        lines = [",".join([*(f"x{column}" for column in range(self.features)), "y"])]
        for row, target in zip(x.tolist(), y.tolist(), strict=True):
            lines.append(",".join([*map(repr, row), f"c{target}" if self.by_class else repr(target)]))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def drawn(count: int, seed: int) -> list[Run]:
    draw = random.Random(seed)
    found = []
    for number in range(count):
        batch_size = draw.randint(1, 64)
        found.append(
            Run(
                features=draw.randint(1, 40),
                rows=draw.randint(10, 40) if batch_size < 4 else draw.randint(20, 200),
                batch_size=batch_size,
                precision=draw.choice(["float32", "float64"]),
                loss=draw.choice(list(LOSSES)),
                width=draw.choice([draw.randint(1, 40), 16, 64]),
                depth=draw.choice([0, 1, 1, 2, 3]),
                activation=draw.choice(list(ACTIVATIONS)),
                dropout=draw.choice([0.0, 0.0, 0.0, 0.4]),
                optimizer=number % len(OPTIMIZERS),
                scheduler=draw.choice(list(SCHEDULERS)),
                clip_grad_norm=draw.choice([None, None, 0.5]),
                workers=draw.choice([0, 0, 0, 0, 1, 2]),
                seed=draw.randrange(2**32),
            )
        )
    return found


def plain_model(run: Run) -> nn.Module:
    """The network that the chapter's loop ends with."""
    x, y = run.table()
    target = torch.tensor(y) if run.loss == "cross_entropy" else torch.tensor(y, dtype=run.dtype).reshape(-1, 1)
    torch.manual_seed(run.seed)
    loader = DataLoader(TensorDataset(torch.tensor(x, dtype=run.dtype), target), run.batch_size, shuffle=True)
    layers: list[nn.Module] = []
    inputs = run.features
    for _ in range(run.depth):
        layers += [nn.Linear(inputs, run.width), ACTIVATIONS[run.activation]()]
        layers += [nn.Dropout(run.dropout)] if run.dropout else []
        inputs = run.width
    model = nn.Sequential(*layers, nn.Linear(inputs, 3 if run.loss == "cross_entropy" else 1)).to(run.dtype)
    _, values, kind = OPTIMIZERS[run.optimizer]
    optimizer = kind(model.parameters(), **values)
    make_scheduler = SCHEDULERS[run.scheduler]
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    for _ in range(run.epochs):
        for batch, wanted in loader:
            loss: Tensor = LOSSES[run.loss](model(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            if run.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), run.clip_grad_norm)
            optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return model


def require_plain_bits(run: Run, train: Train, *overrides: str) -> None:
    run.write_table(Path("table.csv"))
    Path("mine/optimizer").mkdir(parents=True, exist_ok=True)
    for name, text in USERS_FILES.items():
        Path("mine/optimizer", f"{name}.yaml").write_text(text)
    outcome = train(*run.overrides, *overrides, folders=[Path("mine")])
    assert equal_weights(outcome.model, plain_model(run)), run


def test_the_quick_draw_has_the_shapes_that_are_rounded_otherwise_when_misplaced() -> None:
    found = drawn(QUICK, seed=SEED)
    assert {run.precision for run in found} == {"float32", "float64"}
    assert {run.workers for run in found} == {0, 1, 2}
    assert sum(run.features * run.batch_size % 16 != 0 for run in found) >= QUICK / 2
    assert any(run.rows % run.batch_size == 1 or run.batch_size == 1 for run in found)


@pytest.mark.sample(2)
@pytest.mark.parametrize("number", range(QUICK))
def test_a_run_of_any_shape_equals_the_loop_by_hand(number: int, train: Train) -> None:
    require_plain_bits(drawn(QUICK, seed=SEED)[number], train)


@pytest.mark.slow
def test_runs_of_new_shapes_equal_the_loop_by_hand_and_their_scripts(train: Train) -> None:
    seed = random.SystemRandom().randrange(2**32)  # a failure shows its run, which is repeated by its values
    for number, run in enumerate(drawn(SLOW, seed)):
        require_plain_bits(run, train, f"hydra.run.dir=r{number}")
        if number % 5 == 0:
            for workers in (0, 1, 2):
                require_plain_bits(replace(run, workers=workers), train, f"hydra.run.dir=w{number}-{workers}")
            require_same_script(Path(f"r{number}"), run)


def require_same_script(directory: Path, run: Run) -> None:
    """Requires that the run's exported program ends with the run's weights. Programs are of torch's own classes."""
    if OPTIMIZERS[run.optimizer][0] in USERS_FILES:
        return
    assert main(["export", str(directory), "-o", "program.py"]) == 0
    threads = torch.get_num_threads()
    try:
        runpy.run_path("program.py")
    finally:
        torch.set_num_threads(threads)
    wanted, found = torch.load(directory / "model.pt"), torch.load("model.pt")
    assert all(torch.equal(found[name], value) for name, value in wanted.items()), run
