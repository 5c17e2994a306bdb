"""Measures what threads, DataLoader workers, stacking and several processes bring for a configuration on this machine.

Each way is a command `ch12 train` of its own, in a folder that is removed at the end. One run is timed by the seconds
of its epochs, many runs by whole commands, from their start to their end.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ch12cli.errors import InputError
from ch12cli.files.metrics_csv import read_metrics
from ch12cli.files.run_directory import METRICS
from ch12cli.plots.plot import Bars, Plot
from ch12cli.shell import shell_line

PROBE_EPOCHS = 3  # of the run from which the number of epochs is chosen
MOST_EPOCHS = 2_000
WORTH = 1.15  # times as fast, from which a way is recommended: less is within what measurements differ by
CHOSEN_HERE = ("threads", "workers", "devices", "shards", "epochs", "hydra.run.dir", "hydra.sweep.dir")


@dataclass(frozen=True)
class Way:
    """A way of training. name: as in the table; words: the overrides that choose it."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Timing:
    """How long a way took. seconds: of an epoch, or of all runs; None if it was refused, with the reason as text."""

    way: Way
    seconds: float | None
    text: str = ""


@dataclass(frozen=True)
class Measurements:
    """One run of `epochs` epochs, and `runs` such runs, in each way. The first of each is what others are held to."""

    epochs: int
    runs: int
    one: list[Timing]
    many: list[Timing]


def require_free(overrides: Sequence[str]) -> None:
    """Raises InputError if an override sets what this measurement sets itself."""
    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        if key in CHOSEN_HERE:
            raise InputError(f"{word}: bench parallel sets {key} itself; leave it out")


def ways_of_one_run(cores: int) -> list[Way]:
    """Returns the ways to train one run. The first uses one thread, of one process."""
    several = [Way(f"{cores} threads", (f"threads={cores}",))] if cores > 1 else []
    shared = [Way(f"{min(cores, 4)} processes share batches", (f"devices={min(cores, 4)}",))] if cores > 1 else []
    workers = [
        Way(
            f"{count} worker{'s' * (count > 1)} that load{'s' * (count == 1)} batches",
            (f"workers={count}", "threads=1"),
        )
        for count in dict.fromkeys((1, min(cores, 4)))
    ]
    return [Way("1 thread", ("threads=1",)), *several, *workers, *shared]


def measure_ways(
    overrides: Sequence[str], *, seconds: float, runs: int, cores: int, tell: Callable[[str], None]
) -> Measurements:
    """Returns the times of all ways. Raises InputError if the configuration is refused with one thread.

    seconds: approximate training time of one run; runs: number of runs of a sweep; tell: is given what is measured.
    """
    with tempfile.TemporaryDirectory(prefix="ch12-") as name:
        folder = Path(name)
        one, *others = ways_of_one_run(cores)
        tell("how long an epoch takes")
        probe = epoch_seconds(train_in(folder / "probe", [*overrides, *one.words, f"epochs={PROBE_EPOCHS}"]))
        epochs = int(min(MOST_EPOCHS, max(PROBE_EPOCHS, seconds / max(probe, 1e-6))))
        words = [*overrides, f"epochs={epochs}"]
        timings = []
        for number, way in enumerate([one, *others]):
            tell(way.name)
            try:
                directory = train_in(folder / f"one{number}", [*words, *way.words])
            except InputError as error:
                timings.append(Timing(way, None, str(error)))
            else:
                timings.append(Timing(way, epoch_seconds(directory)))
        return Measurements(epochs, runs, timings, list(times_of_many(folder, words, runs, cores, tell)))


