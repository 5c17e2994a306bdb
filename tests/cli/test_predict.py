"""`ch12 predict` against plain torch on the saved weights, and every mistake in a file refused before any answer."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ch12cli.cli.main import main
from ch12cli.data import iris, two_class
from tests.conftest import Train
from tests.data.bad_rows import BAD, HEADER, NAMES, ROW, TOO_LARGE, Bad, text

QUICK = ("epochs=4", "batch_size=16", "optimizer.lr=0.02")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on Iris, 4-16-3 with ReLU, on standardised features."""
    directory = tmp_path_factory.mktemp("runs") / "iris"
    assert main(["train", "-q", *QUICK, "device=cpu", f"hydra.run.dir={directory}"]) == 0
    return directory


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """All of Iris: a number, the features in another order, the species."""
    table = iris()
    lines = ["number,petal_width,petal_length,sepal_width,sepal_length,species"]
    for number, (features, species) in enumerate(zip(table.features.tolist(), table.target, strict=True)):
        lines.append(",".join([str(number), *map(repr, reversed(features)), table.class_names[species]]))
    path = tmp_path / "flowers.csv"
    path.write_bytes(text(*lines))
    return path


def scaled_by_hand(features: np.ndarray, training: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((features - training.mean(0)) / training.std(0)).float()


def by_hand(directory: Path, x: torch.Tensor, activation: type[nn.Module] = nn.ReLU) -> torch.Tensor:
    """What a network of two layers gives, built by hand from model.pt."""
    model = nn.Sequential(nn.Linear(x.shape[1], 16), activation(), nn.Linear(16, 3))
    model.load_state_dict(torch.load(directory / "model.pt"))
    return model.eval()(x).detach()


def training_rows(directory: Path) -> np.ndarray:
    """The features of Iris that the run was trained on, by the split's own definition."""
    target = iris().target
    shuffled = np.random.RandomState(1).permutation(150)
    kept = [row for place, row in enumerate(shuffled) if (target[shuffled[:place]] == target[row]).sum() >= 20]
    return iris().features[kept]


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["predict", *words])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    return said.out


def test_classes_and_probabilities_are_those_of_the_network_built_by_hand(
    run: Path, rows_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.DictReader(io.StringIO(answer(capsys, str(run), str(rows_file)))))
    expected = by_hand(run, scaled_by_hand(iris().features, training_rows(run)))
    shares = torch.softmax(expected, 1)
    names = iris().class_names
    assert list(rows[0]) == ["number", "species", "predicted", *(f"p_{name}" for name in names)]
    assert [row["number"] for row in rows] == [str(number) for number in range(150)]
    assert [row["species"] for row in rows] == [names[number] for number in iris().target]
    assert [row["predicted"] for row in rows] == [names[number] for number in expected.argmax(1)]
    assert len({row["predicted"] for row in rows}) == 3
    found = torch.tensor([[float(row[f"p_{name}"]) for name in names] for row in rows])
    assert torch.allclose(found, shares, atol=1e-6)
    assert torch.allclose(found.sum(1), torch.ones(150))


def test_the_accuracy_on_the_test_rows_is_the_one_in_the_result(
    run: Path, rows_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(csv.DictReader(io.StringIO(answer(capsys, str(run), str(rows_file)))))
    target, shuffled = iris().target, np.random.RandomState(1).permutation(150)
    tested = [row for place, row in enumerate(shuffled) if (target[shuffled[:place]] == target[row]).sum() < 10]
    right = [rows[row]["predicted"] == rows[row]["species"] for row in tested]
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert len(right) == 30
    assert np.mean(right) == pytest.approx(result["test"]["accuracy"], abs=1e-12)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("options", "shares"),
    [
        (["loss=cross_entropy", "model.output=softmax"], lambda z: torch.softmax(z, 1)),
        (["loss=nll"], lambda z: torch.softmax(z, 1)),
        (["loss=cross_entropy", "model.output=none"], lambda z: torch.softmax(z, 1)),
    ],
    ids=["softmax", "log_softmax", "logits"],
)
def test_every_kind_of_output_gives_valid_probabilities(
    train: Train, rows_file: Path, capsys: pytest.CaptureFixture[str], options: list[str], shares: Callable
) -> None:
    directory = train(*QUICK, *options).directory
    rows = list(csv.DictReader(io.StringIO(answer(capsys, str(directory), str(rows_file)))))
    expected = shares(by_hand(directory, scaled_by_hand(iris().features, training_rows(directory))))
    found = torch.tensor([[float(row[f"p_{name}"]) for name in iris().class_names] for row in rows])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("loss", ["bce", "bce_logits"])
