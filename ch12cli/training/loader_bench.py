"""How fast batches come: measured for numbers of workers and ways of fetching, and what follows from it."""

import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ch12cli.training.batches import Part

FETCHES = ("item", "batch")
NEAR = 0.1  # by how much slower a setting may be than the fastest, and still do
MOST = 0.7  # share of the time from which something is the bottleneck


@dataclass(frozen=True)
class Costs:
    """Work that is added, in seconds. item: of the processor, to get an item ready, as decoding a picture; step: to
    train on a batch, of the processor, or (waits) of another device, which leaves the processor free."""

    item: float = 0.0
    step: float = 0.0
    waits: bool = False


@dataclass(frozen=True)
class Measured:
    """Seconds a batch, from one to the next. fetch: item by item, or a whole batch at once."""

    workers: int
    fetch: str
    pinned: bool
    seconds: float


@dataclass(frozen=True)
class Advice:
    """workers and fetch: the fewest workers, and the way of fetching, that are about as fast as any."""

    workers: int
    fetch: str
    words: str


class Items(Dataset[tuple[Tensor, Tensor]]):
    """Rows that take some work each."""

    def __init__(self, part: Part, cost: float) -> None:
        self.part, self.cost = part, cost

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        burn(self.cost)
        return self.part.x[row], self.part.y[row]


class Batches(Items):
    """The same, fetched a whole batch at a time."""

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        burn(self.cost * len(rows))
        return self.part.x[rows], self.part.y[rows]


def burn(seconds: float) -> None:
    """Keeps the processor busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
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
    """The time from batch to batch over some passes, the first of which, in which workers start, does not count.

    lasting: seconds that are measured, about.
    """
    whole = fetch == "batch"
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # that is what is being found out
    loader: DataLoader[Any] = DataLoader(
        Batches(part, costs.item) if whole else Items(part, costs.item),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        collate_fn=as_it_is if whole else None,
        persistent_workers=workers > 0,
        pin_memory=pinned,
        generator=torch.Generator(),
    )
    for _ in zip(range(2), passes(loader, device, costs), strict=False):
        pass
    times: list[float] = []
    until = time.perf_counter() + lasting
    before = time.perf_counter()
    for _ in endless(loader, device, costs):
        now = time.perf_counter()
        times.append(now - before)
        before = now
        if now > until and len(times) >= 3:
            break
    return Measured(workers, fetch, pinned, statistics.fmean(times))


def endless(loader: "DataLoader[Any]", device: torch.device, costs: Costs) -> Iterator[None]:
    while True:
        yield from passes(loader, device, costs)


def passes(loader: "DataLoader[Any]", device: torch.device, costs: Costs) -> Iterator[None]:
    """One pass over the data, a step after each batch."""
    for x, y in loader:
        x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        if costs.waits:
            time.sleep(costs.step)
        else:
            burn(costs.step)
        yield


def advise(found: Sequence[Measured], *, step: float, cores: int) -> Advice:
    """What to use, and why. found: of the numbers of workers that were tried, 0 among them; step: seconds of a step."""
    fastest = min(each.seconds for each in found)
    good = [each for each in found if each.seconds <= fastest * (1 + NEAR)]
    best = min(good, key=lambda each: (each.workers, each.seconds))
    alone = min((each for each in found if each.workers == 0), key=lambda each: each.seconds)
    fetching = max(0.0, alone.seconds - step)
    if best.workers == 0:
        if step >= MOST * alone.seconds:
            words = (
                f"The steps are the bottleneck: {step / alone.seconds:.0%} of the time. How batches are loaded does "
                "not matter; leave workers=0."
            )
        else:
            both = best.fetch == "batch" and len({each.fetch for each in found}) > 1
            words = (
                "Items are cheap: to hand batches from process to process would cost more than it saves. Use workers=0"
                f"{', and fetch whole batches' if both else ''}."
            )
        return Advice(0, best.fetch, words)
    gain = alone.seconds / best.seconds
    bound = "; more would find no free core" if best.workers >= cores - 1 else ""
    limit = "; now the steps are the bottleneck" if step >= MOST * best.seconds else ""
    words = (
        f"Getting items ready is the bottleneck: {fetching / alone.seconds:.0%} of the time. Use "
        f"workers={best.workers}: {gain:.1f} times as fast{bound}{limit}."
    )
    return Advice(best.workers, best.fetch, words)
