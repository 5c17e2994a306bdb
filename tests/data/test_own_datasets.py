"""Data sets of a user's own against the arrays that they are made of; what is wrong with a row, as whole messages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ch12cli.cli.main import main
from ch12cli.data import prepare
from ch12cli.data.own_datasets import JoinedRows, as_numbers, datasets, is_dataset
from ch12cli.errors import InputError
from ch12cli.files.result_json import read_result
from tests.conftest import Train
from tests.data.my_datasets import POINTS, SIDES, Late, Named, Pictures, Points, Stream

HERE = "tests.data.my_datasets"
X = POINTS.numpy()


def test_rows_of_pairs_and_of_mappings_are_taken_when_they_are_needed() -> None:
    for made, names in ((Points(), ("0", "1")), (Named(), ("left", "right"))):
        table = datasets(made)
        assert isinstance(table.features, JoinedRows)
        assert (table.rows, table.class_names, table.shape) == (90, names, None)
        assert np.array_equal(table.target, SIDES.numpy())
        assert np.array_equal(table.features.take(np.array([5, 80, 5])), X[[5, 80, 5]])
        parts = prepare(table, valid_size=0.2, test_size=9, split="stratified")
        assert parts.valid is not None
        assert (len(parts.train.x), len(parts.valid.x)) == (63, 18)
        assert np.array_equal(parts.valid.x[:], X[parts.valid.rows])
    assert datasets(Pictures()).shape == (2, 6, 5)
    assert datasets(Pictures()).class_names == ("class 0", "class 1", "class 2")
    assert datasets(Points(), target_type="values").class_names is None


def test_data_sets_of_the_parts_become_the_parts() -> None:
    for kind in (Points, Stream):
        table = datasets(kind(0, 50), valid=kind(50, 70), test=kind(70, 90))
        parts = prepare(table)
        assert parts.valid is not None
        assert parts.test is not None
        assert parts.valid.rows.tolist() == list(range(50, 70))
        assert parts.test.rows.tolist() == list(range(70, 90))
        assert np.array_equal(parts.test.x[:], X[70:])
        assert sorted(parts.train.rows) == list(range(50))
    with pytest.raises(InputError) as refused:
        prepare(datasets(Points(0, 50), valid=Points(50, 70), test=Points(70, 90)), valid_size=0.1, test_size=5)
    assert [message.partition(":")[0] for message in refused.value.messages] == [
        "dataset.test_size=5",
        "dataset.valid_size=0.1",
    ]


def test_an_iterable_keeps_its_order_and_what_it_does_not_allow_is_refused() -> None:
    table = datasets(Stream())
    assert table.notes == (
        f"{HERE}.Stream is iterable: its rows are not shuffled, split or scaled, and one worker at most takes them",
    )
    parts = prepare(table)
    assert parts.train.rows.tolist() == list(range(90))
    for rows in ([0, 1, 2], [3, 4], [1, 7], [80, 89]):
        assert np.array_equal(parts.train.x[np.array(rows)], X[rows])
    with pytest.raises(InputError) as refused:
        prepare(table, test_size=0.1, valid_size=9, scaling="standard")
    rule = "the data set is iterable, and its rows cannot be chosen; leave it out, or"
    assert refused.value.messages == [
        f"dataset.test_size=0.1: {rule} give dataset.test",
        f"dataset.valid_size=9: {rule} give dataset.valid",
        f"dataset.scaling=standard: {rule} scale them in the data set",
    ]


class Rows(list[Any]):
    """Rows that are a data set, not a list."""


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1.0], "row 0: is a float; must be a pair (input, target), or a mapping"),
        ([(1, 2, 3)], "row 0: is a tuple of 3; must be a pair (input, target), or a mapping"),
        ([("a", 1)], "row 0: its input is <U1 of shape (); must be numbers"),
        ([([1.0], 1), ([float("nan")], 2)], "row 1: its input has a value that is not finite; must all be finite"),
        ([([1.0], [1, 2])], "row 0: its target has shape (2,); must be one number or one text"),
        ([{"a": 1, "b": 2, "label": 3}], "row 0: has the keys a, b, label; set dataset.inputs and dataset.target"),
        ([], "is empty; must have at least one row"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(rows: list[Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        datasets(Rows(rows), source="mine")
    assert str(refused.value) == f"mine: {message}"


class Same(Stream):
    """The same generator at each call of __iter__, which has ended after the first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = super().__iter__()

    def __iter__(self) -> Any:
        return self.rows


class Itself:
    """An iterator that begins anew at each call of __iter__, as that of an older Python class."""

    def __iter__(self) -> "Itself":
        self.row = -1
        return self

    def __next__(self) -> tuple[torch.Tensor, int]:
        self.row += 1
        if self.row == 8:
            raise StopIteration
        return POINTS[self.row], self.row % 2


@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (Same(), "does not give its rows again; its __iter__ must begin anew at each call"),
        (zip(POINTS, SIDES, strict=True), "does not give its rows again; its __iter__ must begin anew at each call"),
        (Stream(0, 0), "is empty; must have at least one row"),
        (Points(0, 0), "is empty; must have at least one row"),
    ],
)
def test_an_iterable_that_is_empty_or_does_not_begin_anew_is_refused_with_the_rule(made: Any, rule: str) -> None:
    with pytest.raises(InputError) as refused:
        datasets(made, source="mine").features.take(np.array([0]))
    assert refused.value.messages == [f"mine: {rule}"]


