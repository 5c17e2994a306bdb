"""The optimisation step: forward, backward, clip, update. Defined once, for a single run and for a stack of runs.

Whatever does the same faster takes the place of `Step` in `Training.step`, and is tested against it.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ch12cli.training.optimizers import Optimizer
from ch12cli.training.stopping import Values

StepFunction = Callable[[Tensor, Tensor, Any], tuple[Any, Tensor]]  # (x, y, lr) -> loss, prediction


class Trainable(Protocol):
    """What a step asks of a network, single or stacked: its gradient, and how to compute and to shorten it."""

    stacked: bool
    runs: int
    device: torch.device
    parameters: Tensor
    gradient: Tensor

    def __call__(self, x: Tensor) -> Tensor: ...
    def forward_backward(self, loss: Any) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]: ...
    def clip_norm(self, largest: Any) -> None: ...
    def is_finite(self) -> Tensor: ...
    def train(self, mode: bool = True) -> None: ...
    def snapshot(self) -> dict[str, Tensor]: ...
    def restore(self, state: dict[str, Tensor]) -> None: ...


class TrainingStep:
    """One optimisation step. Called, it returns loss, () or (runs,), and prediction, (…, rows, outputs), of a batch.

    x: (…, rows, features); y: (…, rows[, outputs]); lr: a number, or (runs,) float64; … is (runs,) in a stack.
    watches_loss: a single run on the CPU gives its loss as a number, and one that is not finite changes no weight.
    Elsewhere looking at each loss would cost more than finishing the epoch. clip_grad_norm, clip_grad_value: bounds of
    the gradient, values first; (runs,) where the runs of a stack differ. norms: takes the norm of each gradient before
    clipping, () or (runs,).
    """

    def __init__(
        self,
        network: Trainable,
        loss: Any,
        optimizer: Optimizer,
        *,
        clip_grad_norm: float | Values | None = None,
        clip_grad_value: float | Values | None = None,
        norms: list[Tensor] | None = None,
    ) -> None:
        self.network, self.optimizer = network, optimizer
        self.forward_backward = network.forward_backward(loss)
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        self.norms = norms
        self.watches_loss = not network.stacked and network.device.type == "cpu"

    def __call__(self, x: Tensor, y: Tensor, lr: Any) -> tuple[Any, Tensor]:
        loss: Any
        loss, prediction = self.forward_backward(x, y)
        if self.watches_loss:
            loss = loss.item()
            if not math.isfinite(loss):
                return loss, prediction
        if self.norms is not None:
            self.norms.append(torch.linalg.vector_norm(self.network.gradient, dim=-1))
        if self.clip_grad_value is not None:
            clip_values(self.network.gradient, self.clip_grad_value)
        if self.clip_grad_norm is not None:
            self.network.clip_norm(self.clip_grad_norm)
        self.optimizer.step(self.network.gradient, lr)
        return loss, prediction


def clip_values(gradient: Tensor, largest: float | Values) -> None:
    """Clips each element of the gradient to [-largest, largest], in place. largest: a number, or (runs,)."""
    if isinstance(largest, np.ndarray):
        limit = torch.from_numpy(largest).to(gradient.device, gradient.dtype).unsqueeze(1)  # (runs, 1)
        gradient.copy_(gradient.maximum(-limit).minimum(limit))
    else:
        gradient.clamp_(-largest, largest)
