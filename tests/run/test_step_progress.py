"""Progress within an epoch is reported, and reporting changes no batch."""

import pytest
import torch

from ch12cli.run.step_progress import ReportingSource
from ch12cli.training.batches import Part, Shuffled
from tests.conftest import Silent, Train


def test_reporting_does_not_change_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ch12cli.run.step_progress.INTERVAL", -1.0)  # every step is due
    part = Part(torch.arange(14.0).reshape(7, 2), torch.arange(7))
    source = Shuffled(part, batch_size=2, workers=0, device=torch.device("cpu"), pin_memory=False)
    reported: list[tuple[int, int]] = []
    order = torch.tensor([3, 1, 0, 2, 6, 5, 4])
    plain = [y.tolist() for _, y in source.batches(order)]
    reporting = ReportingSource(source, lambda done, steps: reported.append((done, steps)), steps=4)
    assert [y.tolist() for _, y in reporting.batches(order)] == plain == [[3, 1], [0, 2], [6, 5], [4]]
    assert reported == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_short_epochs_report_nothing(train: Train, silent: Silent) -> None:
    train("epochs=2")
    assert silent.steps == []
    assert silent.messages == []
