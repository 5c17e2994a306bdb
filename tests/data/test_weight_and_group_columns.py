"""Columns of a file that weigh rows, or keep them together, and are not learned from."""

from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.data import csv_file, prepare
from ch12cli.errors import InputError

ROWS = "age,visits,patient,ill,note\n" + "".join(
    f"{20 + row},{row % 3 + 1},p{row // 4},{'yes' if row % 5 < 2 else 'no'},a{row % 2}\n" for row in range(48)
)


@pytest.fixture
def file(folder: Path) -> str:
    Path("visits.csv").write_text(ROWS)
    return "visits.csv"


def test_weights_and_groups_are_read_and_left_out_of_the_features(file: str) -> None:
    table = csv_file(file, target="ill", weight="visits", group="patient")
    assert table.feature_names == ("age", "note=a0", "note=a1")
    assert table.weights is not None
    assert table.groups is not None
    assert table.weights.tolist() == [row % 3 + 1 for row in range(48)]
    parts = prepare(table, test_size=0.25, valid_size=0.25, split="stratified")
    assert parts.valid is not None
    assert parts.test is not None
    groups = [set((part.rows // 4).tolist()) for part in (parts.train, parts.valid, parts.test)]
    assert sum(map(len, groups)) == 12 == len(set.union(*groups))
    assert parts.train.weights is not None
    assert parts.train.weights.tolist() == (parts.train.rows % 3 + 1).tolist()


def test_the_last_column_is_the_target_unless_it_weighs_or_groups(folder: Path) -> None:
    Path("a.csv").write_text("x,y,w,g\n" + "".join(f"{row},{row / 7},1,{row % 5}\n" for row in range(9)))
    table = csv_file("a.csv", weight="w", group="g")
    assert (table.target_name, table.feature_names) == ("y", ("x",))


def test_a_row_without_weight_or_group_is_refused_or_dropped(folder: Path) -> None:
    Path("a.csv").write_text("x,w,g,y\n1,1,a,0.5\n2,,a,1.5\n3,2,,2.5\n4,3,b,3.25\n")
    with pytest.raises(InputError, match="every row needs a value"):
        csv_file("a.csv", weight="w", group="g")
    for missing in ("drop", "mean"):
        table = csv_file("a.csv", weight="w", group="g", missing=missing)
        assert table.features[:, 0].tolist() == [1, 4]
        assert table.weights is not None
        assert table.weights.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": "visit"}, "dataset.weight: visits.csv has no column visit; did you mean visits"),
        ({"group": "ill", "target": "ill"}, "dataset.group: ill is the target"),
        ({"weight": "ill", "target": "age"}, "'yes' is not a number"),
        ({"weight": "age", "features": ["age"], "target": "ill"}, "dataset.weight: age is in dataset.features too"),
        ({"weight": "age", "numbers": ["age"], "target": "ill"}, "dataset.numbers: age is in dataset.weight too"),
        ({"group": "age", "categories": ["age"], "target": "ill"}, "dataset.categories: age is in dataset.group too"),
    ],
)
def test_columns_that_cannot_weigh_or_group_are_refused(file: str, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        csv_file(file, **arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_negative_weight_is_refused_with_its_line(folder: Path) -> None:
    Path("a.csv").write_text("x,w,y\n1,1,0.5\n2,-1,1.5\n")
    with pytest.raises(InputError, match="line 3, column w: a weight must be 0 or more"):
        csv_file("a.csv", weight="w")


@pytest.mark.slow
def test_a_cross_validation_by_groups_trains_with_weights(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["dataset=csv", f"dataset.file={file}", "dataset.target=ill", "dataset.weight=visits", "epochs=2"]
    words += ["dataset.group=patient", "dataset.folds=3", "batch_size=8", "device=cpu", "hydra.sweep.dir=s"]
    assert main(["train", "-m", "-q", *words]) == 0
    capsys.readouterr()
    assert main(["predict", "s/1", file]) == 0  # its other columns are passed on
    assert "patient" in capsys.readouterr().out.splitlines()[0]
