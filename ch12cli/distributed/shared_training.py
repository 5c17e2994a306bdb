"""The training of a run by several processes, each of which makes the same steps from its own part of each batch."""

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.distributed.shared_network import SharedNetwork
from ch12cli.training.batches import Part
from ch12cli.training.checkpoint import on_cpu
from ch12cli.training.loop import SeenRows, Training
from ch12cli.training.stopping import Values


class OwnPredictions(SeenRows):
    """The predictions of the rows that this process computes, which are put together with those of the others."""

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self.predictions: list[Tensor] = []

    def add(self, prediction: Tensor, y: Tensor) -> None:
        self.predictions.append(prediction)


class SharedTraining(Training):
    """A training whose batches and evaluations are shared out. All processes see all losses, metrics and decisions."""

    def __init__(self, network: SharedNetwork, **parts: Any) -> None:
        self.shared_network, self.sharing = network, network.sharing
        super().__init__(network, **parts)

    def begin(self) -> None:
        """Gives all processes the state of process 0."""
        ranks = self.sharing.ranks
        if ranks.world == 1:
            return
        state = ranks.broadcast(on_cpu(self.state_dict()) if ranks.leads else {})
        if not ranks.leads:
            self.load_state_dict(state)

    def seen_rows(self) -> SeenRows:
        return OwnPredictions(self)

    def train_epoch(self, order: Tensor, lrs: NDArray[Any]) -> tuple[Values, SeenRows]:
        with self.shared_network.sharing_dropout():
            losses, own = super().train_epoch(order, lrs)
        seen = SeenRows(self)
        if isinstance(own, OwnPredictions) and len(losses) == len(lrs):
            seen.add_all(self.in_order(torch.cat(own.predictions)), order)
        return losses, seen

    def in_order(self, prediction: Tensor) -> Tensor:
        """Returns the predictions of all rows, (rows, outputs), in the order of the epoch. prediction: the own ones."""
        rows, batch_size = len(self.train), min(self.source.batch_size, len(self.train))
        places = [self.sharing.places_of(rank, rows, batch_size) for rank in range(self.sharing.ranks.world)]
        whole = prediction.new_empty(rows, *prediction.shape[1:])
        for place, found in zip(places, self.sharing.gather_rows(prediction, list(map(len, places))), strict=True):
            whole[torch.from_numpy(place).to(whole.device)] = found
        return whole

    def train_columns(self, losses: Values, seen: SeenRows) -> dict[str, Values]:
        return self.sharing.ranks.broadcast(super().train_columns(losses, seen))

    def evaluate(self, part: Part) -> dict[str, Values]:
        return self.sharing.ranks.broadcast(super().evaluate(part))

    def predictions(self, part: Part, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields predictions and targets of the whole part, of which each process has predicted its shards."""
        sharing = self.sharing
        own = [self.predicted(part, bounds, rows) for bounds in sharing.computed(len(part))]
        own = [found[: end - start] for found, (start, end) in zip(own, sharing.own_bounds(len(part)), strict=True)]
        spans = [sharing.span_of(rank, len(part)) for rank in range(sharing.ranks.world)]
        whole = torch.cat(sharing.gather_rows(torch.cat(own), [end - start for start, end in spans]))
        yield from zip(whole.split(rows), part.targets(runs=None).split(rows), strict=True)

    def predicted(self, part: Part, bounds: tuple[int, int], rows: int) -> Tensor:
        """Returns the predictions of some rows of a part, so many at a time."""
        return torch.cat([self.network(part.gather(block)[0]) for block in torch.arange(*bounds).split(rows)])
