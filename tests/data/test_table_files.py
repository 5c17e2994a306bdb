"""Files of other formats than text: the same table as the CSV file of the same rows."""

import gzip
import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import zstandard

from ch12cli.data import csv_file
from ch12cli.data.columns import Column
from ch12cli.data.new_rows import read_rows
from ch12cli.errors import InputError

FRAME = polars.DataFrame(
    {
        "size": [n / 7 for n in range(60)],
        "count": list(range(60)),
        "town": [("Oslo", "Rome", "Wien")[n % 3] for n in range(60)],
        "new": [n % 2 == 0 for n in range(60)],
        "kind": [n % 4 for n in range(60)],
    }
)


@pytest.mark.parametrize("suffix", ["parquet", "ipc", "csv.gz", "csv.zst", "tsv", "tsv.gz"])
def test_a_file_gives_the_table_of_the_same_csv_file(tmp_path: Path, suffix: str) -> None:
    FRAME.write_csv(tmp_path / "t.csv")
    path = tmp_path / f"t.{suffix}"
    if suffix.startswith("tsv"):
        FRAME.write_csv(tmp_path / "t.tsv", separator="\t")
    if suffix == "csv.zst":
        halves = np.array_split(np.frombuffer((tmp_path / "t.csv").read_bytes(), np.uint8), 2)
        path.write_bytes(b"".join(zstandard.compress(half.tobytes()) for half in halves))
    elif suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    elif suffix != "tsv":
        getattr(FRAME, f"write_{suffix}")(path)
    wanted, found = csv_file(str(tmp_path / "t.csv")), csv_file(str(path))
    assert wanted.class_names == ("0", "1", "2", "3")
    assert (found.digest, found.columns, found.class_names) == (wanted.digest, wanted.columns, wanted.class_names)
    rows = read_rows(path.read_bytes(), wanted.columns or (), source=str(path))
    np.testing.assert_array_equal(rows.features, wanted.features)
    assert (rows.further, rows.copied[0][:5]) == (["kind"], ["0", "1", "2", "3", "0"])


def test_arrays_of_numpy_are_tables_whose_last_column_is_learned(tmp_path: Path) -> None:
    x, y = np.random.default_rng(1).normal(size=(30, 2)), np.arange(30) % 3
    np.save(tmp_path / "t.npy", np.column_stack([x, y]))
    np.savez(tmp_path / "t.npz", x=x, y=y)
    one = csv_file(str(tmp_path / "t.npy"), target_type="classes")
    two = csv_file(str(tmp_path / "t.npz"))
    assert (one.feature_names, one.class_names) == (("column_1", "column_2"), ("0.0", "1.0", "2.0"))
    assert (two.feature_names, two.class_names) == (("x_1", "x_2"), ("0", "1", "2"))
    for table in (one, two):
        np.testing.assert_array_equal(table.features, x)
        np.testing.assert_array_equal(table.target, y)


def test_dates_and_missing_values_of_a_parquet_file(tmp_path: Path) -> None:
    days = [date(1970, 1, 1) + timedelta(days=n) for n in range(40)]
    frame = polars.DataFrame({"day": days, "size": [None, *range(1, 40)], "value": [n / 3 for n in range(40)]})
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="row 1, column size: is empty; every row needs a value"):
        csv_file(str(tmp_path / "t.parquet"))
    table = csv_file(str(tmp_path / "t.parquet"), missing="mean")
    np.testing.assert_array_equal(table.features[:, 0], np.arange(40))
    assert np.isnan(table.features[0, 1])
    assert table.notes == (f"{tmp_path / 't.parquet'}: day: dates are read as days since 1970-01-01",)
    assert read_rows(b"day,size\n1970-01-03,5\n", table.columns or (), source="new").features.tolist() == [[2.0, 5.0]]


