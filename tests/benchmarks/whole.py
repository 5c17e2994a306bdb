"""A whole program: `ch12 train` against the chapter's script."""

import statistics
from functools import partial

from tests.benchmarks.bench import (
    IRIS,
    ONE_THREAD,
    PEERS,
    Bench,
    Spent,
    Table,
    interleaved,
    medians,
    missing,
    process,
    spread,
    verdict,
)

TIMES = 3


def run(bench: Bench) -> Table:
    train = [*bench.ch12, "train", "experiment=book/iris", "-q"]
    without = [str(bench.python), str(PEERS / "plain_iris.py"), str(IRIS)]
    commands = {"ch12 train": train, "plain script without scikit-learn": without}
    notes = []
    if bench.has("torch", "sklearn"):
        commands["plain script"] = bench.peer("plain_iris.py")
    else:
        notes.append(missing("scikit-learn, which the chapter's script splits its rows with,"))
    taken: dict[str, list[Spent]] = {name: [] for name in commands}

    def once(name: str) -> float:
        taken[name].append(process(commands[name], folder=bench.folder("process"), variables=ONE_THREAD))
        return taken[name][-1].wall

    found = interleaved({name: partial(once, name) for name in commands}, times=TIMES)
    middle = medians(found)
    cpu = {name: statistics.median(spent.cpu for spent in spents[1:]) for name, spents in taken.items()}
    table = Table(
        "A whole program",
        "`ch12 train experiment=book/iris -q`, its whole record written, against the chapter's script: the same 100 "
        "epochs, rows split by scikit-learn (or read from a file: the second row), nothing written; all on one thread. "
        f"Seconds from start to end: median (lowest to highest) of {TIMES}, in turn; and seconds of processor time.",
        ["program", "seconds", "ch12 / it", "processor", "ch12 / it", "target"],
        notes=notes,
    )
    for name, values in found.items():
        share, busy = middle["ch12 train"] / middle[name], cpu["ch12 train"] / cpu[name]
        target = verdict(share, target=1.0) if name == "plain script" else ""
        table.add(name, spread(values), f"{share:.2f}", f"{cpu[name]:.2f}", f"{busy:.2f}", target)
    return table
