"""A table of a million rows, read, trained on and predicted, against pandas and polars with a plain loop."""

import os
import statistics
from functools import partial

import numpy as np

from tests.benchmarks.bench import PEERS, Bench, Spent, Table, interleaved, process, spread, verdict

ROWS = int(os.environ.get("CH12_BENCH_ROWS", 10**6))
FEATURES = 21
TIMES = 3
READ = "from ch12cli.data import csv_file; csv_file({file!r})"
WITHOUT = "import sys; sys.modules['polars'] = None; "  # as if the extra were not installed
TARGETS = {  # at most so many times the better peer
    "read CSV, with polars": 1.5,
    "read CSV, without": 6.0,
    "read Parquet": 1.5,
    "train, CSV": 1.2,
    "train, Parquet": 1.2,
    "predict, CSV": 1.2,
}


def run(bench: Bench) -> Table:
    import polars

    folder = bench.folder("data")
    draw = np.random.default_rng(1)
    x = draw.normal(size=(ROWS, FEATURES)).round(6)
    classes = (x[:, 0] + x[:, 1] * x[:, 2] + draw.normal(size=ROWS) / 3 > 0).astype(int)
    frame = polars.DataFrame({**{f"x{n}": x[:, n] for n in range(FEATURES)}, "y": classes})
    frame.write_csv(folder / "t.csv")
    frame.write_parquet(folder / "t.parquet")
    python, size = str(bench.python), (folder / "t.csv").stat().st_size

    def loop(reader: str, file: str, what: str) -> list[str]:
        return [python, str(PEERS / "table_loop.py"), reader, file, what, f"{reader}.pt"]

    def train(file: str, run: str) -> list[str]:
        made = ["epochs=1", "batch_size=1024", "device=cpu", f"hydra.run.dir={run}"]
        return [*bench.ch12, "train", "-q", "dataset=table", f"dataset.file={file}", *made]

    contenders: dict[str, dict[str, list[str]]] = {
        "read CSV, with polars": {"ch12": [python, "-c", READ.format(file="t.csv")]},
        "read CSV, without": {"ch12": [python, "-c", WITHOUT + READ.format(file="t.csv")]},
        "read Parquet": {
            "ch12": [python, "-c", READ.format(file="t.parquet")],
            "polars": loop("polars", "t.parquet", "read"),
        },
        "train, CSV": {
            "ch12": train("t.csv", "csv-TURN"),
            "polars": loop("polars", "t.csv", "train"),
            "pandas": loop("pandas", "t.csv", "train"),
        },
        "train, Parquet": {
            "ch12": train("t.parquet", "parquet-TURN"),
            "polars": loop("polars", "t.parquet", "train"),
        },
        "predict, CSV": {
            "ch12": [*bench.ch12, "predict", "csv-0", "t.csv", "-o", "ch12-TURN.csv"],
            "polars": loop("polars", "t.csv", "predict"),
            "pandas": loop("pandas", "t.csv", "predict"),
        },
    }
    reading = {name: loop(name, "t.csv", "read") for name in ("polars", "pandas")}
    for what in ("read CSV, with polars", "read CSV, without"):
        contenders[what] |= reading
    table = Table(
        "A large table",
        f"{ROWS:,} rows of {FEATURES + 1} columns, {size / 1e6:.0f} MB of CSV: read, trained on for one epoch "
        "(16 hidden units, batch size 1024), and predicted with all columns written. The peers read with "
        "pandas or polars and train by a plain loop. Processor seconds of the whole program: median (lowest to "
        f"highest) of {TIMES}, in turn; largest resident memory; ch12 against the better peer in each.",
        ["what", "program", "processor", "memory", "ch12 / better peer", "target"],
    )
    for what, commands in contenders.items():
        spent: dict[str, list[Spent]] = {name: [] for name in commands}

        def once(name: str, commands: dict[str, list[str]] = commands, spent: dict[str, list[Spent]] = spent) -> float:
            words = [word.replace("TURN", str(len(spent[name]))) for word in commands[name]]
            spent[name].append(process(words, folder=folder))
            return spent[name][-1].cpu

        found = interleaved({name: partial(once, name) for name in commands}, times=TIMES, warm=0)
        cpu = {name: statistics.median(values) for name, values in found.items()}
        memory = {name: max(each.memory for each in spent[name]) for name in commands}
        times, space = (kept["ch12"] / min(v for name, v in kept.items() if name != "ch12") for kept in (cpu, memory))
        for name, values in found.items():
            ours = name == "ch12"
            share = f"{times:.2f} time, {space:.2f} memory" if ours else ""
            target = verdict(times, target=TARGETS[what]) if ours else ""
            table.add(what if ours else "", name, spread(values), f"{memory[name] / 1e6:.0f} MB", share, target)
    return table
