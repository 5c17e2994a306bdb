"""Every configuration file: it says what it is, its keys are known, it builds and trains. The chapter's figures."""

import inspect
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.config.check import check
from ch12cli.config.choices import choices_of_group, content, default_choices, keys_of_choice, shipped, top_level
from ch12cli.config.combinations import LOSSES
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.schema import GROUPS, KEYS, key_of
from ch12cli.config.values import MANDATORY
from ch12cli.data import iris
from ch12cli.data.flowers import IRIS_FILE
from ch12cli.errors import Problem
from ch12cli.run.build import build_training
from ch12cli.run.task import build_task
from tests.conftest import Train
from tests.sweeps.driver import typed

CONF = Path(__file__).parents[2] / "conf"
CHOICES = [choice for group in GROUPS for choice in choices_of_group(group)]
PRESETS = [choice.name for choice in choices_of_group("experiment")]
DATA_FOR = {"values": "toy_regression", "two": "two_class", "any": "iris"}  # a data set for a loss's kind of target


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with hydra_session():
        yield Composer()


@contextmanager
def loop_by_hand() -> Iterator[None]:
    """torch on one thread, where a loop this small gives the same bits and takes a fifth of the time; all put back."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng():
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(threads)


def settings_of(composer: Composer, *lines: str) -> dict[str, Any]:
    """The settings of these overrides, which must be without fault."""
    problems: list[Problem] = []
    composition = composer.compose(["device=cpu", *lines], problems)
    assert problems + check(composition.settings, composition.choices) == []
    return composition.settings


def test_the_groups_and_choices_that_users_rely_on_exist() -> None:
    names = {group: {choice.name for choice in choices_of_group(group)} for group in GROUPS}
    assert names["dataset"] == {"table", "csv", "iris", "two_class", "toy_regression", "image_folder", "idx", "torch"}
    assert names["model"] == {"linear", "mlp", "cnn"}
    assert names["activation"] >= {
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
        "tanh",
        "sigmoid",
        "softmax",
        "identity",
    }
    assert names["loss"] >= {"mse", "l1", "huber", "bce", "bce_logits", "cross_entropy", "nll"}
    assert names["optimizer"] >= {"sgd", "adam", "adamw", "rmsprop", "adagrad"}
    assert names["scheduler"] >= {"none", "step", "cosine", "one_cycle", "reduce_on_plateau"}
    assert names["experiment"] >= {
        "book/linear_scratch",
        "book/linear",
        "book/iris",
        "book/xor_logistic",
        "book/xor_mlp",
    }
    assert names["experiment"] >= {"debug/overfit", "debug/fast"}


def test_the_most_used_keys_are_first_in_the_top_configuration() -> None:
    assert list(top_level())[:5] == ["epochs", "batch_size", "workers", "device", "seed"]


def test_every_yaml_file_is_a_choice_or_belongs_to_hydra() -> None:
    files = set(CONF.rglob("*.yaml"))
    assert len(files) > 40
    assert shipped() == CONF
    of_groups = {choice.file for choice in CHOICES}
    others = {file.relative_to(CONF).parts[0] for file in files - of_groups}
    assert others == {"config.yaml", "hydra", "search"}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: f"{choice.group}={choice.name}")
def test_a_choice_has_a_description_known_keys_and_allowed_defaults(choice: Any) -> None:
    assert len(choice.meaning) > 10
    keys = keys_of_choice(choice)
    assert keys or choice.group == "experiment"
    for key, value in keys.items():
        known = key_of(key)
        assert known is not None, f"{key} has no rule"
        assert known.rule.allows(value) or value == MANDATORY, f"{key}={value}: {known.rule}"


def test_every_key_at_the_top_is_known_explained_and_allowed() -> None:
    text = (CONF / "config.yaml").read_text(encoding="utf-8")
    for key, value in top_level().items():
        known = key_of(key)
        assert known is not None, key
        assert value == "${monitor}" or known.rule.allows(value), key
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{key.rpartition('.')[2]}:"))
        assert "#" in line or key == "early_stopping.metric", line


def test_every_rule_belongs_to_a_key_of_some_file() -> None:
    written = set(top_level()).union(*(keys_of_choice(choice) for choice in CHOICES))
    assert set(KEYS) - written == set()


def test_a_preset_lists_only_what_differs_from_the_defaults() -> None:
    assert len(PRESETS) >= 7
    for choice in choices_of_group("experiment"):
        assert f"ch12 train experiment={choice.name}" in choice.file.read_text(encoding="utf-8")
        defaults = content(choice.file).get("defaults", [])
        for entry in defaults:
            assert all(name.startswith("override /") for name in entry), entry
        made = {name.removeprefix("override /"): value for entry in defaults for name, value in entry.items()}
        chosen = default_choices() | made
        of_choices = {
            key: value
            for group, name in chosen.items()
            for found in choices_of_group(group)
            if found.name == name
            for key, value in keys_of_choice(found).items()
        }
        for key in keys_of_choice(choice):
            assert key in of_choices or key in top_level(), f"{choice.name}: {key} is no key of its choices"


@pytest.mark.parametrize("name", [choice.name for choice in choices_of_group("optimizer")])
def test_the_optimizers_defaults_are_torchs_except_the_rate(name: str) -> None:
    node = yaml.safe_load((CONF / "optimizer" / f"{name}.yaml").read_text(encoding="utf-8"))
    kind = getattr(torch.optim, node.pop("_target_").removeprefix("torch.optim."))
    node.pop("lr")
    signature = inspect.signature(kind).parameters
    for argument, value in node.items():
        default = signature[argument].default
        assert value == (list(default) if isinstance(default, tuple) else default), argument


def write_few_pictures(folder: Path) -> None:
    """Files of the MNIST family: 20 noisy pictures of 4 x 4 of two classes, twice."""
    pixels = np.random.default_rng(1).integers(0, 256, 20 * 16, dtype=np.uint8).tobytes()
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 20, 4, 4) + pixels)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 20) + bytes([0, 1] * 10))


@pytest.mark.sample(20)
@pytest.mark.parametrize(
    "choice", [c for c in CHOICES if c.group != "experiment"], ids=lambda choice: f"{choice.group}={choice.name}"
)
def test_every_choice_composes_builds_and_takes_steps_that_change_the_weights(
    choice: Any, composer: Composer, tmp_path: Path
) -> None:
    lines = [f"{choice.group}={choice.name}", "batch_size=16", "epochs=2"]
    if choice.group == "loss":
        kind = LOSSES.get(str(keys_of_choice(choice)["loss._target_"]))
        lines.append(f"dataset={DATA_FOR['any' if kind is None else kind.classes]}")
    if choice.name == "torch":
        lines.append("dataset.train={_target_:tests.data.my_datasets.Points}")
    if choice.name == "idx":
        write_few_pictures(tmp_path)
        lines.append(f"dataset.folder={tmp_path}")
    if choice.name in ("table", "csv"):
        lines.append(f"dataset.file={IRIS_FILE}")
    if choice.name == "cnn":
        lines.append("dataset=image_folder")
    settings = settings_of(composer, *lines)
    training, network = build_training(typed(settings), build_task(typed(settings)), torch.device("cpu"))
    before = network.parameters.clone()
    for _ in training.epochs():
        pass
    assert training.epoch == 2
    assert torch.isfinite(network.parameters).all()
    assert not torch.equal(before, network.parameters)


@pytest.mark.sample(8)
@pytest.mark.parametrize("shape", ["xor", "moons", "circles", "spirals", "blobs"])
@pytest.mark.parametrize("init", ["torch", "xavier", "kaiming", "normal"])
def test_every_shape_of_two_classes_and_every_init_trains(shape: str, init: str, composer: Composer) -> None:
    settings = settings_of(
        composer, "dataset=two_class", f"dataset.shape={shape}", f"model.init={init}", "epochs=1", "batch_size=50"
    )
    training, _ = build_training(typed(settings), build_task(typed(settings)), torch.device("cpu"))
    (epoch,) = training.epochs()
    assert np.isfinite(epoch.columns["train_loss"]).all()


FASHION = Path("/usr/share/datasets/fashion-mnist")
NEEDS_FASHION = pytest.mark.skipif(not FASHION.exists(), reason="dataset-fashion-mnist is not installed")


@pytest.mark.slow
@NEEDS_FASHION
def test_the_preset_of_fashion_mnist_reaches_its_accuracy(train: Train) -> None:
    outcome = train("experiment=pictures/fashion")
    assert outcome.result.test is not None
    assert outcome.result.test["accuracy"] > 0.86


@pytest.mark.parametrize("name", [name for name in PRESETS if not name.startswith("pictures/")])
def test_every_preset_runs(name: str, train: Train) -> None:
    outcome = train(f"experiment={name}", "epochs=2")
    assert outcome.status == "finished"
    assert outcome.result.epochs == 2
    assert (outcome.directory / "result.json").is_file()


def test_the_overfit_preset_fits_its_six_examples_exactly(train: Train) -> None:
    outcome = train("experiment=debug/overfit")
    assert outcome.rows[-1]["train_accuracy"] == 1.0
    assert outcome.rows[-1]["train_loss"] < 0.01


# The chapter's figures. The loops by hand use torch and numpy alone.

CHAPTER_Y = np.array([1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0], dtype="float32")


def chapter_points() -> tuple[Tensor, Tensor]:
    """x standardised, (10, 1), and y, (10,)."""
    x = np.arange(10, dtype="float32").reshape((10, 1))
    return torch.from_numpy((x - np.mean(x)) / np.std(x)), torch.from_numpy(CHAPTER_Y)


def regression_from_scratch(epochs: int = 200) -> tuple[float, float]:
    """Weight and bias after the chapter's first regression, which leaves torch's stream where the second begins."""
    x, y = chapter_points()
    loader = DataLoader(TensorDataset(x, y), 1, shuffle=True)
    torch.manual_seed(1)
    weight = torch.randn(1)
    weight.requires_grad_()
    bias = torch.zeros(1, requires_grad=True)
    for _ in range(epochs):
        for x_batch, y_batch in loader:
            (x_batch @ weight + bias - y_batch).pow(2).mean().backward()
            with torch.no_grad():
                weight -= weight.grad * 0.001
                bias -= bias.grad * 0.001
                weight.grad.zero_()
                bias.grad.zero_()
    return weight.item(), bias.item()


def weight_and_bias(model: nn.Module) -> tuple[float, float]:
    weight, bias = model.parameters()
    return weight.item(), bias.item()


def test_the_regression_from_scratch_ends_with_the_chapters_weights(train: Train) -> None:
    outcome = train("experiment=book/linear_scratch")
    assert weight_and_bias(outcome.model) == (2.6696107387542725, 4.879678249359131)
    with loop_by_hand():
        assert regression_from_scratch() == (2.6696107387542725, 4.879678249359131)


def test_the_regression_with_nn_ends_with_the_chapters_weights(train: Train) -> None:
    outcome = train("experiment=book/linear")
    assert weight_and_bias(outcome.model) == (2.6496422290802, 4.87706995010376)


@pytest.mark.slow
def test_the_second_regression_continues_the_random_stream_of_the_first(composer: Composer) -> None:
    offset = settings_of(composer, "experiment=book/linear")["stream_offset"]
    with loop_by_hand():
        regression_from_scratch()
        follows = torch.rand(4)
        torch.manual_seed(1)
        torch.empty(offset, dtype=torch.int64).random_()
        assert torch.equal(torch.rand(4), follows)


def book_iris(epochs: int) -> tuple[nn.Module, list[float], list[float], float]:
    """The chapter's Iris network, the loss and accuracy of each epoch, and the test accuracy."""
    table = iris()
    order = np.random.RandomState(1).permutation(150)
    test, rest = order[:50], order[50:]
    x_train, x_test = table.features[rest], table.features[test]
    mean, deviation = np.mean(x_train), np.std(x_train)
    x = torch.from_numpy((x_train - mean) / deviation).float()
    y = torch.from_numpy(table.target[rest])
    torch.manual_seed(1)
    loader = DataLoader(TensorDataset(x, y), 2, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 16), nn.Sigmoid(), nn.Linear(16, 3), nn.Softmax(dim=1))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    losses, accuracies = [], []
    for _ in range(epochs):
        loss_total, right = 0.0, 0.0
        for x_batch, y_batch in loader:
            prediction = model(x_batch)
            loss = loss_fn(prediction, y_batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss_total += loss.item() * y_batch.size(0)
            right += (torch.argmax(prediction, dim=1) == y_batch).float().sum().item()
        losses.append(loss_total / len(x))
        accuracies.append(right / len(x))
    prediction = model(torch.from_numpy((x_test - mean) / deviation).float())
    correct = (torch.argmax(prediction, dim=1) == torch.from_numpy(table.target[test])).float()
    return model, losses, accuracies, correct.mean().item()


@pytest.mark.slow
def test_book_iris_equals_the_chapters_loop_and_reaches_its_test_accuracy(train: Train) -> None:
    outcome = train("experiment=book/iris")
    with loop_by_hand():
        model, losses, accuracies, test_accuracy = book_iris(100)
    assert outcome.result.test["accuracy"] == pytest.approx(0.98, abs=1e-12)
    assert test_accuracy == pytest.approx(0.98)
    assert [row["train_loss"] for row in outcome.rows] == losses
    assert [row["train_accuracy"] for row in outcome.rows] == pytest.approx(accuracies, abs=1e-12)
    for mine, theirs in zip(outcome.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["xor_logistic", "xor_mlp"])
def test_the_xor_presets_equal_the_books_loop(name: str, train: Train) -> None:
    epochs = 40
    random = np.random.RandomState(1)
    points = random.uniform(low=-1, high=1, size=(200, 2))
    target = np.ones(len(points))
    target[points[:, 0] * points[:, 1] < 0] = 0
    x, x_valid = torch.tensor(points[:100], dtype=torch.float32), torch.tensor(points[100:], dtype=torch.float32)
    y, y_valid = torch.tensor(target[:100], dtype=torch.float32), torch.tensor(target[100:], dtype=torch.float32)
    outcome = train(f"experiment=book/{name}", f"epochs={epochs}")
    with loop_by_hand():
        torch.manual_seed(1)
        loader = DataLoader(TensorDataset(x, y), 2, shuffle=True)
        if name == "xor_logistic":
            model, lr = nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), 0.001
        else:
            hidden = [nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()]
            model, lr = nn.Sequential(*hidden, nn.Linear(4, 1), nn.Sigmoid()), 0.015
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        losses, accuracies = [], []
        for _ in range(epochs):
            total = 0.0
            for x_batch, y_batch in loader:
                loss = nn.BCELoss()(model(x_batch)[:, 0], y_batch)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                total += loss.item() * len(y_batch)
            losses.append(total / len(y))
            with torch.no_grad():
                accuracies.append(((model(x_valid)[:, 0] >= 0.5).float() == y_valid).float().mean().item())
    assert outcome.result.epochs == epochs
    assert [row["train_loss"] for row in outcome.rows] == losses
    assert [row["valid_accuracy"] for row in outcome.rows] == pytest.approx(accuracies, abs=1e-6)
    for mine, theirs in zip(outcome.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
