"""Tables and plots of a sweep keep apart what was trained for other numbers of epochs: halved and extended jobs."""

import csv
import io
import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ch12cli.catalogue.summary import fold_alike, trained_alike
from ch12cli.catalogue.sweep_jobs import as_planned, read_rows_as_planned
from ch12cli.cli.main import main
from ch12cli.files.sweep_csv import JobFacts, SweepRow
from ch12cli.plots import recorded
from tests.sweeps.driver import sweep


def row(job: int, objective: float, **more: object) -> SweepRow:
    overrides = {"optimizer.lr": "0.1", "seed": str(job)}
    return SweepRow(job=job, directory=str(job), status="finished", overrides=overrides, objective=objective, **more)  # type: ignore[arg-type]


ROWS = [row(0, 1.0), row(1, 3.0), row(2, 10.0, left_at=1), row(3, 20.0, left_at=2), row(4, 40.0, left_at=2)]
ROWS += [row(5, 100.0, stopped_at=3), row(6, 0.5, extended_to=9)]


def test_runs_are_averaged_with_runs_that_were_trained_as_long() -> None:
    found = [(each.values, each.runs, each.mean["objective"]) for each in fold_alike(ROWS, ["optimizer.lr", "seed"])]
    same = {"optimizer.lr": "0.1"}
    assert found == [
        ({**same, "extended to": "", "left after": ""}, 3, statistics.mean([1.0, 3.0, 100.0])),  # stopped by design
        ({**same, "extended to": "epoch 9", "left after": ""}, 1, 0.5),
        ({**same, "extended to": "", "left after": "epoch 2"}, 2, 30.0),
        ({**same, "extended to": "", "left after": "epoch 1"}, 1, 10.0),
    ]
    assert [each.values for each in fold_alike(ROWS[:2], ["optimizer.lr"])] == [same]


def test_plots_pool_runs_trained_as_planned_and_say_what_they_leave_out() -> None:
    kept, note = trained_alike(ROWS)
    assert [each.job for each in kept] == [0, 1, 5]
    assert note.endswith("1 extended to epoch 9, 2 left after epoch 2, 1 left after epoch 1.")
    assert trained_alike(ROWS[:2]) == (ROWS[:2], "")
    assert [each.job for each in trained_alike(ROWS[2:5])[0]] == [3, 4]


def test_a_resume_without_an_effect_on_the_training_makes_no_difference() -> None:
    facts = [JobFacts(n, str(n), ("epochs=3", f"seed={n}")) for n in range(3)]
    rows = [replace(row(n, 1.0), overrides={"epochs": "3", "seed": str(n)}) for n in range(3)]
    changed = [
        rows[0],
        replace(rows[1], overrides={"seed": "1", "epochs": "3", "workers": "1"}),
        replace(rows[2], overrides={"seed": "2", "epochs": "9"}),
    ]
    found = as_planned(changed, facts)
    assert found == rows
    assert [each.extended_to for each in found] == [None, None, 9]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of 2 rates and 8 seeds that is halved after epoch 1; a job of those that were left is trained further."""
    directory = tmp_path_factory.mktemp("alike") / "sweep"
    halving = "sweep.halving={metric: train_loss, min_epochs: 1, factor: 2}"
    words = ["dataset=toy_regression", "epochs=3", "optimizer.lr=0.01,0.02", "seed=range(8)", "batch_size=5"]
    sweep(*words, halving, "monitor=train_loss", into=str(directory))
    longest = [each.job for each in read_rows_as_planned(directory) if each.left_at is None]
    assert len(longest) >= 3
    assert main(["resume", "-q", str(directory / str(longest[0])), "epochs=7"]) == 0
    return directory


def expected_means(swept: Path) -> dict[tuple[str, str], float]:
    """The mean objective by rate and length of the training, from the jobs' own files."""
    values: dict[tuple[str, str], list[float]] = {}
    for path in swept.glob("*/result.json"):
        result = json.loads(path.read_text())
        overrides = (path.parent / ".hydra" / "overrides.yaml").read_text()
        rate = "0.02" if "optimizer.lr=0.02" in overrides else "0.01"
        length = "7" if result["epochs"] == 7 else f"left {result['left_at']}" if "left_at" in result else ""
        values.setdefault((rate, length), []).append(result["objective"])
    return {key: statistics.mean(found) for key, found in values.items()}


@pytest.mark.slow
def test_every_format_of_compare_keeps_them_apart(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = expected_means(swept)
    assert len(wanted) > 3
    for form in ("csv", "json"):
        assert main(["compare", str(swept), "--format", form]) == 0
        text = capsys.readouterr().out
        table = list(csv.DictReader(io.StringIO(text))) if form == "csv" else json.loads(text)
        found = {}
        for line in table:
            length = line["extended to"].removeprefix("epoch ") or line["left after"].replace("epoch", "left")
            found[line["optimizer.lr"], length] = float(line["objective"])
        assert found == pytest.approx(wanted)
    for form in ("md", "table"):
        assert main(["compare", str(swept), "--format", form, "--limit", "20"]) == 0
        text = capsys.readouterr().out
        lines = [line for line in text.splitlines() if "0.01" in line or "0.02" in line]
        assert len(lines) == len(wanted), text


@pytest.mark.slow
def test_show_and_report_keep_them_apart(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(swept)]) == 0
    text = capsys.readouterr().out
    assert "1 extended by a resume: 1 to epoch 7" in text
    assert "extended to" in text
    assert main(["report", str(swept), "-o", str(swept.parent / "report.html")]) == 0
    page = (swept.parent / "report.html").read_text()
    assert "Left out, because they were trained for other numbers of epochs" in page
    assert page.count("extended to epoch 7") >= 1


@pytest.mark.parametrize("kind", ["slice", "distribution"])
def test_plots_of_results_leave_out_what_was_trained_for_other_numbers_of_epochs(swept: Path, kind: str) -> None:
    alike = [each for each in read_rows_as_planned(swept) if each.left_at is None and each.extended_to is None]
    plot = recorded.sweep_plot([swept], kind)
    assert any("1 extended to epoch 7" in note for note in plot.notes)
    panel = plot.panels[0]
    if kind == "slice":
        drawn = panel.lines[0].y.tolist()  # type: ignore[union-attr]
        assert sorted(drawn) == sorted(each.objective for each in alike)
    else:
        assert int(np.sum(panel.counts)) == len(alike)  # type: ignore[union-attr]


def test_curves_of_a_sweep_are_of_runs_trained_alike(swept: Path) -> None:
    plot = recorded.sweep_curves(swept)
    assert any("1 extended to epoch 7" in note for note in plot.notes)
    for panel in plot.panels:
        assert max(float(line.x.max()) for line in panel.lines) == 3  # type: ignore[union-attr]