def test_one_output_gives_the_probability_of_the_second_class(
    train: Train, folder: Path, capsys: pytest.CaptureFixture[str], loss: str
) -> None:
    options = ["dataset=two_class", f"loss={loss}", "model=linear", "epochs=20", "optimizer.lr=0.05"]
    directory = train(*options, "dataset.shape=blobs").directory
    points = two_class("blobs").features
    (folder / "points.csv").write_bytes(text("x1,x2", *(f"{a!r},{b!r}" for a, b in points.tolist())))
    rows = list(csv.DictReader(io.StringIO(answer(capsys, str(directory), "points.csv"))))
    weights = torch.load(directory / "model.pt")
    logits = torch.tensor(points, dtype=torch.float32) @ weights["0.weight"].t() + weights["0.bias"]
    second = torch.sigmoid(logits)[:, 0]
    assert torch.allclose(torch.tensor([float(row["p_1"]) for row in rows]), second, atol=1e-6)
    assert [float(row["p_0"]) for row in rows] == [1 - float(row["p_1"]) for row in rows]
    assert [row["predicted"] for row in rows] == [str(int(share >= 0.5)) for share in second]
    assert {row["predicted"] for row in rows} == {"0", "1"}


def test_regression_values_equal_a_line_computed_by_hand(
    train: Train, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = train("experiment=book/linear_scratch").directory
    (folder / "x.csv").write_bytes(b"x\n0\n4.5\n9\n-1e3\n")
    rows = json.loads(answer(capsys, str(directory), "x.csv", "--format", "json"))
    x = np.arange(10, dtype=np.float32)
    mean, deviation = x.mean(), x.std()  # in float32, as the chapter's points are
    for row, value in zip(rows, (0, 4.5, 9, -1000), strict=True):
        # the chapter's weight and bias
        expected = 2.6696107387542725 * float((np.float32(value) - mean) / deviation) + 4.879678249359131
        assert row == {"predicted": pytest.approx(expected, rel=1e-6)}


def test_the_best_checkpoint_can_be_selected(train: Train, rows_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["optimizer.lr=2", "epochs=8", "batch_size=8", "optimizer=sgd", "optimizer.momentum=0.9"]
    directory = train(*options).directory
    best = torch.load(directory / "checkpoints" / "best.pt")
    assert best["epoch"] < 8
    last = answer(capsys, str(directory), str(rows_file))
    rows = list(csv.DictReader(io.StringIO(answer(capsys, str(directory), str(rows_file), "--checkpoint", "best"))))
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    model.load_state_dict(best["network"])
    expected = torch.softmax(model(scaled_by_hand(iris().features, training_rows(directory))), 1)
    found = torch.tensor([[float(row[f"p_{name}"]) for name in iris().class_names] for row in rows])
    assert torch.allclose(found, expected, atol=1e-6)
    assert [row["p_setosa"] for row in rows] != [row["p_setosa"] for row in csv.DictReader(io.StringIO(last))]


def test_json_and_csv_have_the_same_values_and_a_table_rounds_them(
    run: Path, rows_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_csv = list(csv.DictReader(io.StringIO(answer(capsys, str(run), str(rows_file)))))
    as_json = json.loads(answer(capsys, str(run), str(rows_file), "--format", "json"))
    table = answer(capsys, str(run), str(rows_file), "--format", "table").splitlines()
    assert table[0].split() == list(as_csv[0])
    for row, one, line in zip(as_csv, as_json, table[1:], strict=True):
        shares = {name.removeprefix("p_"): float(row.pop(name)) for name in list(row) if name.startswith("p_")}
        assert one == {**row, "probabilities": shares}
        assert line.split() == [*row.values(), *(f"{share:.4f}" for share in shares.values())]


def test_the_output_file_is_replaced_as_a_whole(
    run: Path, rows_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = answer(capsys, str(run), str(rows_file))
    output = tmp_path / "answer.csv"
    output.write_text("old")
    (tmp_path / "link.csv").symlink_to("answer.csv")
    assert answer(capsys, str(run), str(rows_file), "-o", str(tmp_path / "link.csv")) == ""
    assert output.read_text(encoding="utf-8") == printed
    assert (tmp_path / "link.csv").is_symlink()
    assert answer(capsys, str(run), str(rows_file), "-o", "-") == printed
    assert sorted(file.name for file in tmp_path.iterdir()) == ["answer.csv", "flowers.csv", "link.csv"]


@pytest.mark.slow
def test_standard_input_and_output_work_in_an_ascii_locale(run: Path, rows_file: Path) -> None:
    content = rows_file.read_text(encoding="utf-8").replace("number,", "größe,").encode()
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "ch12cli", "predict", str(run), "-"]
    done = subprocess.run(command, input=content, capture_output=True, env=environment, check=True)
    assert done.stderr == b""
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert len(rows) == 150
    assert next(iter(rows[0])) == "größe"


@pytest.mark.parametrize("bad", [*BAD, *TOO_LARGE], ids=[bad.name for bad in [*BAD, *TOO_LARGE]])
def test_a_bad_file_is_refused_with_line_and_column(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Bad
) -> None:
    file, output = tmp_path / "flowers.csv", tmp_path / "answer.csv"
    file.write_bytes(bad.content)
    assert main(["predict", str(run), str(file), "-o", str(output)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    for part in (str(file), *bad.says):
        assert part in said.err
    assert all(line.startswith("ch12: ") for line in said.err.splitlines())
    assert all(letter.isprintable() for line in said.err.splitlines() for letter in line)
    assert not output.exists()


def test_paths_that_are_not_regular_files_are_refused_at_once(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "rows.csv").write_bytes(text(HEADER, ROW))
    rows, pipe = str(tmp_path / "rows.csv"), str(tmp_path / "pipe")
    for words, part in (
        ([str(tmp_path)], "is a directory"),
        ([pipe], "is a pipe"),
        ([str(tmp_path / "row.csv")], "is it"),
        (["/dev/zero"], "is a device"),
        ([rows, "-o", pipe], "is not a file"),
        ([rows, "-o", "/dev/null"], "is not a file"),
        ([rows, "-o", str(tmp_path)], "is not a file"),
        ([rows, "-o", rows], "is the file with the rows"),
        ([rows, "-o", str(tmp_path / "no" / "answer.csv")], "there is no directory"),
        ([rows, "-o", "x" * 5000], "cannot be written"),
        ([rows, "more"], "unexpected argument"),
        ([], "no rows given"),
    ):
        assert main(["predict", str(run), *words]) == 2, words
        said = capsys.readouterr()
        assert said.out == ""
        assert part in said.err, words
    assert Path(rows).read_bytes() == text(HEADER, ROW)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pipe", "rows.csv"]


def test_an_input_column_with_the_name_of_an_output_column_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_bytes(text(f"{HEADER},predicted,p_setosa", f"{ROW},setosa,1"))
    assert main(["predict", str(run), str(tmp_path / "rows.csv")]) == 2
    assert "predicted, p_setosa would occur twice" in capsys.readouterr().err


@pytest.mark.slow
def test_neither_help_nor_a_wrong_option_nor_a_missing_file_imports_torch(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for words, expected in (
        (["predict", "--help"], 0),
        (["predict", "--fromat", "csv"], 2),
        (["predict", "run", "nothing.csv"], 2),
        (["eval", "--help"], 0),
        (["eval", "--split", "all", "nowhere"], 2),
        (["repro", "--help"], 0),
        (["repro", "--quite", "run"], 2),
        (["resume", "--help"], 0),
    ):
        code = "import sys; from ch12cli.cli.main import main; code = main(sys.argv[1:])\n"
        code += "sys.exit(99 if 'torch' in sys.modules else code)"
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, cwd=tmp_path)
        assert done.returncode == expected, (words, done.stderr)


def test_class_names_are_those_of_the_data_set() -> None:
    assert iris().feature_names == NAMES
