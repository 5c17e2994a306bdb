"""Runs that learn from a file of the user's own: trained, gone on with and predicted from, alone and stacked."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.data import Table, prepare
from ch12cli.data.flowers import IRIS_FILE
from tests.conftest import Train

COLOURS = """id;size;colour;grade
1;2.5;red;good
2;NA;blue;bad
3;3;;good
4;1;red;bad
5;2;green;good
6;4;green;good
7;5;red;good
8;4;blue;bad
"""
OF_COLOURS = ["dataset=csv", "dataset.file=colours.csv", "dataset.separator=semicolon", "dataset.exclude=[id]"]
WORDS = [*OF_COLOURS, "dataset.missing=median", "dataset.split_seed=2", "epochs=3", "device=cpu"]


@pytest.fixture
def colours(folder: Path) -> Path:
    (folder / "colours.csv").write_text(COLOURS, encoding="utf-8")
    return folder


def test_flowers_from_a_file_give_the_same_run_as_the_shipped_ones(folder: Path, train: Train) -> None:
    (folder / "flowers.csv").write_bytes(IRIS_FILE.read_bytes())
    shipped = train("epochs=3")
    own = train("dataset=csv", "dataset.file=flowers.csv", "dataset.split=stratified", "epochs=3")
    for name, value in shipped.model.state_dict().items():
        assert torch.equal(value, own.model.state_dict()[name])


def test_a_prediction_encodes_fills_and_scales_as_in_training(
    colours: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(*WORDS)
    (colours / "new.csv").write_text("colour;size;note\nred;;a\n;3;b\n", encoding="utf-8")
    assert main(["predict", str(run.directory), "new.csv", "--format", "json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    state = torch.load(run.directory / "checkpoints" / "last.pt")
    assert state["feature_names"] == ["size", "colour=blue", "colour=green", "colour=red"]
    scaling = state["scaling"]
    rows = np.array([[scaling["fill"][0], 0, 0, 1], [3, 0, 0, 0]])
    x = (rows - scaling["mean"]) / scaling["deviation"]
    with torch.no_grad():
        good = run.model(torch.tensor(x, dtype=torch.float32))[:, 0].tolist()
    assert [answer["probabilities"]["good"] for answer in answers] == pytest.approx(good, rel=1e-6)
    assert [answer["note"] for answer in answers] == ["a", "b"]


def test_a_prediction_reads_numbers_as_training_did(
    folder: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["a;1.050,5 €;5 %;2021-01-01;Rome;1", "b;950 €;12,5 %;2021-01-03;Oslo;2,5", "c;1 €;1 %;2021-01-05;Rome;3,5"]
    (folder / "prices.csv").write_text("\n".join([";price;share;since;city;y", *rows]), encoding="utf-8")
    plain = ["1050.5,5,18628,Rome,1", "950,12.5,18630,Oslo,2.5", "1,1,18632,Rome,3.5"]
    (folder / "plain.csv").write_text("\n".join(["price,share,since,city,y", *plain]), encoding="utf-8")
    layout = ["dataset.separator=semicolon", "dataset.decimal=comma", "dataset.numbers=[since]"]
    common = ["dataset=csv", "dataset.test_size=0", "dataset.valid_size=0", "epochs=2", "device=cpu"]
    run = train(*common, "dataset.file=prices.csv", *layout)
    same = train(*common, "dataset.file=plain.csv")
    assert torch.equal(run.model.state_dict()["0.weight"], same.model.state_dict()["0.weight"])
    answers = []
    new = {
        "new.csv": ";city;since;share;price\nx;Oslo;2021-02-03;2,5 %;2.000 €\n",
        "new_plain.csv": "city,since,share,price\nOslo,18661,2.5,2000\n",
    }
    for name, directory in (("new.csv", run.directory), ("new_plain.csv", same.directory)):
        (folder / name).write_text(new[name], encoding="utf-8")
        capsys.readouterr()
        assert main(["predict", str(directory), name, "--format", "json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)[0]["predicted"])
    assert answers[0] == answers[1]
    unseen = new["new.csv"].replace("Oslo", "Paris")
    (folder / "new.csv").write_text(unseen.replace("2.000 €", "2.000"), encoding="utf-8")
    assert main(["predict", str(run.directory), "new.csv"]) == 2
    said = capsys.readouterr().err
    assert "'2.000' is not a number before €" in said
    assert "'Paris' did not occur in training" in said
    (folder / "new.csv").write_text(unseen, encoding="utf-8")
    assert main(["predict", str(run.directory), "new.csv", "--allow-unseen"]) == 0
    assert "encoded as none of the known texts: 'Paris' (line 2, column city)" in capsys.readouterr().err


def test_omitted_rows_are_counted_in_a_message(colours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *OF_COLOURS, "dataset.missing=drop", "epochs=1", "device=cpu", "hydra.run.dir=run"]) == 0
    assert "colours.csv: 2 of 8 rows left out, which have missing values" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_over_columns_trains_each_choice(colours: Path) -> None:
    swept = ["dataset.features=[size],[size,colour]", "seed=1,2", "hydra.sweep.dir=sweep"]
    assert main(["train", "-q", "-m", *WORDS, *swept]) == 0
    rows = list(csv.DictReader((colours / "sweep" / "sweep.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["status"], row["parameters"]) for row in rows] == [("finished", str(n)) for n in (49, 49, 97, 97)]


def test_a_changed_or_missing_file_is_noticed(colours: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(*WORDS)
    resume = ["resume", str(run.directory), "epochs=5", "-q"]
    (colours / "colours.csv").write_text(COLOURS.replace("4;blue", "9;blue"), encoding="utf-8")
    assert main(resume) == 2
    assert "its data set gives other data than it was trained on" in capsys.readouterr().err
    (colours / "colours.csv").rename("moved.csv")
    assert main(resume) == 2
    assert "dataset.file=colours.csv: there is no such file" in capsys.readouterr().err
    (colours / "moved.csv").write_text(COLOURS, encoding="utf-8")
    assert main([*resume, "dataset.file=moved.csv"]) == 0


def test_a_users_program_sees_the_filled_features(colours: Path, train: Train) -> None:
    run = train(*WORDS)
    assert main(["export", str(run.directory), "-o", "program.py"]) == 0
    with np.load(colours / "program.npz") as arrays:
        assert np.isfinite(arrays["features"]).all()
        assert arrays["features"].shape == (8, 4)


def test_missing_values_are_filled_from_the_training_rows() -> None:
    features = np.array([[1.0], [np.nan], [3.0], [100.0]])
    table = Table(
        features, np.array([0.0, 1, 2, 3]), feature_names=("a",), target_name="y", source="test", missing="mean"
    )
    assert prepare(table, test_size=1, split="ordered").scaling.fill == (2.0,)
