"""The same sweep again: after a power cut, after failures; and what its processes are set to."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.catalogue.sweep_progress import SweepFollower
from ch12cli.run.start import train_single
from ch12cli.saved.resume import resume_run
from ch12cli.sweeps import stack_run as stacked
from ch12cli.sweeps.start import plan_many
from ch12cli.sweeps.trials import Estimate
from ch12cli.training.checkpoint import Checkpoints
from tests.conftest import Silent
from tests.sweeps.driver import Swept, one_thread, settings_of, stack_of, sweep
from tests.sweeps.networks import Unlucky

TINY = ("dataset=toy_regression", "epochs=3", "batch_size=5", "optimizer=sgd")
DIFFERENT = "hydra.sweep.subdir='s_${seed}'"


def weights(swept: Swept) -> list[torch.Tensor]:
    return [swept.weights(job) for job in swept.rows]


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("precision", "name"),  # those of bfloat16 are trained one by one
    [("float32", "model.pt"), ("float32", "checkpoints/last.pt"), ("float32", "metrics.csv"), ("bfloat16", "model.pt")],
)
def test_a_job_whose_files_a_power_cut_emptied_is_trained_again(folder: Path, precision: str, name: str) -> None:
    words = (*TINY, "seed=range(3)", f"precision={precision}")
    first = sweep(*words)
    expected = weights(first)
    table = Path("sweep/sweep.csv")
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[:-1]), encoding="utf-8")  # its row had not been written
    Path("sweep/2", name).write_bytes(b"")
    again = sweep(*words)
    assert [item.jobs for item in again.looker.plans[0].items] == [(0, 1, 2) if precision == "float32" else (2,)]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(weights(again), expected, strict=True))
    assert Path("sweep/2", name).stat().st_size > 0
    Path("sweep/2", name).write_bytes(b"")  # not by a power cut: the table has it
    assert sweep(*words).looker.plans[0].items == []


def test_job_directories_are_on_disk_before_the_checkpoint_that_records_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(stacked, "os", SimpleNamespace(stat=os.stat, sync=lambda: done.append("sync")))
    monkeypatch.setattr(Checkpoints, "write", lambda *_given, **_more: done.append("checkpoint"))
    monkeypatch.setattr("ch12cli.sweeps.workers.worker_pool.run_items", in_this_process)
    words = ("optimizer.lr=0.01,1e30", "epochs=4", "checkpoint.every=1", "sweep.processes=1", *TINY[:1])
    sweep(*words)
    assert done == ["sync", "checkpoint", "checkpoint", "checkpoint"]  # one of the two diverges in its first epoch


def in_this_process(items, worker, **_more):
    """Does items without workers."""
    return ((item, event) for item in items for event in worker.run(item))


@pytest.mark.slow
def test_failed_jobs_are_trained_again_without_the_finished_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/unlucky.yaml").write_text("_target_: tests.sweeps.networks.Unlucky\nraises: 2\n", encoding="utf-8")
    words = (*TINY, "model=unlucky", "seed=range(6)")
    first = sweep(*words, folders=[Path("mine")])
    assert [row["status"] for row in first.rows.values()].count("failed") == 1
    for _ in range(2):
        again = sweep(*words, folders=[Path("mine")])
        assert [item.jobs for item in again.looker.plans[0].items] == [(2,)]
    monkeypatch.setattr(Unlucky, "forgiving", True)
    mended = sweep(*words, folders=[Path("mine")])
    assert {row["status"] for row in mended.rows.values()} == {"finished"}
    assert sweep(*words, folders=[Path("mine")]).looker.plans[0].items == []


TELLING = """
import torch
class Telling(torch.nn.Linear):
    def forward(self, x):
        if self.training:
            with open("told", "a", encoding="utf-8") as file:
                file.write(f"{torch.are_deterministic_algorithms_enabled()} {torch.get_num_threads()}\\n")
        return super().forward(x)
