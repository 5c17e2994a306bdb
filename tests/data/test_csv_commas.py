"""Tables that are nearly in order: numbers with commas, columns without names, a header that is a row."""

from pathlib import Path

import pytest

from ch12cli.data.csv_file import csv_file
from ch12cli.errors import InputError

PLANTS = "length;width;kind\n" + "".join(f"{n % 7},{n % 3};{n % 5},5;{'ab'[n % 2]}\n" for n in range(30))


def table(tmp_path: Path, text: str) -> str:
    path = tmp_path / "d.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_numbers_with_commas_are_no_categories(tmp_path: Path) -> None:
    file = table(tmp_path, PLANTS)
    with pytest.raises(InputError) as refused:
        csv_file(file, separator="semicolon")
    assert len(refused.value.messages) == 2
    assert ", column length: its numbers have commas, such as 0,0; write points" in refused.value.messages[0]
    assert refused.value.messages[0].endswith("or add dataset.categories=[length] if they are no numbers")
    told = csv_file(file, separator="semicolon", categories=["length", "width"])
    assert told.features.shape == (30, 21 + 5)
    assert csv_file(table(tmp_path, PLANTS.replace(",", ".")), separator="semicolon").features.shape == (30, 2)


def test_a_target_of_numbers_with_commas_is_no_class(tmp_path: Path) -> None:
    file = table(tmp_path, "x;y\n" + "".join(f"{n};1,{n % 4}\n" for n in range(30)))
    with pytest.raises(InputError, match=r"column y: its numbers have commas.*add dataset.target_type=classes"):
        csv_file(file, separator="semicolon")
    told = csv_file(file, separator="semicolon", target_type="classes")
    assert told.class_names == ("1,0", "1,1", "1,2", "1,3")


@pytest.mark.parametrize("text", ["a,b", "5,1 cm", "1,2;x"])
def test_texts_with_commas_stay_categories(tmp_path: Path, text: str) -> None:
    rows = "".join(f"{text if n % 2 else 'other'}|{n % 3}\n" for n in range(12))
    told = csv_file(table(tmp_path, "a|y\n" + rows), separator="bar")
    assert told.feature_names == (f"a={text}", "a=other")


def test_a_column_without_a_name_is_refused(tmp_path: Path) -> None:
    for header, place, why in ((",x,y", 1, "give it one"), ("x,y,", 3, "its lines end in one, it seems")):
        with pytest.raises(InputError, match=f"line 1: column {place} has no name; {why}"):
            csv_file(table(tmp_path, f"{header}\n" + "1,2,0\n3,4,1\n" * 4))


def test_a_header_that_may_be_a_row_is_told(tmp_path: Path) -> None:
    rows = "5.1,3.5,setosa\n4.9,3.0,setosa\n6.3,2.5,virginica\n" * 4
    (note,) = csv_file(table(tmp_path, rows)).notes
    assert "its first line is taken for the names of the columns, 5.1, 3.5 among them" in note
    assert csv_file(table(tmp_path, rows), header=False).notes == ()
    assert csv_file(table(tmp_path, "a,b,kind\n" + rows)).notes == ()
