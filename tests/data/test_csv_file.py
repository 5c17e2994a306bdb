"""A user's own table: its features and target held against values worked out by hand; every mistake with its place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ch12cli.data import Table, csv_file, iris, prepare
from ch12cli.data.notation import find_notation, is_number, looks_like_number
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
    "semicolons and decimal commas": ("separated by semicolons", "add dataset.separator=semicolon"),
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


def test_a_table_whose_columns_blanks_part_is_refused_with_what_to_set() -> None:
    text = "gpa grade\n2.66 0\n2.89 1\n"
    assert "add dataset.separator=space" in problems_of(text)[0]
    assert table(text, separator="space").feature_names == ("gpa",)
    assert "separator" not in problems_of("grade\n0\n1\n")[0]


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
    assert ready.scaling.fill == (stands, 0.5)  # no training row is blue


def test_scaling_is_fitted_after_missing_values_are_filled() -> None:
    read = table("a,b,y\n1,5,0\n,7,1\n4,9,0\n", missing="mean", target_type="classes")
    ready = prepare(read, split="ordered", scaling="standard")
    by_hand = np.array([[1, 5], [2.5, 7], [4, 9]])
    np.testing.assert_allclose(ready.train.x, (by_hand - by_hand.mean(0)) / by_hand.std(0), rtol=1e-12)


def test_a_row_without_a_target_is_dropped_when_missing_values_are_filled() -> None:
    read = table(GRADES, exclude=["id", "name"], missing="mean")
    assert read.rows == 5
    assert read.notes == ("table.csv: 1 of 6 rows left out, which have no grade",)


@pytest.mark.parametrize(("option", "kind"), [("categories", "classes"), ("numbers", "values")])
@pytest.mark.parametrize("target", ["y", None])
def test_the_target_is_no_category_or_number_but_has_a_type(
    option: str, kind: str, target: str | None, folder: Path
) -> None:
    Path("a.csv").write_text("x,y\n1,0.5\n2,1.5\n3,0.5\n4,1.5\n")
    with pytest.raises(InputError) as refused:
        csv_file("a.csv", target=target, **{option: ["y"]})  # type: ignore[arg-type]
    assert str(refused.value) == f"dataset.{option}: y is the target; use dataset.target_type={kind} in place of it"


def test_rows_keep_their_numbers_in_the_file_when_others_are_left_out(folder: Path) -> None:
    Path("a.csv").write_text("x,y\n,0.5\n2,\n3,2.5\n\n,1.5\n5,3.25\n")
    assert csv_file("a.csv", missing="drop").numbers_of(np.array([1, 0])).tolist() == [4, 2]
    assert csv_file("a.csv", missing="mean").numbers_of(np.arange(4)).tolist() == [0, 2, 3, 4]
    Path("whole.csv").write_text("x,y\n1,0.5\n2,1.5\n4,2.5\n")
    assert csv_file("whole.csv", missing="drop").numbers_of(np.array([2, 0])).tolist() == [2, 0]


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
         "if the column holds categories, add 'dataset.categories=[a]'"]),
        ("a,y\n1,p\n2,p\n", {}, ["table.csv, column y: is p in every row; must have at least two classes"]),
        ("a,y\n1,p\n2,q\n", {}, ["table.csv, column y: has a class of its own in each row; "
         "choose another dataset.target"]),
        ("a,y\n1,1\n2,2\n", {"target_type": "classes"}, ["table.csv, column y: has a class of its own in each row; "
         "add dataset.target_type=values, or choose another dataset.target"]),
        ("a,b,y\n1,,p\n2,,q\n3,,p\n", {"missing": "mean"}, ["table.csv, column b: has no values; "
         "leave it out with 'dataset.exclude=[b]'"]),
        ("a,y\n,p\n,q\n", {"missing": "drop"}, ["table.csv: each of its 2 rows has a missing value; "
         "use fewer columns, or dataset.missing=mean or median"]),
        ("n,y\n" + "".join(f"n{i},{i % 2}\n" for i in range(30)), {}, ["table.csv, column n: has 30 different texts in "
         "30 rows, too many for a category; leave it out with 'dataset.exclude=[n]'"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"target": "z"}, ["dataset.target: table.csv has no column z; it has a, y"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"features": ["a", "y"]}, ["dataset.features: y is the target; leave it out, or "
         "choose another dataset.target"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"exclude": ["a"]}, ["dataset.features=all: leaves no column of table.csv to learn "
         "y from; choose others, or exclude fewer"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"features": "categories"}, ["dataset.features=categories: leaves no column of "
         "table.csv to learn y from; choose others, or exclude fewer"]),
        ("a,y\n1,p\n2,q\n3,p\n", {"features": []}, ["dataset.features=[]: leaves no column to learn from; "
         "name some, or write dataset.features=all"]),
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
    assert refused.value.messages[0] == (
        "table.csv, column length: '0,0' looks like a number, a date or a time; add dataset.decimal=comma to read it, "
        "'dataset.categories=[length]' for categories, or 'dataset.exclude=[length]' to leave it out"
    )
    chosen = table(PLANTS, separator="semicolon", categories=["length", "width"])
    assert chosen.features.shape == (30, 21 + 5)
    by_comma = table(PLANTS, separator="semicolon", decimal="comma")
    assert by_comma.digest == table(PLANTS.replace(",", "."), separator="semicolon").digest
    assert table(PLANTS.replace(",", "."), separator="semicolon").features.shape == (30, 2)


def test_a_target_of_numbers_with_commas_is_not_taken_for_classes() -> None:
    text = "x;y\n" + "".join(f"{n};1,{n % 4}\n" for n in range(30))
    with pytest.raises(InputError, match=r"column y: '1,0' looks like.*dataset.decimal=comma.*target_type=classes"):
        table(text, separator="semicolon")
    chosen = table(text, separator="semicolon", target_type="classes")
    assert chosen.class_names == ("1,0", "1,1", "1,2", "1,3")


@pytest.mark.parametrize("text", ["a,b", "5,1 cm", "1,2;x"])
def test_texts_with_commas_stay_categories(text: str) -> None:
    rows = "".join(f"{text if n % 2 else 'other'}|{n % 3}\n" for n in range(12))
    chosen = table("a|y\n" + rows, separator="bar")
    assert chosen.feature_names == (f"a={text}", "a=other")


def test_a_column_without_a_name_is_refused() -> None:
    rows = "1,2,0\n3,4,1\n" * 4
    for header, place in ((",x,y", 1), ("x,y,", 3)):
        with pytest.raises(InputError, match=rf"column {place} has no name; give it one, .*exclude=\[column_{place}\]"):
            table(f"{header}\n{rows}")
    assert table(f",x,y\n{rows}", exclude=["column_1"]).feature_names == ("x",)
    assert table(f"x,y,\n{rows}", exclude=["column_3"]).feature_names == ("x",)
    assert table(f",x,y\n{rows}", features=["column_1"]).features[:, 0].tolist() == [1, 3] * 4


def test_a_header_that_may_be_a_row_gives_a_note() -> None:
    rows = "5.1,3.5,setosa\n4.9,3.0,setosa\n6.3,2.5,virginica\n" * 4
    (note,) = table(rows).notes
    assert "its first line is taken for the names of the columns, with 5.1, 3.5, setosa among them" in note
    assert table(rows, header=False).notes == ()
    assert table("a,b,kind\n" + rows).notes == ()


def test_a_first_line_whose_texts_occur_below_gives_a_note() -> None:
    rows = "red,small,yes\nred,big,no\nblue,small,no\nred,big,yes\n" * 3
    (note,) = table(rows).notes
    assert "with red, small, yes among them; if it is a row, add dataset.header=false" in note
    with pytest.raises(InputError, match=r"red more than once; .*if the line is a row, add dataset.header=false"):
        table("red,red,no\n" + rows)


def column(cells: Sequence[str], **options: object) -> Table:
    """The table of a column x with these cells, separated by bars, whose target y is 0 and 1 by turns."""
    rows = [f"{cell}|{number % 2}" for number, cell in enumerate(cells)]
    return table("\n".join(["x|y", *rows]), separator="bar", **options)


READ: dict[str, tuple[list[str], list[float]]] = {  # cells, and the numbers that they are
    "minus signs": (["−5.1", "3", "−0.5", "−2"], [-5.1, 3, -0.5, -2]),
    "percent": (["0%", "12.5 %", "-3%", "100%"], [0, 12.5, -3, 100]),
    "dollars": (["$5.00", "-$1", "$-2.5", "+$3"], [5, -1, -2.5, 3]),
    "euros behind": (["5 €", "1.5€", "−2 €", "7 €"], [5, 1.5, -2, 7]),
    "degrees": (["20 °C", "-5.5 °C", "0 °C", "3e1 °C"], [20, -5.5, 0, 30]),
    "thousands by blanks": (["1 234", "950", "12 345 678.5", "-1 000"], [1234, 950, 12345678.5, -1000]),
    "thousands by hard blanks": (["1\u00a0234", "950", "1\u202f000", "7"], [1234, 950, 1000, 7]),
    "thousands by apostrophes": (["1'234", "950", "12’345.5", "7"], [1234, 950, 12345.5, 7]),
    "a missing dollar": (["$5", "$6", "$7", "$8"], [5, 6, 7, 8]),
}


@pytest.mark.parametrize("name", READ)
def test_numbers_with_signs_that_are_certain_are_numbers(name: str) -> None:
    cells, values = READ[name]
    read = column(cells)
    assert read.feature_names == ("x",)
    assert read.features[:, 0].tolist() == values
    as_target = table("\n".join(["a|t", *(f"{n}|{cell}" for n, cell in enumerate(cells))]), separator="bar")
    assert (as_target.class_names, as_target.target.tolist()) == (None, values)


DECLARED: dict[str, tuple[list[str], dict[str, Any], list[float]]] = {  # what the message names, and reads
    "decimal commas": (["5,1", "1.234,5", "-2,25", "7"], {"decimal": "comma"}, [5.1, 1234.5, -2.25, 7]),
    "thousands by commas": (["1,084.5", "950", "1,234,567", "7"], {"decimal": "point"}, [1084.5, 950, 1234567, 7]),
    "thousands by points": (["1.234.567", "2.000", "12.345", "7"], {"decimal": "comma"}, [1234567, 2000, 12345, 7]),
    "comma and percent": (["12,5 %", "3,25 %", "1 %", "2 %"], {"decimal": "comma"}, [12.5, 3.25, 1, 2]),
    "underscores": (["1_012", "2_000", "1_000_000", "3_500"], {"numbers": ["x"]}, [1012, 2000, 1000000, 3500]),
    "kilograms": (["5 kg", "2.5kg", "-1 kg", "7 kg"], {"numbers": ["x"]}, [5, 2.5, -1, 7]),
    "speeds": (["5 km/h", "50 km/h", "120 km/h", "7 km/h"], {"numbers": ["x"]}, [5, 50, 120, 7]),
    "a code of currency": (["EUR 5", "EUR 2.5", "EUR 10", "EUR 7"], {"numbers": ["x"]}, [5, 2.5, 10, 7]),
    "both": (["1,5 kg", "2,5 kg", "3 kg", "7 kg"], {"numbers": ["x"], "decimal": "comma"}, [1.5, 2.5, 3, 7]),
    "times": (["07:30", "7:45", "23:59:30", "0:00"], {"numbers": ["x"]}, [7.5, 7.75, 23 + 59.5 / 60, 0]),
    "dates": (["1970-01-02", "2021-01-01", "1969-12-31", "2020-02-29"], {"numbers": ["x"]}, [1, 18628, -1, 18321]),
    "points": (["2.1.1970", "01.01.2021", "31.12.1969", "29.02.2020"], {"numbers": ["x"]}, [1, 18628, -1, 18321]),
    "with times": (["1970-01-01 12:00", "1970-01-02T06:00:00Z", "1970-01-03", "1970-01-04"], {"numbers": ["x"]},
                   [0.5, 1.25, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARED)
def test_numbers_that_are_not_certain_are_refused_with_the_option_that_reads_them(name: str) -> None:
    cells, options, values = DECLARED[name]
    with pytest.raises(InputError) as refused:
        column(cells)
    for key, value in options.items():
        assert f"dataset.{key}={'[x]' if isinstance(value, list) else value}" in str(refused.value)
    assert "dataset.categories=[x]" in str(refused.value)
    read = column(cells, **options)
    np.testing.assert_allclose(read.features[:, 0], values, rtol=1e-15)
    assert read.feature_names == ("x",)
    assert column(cells, categories=["x"]).features.shape == (4, 4)
    rows = "\n".join(["a|x", *(f"{n}|{cell}" for n, cell in enumerate(cells))])
    with pytest.raises(InputError, match=r"dataset.target_type=classes"):
        table(rows, separator="bar")
    options = {**{key: value for key, value in options.items() if key == "decimal"}, "target_type": "values"}
    np.testing.assert_allclose(table(rows, separator="bar", **options).target, values, rtol=1e-15)


LOOK_ALIKE = {
    "mixed units": ["5 kg", "300 g", "7 kg", "1 t"],
    "a word among units": ["5 kg", "6 kg", "7 kg", "unknown"],
    "pm": ["7:30 pm", "8 am", "9:15 am", "7 pm"],
    "American dates": ["01/02/2021", "12/31/2021", "1/2/21", "3/4/2021"],
    "months": ["12 Jan 2021", "Jan 13, 2021", "14 February 2021", "Mon, 15 Mar 2021"],
    "quarters": ["2021Q1", "2021-Q2", "Q3 2021", "2021 Q4"],
    "years and months": ["2021-01", "2021-02", "2021/03", "2021-12"],
    "in brackets": ["(5.00)", "(1.50)", "(2)", "(7)"],
    "minus behind": ["5.00-", "1-", "2-", "7-"],
    "dashes": ["–5", "–6.5", "–7", "–1"],
    "single quotes": ["'5.1'", "'5.2'", "'6'", "'7'"],
    "fractions": ["1/2", "3/4", "5/8", "7/8"],
    "ordinals": ["1st", "2nd", "3rd", "4th"],
    "approximately": ["~5", "≈6", "±7", "<0.01"],
    "short thousands": ["10k", "1.5M", "3k", "700k"],
    "durations": ["1h30", "2 h 15 min", "1h 5min", "3h20"],
    "hexadecimal": ["0x1F", "0x20", "0xAB", "0x01"],
    "powers": ["1.5×10^3", "2x10^4", "1×10³", "5·10^-2"],
    "with errors": ["5.1 ± 0.2", "5 +/- 1", "4.9 (0.2)", "7 ± 1"],
    "coordinates": ["52°31'12\"N", "13°24'E", "51° 3' 0\" N", "7°E"],
    "other digits": ["٣", "３.５", "४", "½"],
    "addresses": ["10.0.0.1", "10.0.0.2", "10.0.1.1", "127.0.0.1"],
}


ODD: list[tuple[list[str], str]] = [  # cells, all but one in one notation, and the other one
    ([f"2024-01-{day:02d}" for day in range(1, 9)], "2024-02-30"),
    ([f"12:{minute:02d}" for minute in range(8)], "24:61"),
    ([f"{number} kg" for number in range(8)], "300 g"),
]


@pytest.mark.parametrize(("cells", "odd"), ODD, ids=["date", "time", "unit"])
@pytest.mark.parametrize("place", [0, 5])
def test_the_one_cell_that_is_written_otherwise_than_all_others_is_named(
    cells: list[str], odd: str, place: int
) -> None:
    cells = [*cells[:place], odd, *cells[place:]]
    with pytest.raises(InputError) as refused:
        column(cells, numbers=["x"])
    (line,) = refused.value.messages
    assert line.startswith(f"table.csv, line {place + 2}, column x: '{odd}' is not a number")
    with pytest.raises(InputError, match=rf"add 'dataset.numbers=\[x\]' to read it \(all but '{odd}', to be changed"):
        column(cells)


def test_units_that_no_two_cells_share_are_not_asked_for() -> None:
    with pytest.raises(InputError) as refused:
        column(["a1b", "c2d", "e3f", "g4h"], numbers=["x"])
    assert refused.value.messages[0] == "table.csv, line 2, column x: 'a1b' is not a number"
    with pytest.raises(InputError, match="line 4, column x: 'unclear' is not a number before kg"):
        column(["5 kg", "6 kg", "unclear", "few", "some", "many"], numbers=["x"])


@pytest.mark.parametrize("options", [{}, {"numbers": ["x"]}])
def test_commas_before_three_digits_may_be_of_both_kinds(options: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        column(["1,234", "2,345", "3,456", "1,000"], **options)
    first = refused.value.messages[0]
    assert "add dataset.decimal=comma or dataset.decimal=point to read" in first
    assert "write 1.234;" not in first  # it may be 1234


def test_a_number_too_large_has_no_option_that_reads_it() -> None:
    with pytest.raises(InputError) as refused:
        column(["1", "2", "3", "1e400"])
    assert refused.value.messages == [
        "table.csv, line 5, column x: 1e400 is too large for a number; "
        "if the column holds categories, add 'dataset.categories=[x]'"
    ]


@pytest.mark.parametrize("form", ["\u0661{}", "{}\u0661", "\uff13{}", "{}½", "{}⁵", "{} Ⅳ"])
def test_a_digit_of_another_script_is_no_unit(form: str) -> None:
    with pytest.raises(InputError, match="is not a number"):  # Python's float reads "\u06610" as 10
        column([form.format(number) for number in range(4)], numbers=["x"])


@pytest.mark.parametrize("unit", ["m²", "kg CO₂", "m s⁻¹", "‰", "℃", "円"])
def test_a_unit_may_have_an_exponent_or_an_index(unit: str) -> None:
    assert column([f"{number} {unit}" for number in range(4)], numbers=["x"]).features[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("cell", ["1" * 200_000 + "x!", "1" * 90_000 + "±" + "1" * 90_000 + "!", "1." * 90_000 + "!"])
def test_a_very_long_cell_is_a_text_at_once(cell: str) -> None:
    assert not looks_like_number(cell)
    assert not is_number(cell)
    assert find_notation([cell], declared=True) is None


@pytest.mark.parametrize("name", LOOK_ALIKE)
def test_what_looks_like_a_number_is_never_one_hot_unless_declared(name: str) -> None:
    with pytest.raises(InputError, match=r"column x: .* looks like .*'dataset.categories=\[x\]' for categories"):
        column(LOOK_ALIKE[name])
    assert len(column(LOOK_ALIKE[name], categories=["x"]).feature_names) == 4


@pytest.mark.parametrize(
    "cells",
    [["k0", "k1", "k2", "k3"], ["A1", "B2", "A3", "C4"], ["1st-4th", "HS-grad", "12th", "Masters"],
     ["20-29", "30-39", "40-49", "50-59"], ["Q1", "Q2", "Q3", "Q4"], ["may", "sep", "jan", "feb"],
     ["chevrolet 1500", "ford f150", "amc 6", "fiat 500"], ["<=50K", ">50K", "<=50K", ">50K"],
     ["2 apples in a box", "no apples", "3 pears in a box", "none at all"]],
)  # fmt: skip
def test_names_with_digits_stay_categories(cells: list[str]) -> None:
    assert column(cells).feature_names == tuple(f"x={text}" for text in sorted(set(cells)))


def test_a_note_says_how_numbers_with_signs_are_read() -> None:
    assert column(["$1.5", "$2", "$3", "$4"]).notes == (
        "table.csv: column x: '$1.5' is read as 1.5; add 'dataset.categories=[x]' if it holds categories",
    )
    assert column(["<=50K", ">50K", "<=50K", ">50K"]).notes == (
        "table.csv: column x: <=50K, >50K are taken as texts, not numbers",
    )


@pytest.mark.parametrize(
    ("first", "step", "rounded"),
    [
        (2**60, 1, True),
        (-(2**53), 2**50, False),
        (2**53, 1, True),
        (2**53 - 200, 1, False),
        (6 * 10**23, 10**21, False),
        (20240101000000000, 3, True),
    ],
)
def test_numbers_that_double_precision_rounds_give_a_note(first: int, step: int, rounded: bool) -> None:
    numbers = [first + step * row for row in range(60)]
    error = max(abs(int(float(number)) - number) for number in numbers)
    assert (100 * error > numbers[-1] - numbers[0]) == rounded
    feature = table("b,y\n" + "".join(f"{number},{row}.5\n" for row, number in enumerate(numbers)))
    target = table("a,y\n" + "".join(f"{row}.5,{number}\n" for row, number in enumerate(numbers)))
    for notes in (feature.notes, target.notes):
        assert any("double precision rounds them" in note for note in notes) == rounded


@pytest.mark.parametrize(
    ("cells", "notes"),
    [
        (["Yes", "No", "yes", "NO"] * 5, ["NO and No, Yes and yes are different classes"]),
        (["e\u0301", "\u00e9", "o"] * 5, ["e\u0301 and \u00e9 are different classes"]),
        (["new york", "New  York", "Rome"] * 5, ["New  York and new york are different classes"]),
        (["a", "a\u200b", "b"] * 5, ["a and a\u200b are different classes"]),
        (["a", "b"] * 5, []),
        (["0.0", "1.0"] * 5, ["0.0, 1.0 are learned as values; add dataset.target_type=classes if they are"]),
        (["1.0", "2.0", "3.0"] * 5, ["1.0, 2.0, 3.0 are learned as values"]),
        (["0.25", "0.5", "0.75"] * 5, []),
        (["0", "1"] * 5, []),
        ([f"car {n % 9}" for n in range(12)], ["has 9 classes in 12 rows; if it is not what is to be learned"]),
    ],
)
def test_a_note_says_what_may_be_wrong_with_a_target(cells: list[str], notes: list[str]) -> None:
    read = table("x,y\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells)))
    assert len(read.notes) == len(notes)
    for note, said in zip(read.notes, notes, strict=True):
        assert f"table.csv: column y: {said}" in note


ROWS = "1.5,x,0\n2.5,y,1\n3.5,x,1\n"
LAID_OUT: dict[str, tuple[str, dict[str, Any], list[str]]] = {  # the same table, with notes
    "plainly": (f"a,c,t\n{ROWS}", {}, []),
    "remarks before": (f"# measured 2021\n# by Ann, Bob\na,c,t\n{ROWS}", {}, ["2 remarks left out (line 1, 2)"]),
    "a remark as wide": (f"# by Ann, Bob, Cem\na,c,t\n{ROWS}", {}, ["1 remark left out (line 1)"]),
    "a line of commas": (f",,\na,c,t\n{ROWS}", {}, ["1 nameless header left out (line 1)"]),
    "two of them": (f",,\n,,\na,c,t\n{ROWS}", {}, ["2 nameless headers left out (line 1, 2)"]),
    "remarks between": (f"a,c,t\n# May\n{ROWS}# end\n", {}, ["2 remarks left out (line 2, 6)"]),
    "a blank line": ("a,c,t\n1.5,x,0\n\n2.5,y,1\n  \n3.5,x,1\n", {}, ["2 blank lines left out (line 3, 5)"]),
    "blank lines around": (f"\n \na,c,t\n{ROWS}\n\n", {}, ["2 blank lines left out (line 1, 2)"]),
    "separators at the end": ("a,c,t\n" + ROWS.replace("\n", ",\n"), {}, []),
    "and in the header": ("a,c,t,,\n" + ROWS.replace("\n", ",,\n"), {}, []),
    "blanks before quotes": ('a, "c", t\n1.5, "x", "0"\n2.5,  "y", "1"\n"3.5","x","1"\n', {}, []),
    "row names of R": ('"","a","c","t"\n"1",1.5,"x",0\n"2",2.5,"y",1\n"3",3.5,"x",1\n', {},
                       ["column_1 has no name and names the rows; it is left out"]),
    "write.table of R": ('"a" "c" "t"\n"Mazda RX4" 1.5 "x" 0\n"7 a" 2.5 "y" 1\n"b" 3.5 "x" 1\n',
                         {"separator": "space"}, ["column_1 has no name and names the rows; it is left out"]),
    "an empty column": ("a,,c,t\n" + ROWS.replace(",x", ",,x").replace(",y", ",,y"), {},
                        ["column_2 has no name and no values; it is left out"]),
    "a title": (f"my flowers\n\na,c,t\n{ROWS}", {"skip_lines": 2}, []),
    "a mark, a title": (f"\ufeffReport, of May\na,c,t\n{ROWS}", {"skip_lines": 1}, []),
    "Excel's own line": ("sep=;\n" + f"a,c,t\n{ROWS}".replace(",", ";"),
                         {"separator": "semicolon", "skip_lines": 1}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", LAID_OUT)
def test_a_file_that_programs_write_gives_the_same_table(name: str) -> None:
    content, options, notes = LAID_OUT[name]
    plain, read = table(LAID_OUT["plainly"][0]), table(content, **options)
    assert (read.digest, read.feature_names) == (plain.digest, plain.feature_names)
    assert read.notes == tuple(f"table.csv: {note}" for note in notes)
    if "skip_lines" in options:
        options = {key: value for key, value in options.items() if key != "skip_lines"}
        with pytest.raises(InputError, match=r"add dataset.skip_lines=[12] if the table begins in line [23]"):
            table(content, **options)


@pytest.mark.parametrize("separator", ["comma", "semicolon", "tab", "bar"])
def test_an_empty_last_cell_is_a_missing_value(separator: str) -> None:
    sign = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}[separator]
    text = "a,c,t\n1,x,0\n2,y,1\n3,x,1\n4,x,\n".replace(",", sign)
    for content in (text, text.rstrip("\n"), text + "\n \n"):
        assert problems_of(content, separator=separator)[0].startswith("table.csv, line 5, column t: is empty")
        assert table(content, separator=separator, missing="drop").rows == 3


def test_a_line_of_header_that_begins_with_a_sign_of_remarks_is_a_header() -> None:
    assert table("#n,c,t\n" + ROWS).feature_names == ("#n", "c=x", "c=y")
    assert table("# one,file\n#n,c,t\n" + ROWS).feature_names == ("#n", "c=x", "c=y")
