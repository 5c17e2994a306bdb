"""Plots of the files of sweeps: which runs count, and by which numbers."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from ch12cli.catalogue.entries import entry_at
from ch12cli.catalogue.sweep_jobs import rows_to_come
from ch12cli.files.history import describe_ancestry
from ch12cli.files.plan_json import PlanFile, PlannedBase, PlannedJob, write_plan_json
from ch12cli.files.result_json import Result
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.labels import key_in_words
from ch12cli.plots.plot import Bars, Grid, Lines, Parallel
from ch12cli.plots.recorded import (
    Setting,
    SweepChoice,
    curves_of_lines,
    default_kind,
    records_of,
    sweep_curves,
    sweep_plot,
)
from ch12cli.report.contents import sweep_page

SEARCH = "hydra: {sweeper: {n_trials: 4}, overrides: {task: []}}"


def row(job: int, status: str = "finished", **fields: object) -> SweepRow:
    return SweepRow(job=job, directory=str(job), status=status, **fields)  # type: ignore[arg-type]


def written_sweep(folder: Path, rows: Sequence[SweepRow], *, multirun: str = "") -> Path:
    """A sweep of these jobs; their overrides are in their commands."""
    records = [
        {**each.values(), "command": " ".join(["ch12 train", *(f"{k}={v}" for k, v in each.overrides.items())])}
        for each in rows
    ]
    with (folder / "sweep.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for record in records for name in record)))
        writer.writeheader()
        writer.writerows(records)
    if multirun:
        (folder / "multirun.yaml").write_text(multirun)
    return folder


def test_the_default_plot_of_a_search_over_several_keys_is_its_history(tmp_path: Path) -> None:
    rows = [row(n, objective=0.1 * n, overrides={"lr": str(n), "width": str(n % 2)}) for n in range(4)]
    assert default_kind(written_sweep(tmp_path, rows)) == "heatmap"
    search = written_sweep(tmp_path, rows, multirun=SEARCH)
    assert default_kind(search) == "history"
    assert default_kind(search, by_keys=True) == "heatmap"
    assert default_kind(search, "width=1") == "slice"


def test_an_interrupted_run_counts_in_no_mean_of_others() -> None:
    losses = {0: [4.0, 2.0, 1.0], 1: [8.0], 2: [6.0, 4.0, 3.0], 3: [5.0, 5.0]}
    lines: dict[Setting, list[SweepRow]] = {
        (("lr", "1"),): [row(0), row(1, "interrupted"), row(2)],
        (("lr", "2"),): [row(3, "interrupted")],
    }
    plot = curves_of_lines(
        lines,
        lambda found: [{"epoch": n, "valid_loss": loss} for n, loss in enumerate(losses[found.job], start=1)],
        title="t",
        metric=None,
        log=None,
    )
    (panel,) = plot.panels
    assert isinstance(panel, Lines)
    assert [(line.name, line.y.tolist()) for line in panel.lines] == [
        ("lr=1 (2 runs)", [5.0, 3.0, 2.0]),
        ("lr=2", [5.0, 5.0]),
    ]
    assert plot.notes == ["Lines: mean of the runs.", "Left out: 1 run that did not end."]


def test_a_setting_whose_last_fold_is_still_to_come_is_in_no_history(tmp_path: Path) -> None:
    cells = [(lr, fold) for lr in ("0.1", "0.2") for fold in ("0", "1")]
    rows = [
        row(n, objective=0.5 - n / 10, overrides={"lr": lr, "dataset.fold": fold}) for n, (lr, fold) in enumerate(cells)
    ]
    sweep = written_sweep(tmp_path, rows[:3])
    lines = [(f"lr={lr}", f"dataset.fold={fold}") for lr, fold in cells]
    jobs = tuple(PlannedJob(n, str(n), each, 0, {}, str(n)) for n, each in enumerate(lines))
    (sweep / ".ch12").mkdir()
    write_plan_json(sweep, PlanFile((PlannedBase({}, {}, {}, "", ()),), jobs))
    assert [(each.job, each.status) for each in rows_to_come(sweep, rows[:3])] == [(3, "planned")]
    plot = sweep_plot([sweep], "history")
    (panel,) = plot.panels
    assert isinstance(panel, Lines)
    assert [line.y.tolist() for line in panel.lines] == [[pytest.approx(0.45)]] * 2
    assert plot.notes[:2] == ["Dots: 1 setting, mean of 2 runs each.", "1 setting without all runs is left out."]
    written_sweep(tmp_path, rows)
    (panel,) = sweep_plot([sweep], "history").panels
    assert isinstance(panel, Lines)
    assert panel.lines[0].y.tolist() == pytest.approx([0.45, 0.25])


BEGAN, ENDED = ("0.001", "0.01", "0.1", "0.2", "0.3", "0.4"), ("0.05", "0.01", "0.1", "0.07", "0.3", "0.04")


@pytest.fixture
def population(tmp_path: Path) -> Path:
    """A population of six jobs with a momentum each; three of them went on from job 2 with another learning rate."""
    rows = []
    for job, (began, ended) in enumerate(zip(BEGAN, ENDED, strict=True)):
        step = {"epoch": 4, "job": 2, "changes": {"optimizer.lr": float(ended), "seed": 1}, "before": {}}
        history = {} if began == ended else {"ancestry": [step]}
        (tmp_path / str(job)).mkdir()
        (tmp_path / str(job) / "result.json").write_bytes(Result(status="finished", history=history).to_json())
        epochs = "".join(f"{epoch},{1 / epoch}\n" for epoch in range(1, 5))
        (tmp_path / str(job) / "metrics.csv").write_text(f"epoch,valid_loss\n{epochs}")
        keys = {"optimizer.lr": began, "optimizer.momentum": f"0.{job}"}
        rows.append(row(job, objective=0.1 + job / 100, ancestry="2@4" if history else None, overrides=keys))
    return written_sweep(tmp_path, rows)


def test_the_plots_of_a_population_are_over_the_numbers_that_its_runs_ended_with(population: Path) -> None:
    (told,) = describe_ancestry({"ancestry": [{"changes": {"optimizer.lr": 0.05}}]})[1:]  # as `ch12 show` has it
    assert told.endswith("optimizer.lr=0.05")
    label, ended = "optimizer.lr, at the end", sorted(map(float, ENDED))
    plot = sweep_plot([population], "slice", SweepChoice(x="lr"))
    (panel,) = plot.panels
    assert isinstance(panel, Lines)
    assert panel.x.label == label
    assert panel.x.ticks == tuple(ended)
    assert plot.notes[-1] == "The numbers are those at the end: they changed in 3 of 6 runs."
    (panel,) = sweep_plot([population], "slice", SweepChoice(where="optimizer.lr<=0.05")).panels
    assert isinstance(panel, Lines)
    assert panel.x.ticks == (0.01, 0.04, 0.05)
    (grid,) = sweep_plot([population], "heatmap", SweepChoice(x="optimizer.lr", y="momentum")).panels
    assert isinstance(grid, Grid)
    assert (grid.columns.label, grid.rows.label) == (label, "optimizer.momentum")
    assert [float(name) for name in grid.columns.names or ()] == ended
    (parallel,) = sweep_plot([population], "parallel").panels
    assert isinstance(parallel, Parallel)
    assert label in [axis.label for axis in parallel.axes]
    (bars,) = sweep_plot([population], "importance").panels
    assert isinstance(bars, Bars)
    assert label in bars.names
    assert sweep_plot([population], "history").notes[-1].startswith("Validation loss")
    curves = sweep_curves(population)
    (panel,) = curves.panels
    assert isinstance(panel, Lines)
    assert panel.lines[0].name == "lr=0.05, momentum=0.0"
    assert curves.notes[-1] == plot.notes[-1]
    assert key_in_words(label) == "learning rate, at the end"


def test_the_page_of_a_population_names_the_numbers_of_the_end(population: Path) -> None:
    page = sweep_page(entry_at(population)).decode()
    assert "<th>optimizer.lr, at the end</th>" in page
    assert '{"name":"optimizer.lr","role":"key","label":"optimizer.lr, at the end"}' in page
    assert "optimizer.lr: the numbers of each run at its end." in page
    assert "<td>0.05</td>" in page
    assert "<td>0.001</td>" not in page


def test_a_run_of_a_population_whose_numbers_are_lost_is_left_out(population: Path) -> None:
    (population / "3" / "result.json").unlink()
    rows = records_of([population]).rows
    assert [each.status for each in rows] == ["finished"] * 3 + ["damaged"] + ["finished"] * 2
    (panel,) = sweep_plot([population], "slice", SweepChoice(x="lr")).panels
    assert isinstance(panel, Lines)
    assert sorted(panel.lines[0].x.tolist()) == sorted(float(number) for number in ENDED if number != "0.07")
