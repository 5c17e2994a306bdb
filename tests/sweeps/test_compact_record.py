"""The compact record of a sweep: one file for each stack, from which each job's directory can be written."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.files.compact.stores import StoreWriter
from ch12cli.run.task import build_task
from ch12cli.saved.unpack import unpack_sweep
from ch12cli.sweeps.job_directories import HydraFiles
from ch12cli.sweeps.jobs import JobComposer, make_jobs
from ch12cli.sweeps.stack_run import StackRun


def stack_of(folder: Path, overrides: Sequence[str], *, store: StoreWriter | None) -> StackRun:
    """A stack of five jobs that differ in their seed and learning rate; the third diverges where it can."""
    rates = (0.1, 0.01, 1e30, 0.05, 0.02)
    batch = [["device=cpu", *overrides, f"seed={seed}", f"optimizer.lr={lr}"] for seed, lr in enumerate(rates)]
    with hydra_session():
        jobs = [replace(job, directory=str(job.number)) for job in make_jobs(JobComposer(Composer(), []), batch)]
        settings = jobs[0].run_settings
        return StackRun(
            jobs,
            build_task(settings),
            torch.device("cpu"),
            sweep_dir=folder,
            hydra=HydraFiles(folder),
            store=store,
        )


def trained(run: StackRun, epochs: int, *, leaving: Sequence[bool] = ()) -> None:
    """Trains a stack to its end. leaving: the jobs that leave after epoch 2, as halving does."""
    assert [*run.run(None, until=2)]
    if leaving:
        assert [*run.end_leaving(2, torch.tensor(leaving).numpy())]
    assert [*run.run(None, until=epochs)]
    assert run.done.all()


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


WAYS = {
    "sgd that diverges": ["optimizer=sgd", "epochs=4"],
    "adam with early stopping": ["optimizer=adam", "epochs=40", "early_stopping.patience=1", "optimizer.amsgrad=true"],
    "dropout and a schedule": ["optimizer=sgd", "model.dropout=0.2", "scheduler=reduce_on_plateau", "epochs=4"],
    "values": ["dataset=toy_regression", "epochs=3", "optimizer=rmsprop", "precision=float64"],
    "no validation": ["dataset.valid_size=0", "dataset.test_size=0", "epochs=3", "optimizer=sgd"],
}


@pytest.mark.sample(2)
@pytest.mark.parametrize("way", WAYS)
def test_unpacked_directories_are_what_would_have_been_written(
    way: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte. The clock stands still, because the two trainings take different times."""
    overrides = WAYS[way]
    epochs = int(next(word for word in overrides if word.startswith("epochs="))[7:])
    monkeypatch.setattr(time, "perf_counter", lambda: 1.0)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    sweep = folder / "sweep"
    sweep.mkdir()
    leaving = (False, False, False, True, False) if epochs < 5 else ()
    trained(stack_of(sweep, overrides, store=None), epochs, leaving=leaving)
    expected = content_of(sweep)
    assert len(expected) >= 5 * 8
    shutil.rmtree(sweep)
    sweep.mkdir()
    trained(stack_of(sweep, overrides, store=StoreWriter(sweep, "stack-0")), epochs, leaving=leaving)
    assert [file.name for file in (sweep / "records").iterdir()] == ["stack-0.runs"]
    assert len([*unpack_sweep(sweep)]) == 5
    shutil.rmtree(sweep / "records")
    assert content_of(sweep) == expected
