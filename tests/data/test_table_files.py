"""Files of other formats than text: the same table as the CSV file of the same rows."""

import gzip
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars
import pytest

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


@pytest.mark.parametrize("suffix", ["parquet", "ipc", "csv.gz"])
def test_a_file_gives_the_table_of_the_same_csv_file(tmp_path: Path, suffix: str) -> None:
    FRAME.write_csv(tmp_path / "t.csv")
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv.gz":
        path.write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    else:
        getattr(FRAME, f"write_{suffix}")(path)
    wanted, found = csv_file(str(tmp_path / "t.csv")), csv_file(str(path))
    assert wanted.class_names == ("0", "1", "2", "3")
    assert (found.digest, found.columns, found.class_names) == (wanted.digest, wanted.columns, wanted.class_names)
    rows = read_rows(path.read_bytes(), wanted.columns or (), source="t")
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


@pytest.mark.parametrize("name", ["t.parquet", "t.npy", "t.npz", "t.csv.gz"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "t.parquet":
        FRAME.write_parquet(path)
    elif name == "t.npy":
        np.save(path, np.ones((90, 3)))
    elif name == "t.npz":
        np.savez(path, np.ones((90, 3)))
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
