"""Plots of the files of sweeps: which runs count, and by which numbers."""

import csv
from collections.abc import Sequence
from pathlib import Path

from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.plot import Lines
from ch12cli.plots.recorded import Setting, curves_of_lines, default_kind

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
