"""Whole sweeps: `ch12 train -m` against a JAX script, and against Hydra's basic and joblib launchers."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.run_settings import RunSettings
from ch12cli.run.start import checked
from ch12cli.run.task import build_task
from tests.benchmarks.bench import ONE_THREAD, Bench, Spent, Table, missing, process, verdict

RUNS, EPOCHS = 1024, 100
SHARES = {64: 0.6, 256: None, 1024: 0.45, 4096: None, 10_000: 0.25}  # of JAX's time, at most
TIMES = 3
FEW, MORE = 4, 12  # jobs of Hydra's launchers that are measured: what each further job takes is the difference
MEMORY = 3.0  # GB at most
IN_GROUPS = (
    "model.width=8,12,16,24,32",
    "activation=relu,tanh,gelu",
    "optimizer=sgd,adam,adamw,rmsprop",
    "seed=range(20)",
)
IN_ONE, GROUPED = ("model.width=16", "activation=tanh", "optimizer=adam", "seed=range(1200)"), 1200
GROUPS = 1.3  # times the time of one group, at most


def write_rows(bench: Bench) -> Path:
    """The rows that ch12's sweep trains on, for the peers: x (rows, 4), y (rows,)."""
    with hydra_session():
        composition = checked(Composer(), [])
        data = build_task(RunSettings.from_config(composition.settings, composition.choices)).data
    path = bench.folder("rows") / "rows.npz"
    np.savez(path, x=data.train.x.astype(np.float32), y=data.train.y.reshape(-1).astype(np.int64))
    return path


def own(bench: Bench, runs: int, epochs: int = EPOCHS) -> Spent:
    """`ch12 train -m` of so many seeds."""
    folder = bench.folder(f"sweep-{runs}")
    words = ["train", "-m", f"seed=range({runs})", f"epochs={epochs}", "hydra.sweep.dir=sweep", "-q"]
    spent = process([*bench.ch12, *words], folder=folder)
    written = sum(1 for job in (folder / "sweep").iterdir() if (job / "model.pt").exists())
    assert written == runs
    return spent


def per_job(bench: Bench, rows: Path, *launcher: str, interpreter: Path) -> float:
    """Seconds for each further job of a Hydra launcher on the plain loop."""
    script = bench.peer("hydra_plain.py")[1]

    def seconds(jobs: int) -> float:
        folder = bench.folder("hydra")
        words = [str(interpreter), script, "-m", f"seed=range({jobs})", f"hydra.sweep.dir={folder}/sweep", *launcher]
        return process(words, folder=folder, variables={"ROWS": str(rows), **ONE_THREAD}).wall

    few, more = seconds(FEW), seconds(MORE)
    return (more - few) / (MORE - FEW)


def run(bench: Bench) -> Table:
    rows = write_rows(bench)
    jax, joblib = bench.has("jax"), bench.has("torch", "hydra", "hydra_plugins.hydra_joblib_launcher")
    notes = [missing(name) for name, there in (("JAX", jax), ("Hydra's joblib launcher", joblib)) if not there]
    table = Table(
        "Sweeps of Iris networks",
        f"`ch12 train -m seed=range(N)`, {EPOCHS} epochs of 90 rows at batch 2, network 4-16-3, Adam; "
        "validated after each epoch, every run's directory written. JAX: `jit(vmap(scan))` over the same training, "
        "import and compilation counted, nothing validated or written. Hydra: the plain loop as a Hydra program under "
        "its basic launcher, and under its joblib launcher with both cores, one thread each; measured on "
        f"{FEW} and {MORE} jobs, the difference scaled to {RUNS:,}. Seconds of whole processes from start to end, and "
        f"of processor time; medians of {TIMES}, in turn, for ch12 and JAX up to {RUNS:,} runs.",
        ["what", "seconds", "processor", "runs a second", "ch12 / it", "target"],
        notes=notes,
    )
    ours = {runs: beside_jax(bench, table, runs, rows=rows, jax=jax) for runs in SHARES}
    launchers: list[tuple[str, tuple[str, ...], Path, float]] = [
        ("Hydra, basic launcher", (), bench.peers if joblib else bench.python, 100.0)
    ]
    if joblib:
        launchers.append(
            ("Hydra, joblib launcher", ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), bench.peers, 60.0)
        )
    for name, launcher, interpreter, most in launchers:
        seconds = per_job(bench, rows, *launcher, interpreter=interpreter) * RUNS
        faster = seconds / ours[RUNS].wall
        cells = [f"{seconds:.0f} (scaled)", "", f"{RUNS / seconds:.2f}", f"{faster:.0f} times its throughput"]
        table.add(name, *cells, verdict(faster, target=most, larger=True))
    compare_groups(bench, table)
    largest = max(SHARES)
    spent = own(bench, largest, 20)
    words, target = f"{spent.memory / 1e9:.2f} GB at most", verdict(spent.memory / 1e9, target=MEMORY)
    table.add(f"ch12, {largest:,} runs of 20 epochs", *figures(largest, spent), words, target)
    return table


def beside_jax(bench: Bench, table: Table, runs: int, *, rows: Path, jax: bool) -> Spent:
    """Adds so many runs of ch12 and of JAX, in turn. Returns what ch12 took."""
    contenders: dict[str, Callable[[], Spent]] = {"ch12": lambda: own(bench, runs)}
    if jax:
        script = bench.peer("jax_sweep.py", rows, runs, EPOCHS, 2)
        contenders["JAX"] = lambda: process(script, folder=bench.folder("jax"))
    taken: dict[str, list[Spent]] = {name: [] for name in contenders}
    for turn in range(TIMES if runs <= RUNS else 1):
        for name in contenders if turn % 2 else reversed(contenders):
            taken[name].append(contenders[name]())
    middle = {name: middle_of(spent) for name, spent in taken.items()}
    ours = middle["ch12"]
    table.add(f"ch12, {runs:,} runs", *figures(runs, ours), "", "")
    if jax:
        share, most = ours.wall / middle["JAX"].wall, SHARES[runs]
        words = f"{share:.2f} of its time, {ours.cpu / middle['JAX'].cpu:.2f} of its processor time"
        target = "" if most is None else verdict(share, target=most)
        table.add(f"JAX, {runs:,} runs", *figures(runs, middle["JAX"]), words, target)
    return ours


def middle_of(spent: Sequence[Spent]) -> Spent:
    return Spent(*(statistics.median(getattr(one, what) for one in spent) for what in Spent._fields))


def figures(runs: int, spent: Spent) -> list[str]:
    """Cells: seconds, seconds of processor time, runs a second."""
    return [f"{spent.wall:.1f}", f"{spent.cpu:.1f}", f"{runs / spent.wall:.1f}"]


def compare_groups(bench: Bench, table: Table) -> None:
    """Adds as many runs in 60 groups as in one. The first sweep of each compiles, the second is measured."""
    spent = {}
    for name, words in {"one group": IN_ONE, "60 groups": IN_GROUPS}.items():
        for _ in range(2):
            command = [*bench.ch12, "train", "-m", *words, f"epochs={EPOCHS}", "hydra.sweep.dir=sweep", "-q"]
            spent[name] = process(command, folder=bench.folder("groups"))
    share = spent["60 groups"].wall / spent["one group"].wall
    compared = {"one group": ["", ""], "60 groups": [f"{share:.2f} of the time of one", verdict(share, target=GROUPS)]}
    for name, cells in compared.items():
        table.add(f"ch12, {GROUPED:,} runs in {name}", *figures(GROUPED, spent[name]), *cells)