def test_an_iterable_may_be_its_own_iterator() -> None:
    table = datasets(Itself())
    assert np.array_equal(table.features.take(np.arange(8)), X[:8])


def test_a_row_of_another_shape_and_a_key_that_is_not_there_are_named() -> None:
    rows = datasets(Rows([([1.0, 2], 0), ([1.0], 1)]), source="mine").features
    with pytest.raises(InputError, match=r"mine: row 1: its input has shape \(1,\), and the first row has \(2,\)"):
        rows.take(np.array([1]))
    with pytest.raises(InputError, match=r"dataset\.inputs=x: mine: row 0 has no such key; it has a, label"):
        datasets(Rows([{"a": 1, "label": 0}]), inputs="x", source="mine")


def test_images_tensors_and_numbers_are_inputs() -> None:
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 2, 3))
    assert np.array_equal(as_numbers(image), np.arange(24, dtype=np.float32).reshape(4, 2, 3).transpose(2, 0, 1) / 255)
    assert as_numbers(torch.ones(2, dtype=torch.bfloat16)).tolist() == [1, 1]
    assert as_numbers(3).shape == ()


def test_tables_and_collections_are_no_such_data_sets() -> None:
    others: list[Any] = [([1], [2]), np.zeros(3), {}, "abc", 5, None]
    assert [is_dataset(value) for value in others] == [False] * 6
    assert all(map(is_dataset, (Points(), Stream(), iter([]))))


def test_hugging_face_data_sets_are_taken() -> None:
    hugging = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    made = hugging.Dataset.from_dict({"point": X.tolist(), "label": SIDES.tolist()})
    table = datasets(made)
    assert np.allclose(table.features[:], X)
    assert np.array_equal(table.target, SIDES.numpy())
    streamed = datasets(made.to_iterable_dataset())
    assert np.allclose(streamed.features[:], X)


RUN = ("dataset=torch", "epochs=2", "batch_size=8", "model.width=5", "optimizer.lr=0.05")


def train_set(name: str, **arguments: int) -> str:
    given = "".join(f",{key}:{value}" for key, value in arguments.items())
    return f"dataset.train={{_target_:{HERE}.{name}{given}}}"


def test_runs_on_a_data_set_and_on_its_arrays_have_the_same_bits_and_resume(train: Train, folder: Path) -> None:
    np.savez("points.npz", x=X, y=SIDES.numpy())
    sizes = ("dataset.valid_size=0.2", "dataset.test_size=0.1")
    words = (*RUN, train_set("Points"), *sizes)
    train(*words, "hydra.run.dir=a")
    table = ("dataset=table", "dataset.file=points.npz", "dataset.scaling=none", "dataset.target_type=classes")
    train(*table, *RUN[1:], *sizes, "precision=float32", "hydra.run.dir=b")
    train(*words, "epochs=1", "hydra.run.dir=c")
    assert main(["resume", "-q", "--trust", "c", "epochs=2"]) == 0
    a, b, c = (torch.load(f"{name}/model.pt") for name in "abc")
    assert all(torch.equal(value, c[name]) for name, value in a.items())
    assert all(torch.equal(value, b[name]) for name, value in a.items())
    assert main(["eval", "--trust", "a"]) == 0
    assert main(["eval", "a"]) == 2


def test_an_iterable_trains_in_its_order_and_a_target_of_values_is_learned(train: Train, folder: Path) -> None:
    valid = f"dataset.valid={{_target_:{HERE}.Stream,start:60}}"
    outcome = train(*RUN, train_set("Stream", end=60), valid, "epochs=30", "monitor=valid_r2", "hydra.run.dir=s")
    assert outcome.rows[-1]["valid_r2"] > 0.5


def test_an_exception_of_the_data_set_is_shown_with_its_place(train: Train, folder: Path) -> None:
    line = next(number for number, text in enumerate(source_lines(), 1) if "the file is gone" in text)
    message = f"row 40: OSError: the file is gone (my_datasets.py, line {line})"
    with pytest.raises(InputError) as refused:
        train(*RUN, train_set("Points", bad=40))
    assert message in str(refused.value)
    with pytest.raises(InputError) as refused:
        train(*RUN, train_set("Late", bad=40), "hydra.run.dir=r")
    assert message in str(refused.value)
    result = read_result("r/result.json")
    assert result is not None
    assert result.status == "failed"
    assert message in str(result.error)


def source_lines() -> list[str]:
    return (Path(__file__).parent / "my_datasets.py").read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_workers_change_nothing_and_their_exceptions_are_shown(
    train: Train, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Points", "Stream"):
        for workers in (0, 2):
            train(*RUN, train_set(name), f"workers={workers}", f"hydra.run.dir={name}{workers}")
        plain, loaded = (torch.load(f"{name}{workers}/model.pt") for workers in (0, 2))
        assert all(torch.equal(value, loaded[key]) for key, value in plain.items())
    assert main(["train", "-q", *RUN, train_set("Late", bad=40), "workers=2", "device=cpu"]) == 2
    assert "row 40: OSError: the file is gone (my_datasets.py, line" in capsys.readouterr().err
    assert isinstance(Late(3), Points)