def times_of_many(
    folder: Path, words: Sequence[str], runs: int, cores: int, tell: Callable[[str], None]
) -> Iterator[Timing]:
    """Yields the times of all runs: one after another, side by side, and as a sweep of ch12."""
    single = [*words, "threads=1"]
    tell("a whole command")
    start = time.perf_counter()
    train_in(folder / "alone", single)
    yield Timing(Way("one after another", ("threads=1",)), (time.perf_counter() - start) * runs)
    if cores > 1:
        tell(f"{cores} commands at a time")
        start = time.perf_counter()
        started = [begin_command(folder / f"beside{number}", [*single, f"seed={number}"]) for number in range(cores)]
        for process in started:
            finish_command(process)
        whole = (time.perf_counter() - start) * runs / cores
        yield Timing(Way(f"{cores} at a time, each a process", ("threads=1",)), whole)
    tell(f"a sweep of {runs} runs")
    way = Way("a sweep of ch12", ("-m", f"seed=range({runs})"))
    start = time.perf_counter()
    try:
        finish_command(begin_command(folder / "sweep", [*words, *way.words], key="hydra.sweep.dir"))
    except InputError as error:
        yield Timing(way, None, str(error))
    else:
        yield Timing(way, time.perf_counter() - start)


def begin_command(directory: Path, words: Sequence[str], *, key: str = "hydra.run.dir") -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "ch12cli", "train", "-q", *words, f"{key}={directory}"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish_command(process: "subprocess.Popen[str]") -> None:
    """Waits for a command. Raises InputError with its last line if it fails."""
    with process:
        printed, _ = process.communicate()
    if process.returncode:
        lines = printed.strip().splitlines() or [f"ended with the exit code {process.returncode}"]
        raise InputError(lines[-1].removeprefix("ch12: "))


def train_in(directory: Path, words: Sequence[str]) -> Path:
    finish_command(begin_command(directory, words))
    return directory


def epoch_seconds(directory: Path) -> float:
    """Returns the median time of an epoch, without the first, in which worker processes start."""
    times = [row["seconds"] for row in read_metrics(directory / METRICS)]
    return statistics.median(times[1:] or times)


def times_as_fast(timings: Sequence[Timing]) -> list[float | None]:
    """Returns how many times as fast as the first each way is; None where it was refused."""
    first = timings[0].seconds
    return [None if first is None or timing.seconds is None else first / timing.seconds for timing in timings]


def advise_ways(found: Measurements) -> list[str]:
    """Returns, in words, how to train one run and many runs."""
    gains = [gain or 0.0 for gain in times_as_fast(found.one)]
    best = max(range(len(gains)), key=gains.__getitem__)
    if gains[best] >= WORTH:
        one = f"One run: {shell_line(found.one[best].way.words)} is the fastest, {gains[best]:.1f} times one thread."
    else:
        one = "One run: threads=1. Nothing else is faster by much: the steps are too small to be shared out."
    gains = [gain or 0.0 for gain in times_as_fast(found.many)]
    best = max(range(len(gains)), key=gains.__getitem__)
    way = found.many[best].way
    if best == 0 or gains[best] < WORTH:
        return [one, f"{found.runs} runs: one after another; nothing else is faster by much."]
    command = f"ch12 train {shell_line(way.words)}" if way.words[0] == "-m" else "several commands at once"
    return [one, f"{found.runs} runs: {command} is the fastest, {gains[best]:.1f} times one after another."]


def plot_of_ways(found: Measurements, subject: str) -> Plot:
    """Returns a plot with a panel for one run and one for many. The bars of many runs are logarithmic."""
    panels = []
    for label, timings, log in (("one run", found.one, False), (f"{found.runs} runs", found.many, True)):
        gains = np.array([gain or 0.0 for gain in times_as_fast(timings)])
        largest = max(gains.max(), 1.0)
        lengths = np.log10(1 + 9 * gains / largest) if log else gains / largest
        texts = [f"{gain:.2f} x" if gain else "refused" for gain in gains]
        names = [timing.way.name for timing in timings]
        panels.append(Bars(f"{label}: times as fast as the first", names, lengths, texts, frozenset(names[:1])))
    return Plot(
        f"Ways to train in parallel: {subject}", list(panels), ["Bars of many runs are drawn on a logarithmic scale."]
    )
