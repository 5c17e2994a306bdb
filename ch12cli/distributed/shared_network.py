"""The network of a run that several processes train: each computes its shards, and all add up their gradients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from ch12cli.distributed.sharing import Sharing, shard_bounds
from ch12cli.errors import InputError, Problem
from ch12cli.training.losses import Loss, row_weights
from ch12cli.training.network import Network
from ch12cli.training.torch_internals import is_dropout


class SharedNetwork(Network):
    """A network whose gradient and loss are those of the whole batch, although each process computes a part.

    Dropout has the masks of a run in one process: each layer draws for the whole batch and uses its own rows. place:
    first row, end and size of the batch that is computed; None outside of a training step.
    """

    def __init__(
        self, module: nn.Module, *, device: torch.device, precision: str, compile_it: bool, sharing: Sharing
    ) -> None:
        self.sharing = sharing
        self.dropouts = [part for part in module.modules() if is_dropout(part) and cast(Any, part).p > 0]
        self.place: tuple[int, int, int] | None = None
        if compile_it and self.dropouts:
            rule = f"{type(self.dropouts[0]).__name__} cannot be shared out when it is compiled"
            raise InputError(Problem("compile", "true", rule, "leave one of them out"))
        super().__init__(module, device=device, precision=precision, compile_it=compile_it)

    def forward_backward(self, loss: Loss) -> Callable[[Any, Tensor], tuple[Tensor, Tensor]]:
        """Returns a function (x of each own shard, y of the batch) -> loss of the batch, predictions of the own rows.

        It leaves the gradient of the whole batch in `gradient`.
        """
        compute, sharing = super().forward_backward(loss), self.sharing
        parts = self.gradient.new_empty(len(sharing.own), len(self.gradient) + 1)  # gradient and loss of each shard

        def shared(x: list[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
            stream = self.stream() if self.dropouts else None
            shares, predictions = shares_of(loss, y, sharing.shards), []
            bounds = sharing.own_bounds(len(y))
            for part, shard, (start, end), number in zip(parts, x, sharing.computed(len(y)), sharing.own, strict=True):
                if stream is not None:
                    self.set_stream(stream)  # all layers draw for the whole batch, once for each shard
                self.place = (start, end, len(y))
                value, prediction = compute(shard, y[start:end].clone())
                torch.mul(self.gradient, shares[number], out=part[:-1])
                part[-1] = value * shares[number]
                rows = bounds[number - sharing.own[0]]
                predictions.append(prediction[: rows[1] - rows[0]])
            self.place = None
            total = self.sum_of(parts)
            self.gradient.copy_(total[:-1])
            return total[-1].clone(), torch.cat(predictions)

        return shared

    def sum_of(self, parts: Tensor) -> Tensor:
        """Returns the sum over all shards, (values,). parts: (own shards, values)."""
        if not self.sharing.is_exact:
            own = parts.sum(0)
            self.sharing.ranks.sum(own)
            return own
        first, *others = self.sharing.ranks.gather(parts).flatten(0, 1)  # (shards, values), in their order
        total: Tensor = first.clone()
        for part in others:
            total += part
        return total

    def stream(self) -> Tensor:
        """Returns the state of the random stream that the network draws from."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()

    def set_stream(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)

    @contextmanager
    def sharing_dropout(self) -> Iterator[None]:
        """Within the block, layers of dropout draw for the whole batch."""
        handles = [layer.register_forward_pre_hook(self.extend) for layer in self.dropouts]
        handles += [layer.register_forward_hook(self.cut) for layer in self.dropouts]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def extend(self, layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Returns a layer's input with rows of zeros where the batch has rows of others."""
        if self.place is None or not layer.training:
            return None
        start, end, rows = self.place
        x, *others = arguments
        if x.shape[0] != end - start:
            name = type(layer).__name__
            raise InputError(f"model: the input of {name} has {x.shape[0]} rows for {end - start} rows of the batch")
        whole = x.new_zeros(rows, *x.shape[1:])
        whole[start:end] = x
        return (whole, *others)

    def cut(self, layer: nn.Module, _arguments: object, output: Tensor) -> Tensor:
        """Returns the own rows of a layer's output."""
        if self.place is None or not layer.training:
            return output
        return output[self.place[0] : self.place[1]]


def shares_of(loss: Any, y: Tensor, shards: int) -> list[Any]:
    """Returns how much the loss of each shard counts in that of the batch: numbers, or tensors (). y: of the batch."""
    bounds = shard_bounds(len(y), shards)
    if getattr(loss, "reduction", "mean") == "sum":
        return [float(end > start) for start, end in bounds]
    weight = row_weights(loss, y)
    if weight is None:
        return [(end - start) / len(y) for start, end in bounds]
    weight = weight.double()
    total = weight.sum()
    return list(torch.stack([weight[start:end].sum() for start, end in bounds]) / torch.where(total > 0, total, 1))
