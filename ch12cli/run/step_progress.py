"""Reports the progress within an epoch, for displays of long epochs."""

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

from torch import Tensor

from ch12cli.training.loop import Source

INTERVAL = 0.25  # seconds between two reports


class ReportingSource:
    """Batch source that reports how many steps of an epoch are done."""

    def __init__(self, source: Source, report: Callable[[int, int], None], *, steps: int) -> None:
        self.source, self.report, self.steps = source, report, steps
        self.batch_size = source.batch_size

    def order(self) -> Tensor:
        return self.source.order()

    def batches(self, order: Tensor, epoch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        due = perf_counter() + INTERVAL
        for done, batch in enumerate(self.source.batches(order, epoch)):
            if perf_counter() > due:
                self.report(done, self.steps)
                due = perf_counter() + INTERVAL
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return self.source.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.source.load_state_dict(state)
