"""A network or loss that changes what it is given in place changes nothing that ch12 keeps: data, figures, settings."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli import load_run, sweep
from ch12cli.data import iris
from ch12cli.data.prepared import prepare
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.run_directory import METRICS, PREDICTIONS
from ch12cli.models import cnn, ensemble, linear, mlp
from ch12cli.saved.evaluate import evaluate
from ch12cli.saved.reproduce import reproduce
from ch12cli.saved.resume import resume_run
from ch12cli.training.layers import spares_input
from tests.conftest import Silent, Train

HERE = "tests.promises.test_changed_in_place"
WORDS = ["model=mine", "batch_size=8", "epochs=3", "dataset.test_size=0.2", "dataset.valid_size=0.2"]


class Halving(nn.Module):
    def __init__(self, inputs: int, outputs: int, in_place: bool = False) -> None:
        super().__init__()
        self.layer, self.in_place = nn.Linear(inputs, outputs), in_place

    def forward(self, x: Tensor) -> Any:
        if self.in_place:
            x *= 0.5
        else:
            x = x * 0.5
        return self.layer(x)


def activated(inputs: int, outputs: int, in_place: bool = False) -> nn.Module:
    return nn.Sequential(nn.Identity(), nn.ELU(inplace=in_place), nn.Linear(inputs, outputs))


def with_dropout(inputs: int, outputs: int, in_place: bool = False) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.3, inplace=in_place), nn.Linear(inputs, outputs))


class Shifting(nn.Module):
    """A loss that is the cross-entropy, of logits from which it takes the largest."""

    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.in_place = in_place

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        largest = prediction.detach().amax(-1, keepdim=True) * 3
        if self.in_place:
            prediction -= largest
        else:
            prediction = prediction - largest
        value = nn.functional.cross_entropy(prediction, target.clone())
        if self.in_place:
            prediction *= -1
            target.zero_()
        return value


def scripted(in_place: bool = False) -> nn.Module:
    module: nn.Module = torch.jit.script(Shifting(in_place))
    return module


def choices(group: str, target: str, folder: Path) -> list[Path]:
    """The folder of a choice `mine` and its twin `in_place`."""
    (folder / "conf" / group).mkdir(parents=True, exist_ok=True)
    (folder / "conf" / group / "mine.yaml").write_text(f"_target_: {target}\nin_place: false\n")
    return [folder / "conf"]


def metrics(directory: Path) -> list[dict[str, float | int]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in read_metrics(directory / METRICS)
    ]


@pytest.mark.parametrize("target", ["Halving", "activated", "with_dropout"])
def test_a_network_that_changes_its_input_is_the_one_that_does_not(
    target: str, folder: Path, train: Train, silent: Silent
) -> None:
    folders = choices("model", f"{HERE}.{target}", folder)
    found = []
    for in_place in ("false", "true"):
        own = [f"model.in_place={in_place}", f"hydra.run.dir={in_place}"]
        outcome = train(*WORDS, *own, folders=folders)
        directory = outcome.directory
        again = reproduce(directory, callback=silent, trust=True)
        assert again.same, again
        parts = evaluate(directory, split="all", trust=True).parts
        rows = iris().features[:50].astype(np.float64)
        before = rows.copy()
        predicted = load_run(directory, trust=True).predict(rows)
        assert np.array_equal(rows, before)
        assert outcome.result.test == parts["test"].metrics
        assert metrics(directory)[-1]["valid_loss"] == parts["valid"].metrics["loss"]
        recorded = (directory / PREDICTIONS).read_bytes()
        resume_run(directory, ["epochs=5"], callback=silent, trust=True)
        parameters = [value.tolist() for value in torch.load(directory / "model.pt").values()]
        found.append([
            metrics(directory), {name: part.metrics for name, part in parts.items()},
            predicted.probabilities.tolist(), recorded, parameters,
        ])  # fmt: skip
    assert found[0] == found[1]


def test_it_learns_as_a_loop_by_hand(folder: Path, train: Train) -> None:
    folders = choices("model", f"{HERE}.Halving", folder)
    arguments: dict[str, Any] = {
        "test_size": 0.2,
        "valid_size": 0.2,
        "split": "stratified",
        "split_seed": 3,
        "scaling": "standard",
    }
    words = [f"dataset.{name}={value}" for name, value in arguments.items()]
    outcome = train("model=mine", "model.in_place=true", "batch_size=8", "epochs=3", "optimizer=sgd",
                    "optimizer.lr=0.1", *words, "seed=5", folders=folders)  # fmt: skip
    parts = prepare(iris(), **arguments)
    x, y = torch.tensor(parts.train.x, dtype=torch.float32), torch.tensor(parts.train.y)
    torch.manual_seed(5)
    loader = DataLoader(TensorDataset(x, y), 8, shuffle=True)
    module = Halving(4, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    assert parts.valid is not None
    valid = []
    for _ in range(3):
        for batch, target in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(batch), target).backward()
            optimizer.step()
        with torch.no_grad():
            prediction = module(torch.tensor(parts.valid.x, dtype=torch.float32))
            valid.append(nn.functional.cross_entropy(prediction, torch.tensor(parts.valid.y)).item())
    assert [row["valid_loss"] for row in outcome.rows] == valid
    assert all(map(torch.equal, outcome.model.parameters(), module.parameters()))


@pytest.mark.parametrize(("group", "target"), [("model", "Halving"), ("model", "activated"), ("loss", "Shifting")])
def test_a_stack_of_those_that_change_their_input_is_that_of_those_that_do_not(
    group: str, target: str, folder: Path
) -> None:
    folders = choices(group, f"{HERE}.{target}", folder)
    found = []
    for in_place in ("false", "true"):
        words = [f"{group}=mine", f"{group}.in_place={in_place}", "device=cpu", "seed=1,2,3", *WORDS[1:]]
        done = sweep(*words, f"hydra.sweep.dir={in_place}", config_dir=folders[0])
        runs = [done.run(job) for job in range(3)]
        assert [run.result["stacked"] for run in runs] == [3, 3, 3]
        found.append([metrics(run.directory) for run in runs])
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("target", ["Shifting", "scripted"])
def test_a_loss_that_changes_what_it_is_given_is_the_one_that_does_not(target: str, folder: Path, train: Train) -> None:
    folders = choices("loss", f"{HERE}.{target}", folder)
    words = ["loss=mine", *WORDS[1:]]
    found = [
        train(*words, f"loss.in_place={each}", f"hydra.run.dir={each}", folders=folders) for each in ("false", "true")
    ]
    assert metrics(found[0].directory) == metrics(found[1].directory)
    assert found[0].result.test == found[1].result.test


@pytest.mark.slow
@pytest.mark.parametrize("more", ["workers=2", "shards=2", "devices=2", "precision=bfloat16", "dataset.scaling=none"])
def test_it_is_so_however_a_run_is_trained(more: str, folder: Path, train: Train) -> None:
    folders = choices("model", f"{HERE}.Halving", folder)
    found = [
        train(*WORDS, more, f"model.in_place={each}", f"hydra.run.dir={each}", folders=folders)
        for each in ("false", "true")
    ]
    assert metrics(found[0].directory) == metrics(found[1].directory)
    assert found[0].result.test == found[1].result.test


def test_the_networks_that_ch12_ships_are_given_no_copies() -> None:
    shipped = [
        linear(4, 3),
        mlp(4, 3, activation=lambda: nn.ReLU(inplace=True), depth=2, dropout=0.2),
        mlp(4, 3, depth=0),
        cnn((1, 8, 8), 3),
        ensemble(4, 3, None, members=[{"network": "linear"}], weights=[1.0]),
    ]
    assert all(map(spares_input, shipped))
    hooked = nn.Linear(4, 3)
    hooked.register_forward_pre_hook(lambda _, inputs: inputs[0].mul_(2))
    own = [Halving(4, 3), activated(4, 3), nn.Sequential(Halving(4, 3)), hooked, nn.Sequential(nn.Flatten())]
    assert not any(map(spares_input, own))


class Growing(nn.Module):
    """Adds the outputs to the list of widths that it is given."""

    def __init__(self, inputs: int, outputs: int, widths: list[int]) -> None:
        super().__init__()
        widths.insert(0, inputs)
        widths.append(outputs)
        self.layers = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(widths)))

    def forward(self, x: Tensor) -> Any:
        return self.layers(x)


def test_a_network_may_change_the_list_that_it_is_given(folder: Path) -> None:
    folders = choices("model", f"{HERE}.Growing", folder)
    (folders[0] / "model" / "mine.yaml").write_text(f"_target_: {HERE}.Growing\nwidths: [5]\n")
    words = ["model=mine", "device=cpu", "seed=1,2,3", *WORDS[1:]]
    done = sweep(*words, config_dir=folders[0])
    assert [run.result["parameters"] for run in map(done.run, range(3))] == [4 * 5 + 5 + 5 * 3 + 3] * 3
