"""What Slurm costs: the same sweep on one node through hydra/launcher=slurm, and in processes of this machine."""

import json
import os
from pathlib import Path

from tests.benchmarks.bench import Bench, Table, process, spread, verdict
from tests.engines.slurm_cluster import SlurmCluster, missing

JOBS = 1024
EPOCHS = (300, 1500)
TIMES = 3
TARGET = 1.3  # times the processor time of the local engine


def line(bench: Bench, epochs: int, *words: str) -> list[str]:
    jobs = (f"seed=range({JOBS // 4})", "optimizer.lr=0.001,0.003,0.01,0.03", f"epochs={epochs}")
    return [*bench.ch12, "train", "-q", "-m", "device=cpu", *jobs, "hydra.sweep.dir=sweep", *words]


def cpu_of_tasks(sweep: Path) -> float:
    """The processor time of the tasks of a submitted sweep, as they noted it."""
    events = [
        json.loads(text) for path in sweep.glob(".ch12/bundles/*.jsonl") for text in path.read_text().splitlines()
    ]
    return sum(event.get("processor_seconds", 0.0) for event in events)


def run(bench: Bench) -> Table:
    table = Table(
        "A cluster",
        f"{JOBS:,} runs of Iris on the cores of this machine, as one task of Slurm and in processes of this machine, "
        f"in turn. Processor time of all processes of ch12: the least (lowest to highest) of {TIMES}. The scheduler's "
        "own time is not in it, but in the seconds.",
        ["epochs", "engine", "processor time", "seconds", "Slurm / local", "target"],
    )
    if why := missing():
        table.notes.append(f"Slurm was not measured: {why}.")
        return table
    cores = os.cpu_count() or 1
    cluster = SlurmCluster(bench.folder("slurm"), nodes=1, cores=cores)
    cluster.start()
    slurm = ("hydra/launcher=slurm", "hydra.launcher.array_parallelism=1", f"hydra.launcher.cpus_per_task={cores}")
    try:
        for epochs in EPOCHS:
            found: dict[str, list[tuple[float, float]]] = {"local": [], "slurm": []}
            for _ in range(TIMES):
                for engine, words in (("local", ()), ("slurm", slurm)):
                    folder = bench.folder(engine)
                    spent = process(line(bench, epochs, *words), folder=folder)
                    found[engine].append((spent.cpu + cpu_of_tasks(folder / "sweep"), spent.wall))
            least = {engine: min(cpu for cpu, _ in times) for engine, times in found.items()}
            ratio = least["slurm"] / least["local"]
            for engine, times in found.items():
                cells = ["", ""] if engine == "local" else [f"{ratio:.2f}", verdict(ratio, target=TARGET)]
                cpu, wall = (spread([each[which] for each in times]) for which in (0, 1))
                table.add(f"{epochs:,}", engine, cpu, wall, *cells)
    finally:
        cluster.stop()
    return table
