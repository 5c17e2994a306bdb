"""`ch12 tune` on real tables, against scikit-learn's networks under a random search of the same processor time."""

import json
import os
import subprocess
from pathlib import Path
from statistics import mean

from ch12cli.catalogue.best_setting import best_setting
from ch12cli.catalogue.sweep_jobs import read_rows_as_planned
from tests.benchmarks.bench import ONE_THREAD, Bench, Table, environment, missing, process

BUDGET = os.environ.get("CH12_TUNE_BUDGET", "20s")  # two minutes make the benchmark take an hour
TEST = 4  # one row in so many is for the test


def tuned_by_ch12(bench: Bench, file: Path, kind: str, test_rows: int) -> tuple[float, float, int, float]:
    """The score of the best setting on the test rows, that of its best run, the settings, and processor seconds."""
    folder = bench.folder("tune")
    words = [f"dataset.file={file}", "dataset=table", "dataset.split=ordered", f"dataset.test_size={test_rows}"]
    spent = process(
        [*bench.ch12, "tune", "-q", *words, "--budget", BUDGET, "hydra.sweep.dir=sweep"],
        folder=folder,
        variables=ONE_THREAD,
    )
    metric = "accuracy" if kind == "classes" else "r2"
    rows = read_rows_as_planned(folder / "sweep")
    best = best_setting(rows, "valid_loss")
    assert best is not None
    scores = {row.job: row.number(f"test_{metric}") for row in rows if row.job in best.jobs}
    return mean(scores.values()), scores[best.job], best.settings, spent.cpu


def run(bench: Bench) -> Table:
    table = Table(
        "Tuning real tables",
        f"`ch12 tune --budget {BUDGET}` on ten tables of scikit-learn and statsmodels, of which one row in {TEST} is "
        "for the test; then scikit-learn's MLPClassifier or MLPRegressor with scaled features (and values), under a "
        "random search that spends as much processor time, each setting scored by five folds and the best fitted to "
        "all other rows. Accuracy, or R², on the test rows: of ch12, the mean over the seeds of the best setting, and "
        "the run that it names.",
        ["table", "rows", "ch12: mean", "ch12: the run", "settings", "scikit-learn", "settings", "processor time"],
    )
    if not bench.has("sklearn", "statsmodels", "pandas"):
        table.notes.append(missing("scikit-learn or statsmodels"))
        return table
    tables = bench.folder("tables")
    listed = subprocess.run(
        bench.peer("real_tables.py", tables), capture_output=True, text=True, check=True, env=environment()
    ).stdout
    scores = []
    for each in map(json.loads, listed.splitlines()):
        file, test_rows = tables / f"{each['name']}.csv", each["rows"] // TEST
        average, named, settings, seconds = tuned_by_ch12(bench, file, each["kind"], test_rows)
        peer = bench.peer("sklearn_tuned.py", file, each["kind"], test_rows, seconds)
        found = json.loads(
            subprocess.run(peer, capture_output=True, text=True, check=True, env=environment() | ONE_THREAD).stdout
        )
        scores.append((average, found["test"]))
        cells = [f"{average:.4f}", f"{named:.4f}", str(settings), f"{found['test']:.4f}", str(found["tried"])]
        table.rows.append([each["name"], f"{each['rows']:,}", *cells, f"{seconds:.0f} s"])
        print(table.rows[-1], flush=True)
    first, second = (mean(column) for column in zip(*scores, strict=True))
    better = sum(ours > theirs for ours, theirs in scores)
    table.notes.append(f"Mean over the tables: {first:.4f} against {second:.4f}; better on {better} of {len(scores)}.")
    return table
