"""`ch12 eval`: figures equal to those that training noted, classes counted by hand from the saved weights."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ch12cli.cli.main import main
from ch12cli.data import iris
from ch12cli.training.checkpoint import load, sealed_bytes
from tests.conftest import Train

RUNS = {
    "iris": ["epochs=6", "batch_size=16"],
    "dropout and a schedule": ["epochs=3", "batch_size=16", "model.dropout=0.3", "scheduler=cosine"],
    "the book's iris": ["experiment=book/iris", "epochs=1"],
    "float64": ["epochs=2", "batch_size=16", "precision=float64"],
    "log-probabilities": ["epochs=2", "batch_size=16", "loss=nll"],
    "two classes": ["dataset=two_class", "epochs=3", "batch_size=16"],
    "logits of two classes": ["dataset=two_class", "epochs=3", "batch_size=16", "loss=bce_logits"],
    "no test part": ["experiment=book/xor_mlp", "epochs=2", "batch_size=16"],
    "training part alone": ["experiment=book/linear", "epochs=4"],
    "values": [
        *("dataset=toy_regression", "dataset.kind=curve", "dataset.size=60", "epochs=3"),
        *("dataset.valid_size=0.2", "dataset.test_size=0.2", "dataset.split=random", "batch_size=8"),
    ],
    "a best epoch in between": [
        "optimizer=sgd",
        "optimizer.momentum=0.9",
        "optimizer.lr=2",
        "epochs=8",
        "batch_size=8",
    ],
}


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    code = main(["eval", *words, "--format", "json"])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    return json.loads(said.out)


def metrics_of(part: dict) -> dict[str, float]:
    return {name: value for name, value in part.items() if name in ("loss", "accuracy", "mae", "r2")}


def rows_of(directory: Path) -> list[dict[str, float]]:
    with open(directory / "metrics.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", RUNS)
def test_metrics_equal_those_recorded_in_training(train: Train, capsys: pytest.CaptureFixture[str], name: str) -> None:
    directory = train(*RUNS[name]).directory
    rows, result = rows_of(directory), json.loads((directory / "result.json").read_text(encoding="utf-8"))
    noted = {"last": rows[-1], "best": rows[int(result["best"]["epoch"]) - 1]}
    for checkpoint, row in noted.items():
        found = evaluated(capsys, str(directory), "--split", "all", "--checkpoint", checkpoint)
        assert (found["checkpoint"], found["epoch"]) == (checkpoint, row["epoch"])
        assert ("valid" in found["parts"]) == ("valid_loss" in row)
        if "valid" in found["parts"]:
            columns = {name.removeprefix("valid_"): value for name, value in row.items() if name.startswith("valid_")}
            assert metrics_of(found["parts"]["valid"]) == columns
        if checkpoint == "last":
            assert (metrics_of(found["parts"]["test"]) if "test" in found["parts"] else None) == result["test"]


def test_last_and_best_are_different_checkpoints(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["a best epoch in between"]).directory
    last, best = (evaluated(capsys, str(directory), "--checkpoint", which) for which in ("last", "best"))
    assert best["epoch"] < last["epoch"] == 8
    assert best["parts"]["test"]["loss"] != last["parts"]["test"]["loss"]


def test_class_metrics_equal_those_counted_by_a_plain_loop(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train("epochs=8", "batch_size=8").directory
    table, shuffled = iris(), np.random.RandomState(1).permutation(150)
    turn = {row: (table.target[shuffled[:place]] == table.target[row]).sum() for place, row in enumerate(shuffled)}
    train_rows = [row for row in shuffled if turn[row] >= 20]
    test_rows = [row for row in shuffled if turn[row] < 10]
    training = table.features[train_rows]
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    model.load_state_dict(torch.load(directory / "model.pt"))
    names = table.class_names
    for part, rows in (("train", train_rows), ("test", test_rows)):
        x = torch.from_numpy((table.features[rows] - training.mean(0)) / training.std(0)).float()
        predicted = model(x).argmax(1).tolist()
        found = evaluated(capsys, str(directory), "--split", part)["parts"][part]
        confusion = [[0] * 3 for _ in range(3)]
        for true, said in zip(table.target[rows].tolist(), predicted, strict=True):
            confusion[true][said] += 1
        assert found["confusion"] == confusion
        assert found["rows"] == len(rows)
        assert found["accuracy"] == pytest.approx(sum(confusion[c][c] for c in range(3)) / len(rows))
        for c in range(3):
            said = [p == c for p in predicted]
            true = [t == c for t in table.target[rows]]
            both = sum(a and b for a, b in zip(said, true, strict=True))
            precision = both / sum(said) if sum(said) else None
            recall = both / sum(true)
            figures = found["classes"][names[c]]
            assert figures["precision"] == (None if precision is None else pytest.approx(precision))
            assert figures["recall"] == pytest.approx(recall)
            assert figures["support"] == sum(true)
            if both:
                assert figures["f1"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_ratio_with_denominator_zero_is_none(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train("epochs=1", "batch_size=16").directory  # which still takes all flowers for one kind
    part = evaluated(capsys, str(directory))["parts"]["test"]
    never = [c for c in range(3) if sum(row[c] for row in part["confusion"]) == 0]
    assert never
    for c in never:
        assert part["classes"][iris().class_names[c]] == {"precision": None, "recall": 0, "f1": 0, "support": 10}
    main(["eval", str(directory)])
    assert any(
        line.split() == ["setosa", "-", "0.0000", "0.0000", "10"] for line in capsys.readouterr().out.split("\n")
    )


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("name", "part"), [("iris", "test"), ("no test part", "valid"), ("training part alone", "train")]
)
def test_the_default_part_is_test_then_valid_then_train(
    train: Train, capsys: pytest.CaptureFixture[str], name: str, part: str
) -> None:
    directory = train(*RUNS[name]).directory
    assert list(evaluated(capsys, str(directory))["parts"]) == [part]


def test_csv_holds_every_value_of_the_json(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["iris"]).directory
    parts = evaluated(capsys, str(directory), "--split", "all")["parts"]
    assert main(["eval", str(directory), "--split", "all", "--format", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == ["split", "figure", "class", "predicted", "value"]
    names = iris().class_names
    expected = {}
    for part, figures in parts.items():
        for metric in ("rows", "loss", "accuracy"):
            expected[part, metric, "", ""] = str(figures[metric])
        for c, name in enumerate(names):
            for figure, value in figures["classes"][name].items():
                expected[part, figure, name, ""] = "" if value is None else str(value)
            for d, other in enumerate(names):
                expected[part, "confusion", name, other] = str(figures["confusion"][c][d])
    assert {tuple(row[:4]): row[4] for row in rows[1:]} == expected
    assert len(rows) == 1 + 3 * (3 + 3 * 4 + 9)


def test_the_table_shows_what_json_holds(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["iris"]).directory
    part = evaluated(capsys, str(directory))["parts"]["test"]
    assert main(["eval", str(directory)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [str(directory) + ",", "last", "checkpoint:", "after", "epoch", "6"] in lines
    assert ["accuracy", f"{part['accuracy']:.4f}"] in lines
    for name, counts in zip(iris().class_names, part["confusion"], strict=True):
        assert [name, *map(str, counts)] in lines


def test_a_regression_has_no_class_metrics(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["values"]).directory
    assert set(evaluated(capsys, str(directory))["parts"]["test"]) == {"rows", "loss", "mae", "r2"}


def test_a_run_of_a_stack_has_its_recorded_metrics_up_to_rounding(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-q", "-m", "epochs=4", "batch_size=16", "seed=1,2", "hydra.sweep.dir=sweep"]) == 0
    capsys.readouterr()
    for job in ("0", "1"):
        result = json.loads((folder / "sweep" / job / "result.json").read_text(encoding="utf-8"))
        assert result["stacked"] == 2
        found = evaluated(capsys, f"sweep/{job}")["parts"]["test"]
        assert metrics_of(found) == pytest.approx(result["test"], rel=1e-5)


def test_a_moved_run_without_its_best_checkpoint_is_still_evaluated(
    train: Train, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = train(*RUNS["a best epoch in between"]).directory
    before = evaluated(capsys, str(directory), "--checkpoint", "best")["parts"]
    (directory / "checkpoints" / "best.pt").unlink()
    directory.rename(folder / "moved")
    assert evaluated(capsys, "moved", "--checkpoint", "best")["parts"] == before


def test_the_best_checkpoint_is_used_if_the_others_are_damaged(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = train(*RUNS["a best epoch in between"]).directory
    before = evaluated(capsys, str(directory), "--checkpoint", "best")["parts"]
    (directory / "checkpoints" / "last.pt").write_bytes(b"x")
    (directory / "checkpoints" / "previous.pt").unlink()
    assert main(["eval", str(directory), "--checkpoint", "best", "--format", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["parts"] == before
    assert said.err.count("ch12: warning: skipped: ") == 2
    assert main(["eval", str(directory)]) == 2


def test_data_that_differ_from_training_are_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["two classes"]).directory
    for name in ("last.pt", "previous.pt"):
        state = load(directory / "checkpoints" / name)
        settings = json.loads(state["settings"])
        settings["dataset"]["seed"] = 2
        state["settings"] = json.dumps(settings)
        (directory / "checkpoints" / name).write_bytes(sealed_bytes(state))
    assert main(["eval", str(directory)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "gives other data than it was trained on" in said.err


def test_an_unavailable_device_is_replaced_and_named(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    directory = train(*RUNS["iris"]).directory
    before = evaluated(capsys, str(directory))
    state = load(directory / "checkpoints" / "last.pt")
    settings = json.loads(state["settings"])
    settings["device"] = "cuda:77"
    state["settings"] = json.dumps(settings)
    (directory / "checkpoints" / "last.pt").write_bytes(sealed_bytes(state))
    assert main(["eval", str(directory), "--format", "json"]) == 0
    said = capsys.readouterr()
    assert "device cuda:77, which is not available here" in said.err
    if not torch.cuda.is_available():
        assert json.loads(said.out) == before


WRONG = [
    ([], "no run given"),
    (["nowhere"], "no such directory"),
    (["."], "is not the directory of a run"),
    (["run", "run"], "unexpected argument"),
    (["run/model.pt"], "is a file; name the directory"),
    (["run", "--split", "valid"], "no such part; they have train, test"),
    (["run", "--split", "half"], "--split"),
    (["run", "--splt", "test"], "did you mean `--split`?"),
    (["run", "--checkpoint", "first"], "--checkpoint"),
    (["run\0"], "no such directory"),
    (["x" * 5000], "no such directory"),
]


def test_each_mistake_is_reported_in_one_line(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("epochs=1", "batch_size=16", "dataset.valid_size=0", "hydra.run.dir=run")
    for words, part in WRONG:
        capsys.readouterr()
        assert main(["eval", *words]) == 2, words
        said = capsys.readouterr()
        assert said.out == "", words
        assert part in said.err
        assert said.err.startswith("ch12: ")
        assert said.err.count("\n") == 1


def test_a_sweep_is_refused_with_the_name_of_one_of_its_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-q", "-m", "experiment=debug/fast", "seed=1,2", "hydra.sweep.dir=sweep"]) == 0
    for verb in ("eval", "repro"):
        assert main([verb, "sweep"]) == 2
        assert "is a sweep; name one of its runs, such as sweep/0" in capsys.readouterr().err
