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
    "semicolons": ("separated by semicolons", "add dataset.separator=semicolon"),
    "tabs": ("separated by tabs", "add dataset.separator=tab"),
    "bars": ("separated by bars", "add dataset.separator=bar"),
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


def test_the_iris_file_read_as_a_users_table_equals_the_iris_data_set() -> None:
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


def test_categories_become_one_hot_and_numbers_stay_as_they_are() -> None:
    read = table("colour,size,y\nred,1,0.5\nblue,2,0.25\nred,3,1e1\n")
    assert read.feature_names == ("colour=blue", "colour=red", "size")
    assert read.features.tolist() == [[0, 1, 1], [1, 0, 2], [0, 1, 3]]
    assert (read.class_names, read.target.tolist()) == (None, [0.5, 0.25, 10.0])


def test_missing_values_are_refused_with_line_and_column() -> None:
    assert problems_of(GRADES, exclude=["id", "name"]) == [
        "table.csv, line 3, column size: NA is not a number; every row needs a value; "
        "or add dataset.missing=drop, mean or median",
        "table.csv, line 4, column colour: is empty; every row needs a value",
        "table.csv, line 5, column grade: is empty; every row needs a value",
    ]


def test_missing_drop_leaves_out_rows_with_missing_values() -> None:
    read = table(GRADES, exclude=["id", "name"], missing="drop")
    assert read.features.tolist() == [[2.5, 0, 1], [2, 1, 0], [4, 0, 1]]
    assert read.feature_names == ("size", "colour=green", "colour=red")
    assert read.notes == ("table.csv: 3 of 6 rows left out, which have missing values",)


@pytest.mark.parametrize(("missing", "stands"), [("mean", (2.5 + 3) / 2), ("median", 2.75)])
def test_missing_values_are_filled_from_the_training_part_alone(missing: str, stands: float) -> None:
    text = "size,colour,y\n2.5,red,1\n3,,2\n,blue,3\n100,red,4\n"
    read = table(text, missing=missing, target_type="values")
    np.testing.assert_array_equal(read.features, [[2.5, 0, 1], [3, 0, 0], [np.nan, 1, 0], [100, 0, 1]])
    ready = prepare(read, test_size=2, split="ordered")  # the first two rows are trained on
    np.testing.assert_allclose(ready.features[:, 0], [2.5, 3, stands, 100])
    assert ready.scaling.fill == (stands, 0.0, 0.5)


def test_scaling_is_fitted_after_missing_values_are_filled() -> None:
    read = table("a,b,y\n1,5,0\n,7,1\n4,9,0\n", missing="mean", target_type="classes")
    ready = prepare(read, split="ordered", scaling="standard")
    by_hand = np.array([[1, 5], [2.5, 7], [4, 9]])
    np.testing.assert_allclose(ready.train.x, (by_hand - by_hand.mean(0)) / by_hand.std(0), rtol=1e-12)


def test_a_row_without_a_target_is_dropped_when_missing_values_are_filled() -> None:
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
def test_a_target_holds_classes_or_values(cells: list[str], kind: str, classes: tuple[str, ...] | None) -> None:
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


def test_files_with_other_layouts_give_the_same_table() -> None:
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
        ("a,y\n1,p\n2,p\n", {}, ["table.csv, column y: is p in every row; must have at least two classes"]),
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
def test_a_table_that_cannot_be_learned_is_refused_with_a_hint(
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


def test_a_missing_file_is_refused_with_its_key_and_a_similar_name() -> None:
    Path("flowers.csv").touch()
    with pytest.raises(InputError, match=r"dataset.file=flower.csv: there is no such file; is it flowers.csv"):
        csv_file("flower.csv")


PLANTS = "length;width;kind\n" + "".join(f"{n % 7},{n % 3};{n % 5},5;{'ab'[n % 2]}\n" for n in range(30))


def test_numbers_with_commas_are_not_taken_for_categories() -> None:
    with pytest.raises(InputError) as refused:
        table(PLANTS, separator="semicolon")
    assert len(refused.value.messages) == 2
    assert ", column length: its numbers have commas, such as 0,0; write points" in refused.value.messages[0]
    assert refused.value.messages[0].endswith("or add dataset.categories=[length] if they are not numbers")
    chosen = table(PLANTS, separator="semicolon", categories=["length", "width"])
    assert chosen.features.shape == (30, 21 + 5)
    assert table(PLANTS.replace(",", "."), separator="semicolon").features.shape == (30, 2)


def test_a_target_of_numbers_with_commas_is_not_taken_for_classes() -> None:
    text = "x;y\n" + "".join(f"{n};1,{n % 4}\n" for n in range(30))
    with pytest.raises(InputError, match=r"column y: its numbers have commas.*add dataset.target_type=classes"):
        table(text, separator="semicolon")
    chosen = table(text, separator="semicolon", target_type="classes")
    assert chosen.class_names == ("1,0", "1,1", "1,2", "1,3")


@pytest.mark.parametrize("text", ["a,b", "5,1 cm", "1,2;x"])
def test_texts_with_commas_stay_categories(text: str) -> None:
    rows = "".join(f"{text if n % 2 else 'other'}|{n % 3}\n" for n in range(12))
    chosen = table("a|y\n" + rows, separator="bar")
    assert chosen.feature_names == (f"a={text}", "a=other")


def test_a_column_without_a_name_is_refused() -> None:
    for header, place, why in ((",x,y", 1, "give it one"), ("x,y,", 3, "the lines seem to end in a separator")):
        with pytest.raises(InputError, match=f"line 1: column {place} has no name; {why}"):
            table(f"{header}\n" + "1,2,0\n3,4,1\n" * 4)


def test_a_header_that_may_be_a_row_gives_a_note() -> None:
    rows = "5.1,3.5,setosa\n4.9,3.0,setosa\n6.3,2.5,virginica\n" * 4
    (note,) = table(rows).notes
    assert "its first line is taken for the names of the columns, with 5.1, 3.5 among them" in note
    assert table(rows, header=False).notes == ()
    assert table("a,b,kind\n" + rows).notes == ()
