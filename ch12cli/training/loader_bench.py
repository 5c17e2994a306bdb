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
CHEAP = 0.002  # seconds to get a batch ready, up to which handing it from process to process costs more
MOST = 0.7  # share of the time from which something is the bottleneck


@dataclass(frozen=True)
class Costs:
    """Work that is added, in seconds. item: of a core, to get an item ready, as decoding a picture; step: to
    train on a batch, of a core, or (waits) of another device, which leaves the processor free."""

    item: float = 0.0
    step: float = 0.0
    waits: bool = False


@dataclass(frozen=True)
class Measured:
    """Seconds a batch, from one to the next, and those of them that its step took. fetch: item by item, or a whole
    batch at once."""

    workers: int
    fetch: str
    pinned: bool
    seconds: float
    step: float


@dataclass(frozen=True)
class Advice:
    """workers and fetch: the fewest workers, and the way of fetching, that are about as fast as any."""

    workers: int
    fetch: str
    words: str


class ItemDataset(Dataset[tuple[Tensor, Tensor]]):
    """Rows that take some work each."""

    def __init__(self, part: Part, cost: float) -> None:
        self.part, self.cost = part, cost

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        burn(self.cost)
        return self.part.x[row], self.part.y[row]


class Batches(ItemDataset):
    """The same, fetched a whole batch at a time."""

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        burn(self.cost * len(rows))
        return self.part.x[rows], self.part.y[rows]


def burn(seconds: float) -> None:
    """Keeps a core busy for so long; time in which others have it does not count."""
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
    """The time from batch to batch over some passes, the first of which, in which workers start, does not count.

    lasting: seconds that are measured, about.
    """
    whole = fetch == "batch"
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # that is what is being found out
    loader: DataLoader[Any] = DataLoader(
        Batches(part, costs.item) if whole else ItemDataset(part, costs.item),
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
    steps: list[float] = []
    start = time.perf_counter()
    for step in endless(loader, device, costs):
        steps.append(step)
        passed = time.perf_counter() - start
        if passed > lasting and len(steps) >= 3:
            break
    return Measured(workers, fetch, pinned, passed / len(steps), statistics.fmean(steps))


def endless(loader: "DataLoader[Any]", device: torch.device, costs: Costs) -> Iterator[float]:
    while True:
        yield from passes(loader, device, costs)


def passes(loader: "DataLoader[Any]", device: torch.device, costs: Costs) -> Iterator[float]:
    """One pass over the data, a step after each batch: the seconds that each took."""
    for x, y in loader:
        x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        start = time.perf_counter()
        if costs.waits:
            time.sleep(costs.step)
        else:
            burn(costs.step)
        yield time.perf_counter() - start


def advise(found: Sequence[Measured], *, cores: int) -> Advice:
    """What to use, and why. found: of the numbers of workers that were tried, 0 among them."""
    fastest = min(each.seconds for each in found)
    good = [each for each in found if each.seconds <= fastest * (1 + NEAR)]
    best = min(good, key=lambda each: (each.workers, each.seconds))
    alone = min((each for each in found if each.workers == 0), key=lambda each: each.seconds)
    of_steps = alone.step / alone.seconds
    if of_steps >= 1 - NEAR or (best.workers == 0 and of_steps >= MOST):
        words = f"The steps are the bottleneck: {of_steps:.0%} of the time. How batches are loaded does not matter"
        return Advice(0, alone.fetch, f"{words}; leave workers=0.")
    fetching = f"Getting items ready is the bottleneck: {1 - of_steps:.0%} of the time."
    if best.workers == 0:
        if alone.seconds - alone.step > CHEAP:
            return Advice(0, best.fetch, f"{fetching} More processes find no free core to do it on; leave workers=0.")
        both = best.fetch == "batch" and len({each.fetch for each in found}) > 1
        words = "Items are cheap: to hand batches from process to process would cost more than it saves. Use workers=0"
        return Advice(0, best.fetch, f"{words}{', and fetch whole batches' if both else ''}.")
    gain = alone.seconds / best.seconds
    bound = "; more would find no free core" if best.workers >= cores - 1 else ""
    limit = "; now the steps are the bottleneck" if best.step >= MOST * best.seconds else ""
    words = f"{fetching} Use workers={best.workers}: {gain:.1f} times as fast{bound}{limit}."
    return Advice(best.workers, best.fetch, words)
