"""Weights of classes and of rows: against plain torch loops bit for bit, and stacks against runs alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.data import Table, iris, prepare
from ch12cli.data.prepared import DataPart, Prepared
from ch12cli.errors import InputError
from ch12cli.saved.evaluate import evaluate
from tests.conftest import Train
from tests.sweeps.driver import alone, jobs_of, one_thread, relative, stack_of

EPOCHS, BATCH = 3, 16
WORDS = ["epochs=3", "batch_size=16", "optimizer=sgd", "optimizer.lr=0.1", "model.width=5"]
Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # prediction, y, weight -> loss, sum of the weights


def points(form: str = "two") -> Table:
    """Points in two or three classes, one of them rare, or with a value; each row has a weight, some of them 0."""
    random = np.random.default_rng(1)
    x, weights = random.normal(size=(90, 3)), random.integers(0, 5, size=90) / 2
    names = {"two": ("no", "yes"), "three": ("a", "b", "c"), "values": None}[form]
    target = x[:, 0] + x[:, 1] ** 2 if names is None else np.searchsorted([-1.0, 1.5][: len(names) - 1], x[:, 0])
    return Table(
        x, target, feature_names=("p", "q", "r"), target_name="t", class_names=names, source="points", weights=weights
    )


@pytest.fixture
def folders(folder: Path) -> list[Path]:
    """A configuration folder with the points as a data set."""
    (folder / "mine" / "dataset").mkdir(parents=True)
    text = "_target_: tests.run.test_weights.points\nform: two\nvalid_size: 0.3\ntest_size: 10\nclass_weight: null\n"
    (folder / "mine" / "dataset" / "points.yaml").write_text(text)
    return [folder / "mine"]


def plain_loop(
    data: Prepared, weight: np.ndarray, step: Step, *, output: nn.Module | None, outputs: int
) -> list[float]:
    """The weights that a loop by hand ends with, and the training loss of each epoch. weight: of each training row."""
    torch.manual_seed(1)
    x, w = torch.from_numpy(data.train.x).float(), torch.from_numpy(weight).float()
    y = torch.from_numpy(data.train.y)
    y = y if outputs > 1 else y.float().unsqueeze(1)
    loader = DataLoader(TensorDataset(x, y, w), batch_size=BATCH, shuffle=True)
    layers = [nn.Linear(x.shape[1], 5), nn.ReLU(), nn.Linear(5, outputs)]
    model = nn.Sequential(*layers, output) if output else nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(EPOCHS):
        total = weights = 0.0
        for batch in loader:
            loss, below = step(model(batch[0]), *batch[1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * below.item()
            weights += below.item()
        losses.append(total / weights)
    return [*torch.cat([p.detach().reshape(-1) for p in model.parameters()]).tolist(), *losses]


def found(train: Train, *words: str, folders: list[Path]) -> list[float]:
    """The same of a run of ch12."""
    outcome = train(*WORDS, *words, folders=folders)
    weights = torch.cat([p.detach().reshape(-1) for p in outcome.model.parameters()]).tolist()
    return [*weights, *(row["train_loss"] for row in outcome.rows)]


def weighted(each: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return (w * each).sum() / w.sum(), w.double().sum()


def test_balanced_classes_are_those_of_scikit_learn_in_torchs_weighted_loss(train: Train, folders: list[Path]) -> None:
    data = prepare(iris(), test_size=0.2, valid_size=0.2, split="random", scaling="standard")
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=data.train.y)
    assert len(set(balanced)) == 3
    weight = torch.from_numpy(balanced).float()

    def step(prediction: Tensor, y: Tensor, _w: Tensor) -> tuple[Tensor, Tensor]:
        return nn.CrossEntropyLoss(weight=weight)(prediction, y), weight[y].double().sum()

    expected = plain_loop(data, np.ones(len(data.train.y)), step, output=None, outputs=3)
    words = ["dataset.split=random", "dataset.class_weight=balanced"]
    assert found(train, *words, folders=folders) == expected
    by_hand = f"loss.weight={balanced.tolist()}".replace(" ", "")
    assert found(train, "dataset.split=random", "loss=cross_entropy", by_hand, folders=folders) == expected


def class_step(prediction: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return weighted(F.cross_entropy(prediction, y, reduction="none"), w)


def probability_step(prediction: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return weighted(F.binary_cross_entropy(prediction, y, reduction="none").mean(1), w)


def value_step(prediction: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return weighted(F.mse_loss(prediction, y, reduction="none").mean(1), w)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("kind", "step", "output", "outputs", "class_weight"),
    [
        ("two", probability_step, nn.Sigmoid(), 1, None),
        ("two", probability_step, nn.Sigmoid(), 1, (1.0, 7.0)),
        ("three", class_step, None, 3, None),
        ("values", value_step, None, 1, None),
    ],
)
def test_weights_of_rows_make_a_weighted_mean(
    train: Train,
    folders: list[Path],
    kind: str,
    step: Step,
    output: nn.Module | None,
    outputs: int,
    class_weight: tuple[float, ...] | None,
) -> None:
    data = prepare(points(kind), valid_size=0.3, test_size=10)
    assert data.train.weights is not None
    weight = data.train.weights * (np.array(class_weight)[data.train.y] if class_weight else 1)
    words = ["dataset=points", f"dataset.form={kind}"]
    words += [f"dataset.class_weight={list(class_weight)}".replace(" ", "")] if class_weight else []
    expected = plain_loop(data, weight, step, output=output, outputs=outputs)
    assert found(train, *words, folders=folders) == expected


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "words",
    [
        "form=two",
        "form=two class_weight=balanced",
        "form=three class_weight={c:4}",
        "form=three class_weight=[1,2,3] loss=nll",
        "form=values",
    ],
)
def test_each_run_of_a_stack_is_weighted_like_the_run_alone(words: str, folders: list[Path]) -> None:
    typed = [word if "loss=" in word else f"dataset.{word}" for word in words.split()]
    common = ["dataset=points", *typed, *WORDS, "precision=float64", "device=cpu"]
    with one_thread():
        jobs = jobs_of([[*common, f"seed={seed}"] for seed in (1, 2, 3)], folders=folders)
        together = stack_of([job.settings for job in jobs]).go(EPOCHS)
        for run, job in enumerate(jobs):
            training, network = alone(job.settings, together.task)
            for epoch, weights in zip(together.epochs, together.weights, strict=True):
                single = training.one_epoch()
                for name in set(single.columns) - {"seconds"}:
                    assert relative(epoch.columns[name][run], single.columns[name][0]) < 1e-9, name
                assert relative(weights[run], network.parameters[network.places].detach()) < 1e-9


def test_loss_of_a_part_is_the_weighted_mean_over_its_rows(train: Train, folders: list[Path]) -> None:
    outcome = train(*WORDS, "dataset=points", "dataset.class_weight=[1,3]", folders=folders)
    data = prepare(points(), valid_size=0.3, test_size=10)
    evaluation = evaluate(outcome.directory, split="all", trust=True)
    for name in ("train", "valid", "test"):
        part: DataPart = getattr(data, name)
        with torch.no_grad():
            share = outcome.model.eval()(torch.from_numpy(part.x).float())[:, 0].double().numpy()
        each = -np.log(np.where(part.y == 1, share, 1 - share))
        expected = np.average(each, weights=part.weights * np.array([1.0, 3.0])[part.y])
        metrics = evaluation.parts[name].metrics
        assert metrics["loss"] == pytest.approx(expected, rel=1e-5)
        assert metrics["accuracy"] == pytest.approx(np.mean((share >= 0.5) == part.y))  # all rows count alike
    assert outcome.rows[-1]["valid_loss"] == evaluation.parts["valid"].metrics["loss"]


def test_weights_that_do_not_fit_are_refused() -> None:
    for given, message in (
        ({"perhaps": 2.0}, "there is no class perhaps"),
        ([1.0], "has 1 number, and the data set has 2 classes"),
        ([1.0, -1.0], "greater than 0"),
    ):
        with pytest.raises(InputError, match=message):
            prepare(points(), class_weight=given)
    with pytest.raises(InputError, match="is for classes"):
        prepare(points("values"), class_weight="balanced")
    made = points()
    for weights, message in ((np.ones(3), r"must be numbers, \(90,\)"), (np.full(90, -1.0), "0 or more")):
        with pytest.raises(InputError, match=message):
            Table(made.features, made.features[:, 0], feature_names="pqr", target_name="t", source="s", weights=weights)  # type: ignore[arg-type]
    none = Table(
        made.features,
        made.features[:, 0],
        feature_names=("p", "q", "r"),
        target_name="t",
        source="s",
        weights=np.repeat([1.0, 0.0], 45),
    )
    with pytest.raises(InputError, match="weight 0"):
        prepare(none, valid_size=20, split="ordered")
    assert none.digest != points("values").digest
