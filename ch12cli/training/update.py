"""What every optimiser on a flat parameter tensor has, and the operations that take a number or one for each run."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.errors import InputError

Value = float | NDArray[np.float64]  # a number for all runs, or one for each run: (R,)
Scale = float | Tensor  # the same as torch's operations take it: a number, or a column (R, 1)

# Values from which on torch uses several threads. Its fused kernels always do, which for fewer values can cost more
# than it saves: 8 ms a step, measured where other processes kept the cores busy.
FUSED_FROM = 32_768

# State that an optimiser has for some values of its settings only: a stack has it where one of its runs does, and a
# fork may have other settings.
OPTIONAL = {"momentum_buffer", "grad_avg", "max_exp_avg_sq"}


class Optimizer:
    """Updates `parameters` in place, (P,) or (R, P). values: its settings, each a number, a bool or (R,) float64.

    `lr` among the settings is only checked: the schedule gives the rate of each step.
    """

    def __init__(self, parameters: Tensor, **values: Value) -> None:
        _check(values)
        self.parameters = parameters.detach()  # shares the memory; autograd does not see the updates
        self.values: dict[str, Any] = dict(values)
        self.steps = 0
        self.state: dict[str, Tensor] = {}
        self._prepare()

    def step(self, gradient: Tensor, lr: Value) -> None:
        """One update. gradient: shaped like the parameters, left as it is; lr: a number, or (R,) float64."""
        self.update(gradient, *self.advance(lr))

    def advance(self, lr: Value) -> tuple[Scale, ...]:
        """Counts a step, and gives the numbers of its update that differ from those of other steps."""
        self.steps += 1
        return (self._scale(-lr),)

    def update(self, gradient: Tensor, rate: Scale, *others: Scale) -> None:
        """The step's tensor operations, which torch.compile can follow. rate, others: what `advance` gave."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs, copied: the number of steps, and tensors shaped like the parameters (row r: run r)."""
        return {"steps": self.steps, **{name: tensor.clone() for name, tensor in self.state.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes a state up. Of OPTIONAL, what is missing begins with zeros, and what is not needed is left."""
        needed = {"steps": self.steps, **self.state}
        missing = OPTIONAL & needed.keys() - state.keys()
        state = {name: value for name, value in state.items() if name in needed or name not in OPTIONAL}
        state |= {name: torch.zeros_like(self.state[name]) for name in missing}
        if (found := _shapes(state)) != (expected := _shapes(needed)):
            raise InputError(f"checkpoint: the optimiser's state holds {found}, this optimiser needs {expected}")
        self.steps = state["steps"]
        for name, tensor in self.state.items():
            tensor.copy_(state[name])

    def keep(self, rows: Tensor, parameters: Tensor) -> None:
        """Only the runs of these rows stay. rows: (kept,) int64; parameters: theirs, (kept, P), updated from now on."""
        if self.parameters.dim() == 1:
            raise ValueError("a run alone has no rows to keep")
        self.parameters = parameters.detach()
        self.state = {name: self._in_layout(tensor.index_select(0, rows)) for name, tensor in self.state.items()}
        kept = rows.cpu().numpy()
        self.values = {name: v[kept] if isinstance(v, np.ndarray) else v for name, v in self.values.items()}
        self._prepare()

    def _add_state(self, *names: str) -> None:
        for name in names:
            self.state[name] = torch.zeros_like(self.parameters)  # in the parameters' own layout of memory

    def _in_layout(self, values: Tensor) -> Tensor:
        """The values, laid out in memory as the state is: themselves, or a copy."""
        like = torch.empty_like(self.parameters)
        return values if values.stride() == like.stride() else like.copy_(values)

    def _prepare(self) -> None:
        """Computes once, for the values as they are, what no step changes."""
        decay = self.values["weight_decay"]
        self._weight_decay = None if is_zero(decay) else self._scale(decay)

    def _scale(self, value: Value) -> Scale:
        """The value for `alpha=`, `value=` or a lerp's weight: a number as it is, one for each run as a column."""
        if isinstance(value, np.ndarray):
            column = value.astype(_NUMPY_DTYPES[self.parameters.dtype])[:, None]  # (R,) -> (R, 1), rounded last
            return torch.from_numpy(column).to(self.parameters.device)
        return value

    def _operand(self, value: Value) -> Tensor:
        """The value as an operand: same bits as a plain number, which torch would wrap anew at every call (1.5 µs)."""
        scale = self._scale(value)
        return scale if isinstance(scale, Tensor) else torch.tensor(scale, dtype=self.parameters.dtype)

    def _decayed(self, gradient: Tensor) -> Tensor:
        """The gradient with the pull of an L2 penalty, where there is one."""
        return gradient if self._weight_decay is None else plus(gradient, self.parameters, self._weight_decay)


def add(target: Tensor, other: Tensor, scale: Scale) -> Tensor:
    """target += scale * other."""
    return target.addcmul_(other, scale) if isinstance(scale, Tensor) else target.add_(other, alpha=scale)


def plus(first: Tensor, other: Tensor, scale: Scale) -> Tensor:
    """first + scale * other, a new tensor."""
    return first.addcmul(other, scale) if isinstance(scale, Tensor) else first.add(other, alpha=scale)


def add_square(target: Tensor, other: Tensor, scale: Scale) -> Tensor:
    """target += scale * other²."""
    if isinstance(scale, Tensor):
        return target.addcmul_(other * other, scale)
    return target.addcmul_(other, other, value=scale)


def add_quotient(target: Tensor, numerator: Tensor, denominator: Tensor, scale: Scale) -> Tensor:
    """target += scale * numerator / denominator; the denominator's memory is used up."""
    if isinstance(scale, Tensor):
        return target.addcmul_(torch.div(numerator, denominator, out=denominator), scale)
    return target.addcdiv_(numerator, denominator, value=scale)


def in_memory(values: Tensor) -> Tensor:
    """(R, P) as it lies in memory: itself, or transposed where the runs come last; the fused kernel wants it so."""
    return values if values.is_contiguous() else values.t()


_NUMPY_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


def is_zero(value: Value) -> bool:
    """Whether it is 0 for all runs, so that its operations are left out as torch leaves them out."""
    return not np.any(value)


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for name, v in state.items()}


def _check(values: dict[str, Value]) -> None:
    """Raises InputError with all values outside of torch's own limits."""
    problems = []
    for name, value in values.items():
        below = 1.0 if name.startswith("beta") else np.inf
        try:
            numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError):
            problems.append(f"optimizer.{name}={value}: must be a number")
            continue
        wrong = ~((numbers >= 0) & (numbers < below) | (name == "dampening") & np.isfinite(numbers))  # nan is wrong too
        if wrong.any():
            key = "betas" if name.startswith("beta") else name
            rule = "at least 0 and below 1" if below == 1 else "a number, 0 or greater"
            problems.append(f"optimizer.{key}={numbers[wrong][0]:g}: must be {rule}")
    if problems:
        raise InputError(problems)
