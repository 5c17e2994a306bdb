"""Tables of every kind read in whole columns: held against csv and float(), and against themselves with quotes."""

import csv
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ch12cli.data import Table, csv_file
from ch12cli.data.sheets.plain_numbers import LONGEST, plain_numbers, without_blanks
from ch12cli.errors import InputError

MARKS = ["", "NA", "nan", "?", "none", "-"]
KINDS = [
    lambda draw: f"{draw.uniform(-9, 9):.{draw.randrange(17)}f}",
    lambda draw: repr(draw.random() * 10.0 ** draw.randrange(-30, 30)),
    lambda draw: draw.choice(["+1.5", ".5", "5.", "007", "-0.0", "1e5", "−3.5", "12345678901234567890"]),
    lambda draw: str(draw.randrange(3)),
    lambda draw: draw.choice(["red", "blue", "grün", "a b", "none"]),
    lambda draw: f"{draw.randrange(1, 3000):,}",
    lambda draw: f"20{draw.randrange(10, 25)}-0{draw.randrange(1, 10)}-11",
    lambda draw: draw.choice(["$5", "$6.50"]),
    lambda draw: draw.choice(["1e999", "inf", "1_000", "0x1f", "x", "1"]),
]


def drawn(seed: int) -> tuple[list[list[str]], dict[str, object]]:
    """A table with its header, and options to read it with."""
    draw = random.Random(seed)
    clean = draw.random() < 0.7
    rows, gaps = draw.randrange(3, 40), draw.choice([0, 0, 0, 0.1])
    kinds = [draw.choice(KINDS[:5] if clean else KINDS) for _ in range(draw.randrange(2, 6))]
    body = [[draw.choice(MARKS) if draw.random() < gaps else kind(draw) for kind in kinds] for _ in range(rows)]
    options: dict[str, object] = {"missing": draw.choice(["refuse", "drop", "mean"])}
    options["decimal"] = draw.choice(["auto", "auto", "point", "comma"])
    options["target_type"] = draw.choice(["auto", "classes", "values"])
    options["categories"] = draw.choice([[], [], ["c0"]])
    return [[f"c{column}" for column in range(len(kinds))], *body], options


def text_of(rows: list[list[str]], quoting: int) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=";", quoting=quoting, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


def outcome(path: Path, text: str, options: dict[str, object]) -> Any:
    path.write_text(text, encoding="utf-8")
    try:
        table = csv_file(str(path), separator="semicolon", **options)  # type: ignore[arg-type]
    except InputError as error:
        return error.messages
    return table.digest, table.columns, table.class_names, table.notes


def test_a_table_is_read_alike_with_and_without_quotes_and_in_one_block_or_more(tmp_path: Path) -> None:
    """Quotes have csv's reader read the rows; without them they are cut at their separators, many at once."""
    read = 0
    for seed in range(60):
        rows, options = drawn(seed)
        plain = outcome(tmp_path / "t.csv", text_of(rows, csv.QUOTE_NONE), options)
        assert outcome(tmp_path / "t.csv", text_of(rows, csv.QUOTE_ALL), options) == plain, seed
        assert outcome(tmp_path / "t.csv", text_of(rows, csv.QUOTE_NONE).replace("\n", "\r"), options) == plain, seed
        read += isinstance(plain, tuple)
    assert 12 < read < 58


def test_drawn_numbers_are_those_of_float(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [[kind(draw).replace("−", "-") for kind in KINDS[:3]] for _ in range(3000)]
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "".join(f"{' , '.join(row)}\n" for row in rows))
    table = csv_file(str(path), target="c", target_type="values")
    wanted = np.array([[float(cell) for cell in row] for row in rows])
    assert table.features.tobytes() == np.ascontiguousarray(wanted[:, :2]).tobytes()
    assert table.target.tobytes() == np.ascontiguousarray(wanted[:, 2]).tobytes()


def test_plain_numbers_leaves_to_others_what_is_no_plain_number() -> None:
    cells = ["1", "-2.5", "+.5", "5.", "", ".", "-", "1.2.3", "1e5", "--1", "1-", "x", "9" * 15, "9" * 16, " 7 "]
    data = np.frombuffer(("\n".join([*cells, ""])).encode(), np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    values, odd = plain_numbers(data, *without_blanks(data, starts, ends), ".")
    read = {cell: value for cell, value, other in zip(cells, values.tolist(), odd.tolist(), strict=True) if not other}
    assert read == {"1": 1.0, "-2.5": -2.5, "+.5": 0.5, "5.": 5.0, "9" * 15: 1e15 - 1, " 7 ": 7.0}
    assert len("-" + "9" * 15 + ".") == LONGEST


@pytest.mark.sample(3)
@pytest.mark.parametrize("odd", ["", "x;y;z", '"a";1;0', "# remark", "a;1", "a;1;0\r", "grün;1;0", "a; NA;0"])
def test_an_unusual_line_far_down_is_read_as_one_near_the_top_is(tmp_path: Path, odd: str) -> None:
    """A file of several blocks; the line is in the last one, or the second of the file."""
    lines = [f"{'abc'[n % 3]}{' ' * 20};{n % 97 / 7};{n % 2}" for n in range(20_000)]
    first, last = (["k;v;t", *lines[:place], odd, *lines[place:]] for place in (1, 19_999))
    outcomes = [outcome(tmp_path / "t.csv", "\n".join(text) + "\n", {"missing": "mean"}) for text in (first, last)]
    kinds = [type(found) for found in outcomes]
    assert kinds[0] is kinds[1]
    said = ["\n".join(map(str, found[3] if isinstance(found, tuple) else found)) for found in outcomes]
    assert said[0].replace("line 3", "line 20001") == said[1]


def test_a_column_that_is_no_number_far_down_is_named_with_its_line(tmp_path: Path) -> None:
    rows = [f"{n % 500}{' ' * 300},{n % 2}" for n in range(3000)]
    rows[2900] = "7 apples,1"
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "\n".join(rows))
    with pytest.raises(InputError, match="line 2902, column a: '7 apples' is not a number; if the column holds"):
        csv_file(str(path))


def test_a_column_that_is_not_used_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,id,t\n" + "".join(f"{n},{n}x,{n % 2}\n" for n in range(50)))
    tables: list[Table] = [csv_file(str(path), exclude=["id"]), csv_file(str(path), features=["a"])]
    assert [table.feature_names for table in tables] == [("a",), ("a",)]


def test_the_names_of_rows_as_r_writes_them_are_found_beside_columns_that_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "".join(f"r{n},{n % 2},{n / 3},{n % 3}\n" for n in range(30)))
    table = csv_file(str(path), exclude=["c"], target="a")
    assert (table.feature_names, table.class_names) == (("b",), ("0", "1"))
