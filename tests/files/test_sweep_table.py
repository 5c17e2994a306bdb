"""sweep.csv: whole at every moment, whatever was being written when the sweep was killed."""

import csv
from pathlib import Path

import pytest

from ch12cli.errors import InputError
from ch12cli.files.sweep_csv import read_table
from ch12cli.files.sweep_table import SweepTable, row_of_result

CAUSE = 'ValueError: "odd", with a comma\nand a second line'


def row(job: int, **values: str) -> dict[str, str]:
    return {"job": str(job), "directory": str(job), "status": "finished", "command": f"ch12 train seed={job}", **values}


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_are_in_the_file_as_they_are_added_and_in_order_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    table = SweepTable(path, keys=["seed", "epochs"], metrics=["train_loss", "test_loss"])
    before, after = (
        "job,directory,status,cause,seed,epochs,best_epoch",
        "train_loss,test_loss,parameters,seconds,command",
    )
    header = f"{before},monitor,objective,{after}"
    assert path.read_text(encoding="utf-8") == header + "\n"
    table.add([row(2, seed="3", train_loss="0.5"), row(0, seed="1")])
    assert [found["job"] for found in rows_of(path)] == ["2", "0"]
    table.add([row(1, seed="2", cause=CAUSE)])
    assert [found["job"] for found in rows_of(path)] == ["2", "0", "1"]
    assert rows_of(path)[2]["cause"] == CAUSE
    table.close()
    assert [found["job"] for found in rows_of(path)] == ["0", "1", "2"]
    assert rows_of(path)[2]["train_loss"] == "0.5"


def test_a_later_row_of_a_job_replaces_the_earlier_one(tmp_path: Path) -> None:
    table = SweepTable(tmp_path / "sweep.csv", keys=[], metrics=[])
    table.add([row(0, status="interrupted"), row(1)])
    table.add([row(0, status="finished")])
    assert [found["status"] for found in read_table(tmp_path / "sweep.csv")] == ["finished", "finished"]
    table.close()
    assert len(rows_of(tmp_path / "sweep.csv")) == 2


def test_the_table_of_an_earlier_sweep_keeps_its_rows_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    first = SweepTable(path, keys=["seed"], metrics=["train_loss", "valid_accuracy"])
    first.add([row(0, seed="1", train_loss="0.5", valid_accuracy="0.9")])
    first.close()
    second = SweepTable(path, keys=["optimizer.lr"], metrics=["train_loss", "train_mae"], rows=read_table(path))
    second.add([{**row(1), "optimizer.lr": "0.1", "train_mae": "7"}])
    second.close()
    found = rows_of(path)
    assert (found[0]["seed"], found[0]["train_loss"], found[0]["valid_accuracy"]) == ("1", "0.5", "0.9")
    assert (found[1]["optimizer.lr"], found[1]["train_mae"], found[1]["seed"]) == ("0.1", "7", "")
    names = list(found[0])
    assert names.index("seed") < names.index("objective") < names.index("valid_accuracy") < names.index("command")


def test_a_row_that_was_being_written_is_left_out_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    table = SweepTable(path, keys=["seed"], metrics=["train_loss"])
    table.add([row(0, seed="1"), row(1, seed="2", train_loss="0.25")])
    before = len(path.read_bytes())
    table.add([row(2, seed="3", cause=CAUSE, train_loss="0.125")])
    whole = path.read_bytes()
    table.close()
    for length in range(before, len(whole)):
        path.write_bytes(whole[:length])
        assert [found["job"] for found in read_table(path)] == ["0", "1"]
        assert read_table(path)[1]["command"] == "ch12 train seed=1"
    path.write_bytes(whole)
    assert [found["job"] for found in read_table(path)] == ["0", "1", "2"]
    assert read_table(path)[2]["cause"] == CAUSE


def test_a_table_that_is_cut_in_its_header_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    assert read_table(path) == []
    SweepTable(path, keys=["seed"], metrics=[]).close()
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert read_table(path) == []


@pytest.mark.parametrize("content", [b"job,status\n\xff\xfe,x\n", b"job,directory\n" + b'"' + b"x" * 200_000 + b'"\n'])
def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sweep.csv").write_bytes(content)
    with pytest.raises(
        InputError, match=r"sweep.csv: cannot be read: .*; remove it, or choose another hydra.sweep.dir"
    ):
        read_table(tmp_path / "sweep.csv")


def test_a_row_holds_the_last_epochs_metrics_the_best_epoch_and_the_test() -> None:
    result = {
        "status": "finished",
        "epochs": 3,
        "final": {"epoch": 3, "train_loss": 0.5, "valid_loss": 0.75, "lr": 0.1, "seconds": 0.01},
        "best": {"epoch": 2, "train_loss": 0.6, "valid_loss": 0.7},
        "test": {"loss": 0.8, "accuracy": 1.0},
        "monitor": "valid_loss",
        "objective": 0.7,
        "parameters": 131,
        "seconds": 2.5,
    }
    assert row_of_result(result) == {
        "status": "finished",
        "epochs": 3,
        "best_epoch": 2,
        "monitor": "valid_loss",
        "objective": 0.7,
        "parameters": 131,
        "seconds": 2.5,
        "train_loss": 0.5,
        "valid_loss": 0.75,
        "test_loss": 0.8,
        "test_accuracy": 1.0,
    }
    empty = row_of_result({"status": "failed", "epochs": 0, "final": None, "best": None, "test": None})
    assert {name for name, value in empty.items() if value is not None} == {"status", "epochs"}
