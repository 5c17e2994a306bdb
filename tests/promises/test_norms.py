"""The norms of gradient and weights that `record_norms=true` adds to metrics.csv, against a loop written by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.cli.main import main
from ch12cli.data import iris
from ch12cli.data.prepared import prepare
from ch12cli.files.metrics_csv import read_metrics

EPOCHS, BATCH, CLIP = 3, 16, 0.5
WORDS = [
    *("train", "-q", "device=cpu", f"epochs={EPOCHS}", f"batch_size={BATCH}", "record_norms=true"),
    *(
        "dataset.test_size=0.2",
        "dataset.valid_size=0",
        "dataset.split=random",
        "dataset.scaling=standard",
        "model.width=6",
        "model.depth=1",
    ),
    *("optimizer=sgd", "optimizer.momentum=0.9", f"clip_grad_norm={CLIP}"),
]


def by_hand(*, seed: int, lr: float) -> list[tuple[float, float]]:
    """The mean norm of the gradient before clipping, and the norm of the weights, of each epoch."""
    part = prepare(iris(), test_size=0.2, scaling="standard").train
    data = TensorDataset(torch.from_numpy(part.x).float(), torch.from_numpy(part.y))
    torch.manual_seed(seed)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer, found = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9), []
    for _ in range(EPOCHS):
        norms = []
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            squares = [float((p.grad.double() ** 2).sum()) for p in model.parameters() if p.grad is not None]
            norms.append(math.sqrt(sum(squares)))
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
        weights = sum(float((p.detach().double() ** 2).sum()) for p in model.parameters())
        found.append((float(np.mean(norms)), math.sqrt(weights)))
    return found


def recorded(directory: Path) -> list[tuple[float, float]]:
    return [(row["grad_norm"], row["weight_norm"]) for row in read_metrics(directory / "metrics.csv")]


def test_the_norms_of_a_run_are_those_of_the_loop_by_hand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "seed=3", "optimizer.lr=0.1", "hydra.run.dir=run"]) == 0
    wanted = by_hand(seed=3, lr=0.1)
    assert wanted[0][0] > CLIP  # the norm before clipping
    np.testing.assert_allclose(recorded(Path("run")), wanted, rtol=2e-5)
    assert main(["plot", "run", "--kind", "norms"]) == 0
    out = capsys.readouterr().out
    assert "norm of the gradient" in out
    assert "norm of the weights" in out


@pytest.mark.parametrize("record", ["directories", "compact"])
def test_the_norms_of_stacked_runs_are_those_of_each_by_hand(
    folder: Path, record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", "seed=1,2", "optimizer.lr=0.1,0.3", "sweep.fused=true", f"sweep.record={record}"]
    assert main([*WORDS, *words, "hydra.sweep.dir=sweep"]) == 0
    for row in read_sweep_rows(Path("sweep")):
        wanted = by_hand(seed=int(row.overrides["seed"]), lr=float(row.overrides["optimizer.lr"]))
        np.testing.assert_allclose(recorded(Path("sweep", row.directory)), wanted, rtol=2e-5)
    assert "grad_norm" not in read_sweep_rows(Path("sweep"))[0].metrics
    assert main(["plot", "sweep", "--kind", "norms"]) == 0


def test_a_plot_of_norms_that_were_not_recorded_says_how_to_record_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-q", "device=cpu", "epochs=1", "hydra.run.dir=run"]) == 0
    assert main(["plot", "run", "--kind", "norms"]) == 2
    assert "train with record_norms=true" in capsys.readouterr().err
