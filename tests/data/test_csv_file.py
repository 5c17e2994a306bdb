"""A user's own table: its features and target held against values worked out by hand; every mistake with its place."""

from pathlib import Path

import numpy as np
import pytest

from ch12cli.data import Table, csv_file, iris, prepare
from ch12cli.errors import InputError
from tests.data.bad_rows import BAD, NAMES, Bad

GRADES = """id,name,size,colour,grade
1,Ann,2.5,red,good
2,Bob,NA,blue,bad
3,Cem,3,,good
4,Dan,1,red,
5,Eve,2,green,good
6,Fay,4,red,bad
"""
# What is said otherwise of a table than of rows for a network, whose names are given by the network.
OTHERWISE = {
    "numbers without a header": ("line 1: holds numbers", "dataset.header=false", "dataset.skip_lines=1"),
    "a title first": ("has a single column, my flowers",),
    "a column missing": ("dataset.target: table.csv has no column petal_width; did you mean",),
    "all columns missing": ("dataset.features: table.csv has no column sepal_length; it has a, b",),
    "a name with a blank": ("has no column sepal_length; did you mean sepal length?",),
    "a name in capitals": ("has no column sepal_width; did you mean SEPAL_WIDTH?",),
    "a name misspelt": ("did you mean pedal_width?",),
    "semicolons": ("parted by semicolons", "add dataset.separator=semicolon"),
    "tabs": ("parted by tabs", "add dataset.separator=tab"),
    "bars": ("parted by bars", "add dataset.separator=bar"),
    "JSON": ("has a single column",),
    "a page": ("has a single column",),
    "many at once": ("line 4, column petal_width", "line 4, column sepal_length", "dataset.missing=drop", "and 2 more"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(text: str | bytes, **options: object) -> Table:
    Path("table.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return csv_file("table.csv", **options)  # type: ignore[arg-type]


def problems_of(text: str | bytes, **options: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        table(text, **options)
    return caught.value.messages


def test_the_shipped_flowers_are_the_same_as_a_table_of_ones_own() -> None:
    own = csv_file(str(Path(__file__).parents[2] / "ch12cli" / "data" / "iris.csv"))
    shipped = iris()
    np.testing.assert_array_equal(own.features, shipped.features)
    np.testing.assert_array_equal(own.target, shipped.target)
    assert (own.class_names, own.feature_names, own.target_name) == (
        shipped.class_names,
        shipped.feature_names,
        shipped.target_name,
    )
    assert own.digest == shipped.digest


def test_categories_are_one_hot_and_numbers_stay() -> None:
    read = table("colour,size,y\nred,1,0.5\nblue,2,0.25\nred,3,1e1\n")
    assert read.feature_names == ("colour=blue", "colour=red", "size")
    assert read.features.tolist() == [[0, 1, 1], [1, 0, 2], [0, 1, 3]]
    assert (read.class_names, read.target.tolist()) == (None, [0.5, 0.25, 10.0])


def test_rows_without_a_value_are_refused_with_their_place_unless_told_what_to_do() -> None:
    assert problems_of(GRADES, exclude=["id", "name"]) == [
        "table.csv, line 3, column size: NA is no number; every row needs a value; "
        "or add dataset.missing=drop, mean or median",
        "table.csv, line 4, column colour: is empty; every row needs a value",
        "table.csv, line 5, column grade: is empty; every row needs a value",
    ]


def test_rows_without_a_value_may_be_left_out() -> None:
    read = table(GRADES, exclude=["id", "name"], missing="drop")
    assert read.features.tolist() == [[2.5, 0, 1], [2, 1, 0], [4, 0, 1]]
    assert read.feature_names == ("size", "colour=green", "colour=red")
    assert read.notes == ("table.csv: 3 of 6 rows left out, which have missing values",)


@pytest.mark.parametrize(("missing", "stands"), [("mean", (2.5 + 3) / 2), ("median", 2.75)])
def test_the_training_part_alone_settles_what_stands_for_a_missing_value(missing: str, stands: float) -> None:
    text = "size,colour,y\n2.5,red,1\n3,,2\n,blue,3\n100,red,4\n"
    read = table(text, missing=missing, target_type="values")
    np.testing.assert_array_equal(read.features, [[2.5, 0, 1], [3, 0, 0], [np.nan, 1, 0], [100, 0, 1]])
    ready = prepare(read, test_size=2, split="ordered")  # the first two rows are trained on
    np.testing.assert_allclose(ready.features[:, 0], [2.5, 3, stands, 100])
    assert ready.scaling.fill == (stands, 0.0, 0.5)


def test_with_a_filled_gap_the_scaling_is_that_of_the_filled_training_part() -> None:
    read = table("a,b,y\n1,5,0\n,7,1\n4,9,0\n", missing="mean", target_type="classes")
    ready = prepare(read, split="ordered", scaling="standard")
    by_hand = np.array([[1, 5], [2.5, 7], [4, 9]])
    np.testing.assert_allclose(ready.train.x, (by_hand - by_hand.mean(0)) / by_hand.std(0), rtol=1e-12)


def test_a_row_without_a_target_is_left_out_where_others_are_filled() -> None:
    read = table(GRADES, exclude=["id", "name"], missing="mean")
    assert read.rows == 5
    assert read.notes == ("table.csv: 1 of 6 rows left out, which have no grade",)


@pytest.mark.parametrize(
    ("cells", "kind", "classes"),
    [
        (["a", "b", "a"], "auto", ("a", "b")),
        (["2", "10", "2", "2"], "auto", ("2", "10")),  # in the order of numbers
        (["2.0", "10.0", "2.0"], "auto", None),
        ([str(n) for n in range(30)], "auto", None),
        ([str(n) for n in range(21)] * 2, "auto", None),
        ([str(n) for n in range(20)] * 2, "auto", tuple(str(n) for n in range(20))),
        (["2", "10", "2"], "values", None),
        (["2.5", "1", "2.5"], "classes", ("1", "2.5")),
    ],
)
def test_what_the_target_holds(cells: list[str], kind: str, classes: tuple[str, ...] | None) -> None:
    rows = "".join(f"{number},{cell}\n" for number, cell in enumerate(cells))
    assert table(f"x,y\n{rows}", target_type=kind).class_names == classes


@pytest.mark.parametrize(
    ("options", "features"),
    [
        ({}, ("a", "b", "c=x", "c=y")),
        ({"target": "a", "target_type": "values"}, ("b", "c=x", "c=y", "t=0", "t=1")),
        ({"features": "numbers"}, ("a", "b")),
        ({"features": "categories"}, ("c=x", "c=y")),
        ({"features": "categories", "categories": ["b"]}, ("b=1", "b=2", "c=x", "c=y")),
        ({"features": ["c", "a"]}, ("c=x", "c=y", "a")),
        ({"exclude": ["c", "a"]}, ("b",)),
    ],
)
def test_columns_are_chosen_by_name_or_kind(options: dict[str, object], features: tuple[str, ...]) -> None:
    text = "a,b,c,t\n0.5,1,x,0\n0.25,2,y,1\n0.125,1,x,1\n"
    if "target" in options:
        options = {**options, "categories": ["t"]}
    assert table(text, **options).feature_names == features


def test_files_of_other_layouts_give_the_same_table() -> None:
    rows = [["1.5", "x", "0"], ["2.5", "y", "1"], ["3.5", "x", "1"]]
    wanted = table("\n".join(",".join(row) for row in [["a", "c", "t"], *rows]))
    for word, sign in {"semicolon": ";", "tab": "\t", "bar": "|", "space": "   "}.items():
        text = "\n".join(sign.join(row) for row in [["a", "c", "t"], *rows])
        read = table(text, separator=word)
        assert (read.digest, read.feature_names) == (wanted.digest, wanted.feature_names), word
    bare = table("# a remark\n\n" + "\n".join(",".join(row) for row in rows), skip_lines=2, header=False)
    assert bare.digest == wanted.digest
    assert (bare.feature_names, bare.target_name) == (("column_1", "column_2=x", "column_2=y"), "column_3")


@pytest.mark.parametrize(
    ("text", "options", "problems"),
    [
        ("a,y\n1,0\n2,x\n3,1\n4,1\n", {}, ["table.csv, line 3, column y: 'x' is not a number; "
         "if it holds classes, add dataset.target_type=classes"]),
        ("a,y\n1,p\nx,q\n3,p\n", {}, ["table.csv, line 3, column a: 'x' is not a number; "
         "if the column holds categories, add dataset.categories=[a]"]),
        ("a,y\n1,p\n2,p\n", {}, ["table.csv, column y: is p in every row; must have two classes at least"]),
        ("a,y\n1,p\n2,q\n", {}, ["table.csv, column y: has a class of its own in each row; "
         "choose another dataset.target"]),
        ("a,y\n1,1\n2,2\n", {"target_type": "classes"}, ["table.csv, column y: has a class of its own in each row; "
         "add dataset.target_type=values, or choose another dataset.target"]),
        ("a,b,y\n1,,p\n2,,q\n3,,p\n", {"missing": "mean"}, ["table.csv, column b: has no values; "
         "leave it out with dataset.exclude=[b]"]),
        ("a,y\n,p\n,q\n", {"missing": "drop"}, ["table.csv: each of its 2 rows has a missing value; "
         "use fewer columns, or dataset.missing=mean or median"]),
        ("n,y\n" + "".join(f"n{i},{i % 2}\n" for i in range(30)), {}, ["table.csv, column n: has 30 different texts in "
         "30 rows, too many for a category; leave it out with dataset.exclude=[n]"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"target": "z"}, ["dataset.target: table.csv has no column z; it has a, y"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"features": ["a", "y"]}, ["dataset.features: y is the target; leave it out, or "
         "choose another dataset.target"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"exclude": ["a"]}, ["dataset.features=all: leaves no column of table.csv to learn "
         "y from; choose others, or exclude fewer"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"features": "categories"}, ["dataset.features=categories: leaves no column of "
         "table.csv to learn y from; choose others, or exclude fewer"]),
        ("a,y\n1,p\n", {"missing": "dorp"}, ["dataset.missing=dorp: must be one of refuse, drop, mean, median; "
         "did you mean drop?"]),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_refused_with_what_to_do(
    text: str, options: dict[str, object], problems: list[str]
) -> None:
    assert problems_of(text, **options) == problems


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_a_bad_file_is_refused_with_its_name_line_and_column(bad: Bad) -> None:
    *features, target = NAMES
    problems = problems_of(bad.content, features=features, target=target, target_type="values")
    said = "\n".join(problems)
    for part in OTHERWISE.get(bad.name, bad.says):
        assert part in said
    assert all("table.csv" in problem for problem in problems)
    assert len(problems) <= 5


def test_a_file_that_is_not_there_is_named_with_its_key_and_its_neighbour() -> None:
    Path("flowers.csv").touch()
    with pytest.raises(InputError, match=r"dataset.file=flower.csv: there is no such file; is it flowers.csv"):
        csv_file("flower.csv")
