"""How soon the commands answer that compute nothing, against `import torch`."""

from functools import partial

from tests.benchmarks.bench import Bench, Table, interleaved, medians, process, spread, verdict

TIMES = 9
IMPORT = 'python -c "import torch"'


def run(bench: Bench) -> Table:
    words = {
        IMPORT: [str(bench.python), "-c", "import torch"],
        "ch12 --help": [*bench.ch12, "--help"],
        "ch12 train --help": [*bench.ch12, "train", "--help"],
        "a wrong option": [*bench.ch12, "train", "optimizer.lrr=0.1"],
        "a completion": [*bench.ch12, "completion", "query", "bash", "--", "ch12 train optimizer=ad", "=:"],
    }
    folder = bench.folder("start")

    def seconds(name: str) -> float:
        return process(words[name], folder=folder, fails=name == "a wrong option").wall

    found = interleaved({name: partial(seconds, name) for name in words}, times=TIMES)
    middle = medians(found)
    table = Table(
        "Commands that compute nothing",
        f"The peer is `{IMPORT}`, what any program that trains must wait for. "
        f"Milliseconds from start to end: median (lowest to highest) of {TIMES}, in turn.",
        ["command", "ms", "it / import", "target"],
    )
    for name, values in found.items():
        share = middle[name] / middle[IMPORT]
        target = "" if name == IMPORT else verdict(share, target=0.2 if name == "ch12 --help" else 0.5)
        table.add(f"`{name}`" if " -" in name else name, spread(values, 1e-3, 0), f"{share:.2f}", target)
    return table
