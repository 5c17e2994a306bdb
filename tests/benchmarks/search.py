"""Searches: whole ones against a grid and against Optuna on the plain loop, and what their trials are worth."""

import math
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from optuna import create_study

from ch12cli.catalogue.sweep_jobs import read_rows_as_planned
from ch12cli.search.optuna_samplers import setting_asked, silent_optuna, tpe
from ch12cli.search.settings import SAMPLERS
from ch12cli.search.space import Condition, Interval, Options, Setting, Space, WholeNumbers
from ch12cli.search.study import Study, batch_size
from ch12cli.search.trial import Trial
from tests.benchmarks.bench import ROOT, Bench, Table, interleaved, medians, missing, process, spread, verdict

TRIALS, EPOCHS = 1024, 20
SPACE = (
    f"search.n_trials={TRIALS}",
    "optimizer.lr=tag(log,interval(1e-4,1))",
    "optimizer.weight_decay=tag(log,interval(1e-6,0.1))",
    "optimizer.eps=tag(log,interval(1e-10,1e-3))",
)
OPTUNA_TRIALS = 16
TIMES = 3
ONE_BY_ONE = "Optuna's TPE, one at a time"
QUALITY_TRIALS, SEEDS, RULER = 512, 20, 100_000

VALLEY = Space.of([Interval(name, 1e-5, 1.0, log=True) for name in "abcde"])
MIXED = Space.of(
    [
        Interval("lr", 1e-5, 1.0, log=True),
        WholeNumbers("width", 1, 256, log=True),
        Options("optimizer", ("a", "b", "c", "d")),
        Interval("momentum", 0.0, 1.0),
        Options("activation", ("x", "y", "z")),
    ],
    {"momentum": Condition("optimizer", ("a", "b"))},
)


def valley(setting: Setting) -> float:
    """A narrow curved valley in five logarithms, two of which matter little."""
    a, b, c, d, e = (math.log10(float(setting[name])) / 5 for name in "abcde")
    return (a + 0.6) ** 2 + 5 * (b - a * a) ** 2 + (c + 0.3) ** 2 + 0.01 * (d * d + e * e)


def mixed(setting: Setting) -> float:
    """Numbers, categories and a conditional number."""
    distance = (math.log10(float(setting["lr"])) + 2.5) ** 2 + 0.3 * math.log(float(setting["width"]) / 32) ** 2
    offset = {"a": 0.0, "b": 0.3, "c": 0.5, "d": 1.0}[setting["optimizer"]] + 0.2 * "xyz".index(setting["activation"])
    return distance + offset + 4 * (float(setting.get("momentum", 0.6)) - 0.9) ** 2


def noisy(setting: Setting) -> float:
    """The valley with noise that depends on the setting alone, as that of a seed does."""
    digits = sum(map(ord, "".join(setting.values())))
    return valley(setting) * (1 + 0.3 * math.sin(12.9898 * digits))


OBJECTIVES: dict[str, tuple[Space, Callable[[Setting], float]]] = {
    "valley": (VALLEY, valley),
    "mixed": (MIXED, mixed),
    "noisy valley": (VALLEY, noisy),
}


def best_of_batches(objective: str, sampler: str, seed: int) -> float:
    """The best value of QUALITY_TRIALS trials, asked in batches."""
    space, value = OBJECTIVES[objective]
    batch = batch_size(QUALITY_TRIALS)
    study = Study(space, SAMPLERS[sampler], seed=seed, startup=batch)
    while len(study.trials) < QUALITY_TRIALS:
        study.add([Trial(setting, "complete", (value(setting),)) for setting in study.ask(batch)])
    assert study.best is not None
    return study.best.values[0]


def best_one_by_one(objective: str, seed: int) -> float:
    """The best value of QUALITY_TRIALS trials of Optuna's TPE, asked one at a time by Optuna itself."""
    space, value = OBJECTIVES[objective]
    with silent_optuna():
        study = create_study(sampler=tpe(seed, space, 1))
        for _ in range(QUALITY_TRIALS):
            trial = study.ask()
            study.tell(trial, value(setting_asked(trial, space)))
        return study.best_value


