"""Refuses networks and losses that cannot be shared out, because the rows of a batch are not independent in them."""

from typing import Any

import torch
from torch import Tensor, nn

from ch12cli.distributed.shared_network import SharedNetwork, shares_of
from ch12cli.distributed.sharing import shard_bounds
from ch12cli.errors import InputError, Problem
from ch12cli.training.batches import Part

ROWS = 64  # that are tried
CLOSE, CLOSE_IN_BFLOAT16 = 1e-3, 0.02  # relative to the largest value: rounding is smaller
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def require_independent_rows(network: SharedNetwork, loss: nn.Module, part: Part) -> None:
    """Raises InputError if two halves of a batch do not give what the batch gives: predictions, loss, random numbers.

    Restores the network and its random stream.
    """
    norms = [layer for layer in network.module.modules() if isinstance(layer, BATCH_NORMS)]
    if norms:
        refuse_sharing(network, f"{type(norms[0]).__name__} takes means over a whole batch, which is shared out")
    x, y = part.head(min(ROWS, len(part)))
    if len(x) < 2:
        return
    before, stream = network.snapshot(), network.stream()
    try:
        with torch.no_grad(), network.sharing_dropout():
            problem = problem_of(network, loss, x, y)
    finally:
        network.place = None
        network.undo(before)
        network.set_stream(stream)
    if problem:
        refuse_sharing(network, problem)


def problem_of(network: SharedNetwork, loss: Any, x: Tensor, y: Tensor) -> str:
    """Returns why the rows cannot be shared out; empty if they can."""
    stream, state = network.stream(), network.snapshot()
    whole, bounds, halves = predict_rows(network, x, 0, len(x), stream), shard_bounds(len(x), 2), []
    if any(not torch.equal(value, state[name]) for name, value in network.snapshot().items()):
        return "the network changes its buffers in training, which would differ between processes"
    for start, end in bounds:
        halves.append(predict_rows(network, x[start:end], start, len(x), stream))
    for layer in network.dropouts:
        layer.eval()
    network.set_stream(stream)
    network.place = None
    network(x)
    draws = not torch.equal(network.stream(), stream)
    network.train(True)
    if draws:
        return "the network draws random numbers outside of layers such as nn.Dropout"
    close = CLOSE_IN_BFLOAT16 if network.autocast else CLOSE
    if not are_close(torch.cat(halves), whole, close):
        return "the prediction of a row depends on the other rows of its batch"
    parts = [
        share * loss(half, y[start:end])
        for half, share, (start, end) in zip(halves, shares_of(loss, y, 2), bounds, strict=True)
    ]
    if not are_close(sum(parts), loss(whole, y), close):
        return "the loss of a batch is not the mean over its rows"
    return ""


def predict_rows(network: SharedNetwork, x: Tensor, start: int, rows: int, stream: Tensor) -> Tensor:
    """Returns the prediction of a part of a batch of so many rows. stream: the state that the batch begins with."""
    network.set_stream(stream)
    network.place = (start, start + len(x), rows)
    return network(x)


def are_close(found: Any, expected: Tensor, close: float) -> bool:
    largest = float(expected.abs().nan_to_num(0, 0, 0).max())
    return torch.allclose(found.double(), expected.double(), rtol=close, atol=close * largest, equal_nan=True)


def refuse_sharing(network: SharedNetwork, reason: str) -> None:
    sharing = network.sharing
    several = sharing.ranks.world > 1
    key, value = ("devices", sharing.ranks.world) if several else ("shards", sharing.shards)
    hint = "layers such as nn.LayerNorm, nn.GroupNorm and nn.Dropout can be shared out; or leave it out"
    raise InputError(Problem(key, str(value), reason, hint))
