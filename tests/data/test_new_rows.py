"""A user's rows: as csv.DictReader reads them, in whatever order; every mistake with its line and column."""

import csv
import io
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ch12cli.data.columns import Column
from ch12cli.data.new_rows import NewRows, read_rows
from ch12cli.data.notation import Notation
from ch12cli.data.text_file import Layout, read_content
from ch12cli.errors import InputError
from tests.data.bad_rows import BAD, HEADER, NAMES, ROW, Bad, text

LONGEST = 300  # characters of a message

GOOD = {
    "as it should be": text(HEADER, ROW, "6,3e0,.5,+1."),
    "no line break at the end": text(HEADER, ROW).rstrip(),
    "blank lines at the end": text(HEADER, ROW, "", "  ", ""),
    "a mark in front": b"\xef\xbb\xbf" + text(HEADER, ROW),
    "line breaks of Windows": text(HEADER, ROW, ROW).replace(b"\n", b"\r\n"),
    "line breaks of old Macs": text(HEADER, ROW, ROW).replace(b"\n", b"\r"),
    "blanks around": text(HEADER.replace(",", " , "), " 5.1 , 3.5,1.4 ,0.2"),
    "quotes around": text(f'"{HEADER.replace(",", chr(34) + "," + chr(34))}"', '"5.1","3.5","1.4","0.2"'),
    "another order": text("petal_width,sepal_width,sepal_length,petal_length", "0.2,3.5,5.1,1.4"),
    "further columns": text(f"id,{HEADER},größe", f"a,{ROW},ä", f"b,{ROW},∞"),
    "a column without a name": text(f",{HEADER}", f"0,{ROW}", f"1,{ROW}"),
    "line breaks in a cell": text(f"{HEADER},note", f'{ROW},"two', 'lines"', f'{ROW},"a ""word"""'),
    "missing values elsewhere": text(f"{HEADER},age", f"{ROW},nan", f"{ROW},"),
    "the largest and the smallest": text(HEADER, "1e308,-1e308,5e-324,1e-400"),
}


def rows_of(content: bytes, names: Sequence[str] = NAMES) -> NewRows:
    return read_rows(content, [Column(name) for name in names], source="flowers.csv")


def message(content: bytes) -> list[str]:
    with pytest.raises(InputError) as caught:
        rows_of(content)
    return caught.value.messages


@pytest.mark.parametrize("name", GOOD)
def test_rows_equal_those_of_csv_dict_reader(name: str) -> None:
    rows = rows_of(GOOD[name])
    reader = csv.DictReader(io.StringIO(GOOD[name].decode("utf-8-sig"), newline=""))
    expected = [
        {str(key).strip(): value for key, value in row.items()}
        for row in reader
        if any(value and value.strip() for value in row.values())
    ]
    assert expected
    assert rows.features.dtype == np.float64
    assert rows.features.tolist() == [[float(row[name]) for name in NAMES] for row in expected]
    assert rows.further == [name for name in expected[0] if name not in NAMES]
    assert rows.copied == [[row[name] for row in expected] for name in rows.further]


def test_the_line_of_a_row_is_the_one_on_which_it_begins() -> None:
    content = text(f"{HEADER},note", f'{ROW},"two', 'lines"', f"{ROW},one", f'{ROW},"', "", '"', f"{ROW},")
    assert list(rows_of(content).lines) == [2, 4, 5, 8]


def test_rows_longer_than_a_header_that_ends_with_a_comma_are_refused() -> None:
    columns = (Column("c0", None), Column("c1", ("a", "b")))
    with pytest.raises(InputError, match="rows: the header has 3 cells, and a row has 4; give each column a name"):
        read_rows(b"c0,c1,\n1,b,8,7\n2,a,9,4\n", columns, source="rows")


def test_there_are_at_least_sixty_bad_files() -> None:
    assert len(BAD) >= 60
    assert len({bad.name for bad in BAD}) == len({bad.content for bad in BAD}) == len(BAD)


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_a_bad_file_is_refused_with_its_name_line_and_column(bad: Bad) -> None:
    problems = message(bad.content)
    said = "\n".join(problems)
    for part in bad.says:
        assert part in said
    assert all(problem.startswith("flowers.csv") for problem in problems)
    assert len(problems) <= 5
    assert max(map(len, problems)) <= LONGEST


def test_a_column_name_is_found_with_or_without_blanks_around_it() -> None:
    rows = rows_of(b"a , b\n1,2\n", ["b", "a "])
    assert rows.features.tolist() == [[2.0, 1.0]]


COLOUR = Column("colour", ("blue", "red"))


def test_a_category_becomes_a_one_at_the_position_of_its_level() -> None:
    rows = read_rows(b"size,colour\n1, red\n2,blue\n", [COLOUR, Column("size")], source="x.csv")
    assert rows.features.tolist() == [[0.0, 1.0, 1.0], [1.0, 0.0, 2.0]]


