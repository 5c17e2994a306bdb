"""`ch12cli.runs`: rows that data frames take as they are, and what a notebook shows of them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import polars
import pytest

import ch12cli
from ch12cli.cli.main import main
from ch12cli.errors import InputError
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.sweep_csv import read_sweep_csv

WORDS = ["train", "device=cpu", "-q", "epochs=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listed")
    before = Path.cwd()
    os.chdir(folder)
    try:
        sweep = ["-m", "hydra.sweep.dir=outputs/sweep", "seed=range(60)", "optimizer.lr=0.01,1e30", "optimizer=sgd"]
        assert main([*WORDS, *sweep]) == 0
        points = ["dataset=toy_regression", "optimizer=sgd", "early_stopping.patience=9"]
        assert main([*WORDS, "hydra.run.dir=outputs/points", *points]) == 0
        shutil.copytree("outputs/points", "outputs/damaged")
        Path("outputs/damaged/result.json").write_text("{", encoding="utf-8")
    finally:
        os.chdir(before)
    return folder / "outputs"


def test_every_run_and_every_job_is_a_row_with_its_results_and_settings(trained: Path) -> None:
    rows = ch12cli.runs(trained)
    assert len(rows) == 60 * 2 + 2
    assert len({tuple(row) for row in rows}) == 1  # the same keys
    jobs = {row["path"]: row for row in rows}
    for record in read_sweep_csv(trained / "sweep" / "sweep.csv"):
        row = jobs[str(trained / "sweep" / str(record.job))]
        assert row["status"] == record.status
        assert row["seed"] == int(record.overrides["seed"])
        assert row["optimizer.lr"] == float(record.overrides["optimizer.lr"])
        if record.status == "finished":
            assert row["test_accuracy"] == record.metrics["test_accuracy"]
    assert jobs[str(trained / "points")]["dataset"] == "toy_regression"
    assert jobs[str(trained / "damaged")]["status"] == "damaged"


def test_data_frames_take_the_rows_as_they_are(trained: Path) -> None:
    rows = ch12cli.runs(trained)
    one, other = pandas.DataFrame(rows), polars.DataFrame(rows, infer_schema_length=None)
    assert one.shape == other.shape == (122, len(rows[0]))
    assert one["test_accuracy"].dtype == "float64"
    assert other["optimizer.lr"].dtype == polars.Float64
    assert other["when"].dtype == polars.Datetime
    assert (other["seed"].dtype, other["best_epoch"].dtype, other["model.width"].dtype) == (polars.Int64,) * 3  # type: ignore[comparison-overlap]
    assert other["early_stopping.patience"].dtype == polars.Int64  # of which most runs have none
    assert not any(name.startswith("hydra") for name in rows[0])
    finished = one[(one.status == "finished") & (one.kind == "job")]
    wanted = [row.metrics["test_loss"] for row in read_sweep_csv(trained / "sweep" / "sweep.csv") if row.metrics]
    assert finished["test_loss"].mean() == pytest.approx(sum(wanted) / len(wanted))


def test_values_keep_their_types_and_what_is_not_there_is_none(trained: Path) -> None:
    rows = {Path(row["path"]).name: row for row in ch12cli.runs(trained)}
    jobs = [row for row in rows.values() if row["kind"] == "job"]
    assert {type(row[name]) for row in jobs for name in ("seed", "model.width", "epochs")} == {int}
    assert {type(row["best_epoch"]) for row in jobs if row["status"] == "finished"} == {int}
    assert {row["early_stopping.patience"] for row in jobs} == {None}
    assert rows["points"]["early_stopping.patience"] == 9
    assert rows["damaged"]["objective"] is None
    assert "null" not in {value for row in rows.values() for value in row.values()}


def test_a_damaged_table_is_a_row_that_says_so(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "points", tmp_path / "points")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.csv").write_bytes(b"\xff\xfe")
    found = {Path(row["path"]).name: row["status"] for row in ch12cli.runs(tmp_path)}
    assert found == {"points": "finished", "sweep": "damaged"}


def test_a_sweep_by_its_name_has_its_jobs_alone(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained.parent)
    assert len(ch12cli.runs("sweep")) == 120
    with pytest.raises(InputError, match="nothere: no such directory"):
        ch12cli.runs("nothere")


def test_a_notebook_shows_a_table_and_of_a_run_its_curve(trained: Path) -> None:
    rows = ch12cli.runs(trained)
    text = rows._repr_html_()
    assert text.count("<tr>") == 21
    assert "and 102 more" in text
    row = next(row for row in rows if row["path"].endswith("points"))
    assert "train loss" in row._repr_html_()
    (line,) = re.findall(r"<polyline points='([^']+)'", row._repr_html_())
    heights = [float(point.partition(",")[2]) for point in line.split()]
    losses = [each["train_loss"] for each in read_metrics(Path(row["path"]) / "metrics.csv")]
    assert (heights[0] < heights[1]) == (losses[0] > losses[1])  # the higher the further up
    assert f"{row['objective']:.4g}" in row._repr_html_()
    row["path"] = "<b>"
    assert "<b>" not in row._repr_html_()


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert ch12cli.runs(tmp_path) == []
    assert pandas.DataFrame(ch12cli.runs(tmp_path)).empty


def test_a_listing_needs_no_torch(trained: Path) -> None:
    script = (
        f"import sys, ch12cli; assert len(ch12cli.runs({str(trained)!r})) == 122; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
