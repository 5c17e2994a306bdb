"""What Slurm costs: the same sweep on one node through hydra/launcher=slurm, and in processes of this machine."""

import json
import os
from pathlib import Path

from tests.benchmarks.bench import Bench, Table, process, spread
from tests.engines.slurm_cluster import SlurmCluster, missing

JOBS = 1024
EPOCHS = 300
TIMES = 3
TARGET = 1.3  # times the processor time of the local engine


def line(bench: Bench, *words: str) -> list[str]:
    jobs = (f"seed=range({JOBS // 4})", "optimizer.lr=0.001,0.003,0.01,0.03", f"epochs={EPOCHS}")
    return [*bench.ch12, "train", "-q", "-m", "device=cpu", *jobs, "hydra.sweep.dir=sweep", *words]


def cpu_of_tasks(sweep: Path) -> float:
    """The processor time of the tasks of a submitted sweep, as they noted it."""
    events = [
        json.loads(text) for path in sweep.glob(".ch12/bundles/*.jsonl") for text in path.read_text().splitlines()
    ]
    return sum(event.get("processor_seconds", 0.0) for event in events)


def run(bench: Bench) -> Table:
    columns = ["engine", "processor time", "seconds"]
    title, about = "A cluster", f"{JOBS:,} runs of Iris, {EPOCHS} epochs, on the cores of this machine"
    if why := missing():
        return Table(title, about, columns, [], [f"Slurm was not measured: {why}."])
    cores = os.cpu_count() or 1
    cluster = SlurmCluster(bench.folder("slurm"), nodes=1, cores=cores)
    cluster.start()
    slurm = ("hydra/launcher=slurm", "hydra.launcher.array_parallelism=1", f"hydra.launcher.cpus_per_task={cores}")
    found: dict[str, list[tuple[float, float]]] = {"local": [], "slurm": []}
    try:
        for _ in range(TIMES):
            for engine, words in (("local", ()), ("slurm", slurm)):
                folder = bench.folder(engine)
                spent = process(line(bench, *words), folder=folder)
                found[engine].append((spent.cpu + cpu_of_tasks(folder / "sweep"), spent.wall))
    finally:
        cluster.stop()
    least = {engine: min(cpu for cpu, _ in times) for engine, times in found.items()}
    ratio = least["slurm"] / least["local"]
    return Table(
        title,
        f"{about}, as one task of Slurm and in processes of this machine, in turn. Processor time of all processes of "
        f"ch12: the least (lowest to highest) of {TIMES}. The scheduler's own time is not in it.",
        columns,
        [
            [engine, spread([cpu for cpu, _ in times]), spread([wall for _, wall in times])]
            for engine, times in found.items()
        ],
        [f"Slurm: {ratio:.2f} times the local engine's processor time; at most {TARGET} is the target."],
    )
