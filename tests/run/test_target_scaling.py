"""Values learned with mean 0 and deviation 1, and reported in their own units."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.cli.main import main
from ch12cli.data import Table, prepare
from ch12cli.data.prepared import DataPart
from ch12cli.saved.evaluate import evaluate
from ch12cli.saved.export import export
from ch12cli.saved.predict import predict_features
from tests.conftest import Train
from tests.sweeps.driver import alone, jobs_of, one_thread, relative, stack_of

WORDS = ["dataset=prices", "epochs=3", "batch_size=16", "optimizer=sgd", "optimizer.lr=0.1", "model.width=5"]
WORDS += ["dataset.target_scaling=standard"]


def prices(weighted: bool = False) -> Table:
    """Rows with a value of some hundred thousands."""
    random = np.random.default_rng(2)
    x = random.normal(size=(80, 3))
    y = 350_000 + 80_000 * (x[:, 0] - x[:, 1] ** 2)
    weights = random.uniform(1, 4, size=80) if weighted else None
    return Table(x, y, feature_names=("p", "q", "r"), target_name="price", source="prices", weights=weights)


@pytest.fixture
def folders(folder: Path) -> list[Path]:
    (folder / "mine" / "dataset").mkdir(parents=True)
    text = "_target_: tests.run.test_target_scaling.prices\nweighted: false\nvalid_size: 0.3\ntest_size: 10\n"
    (folder / "mine" / "dataset" / "prices.yaml").write_text(text)
    return [folder / "mine"]


def test_a_run_learns_scaled_values_bit_for_bit_and_reports_them_in_their_units(
    train: Train, folders: list[Path]
) -> None:
    outcome = train(*WORDS, folders=folders)
    data = prepare(prices(), valid_size=0.3, test_size=10)
    mean, deviation = data.train.y.mean(), data.train.y.std()
    torch.manual_seed(1)
    x = torch.from_numpy(data.train.x).float()
    y = torch.from_numpy((data.train.y - mean) / deviation).float().unsqueeze(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for row in outcome.rows:
        total = 0.0
        for x_batch, y_batch in loader:
            loss = nn.functional.mse_loss(model(x_batch), y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x_batch)
        assert row["train_loss"] == pytest.approx(total / len(x) * deviation**2, rel=1e-5)
    for found, expected in zip(outcome.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert data.valid is not None
    with torch.no_grad():
        valid = model(torch.from_numpy(data.valid.x).float())[:, 0].double().numpy() * deviation + mean
    error = valid - data.valid.y
    last = outcome.rows[-1]
    assert last["valid_loss"] == pytest.approx(np.mean(error**2), rel=1e-5)
    assert last["valid_mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert last["valid_r2"] == pytest.approx(1 - np.sum(error**2) / np.sum((data.valid.y - data.valid.y.mean()) ** 2))
    evaluation = evaluate(outcome.directory, split="valid", trust=True)
    assert evaluation.parts["valid"].metrics == {name: last[f"valid_{name}"] for name in ("loss", "mae", "r2")}
    predicted = predict_features(outcome.directory, prices().features[data.valid.rows], trust=True)
    assert predicted.values == pytest.approx(valid, rel=1e-6)


BOUND = 60_000  # in the units of the data, below the deviation


@pytest.mark.parametrize("name", ["huber", "smooth_l1"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_bound_of_a_loss_is_in_the_units_of_the_data(
    name: str, weighted: bool, train: Train, folders: list[Path]
) -> None:
    (folders[0] / "loss").mkdir()
    (folders[0] / "loss" / "smooth_l1.yaml").write_text(f"_target_: torch.nn.SmoothL1Loss\nbeta: {BOUND}\n")
    words = [f"loss={name}", *[f"loss.delta={BOUND}"] * (name == "huber"), f"dataset.weighted={str(weighted).lower()}"]
    outcome = train(*WORDS, *words, folders=folders)
    data = prepare(prices(weighted), valid_size=0.3, test_size=10)
    mean, deviation = data.train.y.mean(), data.train.y.std()

    def weights(part: DataPart) -> np.ndarray:
        return np.ones(len(part.y)) if part.weights is None else part.weights

    def in_units(error: np.ndarray, weight: np.ndarray) -> float:
        small = np.abs(error) < BOUND
        each = np.where(small, error**2 / 2, BOUND * (np.abs(error) - BOUND / 2))
        return float(np.average(each if name == "huber" else each / BOUND, weights=weight))

    torch.manual_seed(1)
    x = torch.from_numpy(data.train.x).float()
    y = torch.from_numpy((data.train.y - mean) / deviation).float().unsqueeze(1)
    w = torch.from_numpy(weights(data.train)).float().unsqueeze(1)
    loader = DataLoader(TensorDataset(x, y, w), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of = {
        "huber": nn.HuberLoss(delta=BOUND / deviation, reduction="none"),
        "smooth_l1": nn.SmoothL1Loss(beta=BOUND / deviation, reduction="none"),
    }[name]
    for row in outcome.rows:
        total = below = 0.0
        for x_batch, y_batch, w_batch in loader:
            prediction = model(x_batch)
            loss = (w_batch * loss_of(prediction, y_batch)).sum() / w_batch.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            error = (prediction.detach() - y_batch)[:, 0].double().numpy() * deviation
            total += in_units(error, w_batch[:, 0].numpy()) * float(w_batch.sum())
            below += float(w_batch.sum())
        assert row["train_loss"] == pytest.approx(total / below, rel=1e-5)
    for found, expected in zip(outcome.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-5)
    assert data.valid is not None
    with torch.no_grad():
        valid = model(torch.from_numpy(data.valid.x).float())[:, 0].double().numpy() * deviation + mean
    expected_loss = in_units(valid - data.valid.y, weights(data.valid))
    assert outcome.rows[-1]["valid_loss"] == pytest.approx(expected_loss, rel=1e-5)
    evaluation = evaluate(outcome.directory, split="valid", trust=True)
    assert evaluation.parts["valid"].metrics["loss"] == outcome.rows[-1]["valid_loss"]


@pytest.mark.parametrize("words", [[], ["loss=huber", f"loss.delta={BOUND}"], ["dataset.weighted=true"]])
def test_each_run_of_a_stack_is_scaled_like_the_run_alone(words: list[str], folders: list[Path]) -> None:
    with one_thread():
        jobs = jobs_of([[*WORDS, *words, "precision=float64", f"seed={seed}"] for seed in (1, 2)], folders=folders)
        together = stack_of([job.settings for job in jobs]).go(3)
        for run, job in enumerate(jobs):
            training, _ = alone(job.settings, together.task)
            for epoch in together.epochs:
                single = training.one_epoch()
                for name in set(single.columns) - {"seconds"}:
                    assert relative(epoch.columns[name][run], single.columns[name][0]) < 1e-9, name
                assert single.columns["valid_mae"][0] > 1000  # not scaled


@pytest.mark.slow
def test_exported_networks_and_programs_are_of_the_units_of_the_data(folder: Path) -> None:
    words = ["dataset=toy_regression", "dataset.target_scaling=standard", "epochs=4", "device=cpu"]
    assert main(["train", "-q", *words, "hydra.run.dir=run"]) == 0
    exported = export(Path("run"), "torch_export", name="run", command=None, best=False, trust=False)
    assert exported.checked.startswith("checked")
    Path("run.pt2").write_bytes(exported.files["run.pt2"])
    features = np.array([[1.0], [7.5]], np.float32)
    found = torch.export.load("run.pt2").module()(torch.from_numpy(features))[:, 0]
    assert found.tolist() == pytest.approx(predict_features(Path("run"), features).values.tolist(), rel=1e-6)
    assert main(["export", "run", "-o", "program.py"]) == 0
    threads = torch.get_num_threads()
    runpy.run_path("program.py")
    torch.set_num_threads(threads)
    expected = torch.load("run/model.pt")
    assert {name: value.tolist() for name, value in torch.load("model.pt").items()} == {
        name: value.tolist() for name, value in expected.items()
    }
