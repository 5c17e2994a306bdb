"""How soon ten thousand runs are listed, and a sweep of ten thousand jobs is compared, against reading their files."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import HYDRA, RESULT, SWEEP
from tests.benchmarks.bench import ONE_THREAD, Bench, Spent, Table, interleaved, process, ratio, spread, verdict

RUNS, DAMAGED = 10_000, 10
TIMES = 5
COLD, WARM, COMPARED = 2.0, 0.5, 2.0  # seconds at most
CACHES = Path("/proc/sys/vm/drop_caches")
HEADER = (
    "job,directory,status,left_at,stopped_at,diverged_at,diverged_step,error,optimizer.lr,seed,epochs,best_epoch,objective,"
    "test_loss,parameters,seconds,command"
)


def make_runs(bench: Bench, folder: Path) -> None:
    """RUNS directories as `ch12 train` leaves them, all copies of one with other figures; DAMAGED of them damaged."""
    one = folder / "one"
    process([*bench.ch12, "train", "-q", "epochs=5", f"hydra.run.dir={one}"], folder=folder, variables=ONE_THREAD)
    result = read_result(one / RESULT)
    assert result is not None
    files = {path.relative_to(one): path.read_bytes() for path in one.rglob("*") if path.is_file()}
    del files[Path(RESULT)]  # which is written last
    for number in range(RUNS):
        target = folder / "outputs" / f"{number // 500:03}" / f"{number:05}-iris-mlp"
        content = replace(result, objective=(number * 7919 % RUNS) / RUNS).to_json()
        if number % (RUNS // DAMAGED) == 0:
            content = content[: len(content) // 2]
        for folded in (HYDRA, "checkpoints"):
            (target / folded).mkdir(parents=True)
        for name, old in {**files, Path(RESULT): content}.items():
            (target / name).write_bytes(old)
    shutil.rmtree(one)


def make_sweep(folder: Path) -> None:
    """The table of a sweep of RUNS jobs: ten learning rates, each with as many seeds."""
    lines = [HEADER]
    for number in range(RUNS):
        seed, place = divmod(number, 10)
        told = f"ch12 train optimizer.lr={(rate := 0.001 * (place + 1)):g} seed={seed}"
        objective = (number * 7919 % RUNS) / RUNS
        lines.append(f"{number},{number},finished,,,,,,{rate:g},{seed},5,5,{objective},{objective},131,0.1,{told}")
    (folder / "sweep").mkdir()
    (folder / "sweep" / SWEEP).write_text("\n".join([*lines, ""]), encoding="utf-8")


def dropped() -> bool:
    """Whether the page cache could be emptied, and so was."""
    os.sync()
    try:
        CACHES.write_text("3\n", encoding="ascii")
    except OSError:
        return False
    return True


def run(bench: Bench) -> Table:
    folder = bench.folder("listing")
    make_runs(bench, folder)
    make_sweep(folder)
    commands = {
        "python -c pass": [str(bench.python), "-c", "pass"],
        "cat of each result.json": ["sh", "-c", f"find outputs -name {RESULT} -print0 | xargs -0 cat > /dev/null"],
        "ch12 runs": [*bench.ch12, "runs"],
        "ch12 compare sweep": [*bench.ch12, "compare", "sweep"],
    }
    spent: dict[str, list[Spent]] = {}

    def measured(name: str, *, cold: bool) -> Callable[[], float]:
        def seconds() -> float:
            if cold:
                dropped()
            spent.setdefault(f"{name}{', cold' * cold}", []).append(process(commands[name], folder=folder))
            return spent[f"{name}{', cold' * cold}"][-1].wall

        return seconds

    cold_too = ("cat of each result.json", "ch12 runs") if dropped() else ()
    interleaved({f"{name}, cold": measured(name, cold=True) for name in cold_too}, times=TIMES, warm=0)
    interleaved({name: measured(name, cold=False) for name in commands}, times=TIMES)
    return table_of({name: values[-TIMES:] for name, values in spent.items()})


def table_of(spent: dict[str, list[Spent]]) -> Table:
    table = Table(
        "Ten thousand runs",
        f"`ch12 runs` of {RUNS:,} run directories, {DAMAGED} of them damaged, and `ch12 compare` of a sweep of as many "
        f"jobs. The peer is `cat` of every {RESULT}, cold and warm alike. Seconds from start to end, and of processor "
        f"time: median (lowest to highest) of {TIMES}, in turn.",
        ["what", "s", "processor, s", "it / cat", "target"],
    )
    targets = {"ch12 runs, cold": COLD, "ch12 runs": WARM, "ch12 compare sweep": COMPARED}
    middle = {name: sorted(each.wall for each in values)[len(values) // 2] for name, values in spent.items()}
    for name, values in spent.items():
        peer = middle["cat of each result.json" + ", cold" * name.endswith(", cold")]
        wall, cpu = ([getattr(each, what) for each in values] for what in ("wall", "cpu"))
        target = verdict(middle[name], target=targets[name]) if name in targets else ""
        table.add(f"`{name}`", spread(wall), spread(cpu), ratio(middle[name], peer), target)
    if "ch12 runs, cold" not in spent:
        table.notes.append(f"Nothing is measured cold: only root may empty the page cache ({CACHES}).")
    return table
