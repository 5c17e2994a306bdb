"""Plots of the files of sweeps: which runs count, and by which numbers."""

from ch12cli.files.sweep_csv import SweepRow
from ch12cli.plots.plot import Lines
from ch12cli.plots.recorded import curves_of_lines


def row(job: int, status: str = "finished", **fields: object) -> SweepRow:
    return SweepRow(job=job, directory=str(job), status=status, **fields)  # type: ignore[arg-type]


def test_an_interrupted_run_counts_in_no_mean_of_others() -> None:
    losses = {0: [4.0, 2.0, 1.0], 1: [8.0], 2: [6.0, 4.0, 3.0], 3: [5.0, 5.0]}
    lines = {
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
