"""Which rows of each batch a process computes.

A batch is cut into shards, one after the other, whose sizes differ by one row at most. Each process has equally many
shards. A shard without rows computes the first row of its batch, which then counts nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.distributed.ranks import Ranks
from ch12cli.training.batches import Part, Shuffled


def shard_bounds(rows: int, shards: int) -> list[tuple[int, int]]:
    """Returns where each shard of so many rows begins and ends."""
    ends = np.cumsum([rows // shards + (index < rows % shards) for index in range(shards)]).tolist()
    return list(zip([0, *ends], ends, strict=False))


@dataclass(frozen=True)
class Sharing:
    """How batches are shared out. is_exact: whether gradients are added in the order of the shards.

    The sum has then the same bits for every number of processes.
    """

    ranks: Ranks
    shards: int
    is_exact: bool

    @property
    def own(self) -> range:
        """The numbers of the shards that this process computes."""
        return self.shards_of(self.ranks.rank)

    def shards_of(self, rank: int) -> range:
        each = self.shards // self.ranks.world
        return range(rank * each, (rank + 1) * each)

    def own_bounds(self, rows: int) -> list[tuple[int, int]]:
        """Returns where the own shards of a batch begin and end."""
        bounds = shard_bounds(rows, self.shards)
        return [bounds[shard] for shard in self.own]

    def computed(self, rows: int) -> list[tuple[int, int]]:
        """Returns the same, with the first row in place of no rows."""
        return [(start, end) if end > start else (0, 1) for start, end in self.own_bounds(rows)]

    def span_of(self, rank: int, rows: int) -> tuple[int, int]:
        """Returns where the rows of a process begin and end in a batch."""
        bounds, shards = shard_bounds(rows, self.shards), self.shards_of(rank)
        return bounds[shards[0]][0], bounds[shards[-1]][1]

    def computed_rows(self, order: Tensor, batch_size: int) -> Tensor:
        """Returns the rows that this process computes in an epoch, in its order. batch_size: at most all rows."""
        whole = len(order) // batch_size * batch_size
        columns = torch.cat([torch.arange(*bounds) for bounds in self.computed(batch_size)])
        parts = [order[:whole].view(-1, batch_size)[:, columns].reshape(-1)]
        if whole < len(order):
            last = order[whole:]
            parts += [last[start:end] for start, end in self.computed(len(last))]
        return torch.cat(parts)

    def places_of(self, rank: int, rows: int, batch_size: int) -> NDArray[np.int64]:
        """Returns the places, in the order of an epoch of so many rows, of those that a process computes."""
        whole = rows // batch_size * batch_size
        start, end = self.span_of(rank, batch_size)
        places = np.arange(whole).reshape(-1, batch_size)[:, start:end].reshape(-1)
        start, end = self.span_of(rank, rows - whole)
        return np.concatenate([places, np.arange(whole + start, whole + end)])

    def gather_rows(self, values: Tensor, counts: list[int]) -> list[Tensor]:
        """Returns the rows of all processes, (rows, …) each. counts: how many each has."""
        padded = values.new_zeros(max(counts), *values.shape[1:])
        padded[: len(values)] = values
        return [rows[:count] for rows, count in zip(self.ranks.gather(padded), counts, strict=True)]


class SharedSource:
    """The own shards of each batch. Yields the x of each, a list of (rows, features), and y of the whole batch."""

    def __init__(
        self,
        part: Part,
        sharing: Sharing,
        *,
        batch_size: int,
        workers: int,
        device: torch.device,
        pin_memory: bool,
        y: Tensor,
    ) -> None:
        """y: the targets of the part, on the network's device."""
        self.sharing, self.batch_size, self.y = sharing, batch_size, y
        rows = sum(end - start for start, end in sharing.computed(min(batch_size, len(part))))
        self.source = Shuffled(part, batch_size=rows, workers=workers, device=device, pin_memory=pin_memory)

    def order(self) -> Tensor:
        """Returns the order of all rows in the next epoch, (rows,), which is that of a run in one process."""
        return self.source.order()

    def batches(self, order: Tensor, epoch: int = 0) -> Iterable[tuple[Any, Tensor]]:
        return self.shards(order, epoch)

    def shards(self, order: Tensor, epoch: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        targets = self.y[order.to(self.y.device)].split(self.batch_size)
        rows = self.sharing.computed_rows(order, min(self.batch_size, len(order)))
        for (x, _), y in zip(self.source.batches(rows, epoch), targets, strict=True):
            sizes = [end - start for start, end in self.sharing.computed(len(y))]
            yield ([x] if len(sizes) == 1 else [shard.clone() for shard in x.split(sizes)]), y

    def state_dict(self) -> dict[str, Any]:
        return self.source.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.source.load_state_dict(state)
