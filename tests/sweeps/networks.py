"""Networks and other targets of a user's own, for the tests of sweeps."""

import os
import signal
import sys
import time

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """No chain of layers: the input goes round the hidden layer."""

    def __init__(self, inputs: int, outputs: int, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.scale = nn.Parameter(torch.ones(width))
        self.last = nn.Linear(width + inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.sin(self.first(x)) * self.scale
        return self.last(torch.cat([hidden, x], -1))


class WithBuffers(nn.Sequential):
    """Batch normalisation, whose running means a stack cannot share."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, outputs))


class Unlucky(nn.Sequential):
    """A linear network that does something bad when it is built after certain seeds, drawn numbers or in forward.

    The seed is known from torch's stream, as a user's module would know it.
    """

    forgiving = False  # as if the user had mended it

    def __init__(
        self, inputs: int, outputs: int, raises: int = -1, exits: int = -1, dies: int = -1, killed: int = -1
    ) -> None:
        super().__init__(nn.Linear(inputs, outputs))
        seed = torch.initial_seed()
        if seed == raises and not self.forgiving:
            raise ValueError(f"no network for seed {seed}\nand more to say")
        if seed == exits:
            sys.exit(f"enough of seed {seed}")
        if seed == dies:
            os._exit(7)
        if seed == killed:
            os.kill(os.getpid(), signal.SIGKILL)


class RaisesInForward(nn.Module):
    """Fails in training, not in evaluation: what trying it out does not show."""

    def __init__(self, inputs: int, outputs: int, fails: bool = True) -> None:
        super().__init__()
        self.layer, self.fails = nn.Linear(inputs, outputs), fails

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.fails:
            raise RuntimeError("the forward pass failed")
        return self.layer(x)


def slow_linear(inputs: int, outputs: int, seconds: float = 0.2) -> nn.Module:
    """A linear layer that takes its time to be built."""
    time.sleep(seconds)
    return nn.Linear(inputs, outputs)


class Picky(nn.Sequential):
    """A linear network that cannot be built in some sizes."""

    def __init__(self, inputs: int, outputs: int, size: int = 1) -> None:
        if size == 3:
            raise ValueError("three is too many")
        if size == 4:
            sys.exit(4)
        if size == 5:
            os._exit(5)
        super().__init__(nn.Linear(inputs, size), nn.Linear(size, outputs))


def rewriting(inputs: int, outputs: int, file: str) -> nn.Module:
    """A linear layer, made while somebody edits the file that asked for it."""
    with open(file, "w") as edited:
        edited.write("not: read\n")
    return nn.Linear(inputs, outputs)


class Waiting(nn.Module):
    """A linear network that trains one epoch of Iris, then waits in its forward pass until a file is there."""

    def __init__(self, inputs: int, outputs: int, file: str, batches: int) -> None:
        super().__init__()
        self.layer, self.file, self.left = nn.Linear(inputs, outputs), file, batches

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
            while self.left < 0 and not os.path.exists(self.file):
                time.sleep(0.01)
        return self.layer(x)