"""


@pytest.mark.slow
# in a process of its own: where threads were used before, the processes that are forked there cannot use any
def test_jobs_use_their_settings_of_threads_and_deterministic(folder: Path) -> None:
    Path("telling.py").write_text(TELLING, encoding="utf-8")
    Path("mine/model").mkdir(parents=True)
    text = "_target_: telling.Telling\nin_features: 1\nout_features: 1\n"
    Path("mine/model/telling.yaml").write_text(text, encoding="utf-8")
    words = ("train", "-q", "-m", "--config-dir=mine", *TINY, "precision=float32,bfloat16", "model=telling", "seed=1,2")
    command = [sys.executable, "-m", "ch12cli", *words, "deterministic=true", "threads=2", "device=cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = Path("told").read_text(encoding="utf-8").split("\n")[:-1]
    tries = told.count("False 1")  # before the sweep, of a network of each kind
    assert tries < 10
    assert told[tries:].count("True 2") == len(told) - tries > 10  # of a stack, and of runs alone


def test_a_stack_of_one_job_is_trained_as_a_single_run(folder: Path) -> None:
    with one_thread():
        words = ["device=cpu", *TINY, "seed=range(3)", "sweep.processes=1"]
        for most, expected in ((1, [(1, False)] * 3), (2, [(2, True), (1, False)])):
            plan, _ = plan_many([*words, f"sweep.max_stacked={most}"], folders=[], config_name="config")
            assert [(len(item.jobs), item.stacked) for item in plan.items] == expected


def test_an_estimate_for_one_epoch_is_the_time_of_the_first(folder: Path) -> None:
    with one_thread():
        words = ["device=cpu", "dataset=two_class", "dataset.size=6000", "seed=1,2", "batch_size=8", "epochs=1"]
        _, (estimate,) = plan_many(words, folders=[], config_name="config")
    assert isinstance(estimate, Estimate)
    assert estimate.seconds > 0.03


def test_the_time_of_a_plan_is_less_than_that_of_its_groups_in_turn(folder: Path) -> None:
    words = ["device=cpu", *TINY, "seed=1,2", "model.width=4,5,6,7"]
    plan, estimates = plan_many([*words, "sweep.processes=4"], folders=[], config_name="config")
    seconds = [estimate.seconds for estimate in estimates if isinstance(estimate, Estimate)]
    assert len(seconds) == 4
    assert plan.seconds == pytest.approx(max(seconds))


@pytest.mark.slow
def test_the_seconds_of_a_resumed_job_include_all_its_epochs(folder: Path) -> None:
    words = (*TINY, "precision=bfloat16", "seed=1,2")
    sweep(*words)
    path = Path("sweep/1/result.json")
    path.write_bytes(path.read_bytes().replace(b'"finished"', b'"interrupted"', 1))
    state = Checkpoints(Path("sweep/1/checkpoints"), every=None)
    loaded, _ = state.newest()
    loaded["rows"][:, loaded["columns"].index("seconds")] = 100.0
    state.write({**loaded})
    swept = sweep(*words)
    assert float(swept.rows[1]["seconds"]) > 300


@pytest.mark.slow
def test_jobs_in_renamed_directories_are_found_without_their_rows(folder: Path) -> None:
    sweep(*TINY, "seed=range(3)", DIFFERENT)
    Path("sweep/s_2/result.json").unlink()
    table = Path("sweep/sweep.csv")
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[:2]), encoding="utf-8")
    assert [(row.job, row.directory) for row in read_sweep_rows(Path("sweep"))] == [(0, "s_0"), (1, "s_1")]
    far = SweepFollower(Path("sweep")).read()
    assert (far.jobs, far.ended, far.epochs, far.total_epochs) == (3, {"finished": 2}, 9, 9)  # the third's metrics.csv


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("scheduler", "said"),
    [("cosine", True), ("one_cycle", True), ("step", False), ("cosine scheduler.T_max=20", False)],
)
def test_a_schedule_over_all_epochs_is_reported_when_a_run_is_extended(
    folder: Path, scheduler: str, said: bool
) -> None:
    train_single([*TINY, *f"scheduler={scheduler}".split(), "hydra.run.dir=run"], callback=Silent(), log=False)
    callback = Silent()
    told: list[str] = []
    callback.on_message = lambda text, **_more: told.append(text)  # type: ignore[method-assign]
    assert resume_run(Path("run"), ["epochs=6"], callback=callback) is not None
    assert any("spans all epochs" in text for text in told) is said


def test_a_saved_state_keeps_the_best_weights_at_its_epoch() -> None:
    together = stack_of([settings_of({"device": "cpu", "seed": n, "optimizer.lr": 0.001 + n}) for n in range(3)])
    found, some = [], False
    for _ in range(12):
        state = together.training.state_dict()
        found.append((state["best_network"]["parameters"], state["best_network"]["parameters"].clone()))
        better = together.training.one_epoch().better
        some |= bool(better.any() and not better.all())
    assert some
    assert all(torch.equal(kept, then) for kept, then in found)
