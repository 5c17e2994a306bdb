"""The tile of a sweep's page with its best result."""

import pytest

from ch12cli.files.sweep_csv import SweepRow
from ch12cli.report.contents import best_highlight, best_row


def row(job: int, objective: float, **overrides: str) -> SweepRow:
    keys = {name.replace("_", "."): value for name, value in overrides.items()}
    return SweepRow(job=job, directory=str(job), status="finished", overrides=keys, objective=objective)


def test_the_best_of_several_folds_is_a_setting_with_its_mean_and_not_an_easy_fold() -> None:
    losses = {"0.1": (0.9, 0.1), "0.2": (0.42, 0.38), "0.3": (0.7, 0.6)}
    rows = [
        row(2 * n + fold, loss, lr=lr, dataset_fold=str(fold))
        for n, (lr, folds) in enumerate(losses.items())
        for fold, loss in enumerate(folds)
    ]
    ((label, value),) = best_highlight(rows, "valid_loss")
    assert label == "best validation loss, job 3's setting, mean of 2 folds"
    assert value == "0.4000 ± 0.2541"  # Student's t of one degree 12.706, times 0.02
    best = best_row(rows, "valid_loss")
    assert best is not None
    assert best.job == 3


@pytest.mark.parametrize(("monitor", "job", "value"), [("valid_loss", 1, "0.2"), ("valid_accuracy", 2, "0.7")])
def test_the_best_of_single_runs_is_a_job(monitor: str, job: int, value: str) -> None:
    rows = [row(0, 0.5, lr="0.1"), row(1, 0.2, lr="0.2"), row(2, 0.7, lr="0.3")]
    ((label, text),) = best_highlight(rows, monitor)
    assert label.endswith(f", job {job}")
    assert text == value
    assert best_highlight([], monitor) == []
