"""Stacks of networks whose layers are wide: compiled where that is faster, else in the layout of matrix products."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ch12cli.fused import compiler
from ch12cli.run.task import build_task
from ch12cli.sweeps.job_directories import HydraFiles
from ch12cli.sweeps.stack_run import StackRun, restore_stack
from ch12cli.training.checkpoint import Checkpoints
from tests.sweeps.driver import CPU, alone, jobs_of, one_thread, relative, settings_of, stack_of

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")

WIDE = {"model.width": 48, "model.depth": 2, "batch_size": 20, "epochs": 3000}  # epochs: enough to be worth compiling


def test_a_wide_stack_is_compiled_and_its_runs_equal_those_alone() -> None:
    common = WIDE | {"precision": "float64"}
    settings = [settings_of(common | {"seed": seed, "optimizer.lr": 0.001 * (1 + seed)}) for seed in range(9)]
    with one_thread():
        together = stack_of(settings)
        assert together.training.whole is not None
        assert not together.network.is_narrow
        together.go(20)  # of five steps
        for run, each in enumerate(settings):
            training, network = alone(each, together.task)
            for epoch in together.epochs:
                one = training.one_epoch()
                for name in ("train_loss", "valid_loss", "valid_accuracy"):
                    assert relative(epoch.columns[name][run], one.columns[name][0]) < 1e-9
            for name, found in together.network.state_of(together.weights[-1][run]).items():
                torch.testing.assert_close(found, network.module.state_dict()[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("values", "choices"),
    [
        ({"sweep.fused": False}, {}),
        ({"epochs": 1}, {}),  # not worth it
        ({"model.width": 200, "batch_size": 90}, {}),  # too few runs
        ({"record_norms": True}, {}),  # has no compiled form
    ],
)
def test_a_wide_stack_that_is_not_compiled_has_the_layout_of_matrix_products(
    values: dict[str, object], choices: dict[str, str]
) -> None:
    together = stack_of([settings_of(WIDE | values | {"seed": seed}, **choices) for seed in range(2)])
    assert together.training.whole is None
    assert together.training.why_steps
    assert not together.network.runs_last


def run_of(folder: Path, overrides: Sequence[str]) -> StackRun:
    lines = [f"{key}={value}" for key, value in WIDE.items()]
    batch = [["device=cpu", *lines, *overrides, f"seed={seed}"] for seed in range(3)]
    jobs = [replace(job, directory=str(job.number)) for job in jobs_of(batch)]
    return StackRun(jobs, build_task(jobs[0].run_settings), CPU, sweep_dir=folder, hydra=HydraFiles(folder))


@pytest.mark.parametrize("width", [8, 48])
def test_what_began_without_compiled_code_goes_on_without_it(width: int, tmp_path: Path) -> None:
    overrides = [f"model.width={width}"]
    checkpoints = Checkpoints(tmp_path, every=None)
    with one_thread():
        expected = run_of(tmp_path, [*overrides, "sweep.fused=false"])
        list(expected.run(None, until=2))
        expected.write(checkpoints)
        list(expected.run(None, until=4))
        resumed = run_of(tmp_path, overrides)
        assert resumed.training.whole is not None
        restore_stack(resumed, checkpoints)
        list(resumed.run(None, until=4))
    assert torch.equal(resumed.network.parameters, expected.network.parameters)