def worth(found: Sequence[float], ruler: NDArray[np.float64]) -> float:
    """How many random trials would find as good a best: a geometric mean."""
    share = (np.searchsorted(ruler, found, "right") + 0.5) / (len(ruler) + 1)
    return float(np.exp(np.log(math.log(2) / share).mean()))


def ruler_of(objective: str) -> NDArray[np.float64]:
    """The sorted values of random settings."""
    space, value = OBJECTIVES[objective]
    points = np.random.default_rng(12345).random((RULER, len(space.parameters)))
    return np.sort([value(space.setting(point)) for point in points])


def train(bench: Bench, *words: str) -> float:
    """Seconds of a whole `ch12 train -m`."""
    folder = bench.folder("search")
    command = [*bench.ch12, "train", "-q", "-m", f"epochs={EPOCHS}", "hydra.sweep.dir=sweep", *words]
    spent = process(command, folder=folder)
    assert len(read_rows_as_planned(folder / "sweep")) == TRIALS
    return spent.wall


def optuna_seconds(bench: Bench) -> float:
    """Seconds of a trial of Optuna's on the plain loop."""
    script = bench.peer("optuna_plain.py", Path(ROOT) / "ch12cli" / "data" / "iris.csv", OPTUNA_TRIALS, EPOCHS)
    return float(subprocess.run(script, capture_output=True, text=True, check=True).stdout)


def run(bench: Bench) -> Table:
    def numbers(low: float, count: int) -> str:
        return ",".join(f"{low * 1.3**index:.3g}" for index in range(count))

    contenders = {
        "a grid": (
            f"optimizer.lr={numbers(1e-3, 16)}",
            f"optimizer.weight_decay={numbers(1e-5, 8)}",
            f"optimizer.eps={numbers(1e-8, 8)}",
        ),
        "a search": SPACE,
        "a search, recorded compactly": (*SPACE, "sweep.record=compact"),
    }
    found = interleaved({name: partial(train, bench, *words) for name, words in contenders.items()}, times=TIMES)
    middle = medians(found)
    table = Table(
        "Searches",
        f"{TRIALS:,} trials of {EPOCHS} epochs on Iris, three numbers searched, in stacks; a grid of as many jobs "
        f"(medians of {TIMES} in turn); and Optuna's TPE, which calls the plain loop one trial at a time, measured on "
        f"{OPTUNA_TRIALS} trials. Below, what {QUALITY_TRIALS} trials in batches of {batch_size(QUALITY_TRIALS)} are "
        f"worth: how many random ones would find as good a best, by {RULER:,} random trials, of which the best counts "
        f"{worth([-math.inf], np.zeros(RULER)):,.0f}; a geometric mean over {SEEDS} seeds.",
        ["what", "figure", "compared", "target"],
    )
    for name, seconds in middle.items():
        share = seconds / middle["a grid"]
        target = "" if name == "a grid" else verdict(share, target=1.5)
        table.add(name, f"{spread(found[name], digits=1)} s", f"{share:.2f} of the grid", target)
    if bench.has("optuna", "torch"):
        each = optuna_seconds(bench)
        table.add("Optuna, the plain loop", f"{each * TRIALS:.0f} s, {each * 1000:.0f} ms a trial", "", "")
        for name in list(middle)[1:]:
            times = each * TRIALS / middle[name]
            table.add(
                f"{name} beside it", "", f"{times:.0f} times the trials/s", verdict(times, target=100, larger=True)
            )
    else:
        table.notes.append(missing("Optuna"))
    for objective in OBJECTIVES:
        ruler = ruler_of(objective)
        for sampler in ("tpe", "optuna_tpe", "nsgaii", "cmaes", "sobol", "random", ONE_BY_ONE):
            one_by_one = sampler == ONE_BY_ONE
            value = worth(
                [
                    best_one_by_one(objective, seed) if one_by_one else best_of_batches(objective, sampler, seed)
                    for seed in range(SEEDS)
                ],
                ruler,
            )
            each = value / QUALITY_TRIALS
            target = verdict(each, target=2.2, larger=True) if sampler == "tpe" else ""
            cells = [f"{objective}, {sampler}", f"{value:.0f} random trials", f"{each:.2f} for each trial", target]
            table.add(*cells)
    return table
