"""From a table to scaled parts, and the configuration files that say how."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import ch12cli.data
from ch12cli.data import Table, csv_file, image_folder, iris, prepare, toy_regression, two_class
from ch12cli.data.columns import Column
from ch12cli.data.new_rows import read_rows
from ch12cli.errors import InputError
from tests.data.test_scaling import Held

CONF = Path(__file__).parents[2] / "conf" / "dataset"


def test_the_chapters_flowers_are_split_and_scaled_as_in_the_chapter():
    ready = prepare(iris(), test_size=1 / 3, scaling="global")
    order = np.random.RandomState(1).permutation(150)
    x, y = iris().features, iris().target
    mean, deviation = np.mean(x[order[50:]]), np.std(x[order[50:]])
    assert np.array_equal(ready.train.x, (x[order[50:]] - mean) / deviation)
    assert np.array_equal(ready.test.x, (x[order[:50]] - mean) / deviation)
    assert np.array_equal(ready.train.y, y[order[50:]])
    assert np.array_equal(ready.test.y, y[order[:50]])
    assert ready.valid is None


@pytest.mark.parametrize("scaling", ["standard", "global"])
def test_only_the_training_part_determines_the_scaling(scaling):
    def ready(far):
        x = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0], [far, far], [far, far]])
        made = Table(x, x[:, 0], feature_names=("a", "b"), target_name="y", source="made")
        return prepare(made, test_size=1, valid_size=1, split="ordered", scaling=scaling)

    assert ready(1e6).scaling == ready(-3.0).scaling
    assert np.array_equal(ready(1e6).train.x, ready(-3.0).train.x)
    assert not np.array_equal(ready(1e6).valid.x, ready(-3.0).valid.x)


def test_parts_have_the_dtype_of_the_table_and_know_their_rows():
    points = toy_regression()
    ready = prepare(points, test_size=2, valid_size=3, split="random", scaling="standard")
    for part, rows in ((ready.train, 5), (ready.valid, 3), (ready.test, 2)):
        assert part.x.dtype == part.y.dtype == np.float32
        assert part.x.shape == (rows, 1)
        assert np.array_equal(part.y, points.target[part.rows])


def test_writing_to_a_part_does_not_change_the_table():
    flowers = iris()
    digest = flowers.digest
    ready = prepare(flowers, scaling="none")
    ready.train.x[:] = 0
    ready.train.y[:] = 0
    assert prepare(flowers, scaling="none").train.x.any()
    assert flowers.digest == digest == iris().digest


def test_all_wrong_arguments_are_reported_together():
    with pytest.raises(InputError) as caught:
        prepare(iris(), test_size=-1, valid_size=2.0, split="none", split_seed=0.5, scaling="all")  # type: ignore[arg-type]
    keys = [problem.split("=")[0] for problem in caught.value.messages]
    assert keys == [f"dataset.{key}" for key in ("test_size", "valid_size", "split", "split_seed", "scaling")]


def test_the_dataset_files_are_those_that_ch12_ships():
    names = ["csv", "idx", "image_folder", "iris", "table", "torch", "toy_regression", "two_class"]
    assert sorted(file.stem for file in CONF.glob("*.yaml")) == names


@pytest.mark.parametrize(
    ("name", "made", "sizes"),
    [
        ("iris", iris, (90, 30, 30)),
        ("two_class", two_class, (100, 100, 0)),
        ("toy_regression", toy_regression, (10, 0, 0)),
        ("image_folder", image_folder, (120, 40, 40)),
    ],
)
def test_each_dataset_file_begins_with_a_sentence_and_its_values_prepare_the_data(name, made, sizes):
    text = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    settings = yaml.safe_load(text)
    assert getattr(ch12cli.data, settings.pop("_target_").removeprefix("ch12cli.data.")) is made
    of_table = {key: settings.pop(key) for key in inspect.signature(made).parameters}
    ready = prepare(made(**of_table), **settings)
    assert {key: parameter.default for key, parameter in inspect.signature(made).parameters.items()} == of_table
    assert tuple(len(part.x) if part else 0 for part in (ready.train, ready.valid, ready.test)) == sizes


def test_the_xor_file_gives_the_chapters_halves_unscaled():
    settings = yaml.safe_load((CONF / "two_class.yaml").read_text(encoding="utf-8"))
    ready = prepare(two_class(), **{key: settings[key] for key in ("valid_size", "test_size", "split", "scaling")})
    points = np.random.RandomState(1).uniform(-1, 1, (200, 2))
    assert np.array_equal(ready.train.x, points[:100])
    assert np.array_equal(ready.valid.x, points[100:])


def test_many_classes_that_no_training_row_has_give_one_note():
    made = Table(
        np.arange(30.0).reshape(-1, 1),
        np.arange(30) % 15 + np.repeat([0, 1], 15) * 15,
        feature_names=("x",),
        target_name="y",
        class_names=tuple(f"n{number}" for number in range(30)),
        source="made",
    )
    (note,) = prepare(made, test_size=14, split="ordered").notes
    assert note.startswith("classes n16 (1 of 30 rows), n17 (1 of 30 rows), n18 (1 of 30 rows), ")
    assert note.endswith(" and 9 more are in no training row and are not learned; use dataset.split=random")


def test_a_class_that_no_training_row_has_gives_a_note():
    target = np.repeat([0, 1, 2, 3], [5, 5, 3, 1])
    x = np.arange(14.0).reshape(-1, 1)
    made = Table(x, target, feature_names=("x",), target_name="y", class_names=tuple("abcd"), source="made")
    assert prepare(made, test_size=4, split="ordered").notes == (
        "classes c (3 of 14 rows), d (1 of 14 rows) are in no training row and are not learned; "
        "use dataset.split=random or dataset.split=stratified",
    )
    alone = replace(made, target=np.repeat([0, 1, 3], [8, 5, 1]))  # no row at all is of class c
    assert prepare(alone, test_size=3, split="ordered").notes == (
        "class d (1 of 14 rows) is in no training row and is not learned; use dataset.split=random",
    )
    lacking = [seed for seed in range(20) if 13 in np.random.RandomState(seed).permutation(14)[:4]]
    noted = [seed for seed in range(20) if prepare(made, test_size=4, split_seed=seed).notes]
    assert noted == lacking != []
    assert prepare(made).notes == ()


def test_a_category_that_no_training_row_has_is_left_out_as_it_is_of_new_rows(tmp_path):
    (tmp_path / "t.csv").write_text("city,n,y\nRome,3,1.5\nOslo,4,2.5\nRome,5,3.5\nLima,6,4.5\n", encoding="utf-8")
    read = csv_file(str(tmp_path / "t.csv"))
    ready = prepare(read, test_size=1, split="ordered")
    assert ready.notes == (
        "city=Lima: in no training row, so that nothing is learned of it and it is left out; use dataset.split=random",
    )
    assert ready.table.columns == (Column("city", ("Oslo", "Rome")), Column("n"))
    assert (ready.table.feature_names, ready.table.digest) == (("city=Oslo", "city=Rome", "n"), read.digest)
    rows = read_rows(b"city,n\nLima,6\n", ready.table.columns, source="new", allow_unseen=True)
    np.testing.assert_array_equal(ready.test.x, rows.features)
    lazy = prepare(replace(read, features=Held(read.features)), test_size=1, split="ordered")
    np.testing.assert_array_equal(lazy.train.x[:], ready.train.x)
    assert (lazy.table.columns, lazy.notes) == (ready.table.columns, ready.notes)
    assert prepare(read).notes == ()
    assert prepare(read).table is read


def test_a_column_of_categories_that_no_training_row_has_is_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("city,n,y\n,3,1.5\n,4,2.5\n,5,3.5\nLima,6,4.5\n", encoding="utf-8")
    ready = prepare(csv_file(str(tmp_path / "t.csv"), missing="mean"), test_size=1, split="ordered")
    assert ready.table.columns == (Column("n"),)
