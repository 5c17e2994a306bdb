"""Benchmarks batch loading for numbers of DataLoader workers and ways of fetching, and recommends settings."""

import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ch12cli.training.batches import Part, StreamedPart

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


class Batches(ItemDataset):
    """The same dataset, fetched one batch at a time."""

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        burn(self.cost * len(rows))
        return self.part.gather(torch.tensor(rows))


def burn(seconds: float) -> None:
    """Keeps a core busy for this much CPU time of the thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def as_it_is(batch: Any) -> Any:
    return batch


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

    Rows that are read from disk are fetched as in training: many batches at once. lasting: approximate duration of the
    measurement, in seconds.
    """
    whole_batches = fetch == "batch"
    is_read = whole_batches and isinstance(part, StreamedPart) and not costs.item
    at_once = part.rows_at_once(batch_size, sent=workers > 0) if is_read else batch_size
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # tested on purpose
    loader: DataLoader[Any] = DataLoader(
        Batches(part, costs.item) if whole_batches else ItemDataset(part, costs.item),
        batch_size=at_once,
        shuffle=True,
        num_workers=workers,
        collate_fn=as_it_is if whole_batches else None,
        persistent_workers=workers > 0,
        pin_memory=pinned,
        generator=torch.Generator(),
    )
    for _ in zip(range(2), passes(loader, batch_size, device, costs), strict=False):
        pass
    steps: list[float] = []
    start = time.perf_counter()
    for seconds in endless(loader, batch_size, device, costs):
        steps += seconds
        elapsed = time.perf_counter() - start
        if elapsed > lasting and len(steps) >= 3:
            break
    return Measured(workers, fetch, pinned, elapsed / len(steps), statistics.fmean(steps))


def endless(loader: "DataLoader[Any]", batch_size: int, device: torch.device, costs: Costs) -> Iterator[list[float]]:
    while True:
        yield from passes(loader, batch_size, device, costs)


def passes(loader: "DataLoader[Any]", batch_size: int, device: torch.device, costs: Costs) -> Iterator[list[float]]:
    """Yields the seconds of the steps on what is fetched at once, in one pass over the data."""
    for x, y in loader:
        x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        yield [step_seconds(costs) for _ in range(0, len(y), batch_size)]


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
