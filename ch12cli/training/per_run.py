"""Values of each run: out of tensors whose runs axis is there or not, and into them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.training.stopping import Values


def clip_values(gradient: Tensor, largest: float | Values | Tensor) -> None:
    """Cuts each element of the gradient to [-largest, largest], in place. largest, as a tensor: (runs, 1) or ()."""
    if isinstance(largest, np.ndarray):
        limit = torch.from_numpy(largest).to(gradient.device, gradient.dtype).unsqueeze(1)  # (runs, 1)
        gradient.copy_(gradient.maximum(-limit).minimum(limit))
    else:
        gradient.clamp_(-largest, largest)  # type: ignore[arg-type]  # numbers or tensors, both alike


def clip_norms(gradient: Tensor, largest: Tensor) -> None:
    """Shortens each run's gradient, a row of (runs, values), to a norm of `largest`, (runs, 1) or (1, 1), in place."""
    norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)  # (runs, 1)
    gradient.mul_((largest / (norm + 1e-6)).clamp(max=1.0))


def per_run(value: Tensor) -> Values:
    """A tensor (…,) as numpy (runs,)."""
    return value.detach().cpu().double().reshape(-1).numpy()


def first_bad_step(losses: Values, parameters: Tensor) -> NDArray[np.int64]:
    """The step, from 1, at which each run's loss or weights ceased to be finite; 0 where all is well. (runs,)."""
    bad = ~np.isfinite(losses)  # (steps, runs)
    steps = np.where(bad.any(0), bad.argmax(0) + 1, 0)
    sound = torch.isfinite(parameters).all(-1).cpu().reshape(-1).numpy()
    return np.where((steps == 0) & ~sound, len(losses), steps)
