"""sweep.csv: a row a job, complete at every moment, whatever was being written when the sweep was killed."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from ch12cli.errors import InputError
from ch12cli.files.result_json import Result
from ch12cli.files.sweep_csv import JobFacts, RowBuffer, SweepRow, SweepTable, read_sweep_csv, row_from_format_1

ERROR = 'ValueError: "odd", with a comma\nand a second line'


def make_row(job: int, *lines: str, status: str = "finished", error: str | None = None, **metrics: float) -> SweepRow:
    result = Result(status=status, error=error, final=metrics)
    return SweepRow.of(JobFacts(job, str(job), (f"seed={job}", *lines)), result)


def records_in(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_are_in_the_file_as_they_are_added_and_in_order_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    table = SweepTable(path, keys=["seed", "epochs"], metrics=["train_loss", "test_loss"])
    header = (
        "job,directory,status,left_at,stopped_at,diverged_at,diverged_step,error,seed,epochs,best_epoch,"
        "monitor,objective,train_loss,test_loss,parameters,seconds,command"
    )
    assert path.read_text(encoding="utf-8") == header + "\n"
    table.add([make_row(2, train_loss=0.5), make_row(0)])
    assert [found["job"] for found in records_in(path)] == ["2", "0"]
    table.add([make_row(1, status="failed", error=ERROR)])
    assert [found["job"] for found in records_in(path)] == ["2", "0", "1"]
    assert records_in(path)[2]["error"] == ERROR
    table.close()
    assert [found["job"] for found in records_in(path)] == ["0", "1", "2"]
    assert records_in(path)[2]["train_loss"] == "0.5"


def test_a_later_row_of_a_job_replaces_the_earlier_one(tmp_path: Path) -> None:
    table = SweepTable(tmp_path / "sweep.csv", keys=[], metrics=[])
    table.add([make_row(0, status="interrupted"), make_row(1)])
    table.add([make_row(0)])
    assert [found.status for found in read_sweep_csv(tmp_path / "sweep.csv")] == ["finished", "finished"]
    table.close()
    assert len(records_in(tmp_path / "sweep.csv")) == 2


def test_the_table_of_an_earlier_sweep_keeps_its_rows_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    first = SweepTable(path, keys=["seed"], metrics=["train_loss", "valid_accuracy"])
    first.add([make_row(0, train_loss=0.5, valid_accuracy=0.9)])
    first.close()
    rows = read_sweep_csv(path)
    second = SweepTable(path, keys=["optimizer.lr"], metrics=["train_loss", "train_mae"], rows=rows)
    second.add([make_row(1, "optimizer.lr=0.1", train_mae=7.0)])
    second.close()
    found = records_in(path)
    assert (found[0]["seed"], found[0]["train_loss"], found[0]["valid_accuracy"]) == ("0", "0.5", "0.9")
    assert (found[1]["optimizer.lr"], found[1]["train_mae"], found[1]["valid_accuracy"]) == ("0.1", "7.0", "")
    names = list(found[0])
    assert names.index("seed") < names.index("objective") < names.index("valid_accuracy") < names.index("command")


def test_a_further_batch_adds_its_columns_after_the_rows_that_waited(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    first, second = make_row(0, train_loss=0.5), make_row(1, train_loss=0.25)
    buffer = RowBuffer(SweepTable(path, keys=["seed"], metrics=["train_loss"]))
    buffer.add(first)
    buffer.go_on_with([first], keys=["seed"], metrics=["train_loss"], ancestry=False)
    assert records_in(path) == []  # nothing new is to be said of it, so it waits on
    buffer.go_on_with([first], keys=["model.width"], metrics=["train_mae"], ancestry=False)
    assert [found["train_loss"] for found in records_in(path)] == ["0.5"]
    assert {"model.width", "train_mae", "seed", "train_loss"} <= set(records_in(path)[0])
    buffer.add(second)
    buffer.flush()
    assert [found["train_loss"] for found in records_in(path)] == ["0.5", "0.25"]
    buffer.table.close()
    assert [found.job for found in read_sweep_csv(path)] == [0, 1]


def test_an_incomplete_last_row_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    table = SweepTable(path, keys=["seed"], metrics=["train_loss"])
    table.add([make_row(0), make_row(1, train_loss=0.25)])
    before = len(path.read_bytes())
    table.add([make_row(2, status="failed", error=ERROR, train_loss=0.125)])
    complete = path.read_bytes()
    table.close()
    for length in range(before, len(complete)):
        path.write_bytes(complete[:length])
        assert [found.job for found in read_sweep_csv(path)] == [0, 1]
        assert read_sweep_csv(path)[1].command == "ch12 train seed=1"
    path.write_bytes(complete)
    assert [found.job for found in read_sweep_csv(path)] == [0, 1, 2]
    assert read_sweep_csv(path)[2].error == ERROR


def test_a_table_with_an_incomplete_header_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    assert read_sweep_csv(path) == []
    SweepTable(path, keys=["seed"], metrics=[]).close()
    complete = path.read_bytes()
    for length in range(len(complete) + 1):
        path.write_bytes(complete[:length])
        assert read_sweep_csv(path) == []


@pytest.mark.parametrize("content", [b"job,status\n\xff\xfe,x\n", b"job,directory\n" + b'"' + b"x" * 200_000 + b'"\n'])
def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sweep.csv").write_bytes(content)
    with pytest.raises(
        InputError, match=r"sweep.csv: cannot be read: .*; remove it, or choose another hydra.sweep.dir"
    ):
        read_sweep_csv(tmp_path / "sweep.csv")


RESULT = Result(
    status="finished",
    epochs=3,
    final={"epoch": 3, "train_loss": 0.5, "valid_loss": 0.75, "valid_r2": math.nan, "lr": 0.1, "seconds": 0.01},
    best={"epoch": 2, "train_loss": 0.6, "valid_loss": 0.7},
    test={"loss": 0.8, "accuracy": 1.0},
    monitor="valid_loss",
    objective=0.7,
    parameters=131,
    seconds=2.5,
)
FACTS = JobFacts(4, "a/b", ("optimizer.lr=1e-3", '+note=it\'s "so"', "epochs=3"), ("--config-dir", "my conf"))


def test_a_row_holds_the_last_epochs_metrics_the_best_epoch_and_the_test() -> None:
    row = SweepRow.of(FACTS, RESULT)
    assert (row.job, row.directory, row.status, row.epochs, row.best_epoch) == (4, "a/b", "finished", 3, 2)
    assert (row.monitor, row.objective, row.parameters, row.seconds) == ("valid_loss", 0.7, 131, 2.5)
    # what is not finite is absent, as in result.json
    assert row.metrics == {"train_loss": 0.5, "valid_loss": 0.75, "test_loss": 0.8, "test_accuracy": 1.0}
    assert row.overrides == {"optimizer.lr": "1e-3", "note": 'it\'s "so"', "epochs": "3"}
    assert row.command.startswith("ch12 train --config-dir 'my conf' optimizer.lr=1e-3 ")
    empty = SweepRow.of(JobFacts(0, "0"), Result(status="failed", epochs=0))
    assert {name for name, value in empty.to_record().items() if value is not None} == {
        "job",
        "directory",
        "status",
        "epochs",
        "command",
    }


ENDINGS = [
    {"left_at": 2},
    {"stopped_at": 3},
    {"status": "diverged", "diverged_at": 1, "diverged_step": 7},
    {"status": "failed", "error": ERROR},
    {"status": "interrupted", "epochs": None, "seconds": None},
]


@pytest.mark.parametrize("ending", ENDINGS, ids=str)
def test_a_row_is_read_back_as_it_was_written(ending: dict[str, object], tmp_path: Path) -> None:
    row = SweepRow.of(FACTS, replace(RESULT, **ending))  # type: ignore[arg-type]
    table = SweepTable(tmp_path / "sweep.csv", keys=row.overrides, metrics=row.metrics)
    table.add([row])
    assert read_sweep_csv(tmp_path / "sweep.csv") == [row]
    table.close()
    assert read_sweep_csv(tmp_path / "sweep.csv") == [row]
    (brief,) = read_sweep_csv(tmp_path / "sweep.csv", brief=True)
    assert (brief.job, brief.directory, brief.status) == (row.job, row.directory, row.status)
    assert (brief.monitor, brief.objective, brief.seconds) == (row.monitor, row.objective, row.seconds)


@pytest.mark.parametrize("brief", [False, True])
def test_a_command_that_ends_in_a_backslash_is_damage_however_much_is_read(brief: bool, tmp_path: Path) -> None:
    (tmp_path / "sweep.csv").write_text("job,status,command\n0,finished,ch12 train '+note=x'\\\n")
    with pytest.raises(InputError, match=r"sweep.csv: damaged: "):
        read_sweep_csv(tmp_path / "sweep.csv", brief=brief)


@pytest.mark.parametrize(
    ("status", "cause", "fields"),
    [
        ("finished", "", {}),
        ("finished", "left by halving after epoch 4", {"left_at": 4}),
        ("finished", "stopped early in epoch 12", {"stopped_at": 12}),
        (
            "diverged",
            "the loss was no longer finite in epoch 3, step 17; try a smaller optimizer.lr, clip_grad_norm=1, or "
            "dataset.scaling=standard",
            {"diverged_at": 3, "diverged_step": 17},
        ),
        ("failed", "ValueError: stopped early in epoch 3", {"error": "ValueError: stopped early in epoch 3"}),
        ("failed", "left by halving after epoch 4", {"error": "left by halving after epoch 4"}),
    ],
)
def test_the_sentence_of_a_row_of_format_1_becomes_fields(status: str, cause: str, fields: dict[str, object]) -> None:
    old = {"job": "1", "directory": "1", "status": status, "cause": cause, "command": "ch12 train seed=1"}
    row = SweepRow.from_record(old)
    names = ("left_at", "stopped_at", "diverged_at", "diverged_step", "error")
    assert {name: value for name in names if (value := getattr(row, name)) is not None} == fields
    assert "cause" not in row_from_format_1(old)


def test_a_job_that_was_resumed_with_changes_has_them_in_its_command() -> None:
    sessions = [
        {"epoch": 3, "changes": {"epochs": 5, "logger": ["csv", "mlflow"]}},
        {"epoch": 5, "changes": {"epochs": 8, "dataset.file": "my rows.csv", "dataset.folder": None}},
    ]
    row = SweepRow.of(FACTS, replace(RESULT, history={"resumed": sessions}))
    assert row.command == (
        "ch12 train --config-dir 'my conf' optimizer.lr=1e-3 '+note=it'\"'\"'s \"so\"' epochs=8 'logger=[csv,mlflow]' "
        "'dataset.file=\"my rows.csv\"' dataset.folder=null"
    )
    assert row.overrides["epochs"] == "8"


def test_a_table_that_is_a_link_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "sweep.csv").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"sweep\.csv: must be a file, not a link; put the file in its place, or rem"):
        read_sweep_csv(tmp_path / "sweep.csv")
