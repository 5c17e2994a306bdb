"""The batches of a stack of runs: each run's own order of the same rows."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from ch12cli.training.batches import BLOCK, Part
from ch12cli.training.streams import Streams


class StackedSource:
    """The batches of all runs of a stack. members: the runs in it, by their number in `streams`."""

    def __init__(self, part: Part, streams: Streams, *, batch_size: int, narrow: bool) -> None:
        self.part, self.streams, self.batch_size, self.narrow = part, streams, batch_size, narrow
        self.members = list(range(len(streams.states)))
        self.epoch = 0  # epochs ordered so far

    def order(self) -> Tensor:
        """Order of the rows of each run in the next epoch, (runs, rows)."""
        self.epoch += 1
        return self.streams.orders(self.members, self.epoch - 1, len(self.part))

    def batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """x (runs, batch, features), y (runs, batch[, 1]); in memory the runs come last if the stack is narrow."""
        order = order.to(self.part.x.device)
        size = max(1, self.part.x[0].numel() * order.shape[0])
        block_rows = max(1, 4 * BLOCK // size // self.batch_size) * self.batch_size
        for block in order.split(block_rows, 1):
            if self.narrow:
                last = block.t().contiguous()  # (rows, runs); what is gathered lies in memory as this does
                x = self.part.x.t()[:, last].permute(2, 1, 0)  # (features, rows, runs) -> (runs, rows, features)
                y = self.part.y[last].transpose(0, 1)  # (rows, runs[, 1]) -> (runs, rows[, 1])
            else:
                x, y = self.part.x[block], self.part.y[block]
            yield from zip(x.split(self.batch_size, 1), y.split(self.batch_size, 1), strict=True)

    def keep(self, rows: list[int]) -> None:
        self.members = [self.members[row] for row in rows]

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "members": list(self.members)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.members = state["epoch"], list(state["members"])
