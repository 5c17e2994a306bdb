"""The record of a sweep: what a job adds, in directories and compact, and a hundred thousand runs."""

import os
import statistics
from pathlib import Path

from tests.benchmarks.bench import Bench, Spent, Table, missing, process, verdict
from tests.benchmarks.sweep import write_rows

WAYS = {"directories": 1.5, "compact": 0.2}  # ms of processor time for a job, at most
FEW, MORE = 64, 1088  # jobs: what each further one takes is the difference
TIMES = 3
MANY, EPOCHS = 100_000, 100
SECONDS, MEMORY, FILES = 60, 2.0, 500  # for MANY runs, at most: of two cores; GB; number
SHARES = {1_024: 0.45, 10_000: 0.15}  # of JAX's time, at most, compact


def trained(bench: Bench, runs: int, epochs: int, way: str) -> tuple[Spent, Path]:
    """`ch12 train -m` of so many seeds, and its directory."""
    folder = bench.folder(f"{way}-{runs}")
    words = ["train", "-m", f"seed=range({runs})", f"epochs={epochs}", "hydra.sweep.dir=sweep", f"sweep.record={way}"]
    return process([*bench.ch12, *words, "device=cpu", "-q"], folder=folder), folder / "sweep"


def files_below(directory: Path) -> tuple[int, int]:
    """The number of files below a directory, and their bytes."""
    sizes = [os.stat(f"{folder}/{name}").st_size for folder, _, names in os.walk(directory) for name in names]
    return len(sizes), sum(sizes)


def run(bench: Bench) -> Table:
    table = Table(
        "A sweep's record",
        f"`ch12 train -m` of Iris networks (4-16-3, batch 2, Adam). The first rows: what each further job of one epoch "
        f"takes, from sweeps of {FEW} and {MORE:,} jobs, medians of {TIMES}. The others: whole processes of {EPOCHS} "
        "epochs; JAX trains the same and writes nothing.",
        ["what", "seconds", "processor", "memory", "files", "target"],
    )
    for way, most in WAYS.items():
        costs = []
        for _ in range(TIMES):
            few, more = (trained(bench, runs, 1, way)[0].cpu for runs in (FEW, MORE))
            costs.append((more - few) / (MORE - FEW) * 1e3)
        cost = statistics.median(costs)
        table.add(f"a job, {way}", "", f"{cost:.2f} ms", "", "", verdict(cost, target=most))
    rows, jax = write_rows(bench), bench.has("jax")
    table.notes += [] if jax else [missing("JAX")]
    for runs, most in SHARES.items():
        spent, sweep = trained(bench, runs, EPOCHS, "compact")
        target = ""
        if jax:
            peer = process(bench.peer("jax_sweep.py", rows, runs, EPOCHS, 2), folder=bench.folder("jax"))
            table.add(f"JAX, {runs:,} runs", *cells(peer), "", "")
            target = f"{spent.wall / peer.wall:.2f} of JAX, {verdict(spent.wall / peer.wall, target=most)}"
        table.add(f"ch12, compact, {runs:,} runs", *cells(spent), *files_cell(sweep), target)
    spent, sweep = trained(bench, MANY, EPOCHS, "compact")
    targets = [verdict(spent.wall, target=SECONDS), verdict(spent.memory / 1e9, target=MEMORY)]
    targets.append(verdict(files_below(sweep)[0], target=FILES))
    table.add(f"ch12, compact, {MANY:,} runs", *cells(spent), *files_cell(sweep), "; ".join(targets))
    return table


def cells(spent: Spent) -> list[str]:
    return [f"{spent.wall:.1f}", f"{spent.cpu:.1f}", f"{spent.memory / 1e9:.2f} GB"]


def files_cell(sweep: Path) -> list[str]:
    count, size = files_below(sweep)
    return [f"{count:,} ({size / 1e6:.0f} MB)"]
