"""Attempts at the same stack that are alive at once: the newest writes, and none spoils the files of another."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ch12cli.run.task import build_task
from ch12cli.sweeps.job_directories import HydraFiles
from ch12cli.sweeps.stack_run import StackRun
from ch12cli.sweeps.workers.attempts import Attempt, StackCheckpoints, SupersededError
from ch12cli.training.checkpoint import DamagedError
from tests.sweeps.driver import CPU, jobs_of


def state(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "columns": ["loss"], "rows": torch.arange(epoch, dtype=torch.float64).reshape(-1, 1)}


def kept(folder: Path, attempt: str = "") -> StackCheckpoints:
    return StackCheckpoints(folder, "stack-0-aa", every=1, attempt=attempt)


def test_an_attempt_resumes_from_the_last_epoch_of_all(tmp_path: Path) -> None:
    first, second = kept(tmp_path, "3.1"), kept(tmp_path, "3.2")
    kept(tmp_path).write(state(2))
    first.write(state(5))
    assert second.newest()[0]["epoch"] == 5
    second.write(state(7))
    first.write(state(6))  # it does not know that it is taken for lost
    for reader in (kept(tmp_path), first, kept(tmp_path, "4.1")):
        found, skipped = reader.newest()
        assert (found["epoch"], found["rows"].flatten().tolist(), skipped) == (7, list(range(7)), [])
    (tmp_path / "stack-0-aa.3.2.pt").write_bytes(b"damaged")
    found, skipped = kept(tmp_path).newest()
    assert found["epoch"] == 6
    assert "stack-0-aa.3.2.pt" in skipped[0]


def test_those_of_all_attempts_are_removed_and_no_others(tmp_path: Path) -> None:
    other = StackCheckpoints(tmp_path, "stack-0-aabb", every=1, attempt="3.1")
    other.write(state(1))
    for attempt in ("", "3.1", "12.3"):
        kept(tmp_path, attempt).write(state(1))
        kept(tmp_path, attempt).write(state(2))
    assert kept(tmp_path, "9.9").exist()
    kept(tmp_path, "9.9").remove()
    assert not kept(tmp_path).exist()
    assert {path.name for path in tmp_path.iterdir()} == {"stack-0-aabb.3.1.pt", "stack-0-aabb.3.1.rows"}
    with pytest.raises(DamagedError):
        kept(tmp_path).newest()


def test_a_superseded_attempt_writes_neither_a_checkpoint_nor_a_record(tmp_path: Path) -> None:
    newer = threading.Event()

    def require_newest() -> None:
        if newer.is_set():
            raise SupersededError("a newer attempt has begun")

    jobs = jobs_of([[f"seed={seed}", "epochs=4", "batch_size=60"] for seed in range(2)])
    jobs = [replace(job, directory=str(job.number)) for job in jobs]
    task, attempt = build_task(jobs[0].run_settings), Attempt("0.1", require_newest)
    run = StackRun(jobs, task, CPU, sweep_dir=tmp_path, hydra=HydraFiles(tmp_path), attempt=attempt)
    checkpoints = kept(tmp_path, "0.1")
    events = run.run(checkpoints, until=4)
    next(events)
    assert len(list(tmp_path.glob("*.pt"))) == 1
    newer.set()
    with pytest.raises(SupersededError):
        list(events)
    assert kept(tmp_path).newest()[0]["epoch"] == 1
    assert not list(tmp_path.glob("[0-9]*"))