@pytest.mark.parametrize("name", ["t.parquet", "t.npy", "t.npz", "t.csv.gz", "t.csv.zst"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "t.parquet":
        FRAME.write_parquet(path)
    elif name == "t.npy":
        np.save(path, np.ones((90, 3)))
    elif name == "t.npz":
        np.savez(path, np.ones((90, 3)))
    elif name == "t.csv.zst":
        path.write_bytes(zstandard.compress(FRAME.write_csv().encode()))
    else:
        path.write_bytes(gzip.compress(FRAME.write_csv().encode()))
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match="is damaged") as refused:
        csv_file(str(path))
    assert len(refused.value.messages) == 1


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    FRAME.with_columns(polars.lit([1, 2]).alias("lists")).write_parquet(tmp_path / "l.parquet")
    with pytest.raises(InputError, match="cannot be read"):
        csv_file(str(tmp_path / "o.npy"))
    with pytest.raises(InputError, match="column lists: holds List"):
        csv_file(str(tmp_path / "l.parquet"), target="kind")
    assert csv_file(str(tmp_path / "l.parquet"), target="kind", exclude=["lists"]).rows == 60
    assert csv_file(str(tmp_path / "l.parquet"), target="kind", features=["size"]).columns == (Column("size"),)


def halves(folder: Path, kind: str) -> None:
    """Writes the frame whole, and in two parts; the columns of the second are in another order."""
    for name, frame in {
        "t": FRAME,
        "part-1": FRAME[:40],
        "part-2": FRAME[40:].select("new", "town", "kind", "size", "count"),
    }.items():
        getattr(frame, f"write_{kind}")(folder / f"{name}.{kind}")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_that_match_a_pattern_are_one_table(tmp_path: Path, kind: str) -> None:
    halves(tmp_path, kind)
    whole = csv_file(str(tmp_path / f"t.{kind}"), target="kind")
    parts = csv_file(str(tmp_path / f"part-*.{kind}"), target="kind")
    assert parts.source == str(tmp_path / f"part-*.{kind}")
    assert (parts.digest, parts.columns, parts.class_names) == (whole.digest, whole.columns, whole.class_names)


def test_columns_of_numbers_in_some_files_only_are_read_as_in_one_file(tmp_path: Path) -> None:
    texts = {"1": "a,b,y\n1,7,0.5\n2,8,1.5\n", "2": "a,b,y\n,x,2.5\n4,y,3.5\n"}
    for name, text in texts.items():
        (tmp_path / f"part-{name}.csv").write_text(text)
    (tmp_path / "t.csv").write_text(texts["1"] + texts["2"].partition("\n")[2])
    every: list[dict[str, Any]] = [{"missing": "mean", "categories": ["b"]}, {"missing": "drop", "exclude": ["b"]}]
    for words in every:
        whole, parts = (csv_file(str(tmp_path / name), **words) for name in ("t.csv", "part-*.csv"))
        assert (parts.digest, parts.columns) == (whole.digest, whole.columns)
    with pytest.raises(InputError) as refused:
        csv_file(str(tmp_path / "part-*.csv"))
    assert f"{tmp_path}/part-2.csv, line 2, column a: is empty" in str(refused.value)
    assert f"{tmp_path}/part-2.csv, line 2, column b: 'x' is not a number" in str(refused.value)


def test_a_file_whose_columns_differ_is_named(tmp_path: Path) -> None:
    halves(tmp_path, "parquet")
    pattern = str(tmp_path / "part-?.parquet")
    frame = FRAME.with_columns(size=polars.lit(date(2020, 1, 1)))
    frame.write_parquet(tmp_path / "part-3.parquet")
    with pytest.raises(
        InputError, match=r"part-3.parquet, column size: holds dates, and in .*part-1.parquet numbers; it"
    ):
        csv_file(pattern, target="kind")
    frame.rename({"size": "height"}).write_parquet(tmp_path / "part-3.parquet")
    with pytest.raises(
        InputError, match=r"part-3.parquet: has no column size and has a column height too; its columns"
    ):
        csv_file(pattern, target="kind")
    (tmp_path / "part-0.parquet").write_text("size\n1\n")
    with pytest.raises(InputError, match=r"part-0.parquet: has a single column, size"):
        csv_file(pattern, target="kind")
    with pytest.raises(InputError, match=r"dataset.file=.*none\*: there is no such file, and none whose name matches"):
        csv_file(str(tmp_path / "none*"))
    os.rename(tmp_path / "part-1.parquet", tmp_path / "[x].parquet")
    assert csv_file(str(tmp_path / "[x].parquet"), target="kind").rows == 40
