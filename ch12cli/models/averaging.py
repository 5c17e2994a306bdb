"""An ensemble: several networks whose probabilities, or values, are averaged."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ch12cli.models.convolutional import cnn
from ch12cli.models.feedforward import linear, mlp

MEMBERS = {"linear": linear, "mlp": mlp, "cnn": cnn}

SMALLEST = 1e-300  # a probability whose logarithm is finite


def both_classes(z: Tensor) -> Tensor:
    """Returns the probabilities of two classes, (…, 2), each exact where the other is almost 1. z: logits, (…, 1)."""
    return torch.sigmoid(torch.cat([-z, z], -1))


def log_odds(p: Tensor) -> Tensor:
    """Returns the logits, (…, 1), of the probabilities of two classes, (…, 2)."""
    first, second = p.clamp_min(SMALLEST).log().unbind(-1)
    return (second - first).unsqueeze(-1)


# For each average: what is averaged, made from a network's outputs, and the outputs that its mean stands for. Both in
# float64: `Ensemble` needs less range, but cannot go on from a mean.
FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "values": (lambda outputs: outputs, lambda mean: mean),
    "softmax": (lambda outputs: torch.softmax(outputs, -1), lambda mean: mean.clamp_min(SMALLEST).log()),
    "sigmoid": (both_classes, log_odds),
}


class Ensemble(nn.Module):
    """The weighted average of networks, in the form of their own outputs.

    weights: of the members, which add up to 1. average: what is averaged: the outputs themselves (values), or the
    probabilities that they stand for as logits of a softmax or a sigmoid.
    """

    def __init__(self, members: Sequence[nn.Module], weights: Sequence[float], average: str) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weights, self.average = [float(weight) for weight in weights], average

    def forward(self, x: Tensor) -> Tensor:
        """Returns the output, (rows, outputs). x: (rows, inputs)."""
        outputs = torch.stack([member(x) for member in self.members])  # (members, rows, outputs)
        shape = (-1, 1, 1)
        if self.average == "values":
            return (outputs * outputs.new_tensor(self.weights).reshape(shape)).sum(0)
        logs = outputs.new_tensor([math.log(weight) for weight in self.weights]).reshape(shape)
        if self.average == "softmax":
            return torch.logsumexp(torch.log_softmax(outputs, -1) + logs, 0)
        return torch.logsumexp(logsigmoid(outputs) + logs, 0) - torch.logsumexp(logsigmoid(-outputs) + logs, 0)


def ensemble(
    inputs: int,
    outputs: int,
    shape: tuple[int, ...] | None,
    *,
    members: Sequence[Mapping[str, Any]],
    weights: Sequence[float],
    average: str = "values",
    output: str = "none",
) -> Ensemble:
    """Returns an ensemble. members: for each, its `network` (linear, mlp, cnn), arguments, and `activation`.

    activation: the name of a class of torch.nn, with its arguments. output: the activation of each member's output.
    """
    if not members or len(members) != len(weights) or average not in FORMS or min(weights) <= 0:
        raise ValueError("members: must have a weight above 0 each")
    return Ensemble([_member(each, inputs, outputs, shape, output) for each in members], weights, average)


def _member(
    given: Mapping[str, Any], inputs: int, outputs: int, shape: tuple[int, ...] | None, output: str
) -> nn.Module:
    arguments: dict[str, Any] = {name: value for name, value in given.items() if name not in ("network", "activation")}
    build: Any = MEMBERS[given["network"]]
    if given["network"] != "linear":
        name, options = given["activation"]["name"], given["activation"]["arguments"]
        kind = getattr(nn, name)
        if not (issubclass(kind, nn.Module) and kind.__module__ == "torch.nn.modules.activation"):
            raise ValueError(f"activation: {name} is no activation of torch")
        arguments["activation"] = lambda: kind(**options)
    first = shape if given["network"] == "cnn" else inputs  # which sets what the network takes
    module: nn.Module = build(first, outputs, output=output, **arguments)
    return module