def test_a_category_that_did_not_occur_in_training_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        read_rows(b'colour\nreed\nx\n""\n', [COLOUR], source="x.csv")
    assert caught.value.messages == [
        "x.csv, line 2, column colour: 'reed' did not occur in training; did you mean 'red'?; or add --allow-unseen",
        "x.csv, line 3, column colour: 'x' did not occur in training; it may be 'blue', 'red'; or add --allow-unseen",
        "x.csv, line 4, column colour: is empty; every row needs a value",
    ]


def test_values_in_a_list_are_quoted_so_that_one_with_a_comma_is_one() -> None:
    city = Column("city", ("Bonn", "New York", "Paris, FR"))
    with pytest.raises(InputError) as caught:
        read_rows(b"city\nWien\n", [city], source="x.csv")
    assert "; it may be 'Bonn', 'New York', 'Paris, FR'; or add" in str(caught.value)


def test_an_allowed_category_that_did_not_occur_in_training_is_no_level_and_is_noted() -> None:
    rows = read_rows(b"colour\nred\nx\n", [COLOUR], source="x.csv", allow_unseen=True)
    assert rows.features.tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert rows.notes == (
        "x.csv: did not occur in training, encoded as none of the known texts: 'x' (line 3, column colour)",
    )


def test_blank_lines_and_remarks_are_left_out_and_noted() -> None:
    rows = rows_of(text("# by Ann", "", HEADER, ROW, "", "# in May", ROW, ""))
    assert rows.features.tolist() == [[5.1, 3.5, 1.4, 0.2]] * 2
    assert list(rows.lines) == [4, 7]
    assert rows.notes == (
        "flowers.csv: 2 blank lines left out (line 2, 5)",
        "flowers.csv: 2 remarks left out (line 1, 6)",
    )


def test_columns_without_a_name_or_a_cell_are_left_out() -> None:
    rows = rows_of(text(f"{HEADER},,", f"{ROW},,", f"{ROW},,"))
    assert (rows.further, rows.copied, rows.notes) == ([], [], ())
    assert rows.features.tolist() == [[5.1, 3.5, 1.4, 0.2]] * 2


def test_the_names_of_rows_that_r_writes_are_a_column_without_a_name() -> None:
    rows = rows_of(text(HEADER, f"a,{ROW}", f"b,{ROW}"))
    assert (rows.further, rows.copied) == ([""], [["a", "b"]])
    assert rows.features.tolist() == [[5.1, 3.5, 1.4, 0.2]] * 2


def test_a_number_is_read_as_it_was_written_in_training() -> None:
    dollars = Column("price", notation=Notation(before="$", group=","))
    assert read_rows(b'price\n"$1,234.5"\n-$5\n', [dollars], source="x").features.tolist() == [[1234.5], [-5.0]]
    with pytest.raises(InputError, match=r"x, line 2, column price: '5' is not a number after \$"):
        read_rows(b"price\n5\n", [dollars], source="x")


def test_allowed_missing_values_are_nan_or_no_level() -> None:
    rows = read_rows(b"size,colour\nNA,red\n2,?\n", [COLOUR, Column("size")], source="x.csv", allow_missing=True)
    np.testing.assert_array_equal(rows.features, [[0.0, 1.0, np.nan], [0.0, 0.0, 2.0]])


def test_a_file_may_have_another_separator_no_header_and_skipped_lines() -> None:
    layout = Layout("space", header=False, skip_lines=2)
    rows = read_rows(
        b"a title\n\n1   2 3\n4 5  6\n", [Column("column_3"), Column("column_1")], source="x", layout=layout
    )
    assert rows.features.tolist() == [[3.0, 1.0], [6.0, 4.0]]
    assert (list(rows.lines), rows.further, rows.copied) == ([3, 4], ["column_2"], [["2", "5"]])


@pytest.fixture
def odd_places(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Paths that are no file that can be read."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("not there")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        yield {
            "is a directory": tmp_path,
            "is a pipe": tmp_path / "pipe",
            "a pipe, not a file; give -": tmp_path / "link to a pipe",
            "is a socket": tmp_path / "socket",
            "is a device": Path("/dev/zero"),
            "device, not a file": Path("/dev/null"),
            "there is no such file": tmp_path / "nowhere",
            "there is no such file; is it": tmp_path / "pipes",
            "cannot be read": tmp_path / "loop",
            "cannot be read: File name too long": tmp_path / ("x" * 5000),
            "embedded null": tmp_path / "a\0b",
            "cannot be read: Not a directory": tmp_path / "pipe" / "rows.csv",
            "cannot be read: Input/output error": Path("/proc/self/mem"),  # unreadable for root too
        }


def test_a_path_that_is_not_a_regular_file_is_refused_without_waiting(odd_places: dict[str, Path]) -> None:
    assert len(odd_places) == 13
    for said, path in odd_places.items():
        with pytest.raises(InputError) as caught:
            read_content(path)
        assert said in str(caught.value), path
        assert str(caught.value).startswith(str(path)[:100])  # the middle of a very long one is left out


def test_a_file_is_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"a\n1\n")
    (tmp_path / "link").symlink_to("rows.csv")
    assert read_content(tmp_path / "link") == b"a\n1\n"
