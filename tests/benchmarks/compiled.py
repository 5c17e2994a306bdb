"""The compiled step of a stack against its ordinary step: what `pays` of ch12cli.training.compiled rests on."""

import os
import time
from collections.abc import Mapping
from typing import Any

import torch

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.run.build import build_stack
from ch12cli.run.start import checked
from ch12cli.run.task import Task, build_task
from ch12cli.training.compiled import CompiledStep
from tests.benchmarks.bench import Bench, Table, interleaved, medians

RUNS = (64, 256, 1024, 4096)
NETWORKS = ((16, 1), (32, 1), (16, 2))  # width, depth
BUDGET = 0.3  # seconds a measurement
TIMES = 5


class Stacked:
    """A stack of Iris runs. Microseconds of processor time for a step of one run a call, with orders and metrics."""

    def __init__(self, settings: Mapping[str, Any], task: Task, *, runs: int, compiled: bool) -> None:
        jobs = [{**settings, "seed": seed} for seed in range(runs)]
        self.training, network, _ = build_stack(jobs, task, torch.device("cpu"))
        self.parameters = network.parameters.shape[1]
        start = time.process_time()
        if compiled:
            self.training.compiled = CompiledStep(self.training)
        self.compiling = time.process_time() - start
        self.steps = len(self.training.schedule.rates(0))
        self.training.one_epoch()
        start = time.process_time()
        self.training.one_epoch()
        self.epochs = max(1, int(BUDGET / (time.process_time() - start)))
        self.per_call = self.epochs * self.steps * runs

    def __call__(self) -> float:
        start = time.process_time()
        for _ in range(self.epochs):
            self.training.one_epoch()
        return (time.process_time() - start) / self.per_call * 1e6


def run(bench: Bench) -> Table:
    torch.set_num_threads(1)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(bench.folder("inductor"))  # empty, so that the first is compiled cold
    table = Table(
        "The compiled step of a stack",
        "Whole epochs of Iris, batch 2, Adam: microseconds of processor time for a step of one run, one core; medians "
        f"of {TIMES}, in turn. Compiling: processor seconds with torch's cache empty, then with the code in it.",
        ["width", "depth", "runs", "ordinary", "compiled", "ordinary / compiled", "saved: µs a step", "compiling"],
    )
    for width, depth in NETWORKS:
        with hydra_session():
            words = ["epochs=100000", f"model.width={width}", f"model.depth={depth}"]
            settings = checked(Composer(), words).settings
        task = build_task(settings)
        cold = Stacked(settings, task, runs=2, compiled=True)
        warm = Stacked(settings, task, runs=2, compiled=True)
        for runs in RUNS:
            ordinary = Stacked(settings, task, runs=runs, compiled=False)
            compiled = Stacked(settings, task, runs=runs, compiled=True)
            middle = medians(interleaved({"ordinary": ordinary, "compiled": compiled}, times=TIMES))
            cells = [f"{middle[name]:.3f}" for name in ("ordinary", "compiled")]
            cells += [f"{middle['ordinary'] / middle['compiled']:.2f}"]
            saved = (middle["ordinary"] - middle["compiled"]) * runs
            cells += [f"{saved:.0f}", f"{cold.compiling:.1f}, then {warm.compiling:.1f}"]
            table.rows.append([str(width), str(depth), f"{runs:,}", *cells])
        table.notes.append(f"width {width}, depth {depth}: {cold.parameters} parameters.")
    return table
