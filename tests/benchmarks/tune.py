"""`ch12 tune` on real tables, against scikit-learn's networks under a random search of the same processor time."""

import json
import os
import subprocess
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from ch12cli.catalogue.best_setting import best_setting
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned, sweep_monitor
from ch12cli.files.result_json import read_result
from tests.benchmarks.bench import ONE_THREAD, Bench, Table, environment, missing, process

BUDGET = os.environ.get("CH12_TUNE_BUDGET", "2m")
SPLITS = int(os.environ.get("CH12_TUNE_SPLITS", 3))  # of each table; one for tables of more rows than MANY
MANY = 5_000
TEST = 4  # one row in so many is for the test


class Compared(NamedTuple):
    """Scores on the test rows of a split. cpu: processor seconds."""

    ours: float
    settings: int
    theirs: float
    their_settings: int
    cpu: float


def tuned_by_ch12(bench: Bench, file: Path, kind: str, test_rows: int) -> tuple[float, int, float]:
    """The score of the final model on the test rows, the settings that were tried, processor seconds."""
    folder = bench.folder("tune")
    words = [f"dataset.file={file}", "dataset=table", "dataset.split=ordered", f"dataset.test_size={test_rows}"]
    spent = process(
        [*bench.ch12, "tune", "-q", *words, "--budget", BUDGET, "hydra.sweep.dir=sweep"],
        folder=folder,
        variables=ONE_THREAD,
    )
    metric = "accuracy" if kind == "classes" else "r2"
    rows = read_rows_as_planned(folder / "sweep")
    best = best_setting(rows, sweep_monitor(folder / "sweep", rows) or "")
    final = read_result(folder / "sweep-model" / "result.json")
    assert best is not None
    assert final is not None
    assert final.test is not None
    return float(final.test[metric] or 0.0), best.settings, spent.cpu


def compared(bench: Bench, file: Path, kind: str, test_rows: int) -> Compared:
    """Tunes by ch12, then by scikit-learn with as much processor time."""
    ours, settings, cpu = tuned_by_ch12(bench, file, kind, test_rows)
    peer = bench.peer("sklearn_tuned.py", file, kind, test_rows, cpu)
    found = json.loads(
        subprocess.run(peer, capture_output=True, text=True, check=True, env=environment() | ONE_THREAD).stdout
    )
    return Compared(ours, settings, found["test"], found["tried"], cpu)


def run(bench: Bench) -> Table:
    table = Table(
        "Tuning real tables",
        f"`ch12 tune --budget {BUDGET}` on ten tables of scikit-learn and statsmodels, of which one row in {TEST} is "
        "for the test; then scikit-learn's MLPClassifier or MLPRegressor with scaled features (and values), under a "
        "random search that spends as much processor time, each setting scored by five folds and the best fitted to "
        "all other rows. Accuracy, or R², on the test rows, as a mean over splits.",
        ["table", "rows", "splits", "ch12", "settings", "scikit-learn", "settings", "processor time"],
    )
    if not bench.has("sklearn", "statsmodels", "pandas"):
        table.notes.append(missing("scikit-learn or statsmodels"))
        return table
    scores: dict[str, list[Compared]] = {}
    for split in range(1, SPLITS + 1):
        tables = bench.folder("tables")
        script = bench.peer("real_tables.py", tables, split)
        listed = subprocess.run(script, capture_output=True, text=True, check=True, env=environment()).stdout
        for each in map(json.loads, listed.splitlines()):
            name, rows = each["name"], each["rows"]
            if split > 1 and rows > MANY:
                continue
            found = compared(bench, tables / f"{name}.csv", each["kind"], rows // TEST)
            scores.setdefault(f"{name} | {rows:,}", []).append(found)
            print(split, name, found, flush=True)
    means = {name: Compared(*map(mean, zip(*found, strict=True))) for name, found in scores.items()}
    for name, one in means.items():
        first = [*name.split(" | "), str(len(scores[name])), f"{one.ours:.4f}"]
        last = [f"{one.settings:.0f}", f"{one.theirs:.4f}", f"{one.their_settings:.0f}", f"{one.cpu:.0f} s"]
        table.add(*first, *last)
    ours, theirs = (mean(getattr(one, which) for one in means.values()) for which in ("ours", "theirs"))
    at_least = sum(one.ours >= one.theirs for one in means.values())
    table.notes.append(f"Mean over the tables: {ours:.4f} against {theirs:.4f}; at least as good on {at_least}.")
    return table
