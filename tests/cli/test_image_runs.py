"""A run on images through every command."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ch12cli.cli.main import main
from ch12cli.data import image_folder
from ch12cli.data.prepared import prepare
from ch12cli.data.synthetic import write_images

RUN = ("dataset=image_folder", "model=cnn", "batch_size=8", "optimizer.lr=0.003", "device=cpu", "threads=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cnn on the drawn images, 16 epochs."""
    directory = tmp_path_factory.mktemp("runs") / "figures"
    assert main(["train", "-q", *RUN, "epochs=16", f"hydra.run.dir={directory}"]) == 0
    return directory


@pytest.fixture
def drawn(folder: Path) -> Path:
    """The drawn images in a folder `figures`, as files."""
    (folder / "figures").mkdir()
    write_images(folder / "figures")
    return folder / "figures"


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(list(words)) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_cnn_learns_to_classify_the_drawn_images(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["test"]["accuracy"] >= 0.95
    out, err = said(capsys, "eval", str(run), "--format", "json")
    assert err == ""
    (part,) = json.loads(out)["parts"].values()
    assert part["accuracy"] == result["test"]["accuracy"]


def test_predictions_are_those_of_the_network_built_by_hand(
    run: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (drawn / "more").mkdir()
    (drawn / "disc-000.png").rename(drawn / "more" / "unknown.png")
    rows = list(csv.DictReader(io.StringIO(said(capsys, "predict", str(run), "figures")[0])))
    names = sorted([path.relative_to(drawn).as_posix() for path in drawn.rglob("*.png")])
    assert list(rows[0]) == ["file", "predicted", "p_disc", "p_square"]
    assert [row["file"] for row in rows] == names
    pixels = np.array([np.asarray(Image.open(drawn / name).convert("L")).reshape(-1) for name in names])
    train = prepare(image_folder(), test_size=0.2, valid_size=0.2, split="stratified").train
    x = torch.tensor((pixels / np.float32(255) - train.x.mean()) / train.x.std(), dtype=torch.float32)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 24, 24)),
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 6 * 6, 1), nn.Sigmoid()),
    )
    model.load_state_dict(torch.load(run / "model.pt"))
    shares = model(x)[:, 0].detach()
    assert torch.allclose(torch.tensor([float(row["p_square"]) for row in rows]), shares, atol=1e-5)
    assert [row["predicted"] for row in rows] == [("disc", "square")[share >= 0.5] for share in shares]
    out, _ = said(capsys, "predict", str(run), "figures/square-001.png", "--format", "json")
    (answer,) = json.loads(out)
    place = names.index("square-001.png")
    assert (answer["file"], answer["predicted"]) == ("square-001.png", rows[place]["predicted"])
    assert answer["probabilities"]["square"] == pytest.approx(float(rows[place]["p_square"]), abs=1e-6)


def test_the_wrong_kind_of_input_is_refused(run: Path, drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-q", "epochs=1", "batch_size=50", "device=cpu", "hydra.run.dir=flowers"]) == 0
    Path("rows.csv").write_text("sepal_length\n1\n", encoding="utf-8")
    Path("empty").mkdir()
    wanted = {
        (
            str(run),
            "rows.csv",
        ): "rows.csv: is not a readable image, despite its name; the run was trained "
        "on images: give one, or a folder of them",
        (str(run), "empty"): "empty: holds no images (png, jpg, jpeg, bmp, gif, webp, tif, tiff)",
        ("flowers", "figures"): "figures: is a directory; give a CSV file",
        ("flowers", "figures/disc-000.png"): "figures/disc-000.png: is an image; give a CSV file",
    }
    for words, message in wanted.items():
        assert said(capsys, "predict", *words, code=2) == ("", f"ch12: {message}\n")


def test_an_image_is_read_from_standard_input(
    run: Path, drawn: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from_file, _ = said(capsys, "predict", str(run), "figures/disc-000.png")
    content = io.TextIOWrapper(io.BytesIO((drawn / "disc-000.png").read_bytes()))
    monkeypatch.setattr("sys.stdin", content)
    out, _ = said(capsys, "predict", str(run), "-")
    assert out == from_file.replace("disc-000.png", "standard input")


def test_a_boundary_plot_of_image_pixels_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "plot", str(run), "--kind", "boundary", code=2)[1] == (
        f"ch12: {run}: its rows are images, and two pixels show little; try --kind confusion\n"
    )
    assert "disc" in said(capsys, "plot", str(run), "--kind", "confusion")[0]


@pytest.mark.slow
def test_a_run_is_repeated_and_continued_bit_for_bit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, epochs in (("whole", 4), ("parts", 2)):
        assert main(["train", "-q", *RUN, f"epochs={epochs}", f"hydra.run.dir={name}"]) == 0
    assert main(["resume", "-q", "parts", "epochs=4"]) == 0
    whole, parts = torch.load("whole/model.pt"), torch.load("parts/model.pt")
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
    assert said(capsys, "repro", "-q", "parts") == (
        "parts: the same, bit for bit (4 epochs)\n",
        "warning: was resumed after epoch 2 with epochs=4\n",
    )


def test_the_display_describes_the_images_and_the_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "train", *RUN, "epochs=1", "dataset.colour=true", "dataset.height=16")
    told = " ".join(out.split())
    assert "120 train, 40 validation, 40 test rows; images of 3x16x24, 2 classes" in told
    parameters = (3 * 9 * 8 + 8) + (8 * 9 * 16 + 16) + (16 * 4 * 6 + 1)
    assert f"network cnn 3x16x24-8-16-1, relu, sigmoid output, {parameters:,} parameters" in told


@pytest.mark.slow
def test_a_stacked_sweep_equals_the_single_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "-m", *RUN, "epochs=2", "precision=float64", "seed=1,2,3", "hydra.sweep.dir=sweep"]
    assert "1 stack of 3 runs" in said(capsys, *words, "--plan")[0]
    assert main([*words, "-q"]) == 0
    assert main(["train", "-q", *RUN, "epochs=2", "precision=float64", "seed=2", "hydra.run.dir=alone"]) == 0
    stacked, alone = torch.load("sweep/1/model.pt"), torch.load("alone/model.pt")
    for name, value in alone.items():
        torch.testing.assert_close(stacked[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_large_convolutions_are_not_stacked(folder: Path, capsys: Any) -> None:
    words = ["train", "-m", *RUN, "seed=1,2", "dataset.height=64", "dataset.width=64", "model.channels=16", "--plan"]
    assert "1 stack of 2 runs" in said(capsys, *words, "batch_size=2")[0]
    found = " ".join(said(capsys, *words, "batch_size=32")[0].split())
    assert "2 runs one by one" in found
    values = 64 * 64 * (1 + 2 * 16 + 16 // 4 + 2 * 32 // 4 + 32 // 16 + 32 // 16) + 2
    assert f"its layers give {32 * values:,} values a batch; from 1,000,000 on" in found


def test_bench_loader_accepts_images(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "bench", "loader", "dataset=image_folder", "workers=0", "--seconds", "0.05")
    assert (out.splitlines()[0], err) == ("200 drawn images: 120 rows, batches of 2", "")


def test_the_keys_are_explained_with_their_meanings(capsys: pytest.CaptureFixture[str]) -> None:
    assert "letters its name begins with" in said(capsys, "explain", "dataset.labels")[0]
    assert "odd number from 1 to 99" in said(capsys, "explain", "model.kernel_size")[0]
    assert "cnn" in said(capsys, "explain", "model")[0]
    assert "dataset.colour" in said(capsys, "train", "dataset=image_folder", "--help")[0]
