"""Times of a Python loop, NumPy and torch for the same work on this machine."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ch12cli.plots.plot import Bars, Plot

LENGTH, SIDE = 100_000, 96  # length of the vectors, and side of the square matrices
AT_LEAST = 0.02  # minimum seconds of a measurement
REPEATS = 5

Work = Callable[[], Any]


def seconds_of(work: Work) -> float:
    """Returns the median time of a call in seconds, over several measurements of many calls each."""
    work()
    calls, once = 1, 0.0
    while once < AT_LEAST and calls < 10_000:
        calls, start = calls * 4, time.perf_counter()
        for _ in range(calls):
            work()
        once = time.perf_counter() - start
    times = []
    for _ in range(REPEATS if once < 0.2 else 1):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def once(work: Work) -> float:
    """Returns the time of a single call in seconds; for the loops, which are slow."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matrix_loop(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    columns = list(zip(*b, strict=True))
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a]


def measure_parallel() -> tuple[list[str], Plot]:
    """Returns a table of the times, and a plot of the speed-up over the loop."""
    draw = np.random.default_rng(1)
    a, b = (draw.standard_normal(LENGTH).astype(np.float32) for _ in range(2))
    m, n = (draw.standard_normal((SIDE, SIDE)).astype(np.float32) for _ in range(2))
    times: dict[str, list[float]] = {
        "loop in Python": loops(a.tolist(), b.tolist(), m.tolist(), n.tolist()),
        "NumPy": [seconds_of(lambda: a * b), seconds_of(lambda: a @ b), seconds_of(lambda: m @ n)],
    }
    threads = torch.get_num_threads()
    cores = max(threads, torch.get_num_interop_threads(), 1)
    for count in dict.fromkeys((1, cores)):
        torch.set_num_threads(count)
        name = f"torch, {count} thread{'s' * (count > 1)}"
        times[name] = by_torch(a, b, m, n, torch.device("cpu"))
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        times[f"torch, {torch.cuda.get_device_name()}"] = by_torch(a, b, m, n, torch.device("cuda"))
    kinds = (f"product of {LENGTH:,}", f"dot product of {LENGTH:,}", f"matrix product, {SIDE} x {SIDE}")
    width = max(map(len, times))
    lines = [f"{'microseconds':<{width}}" + "".join(f"{kind:>27}" for kind in kinds)]
    lines += [f"{name:<{width}}" + "".join(f"{value * 1e6:>27,.1f}" for value in row) for name, row in times.items()]
    return lines, plot_of(times, kinds)


def loops(a: list[float], b: list[float], m: list[list[float]], n: list[list[float]]) -> list[float]:
    return [
        once(lambda: [x * y for x, y in zip(a, b, strict=True)]),
        once(lambda: sum(x * y for x, y in zip(a, b, strict=True))),
        once(lambda: matrix_loop(m, n)),
    ]


def by_torch(*arrays: Any) -> list[float]:
    *values, device = arrays
    a, b, m, n = (torch.from_numpy(value).to(device) for value in values)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def waited(work: Work) -> Work:
        def call() -> None:
            work()
            wait()

        return call

    return [seconds_of(waited(work)) for work in (lambda: a * b, lambda: a @ b, lambda: m @ n)]


def plot_of(times: dict[str, list[float]], kinds: tuple[str, ...]) -> Plot:
    """Returns a panel of bars for each kind of work.

    The lengths are logarithmic, as the loop is about a thousand times slower.
    """
    base = times["loop in Python"]
    panels = []
    for index, kind in enumerate(kinds):
        faster = [base[index] / row[index] for row in times.values()]
        lengths = np.log10(np.maximum(faster, 1)) / max(1.0, np.log10(max(faster)))
        texts = [f"{value:,.0f} x" for value in faster]
        panels.append(
            Bars(f"{kind}: times as fast as the loop", list(times), lengths, texts, frozenset(["loop in Python"]))
        )
    return Plot("The same work, vectorised", list(panels), ["Bars are drawn on a logarithmic scale."])
