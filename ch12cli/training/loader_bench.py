"""Benchmarks batch loading for numbers of DataLoader workers and ways of fetching, and recommends settings."""

import statistics
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, repeat
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ch12cli.training.batches import Part, Shuffled

FETCHES = ("item", "batch")
NEAR = 0.1  # relative slowdown against the fastest setting that is accepted
CHEAP = 0.002  # preparation time of a batch, in seconds, below which passing it between processes costs more
MOST = 0.7  # fraction of the time above which something is the bottleneck


@dataclass(frozen=True)
class Costs:
    """Simulated work, in seconds.

    item: CPU time to prepare an item, such as decoding an image; step: time of a training step, on a core or, with
    `waits`, on another device while the CPU is idle.
    """

    item: float = 0.0
    step: float = 0.0
    waits: bool = False


@dataclass(frozen=True)
class Measured:
    """A measurement. fetch: "item" or "batch"; seconds: time per batch; step: the part of it spent in the step."""

    workers: int
    fetch: str
    pinned: bool
    seconds: float
    step: float


@dataclass(frozen=True)
class Advice:
    """The recommended settings: the fewest workers within NEAR of the fastest, and the way of fetching."""

    workers: int
    fetch: str
    text: str


class ItemDataset(Dataset[tuple[Tensor, Tensor]]):
    """A dataset that spends CPU time on each row."""

    def __init__(self, part: Part, cost: float) -> None:
        self.part, self.cost = part, cost

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        burn(self.cost)
        x, y = self.part.gather(torch.tensor([row]))
        return x[0], y[0]


class CostlyPart(Part):
    """A part that spends CPU time on each row that it gathers."""

    def __init__(self, part: Part, cost: float) -> None:
        super().__init__(part.x, part.y, rows=len(part))
        self.part, self.cost = part, cost
        self.sequential, self.order_dtype = part.sequential, part.order_dtype

    @property
    def values(self) -> int:
        return self.part.values

    def rows_at_once(self, batch_size: int, *, sent: bool) -> int:
        return batch_size if self.cost else self.part.rows_at_once(batch_size, sent=sent)

    def arrange(self, order: Tensor, epoch: int | None) -> None:
        self.part.arrange(order, epoch)

    def gather(self, rows: Tensor, epoch: int | None = None) -> tuple[Tensor, Tensor]:
        burn(self.cost * len(rows))
        return self.part.gather(rows, epoch)


def burn(seconds: float) -> None:
    """Keeps a core busy for this much CPU time of the thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def measure(
    part: Part,
    *,
    batch_size: int,
    workers: int,
    fetch: str,
    pinned: bool,
    costs: Costs,
    device: torch.device,
    lasting: float,
) -> Measured:
    """Returns the time per batch over several passes. The first two fetches, in which workers start, do not count.

    Whole batches are fetched as in training. lasting: approximate duration of the measurement, in seconds.
    """
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # tested on purpose
    if fetch == "batch":
        source = Shuffled(
            CostlyPart(part, costs.item), batch_size=batch_size, workers=workers, device=device, pin_memory=pinned
        )
        passes: Iterator[Iterable[tuple[Tensor, Tensor]]] = (source.batches(source.order()) for _ in count())
    else:
        loader: DataLoader[Any] = DataLoader(
            ItemDataset(part, costs.item),
            batch_size=batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pinned,
            generator=torch.Generator(),
        )
        passes = repeat(loader)
    for _ in zip(range(2), steps_on(next(passes), device, costs), strict=False):
        pass
    steps: list[float] = []
    start = time.perf_counter()
    for seconds in chain.from_iterable(steps_on(batches, device, costs) for batches in passes):
        steps.append(seconds)
        elapsed = time.perf_counter() - start
        if elapsed > lasting and len(steps) >= 3:
            break
    return Measured(workers, fetch, pinned, elapsed / len(steps), statistics.fmean(steps))


def steps_on(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device, costs: Costs) -> Iterator[float]:
    """Yields the seconds of the step on each batch."""
    for x, y in batches:
        x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        yield step_seconds(costs)


def step_seconds(costs: Costs) -> float:
    """Returns how long a simulated step took."""
    start = time.perf_counter()
    if costs.waits:
        time.sleep(costs.step)
    else:
        burn(costs.step)
    return time.perf_counter() - start


def advise(found: Sequence[Measured], *, cores: int) -> Advice:
    """Returns the recommended settings and the reason. found: measurements, including some with 0 workers."""
    fastest = min(each.seconds for each in found)
    good = [each for each in found if each.seconds <= fastest * (1 + NEAR)]
    best = min(good, key=lambda each: (each.workers, each.seconds))
    single = min((each for each in found if each.workers == 0), key=lambda each: each.seconds)
    of_steps = single.step / single.seconds
    if of_steps >= 1 - NEAR or (best.workers == 0 and of_steps >= MOST):
        text = f"The steps are the bottleneck: {of_steps:.0%} of the time. How batches are loaded does not matter"
        return Advice(0, single.fetch, f"{text}; leave workers=0.")
    fetching = f"Loading items is the bottleneck: {1 - of_steps:.0%} of the time."
    if best.workers == 0:
        if single.seconds - single.step > CHEAP:
            return Advice(0, best.fetch, f"{fetching} There is no free core for more processes; leave workers=0.")
        both = best.fetch == "batch" and len({each.fetch for each in found}) > 1
        text = "Items are cheap: passing batches between processes would cost more than it saves. Use workers=0"
        return Advice(0, best.fetch, f"{text}{', and fetch whole batches' if both else ''}.")
    gain = single.seconds / best.seconds
    bound = "; there is no free core for more" if best.workers >= cores - 1 else ""
    limit = "; now the steps are the bottleneck" if best.step >= MOST * best.seconds else ""
    text = f"{fetching} Use workers={best.workers}: {gain:.1f} times as fast{bound}{limit}."
    return Advice(best.workers, best.fetch, text)
