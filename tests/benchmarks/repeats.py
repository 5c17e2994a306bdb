"""Whether a search with five seeds for each setting chooses a better one than with one seed, at equal time."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ch12cli.catalogue.best_setting import best_setting
from ch12cli.catalogue.summary import t_quantile
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.sweeps.start import train_many
from tests.benchmarks.bench import Bench, Table, environment, missing
from tests.sweeps.driver import Looker

RUNS = 120  # of a search: as many settings with one seed, a fifth of them with five
REPEATS = 5
FRESH = 200  # seeds, with which the chosen setting is judged
REPETITIONS = int(os.environ.get("CH12_REPETITIONS", "12"))
SPACE = (
    "optimizer=sgd",
    "optimizer.lr=tag(log,interval(1e-3,0.3))",
    "optimizer.momentum=interval(0.01,0.95)",
    "optimizer.weight_decay=tag(log,interval(1e-5,0.1))",
)
SMALL = ("dataset.test_size=90", "dataset.valid_size=30", "model.width=8")
IRIS = ("dataset=iris", *SMALL, "epochs=20", "batch_size=5")
FILES = ("wine",)


def tasks(bench: Bench) -> dict[str, tuple[str, ...]]:
    """The words of each task: small parts and short runs, so that seeds matter."""
    found: dict[str, tuple[str, ...]] = {"iris": IRIS}
    if bench.has("sklearn", "statsmodels", "pandas"):
        folder = bench.folder("tables")
        subprocess.run(bench.peer("real_tables.py", folder), capture_output=True, check=True, env=environment())
        for name in FILES:
            file = f"dataset.file={folder / name}.csv"
            found[name] = ("dataset=table", file, *SMALL, "epochs=10", "batch_size=8")
    return found


def trained(words: Sequence[str], folder: Path) -> list[SweepRow]:
    """The rows of a whole sweep."""
    argv = ["device=cpu", "sweep.record=compact", f"hydra.sweep.dir={folder}", *words]
    return list(train_many(argv, folders=[], config_name="config", callback=Looker()).outcome.rows)


def truth_of(task: Sequence[str], repeats: int, repetition: int, bench: Bench) -> float:
    """The mean objective, over fresh seeds, of the setting that a search chooses."""
    seed = 1_000_000 + 1000 * repetition
    asked = (f"search.n_trials={RUNS // repeats}", f"search.repeats={repeats}", f"search.seed={repetition}")
    best = best_setting(trained([*task, *SPACE, *asked, f"seed={seed}"], bench.folder("search")), "valid_loss")
    assert best is not None
    setting = [f"{key}={value}" for key, value in best.values.items() if key.startswith("optimizer.")]
    seeds = f"seed=range({seed + 500_000},{seed + 500_000 + FRESH})"
    fresh = trained([*task, "optimizer=sgd", *setting, seeds], bench.folder("fresh"))
    values = [row.objective for row in fresh if row.objective is not None]
    assert len(values) == FRESH
    return float(np.mean(values))


def run(bench: Bench) -> Table:
    table = Table(
        "Repeats",
        f"Searches of {RUNS} runs each: {RUNS} settings with one seed, or {RUNS // REPEATS} with {REPEATS}. The chosen "
        f"setting is trained with {FRESH} fresh seeds: their mean validation loss, in {REPETITIONS} repetitions.",
        ["task", "one seed", f"{REPEATS} seeds", "gain (95 %)", f"{REPEATS} seeds better in"],
    )
    found = tasks(bench)
    if len(found) == 1:
        table.notes.append(missing("scikit-learn or statsmodels"))
    for name, task in found.items():
        pairs = []
        for number in range(REPETITIONS):
            pairs.append([truth_of(task, repeats, number, bench) for repeats in (1, REPEATS)])
            print(json.dumps([name, *pairs[-1]]), flush=True)
        losses = np.array(pairs)
        gain = losses[:, 0] - losses[:, 1]
        half = t_quantile(len(gain) - 1) * gain.std(ddof=1) / len(gain) ** 0.5
        one, several = losses.mean(0)
        cells = [f"{one:.4f}", f"{several:.4f}", f"{gain.mean():+.4f} ± {half:.4f}"]
        table.add(name, *cells, f"{(gain > 0).sum()} of {len(gain)}")
    return table
