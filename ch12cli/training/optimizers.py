"""Optimisers on one flat parameter tensor: (P,) of a single run, (R, P) of R stacked runs with values of their own.

On the CPU each does, for a single run, exactly the tensor operations of its namesake in torch.optim, so the weights are
the same bit for bit. Stacked, the formula is the same; a value that differs between the runs is a column (R, 1) in it.
`TorchOptimizer` takes any other optimiser of torch, for a single run.
"""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.errors import InputError
from ch12cli.training.torch_internals import HAS_FUSED_ADAM, fused_adam

Value = float | NDArray[np.float64]  # a number for all runs, or one for each run: (R,)
Scale = float | Tensor  # the same as torch's operations take it: a number, or a column (R, 1)

# Values from which on torch uses several threads. Its fused kernels always do, which for fewer values can cost more
# than it saves: 8 ms a step, measured where other processes kept the cores busy.
FUSED_FROM = 32_768

# State that an optimiser has for some values of its settings only: a stack has it where one of its runs does, and a
# fork may have other settings.
OPTIONAL_STATE = {"momentum_buffer", "grad_avg", "max_exp_avg_sq"}


class Optimizer:
    """Updates `parameters` in place, (P,) or (R, P). values: its settings, each a number, a bool or (R,) float64.

    `lr` among the settings is only checked: the schedule gives the learning rate of each step. InputError for a value
    outside of torch's own limits. places: indices of the parameters where they have gaps between them, (values,); a
    saved state has none.
    """

    def __init__(self, parameters: Tensor, **values: Value) -> None:
        _check(values)
        self.parameters = parameters.detach()  # shares the memory; autograd does not see the updates
        self.values: dict[str, Any] = dict(values)
        self.steps = 0
        self.state: dict[str, Tensor] = {}
        self.places: Tensor | None = None
        self._prepare()

    def step(self, gradient: Tensor, lr: Value) -> None:
        """Makes one update. gradient: shaped like the parameters, left as it is; lr: a number, or (R,) float64."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Returns a copy of what a resume needs: the number of steps, and tensors (values,) or (R, P)."""
        places = slice(None) if self.places is None else self.places
        return {"steps": self.steps, **{name: tensor[..., places].clone() for name, tensor in self.state.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state. Of OPTIONAL_STATE, what is missing begins with zeros, and what is not needed is ignored."""
        needed = self.state_dict()
        missing = OPTIONAL_STATE & needed.keys() - state.keys()
        state = {name: value for name, value in state.items() if name in needed or name not in OPTIONAL_STATE}
        state |= {name: torch.zeros_like(needed[name]) for name in missing}
        if (found := _shapes(state)) != (expected := _shapes(needed)):
            raise InputError(f"checkpoint: the optimiser's state holds {found}, this optimiser needs {expected}")
        self.steps = state["steps"]
        for name, tensor in self.state.items():
            if self.places is None:
                tensor.copy_(state[name])
            else:
                tensor[self.places] = state[name].to(tensor)

    def keep(self, rows: Tensor, parameters: Tensor) -> None:
        """Drops the other runs. rows: (kept,) int64; parameters: theirs, (kept, P), updated from now on."""
        if self.parameters.dim() == 1:
            raise ValueError("a single run has no rows to keep")
        self.parameters = parameters.detach()
        self.state = {name: self._in_layout(tensor.index_select(0, rows)) for name, tensor in self.state.items()}
        kept = rows.cpu().numpy()
        self.values = {name: v[kept] if isinstance(v, np.ndarray) else v for name, v in self.values.items()}
        self._prepare()

    def copy_runs(self, source: Tensor, target: Tensor) -> None:
        """Gives runs the state of others. source, target: rows, (copied,) int64, of which none is in both."""
        for tensor in self.state.values():
            tensor[target] = tensor[source]

    def set_values(self, values: dict[str, NDArray[np.float64]]) -> None:
        """Sets some of the numbers, each (R,)."""
        _check(dict(values))
        self.values |= values
        self._prepare()

    def _add_state(self, *names: str) -> None:
        for name in names:
            self.state[name] = torch.zeros_like(self.parameters)  # in the parameters' own layout of memory

    def _in_layout(self, values: Tensor) -> Tensor:
        """Returns the values in the state's layout of memory: themselves, or a copy."""
        like = torch.empty_like(self.parameters)
        return values if values.stride() == like.stride() else like.copy_(values)

    def _prepare(self) -> None:
        """Computes what no step changes, from the values as they are."""
        decay = self.values["weight_decay"]
        self._weight_decay = None if is_zero(decay) else self._scale(decay)

    def _scale(self, value: Value) -> Scale:
        """Returns a value for `alpha=`, `value=` or a lerp's weight: a number as it is, (R,) as a column (R, 1)."""
        if isinstance(value, np.ndarray):
            column = value.astype(_NUMPY_DTYPES[self.parameters.dtype])[:, None]  # (R,) -> (R, 1), rounded last
            return torch.from_numpy(column).to(self.parameters.device)
        return value

    def _operand(self, value: Value) -> Tensor:
        """Returns a value as a tensor: the same bits as a number, which torch would wrap at every call (1.5 µs)."""
        scale = self._scale(value)
        return scale if isinstance(scale, Tensor) else torch.tensor(scale, dtype=self.parameters.dtype)

    def _decayed(self, gradient: Tensor) -> Tensor:
        """Returns the gradient plus that of the L2 penalty, where there is one."""
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
    """target += scale * numerator / denominator; the denominator is overwritten."""
    if isinstance(scale, Tensor):
        return target.addcmul_(torch.div(numerator, denominator, out=denominator), scale)
    return target.addcdiv_(numerator, denominator, value=scale)


def in_memory(values: Tensor) -> Tensor:
    """Returns (R, P) itself, or transposed where the runs come last in memory; the fused kernel needs it dense."""
    return values if values.is_contiguous() else values.t()


_NUMPY_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}


def is_zero(value: Value) -> bool:
    """Returns whether a value is 0 for all runs: torch leaves its operations out then."""
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


class SGD(Optimizer):
    """Gradient descent, with momentum where wanted; see torch.optim.SGD."""

    def __init__(
        self,
        parameters: Tensor,
        *,
        lr: Value = 0.01,
        momentum: Value = 0.0,
        dampening: Value = 0.0,
        weight_decay: Value = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and (np.any(np.asarray(momentum) <= 0) or np.any(np.asarray(dampening) != 0)):
            raise InputError("optimizer.nesterov=true: needs optimizer.momentum above 0 and optimizer.dampening=0")
        self.nesterov = nesterov
        if isinstance(momentum, np.ndarray):  # torch ignores the dampening of a run without momentum
            dampening = np.where(momentum == 0, 0.0, dampening)
        super().__init__(parameters, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
        if not is_zero(momentum):
            self._add_state("momentum_buffer")

    def _prepare(self) -> None:
        super()._prepare()
        self._momentum = self._operand(self.values["momentum"])
        self._nesterov = self._scale(self.values["momentum"])
        self._undamped = self._scale(1 - self.values["dampening"])

    def step(self, gradient: Tensor, lr: Value) -> None:
        self.steps += 1
        gradient = self._decayed(gradient)
        buffer = self.state.get("momentum_buffer")
        if buffer is not None:
            if self.steps == 1:
                buffer.copy_(gradient)  # as torch does: the first gradient is not dampened
            else:
                add(buffer.mul_(self._momentum), gradient, self._undamped)
            gradient = plus(gradient, buffer, self._nesterov) if self.nesterov else buffer
        add(self.parameters, gradient, self._scale(-lr))


class Adam(Optimizer):
    """Adam; see torch.optim.Adam."""

    decoupled = False  # whether weight decay shrinks the weights themselves instead of joining the gradient

    def __init__(
        self,
        parameters: Tensor,
        *,
        lr: Value = 0.001,
        betas: Sequence[Value] = (0.9, 0.999),
        eps: Value = 1e-8,
        weight_decay: Value = 0.0,
        amsgrad: bool = False,
    ) -> None:
        if len(betas) != 2:
            raise InputError(
                f"optimizer.betas={list(betas)}: must be two numbers, such as 'optimizer.betas=[0.9,0.999]'"
            )
        beta1, beta2 = betas
        super().__init__(parameters, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
        self._add_state("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if amsgrad else []))

    def _prepare(self) -> None:
        super()._prepare()
        beta1, beta2, eps = (self.values[name] for name in ("beta1", "beta2", "eps"))
        self._mean_weight, self._square_weight = self._scale(1 - beta1), self._scale(1 - beta2)
        self._beta2, self._eps = self._operand(beta2), self._operand(eps)
        stacked_on_cpu = self.parameters.dim() == 2 and self.parameters.device.type == "cpu"
        shared = not any(isinstance(value, np.ndarray) for value in (beta1, beta2, eps))
        fused = HAS_FUSED_ADAM and stacked_on_cpu and shared and self.parameters.numel() >= FUSED_FROM
        self._update = torch.empty_like(self.parameters) if fused else None
        self._count = torch.zeros(())  # steps, as the fused kernel wants them

    def step(self, gradient: Tensor, lr: Value) -> None:
        self.steps += 1
        if not self.decoupled:
            gradient = self._decayed(gradient)
        elif self._weight_decay is not None:
            self.parameters.mul_(self._scale(1 - lr * self.values["weight_decay"]))
        if self._update is not None:
            if gradient.stride() != self._update.stride():  # the fused kernel does not look at strides
                gradient = self._in_layout(gradient)
            self._fused_update(gradient, self._update)
            add(self.parameters, self._update, self._scale(lr))
            return
        exp_avg, exp_avg_sq = self.state["exp_avg"], self.state["exp_avg_sq"]
        exp_avg.lerp_(gradient, self._mean_weight)
        add_square(exp_avg_sq.mul_(self._beta2), gradient, self._square_weight)
        if "max_exp_avg_sq" in self.state:
            exp_avg_sq = self.state["max_exp_avg_sq"].clamp_min_(exp_avg_sq)
        root = self._scale((1 - self.values["beta2"] ** self.steps) ** 0.5)
        denominator = exp_avg_sq.sqrt().div_(root).add_(self._eps)
        step_size = -lr / (1 - self.values["beta1"] ** self.steps)
        add_quotient(self.parameters, exp_avg, denominator, self._scale(step_size))

    def _fused_update(self, gradient: Tensor, update: Tensor) -> None:
        """Puts into `update`, (R, P), the change of the parameters at a learning rate of 1.

        torch's fused kernel takes one learning rate only: it moves zeros, and each run's lr multiplies the result. That
        takes half the time of the formula on 2 cores (0.45 with 256 runs of 131 float32 parameters, 0.5 with 1,024).
        """
        largest = self.state.get("max_exp_avg_sq")
        fused_adam(
            in_memory(update.zero_()),
            in_memory(gradient),
            in_memory(self.state["exp_avg"]),
            in_memory(self.state["exp_avg_sq"]),
            None if largest is None else in_memory(largest),
            steps=self._count.fill_(self.steps),
            lr=1.0,
            beta1=self.values["beta1"],
            beta2=self.values["beta2"],
            eps=self.values["eps"],
        )


class AdamW(Adam):
    """Adam whose weight decay acts on the weights themselves; see torch.optim.AdamW."""

    decoupled = True

    def __init__(
        self,
        parameters: Tensor,
        *,
        lr: Value = 0.001,
        betas: Sequence[Value] = (0.9, 0.999),
        eps: Value = 1e-8,
        weight_decay: Value = 0.01,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)


class RMSprop(Optimizer):
    """Gradient descent divided by a running root mean square of the gradient; see torch.optim.RMSprop."""

    def __init__(
        self,
        parameters: Tensor,
        *,
        lr: Value = 0.01,
        alpha: Value = 0.99,
        eps: Value = 1e-8,
        weight_decay: Value = 0.0,
        momentum: Value = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(parameters, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
        self._add_state("square_avg", *(["grad_avg"] if centered else []))
        if not is_zero(momentum):
            self._add_state("momentum_buffer")

    def _prepare(self) -> None:
        super()._prepare()
        self._alpha, self._weight = self._operand(self.values["alpha"]), self._scale(1 - self.values["alpha"])
        self._eps, self._momentum = self._operand(self.values["eps"]), self._operand(self.values["momentum"])

    def step(self, gradient: Tensor, lr: Value) -> None:
        self.steps += 1
        gradient = self._decayed(gradient)
        square = add_square(self.state["square_avg"].mul_(self._alpha), gradient, self._weight)
        mean = self.state.get("grad_avg")
        if mean is not None:
            mean.lerp_(gradient, self._weight)
            denominator = square.addcmul(mean, mean, value=-1).sqrt_().add_(self._eps)
        else:
            denominator = square.sqrt().add_(self._eps)
        buffer = self.state.get("momentum_buffer")
        if buffer is not None:
            buffer.mul_(self._momentum).addcdiv_(gradient, denominator)
            add(self.parameters, buffer, self._scale(-lr))
        else:
            add_quotient(self.parameters, gradient, denominator, self._scale(-lr))


class Adagrad(Optimizer):
    """Gradient descent divided by the root of the sum of all squared gradients so far; see torch.optim.Adagrad."""

    def __init__(
        self,
        parameters: Tensor,
        *,
        lr: Value = 0.01,
        lr_decay: Value = 0.0,
        weight_decay: Value = 0.0,
        initial_accumulator_value: Value = 0.0,
        eps: Value = 1e-10,
    ) -> None:
        start = initial_accumulator_value
        super().__init__(
            parameters, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=start, eps=eps
        )
        self._add_state("sum")
        self.state["sum"].add_(self._scale(start))

    def _prepare(self) -> None:
        super()._prepare()
        self._eps = self._operand(self.values["eps"])

    def step(self, gradient: Tensor, lr: Value) -> None:
        lr = lr / (1 + self.steps * self.values["lr_decay"])
        self.steps += 1
        gradient = self._decayed(gradient)
        denominator = self.state["sum"].addcmul_(gradient, gradient, value=1).sqrt().add_(self._eps)
        add_quotient(self.parameters, gradient, denominator, self._scale(-lr))


class TorchOptimizer(Optimizer):
    """Any other torch.optim.Optimizer behind the same interface, for a single run.

    parameters: the module's own, whose `.grad` holds the gradient; values: the class's arguments.
    """

    def __init__(self, kind: type[torch.optim.Optimizer], parameters: Sequence[Tensor], **values: Any) -> None:
        _refuse_unusable(kind)
        self.views = list(parameters)
        try:
            self.optimizer = kind(self.views, **values)
        except (TypeError, ValueError) as error:
            raise InputError(f"optimizer: {kind.__name__} refuses this network or its values: {error}") from error

    def step(self, gradient: Tensor, lr: Value) -> None:
        """Makes one update of the module's parameters. gradient: the memory of their `.grad`."""
        for group in self.optimizer.param_groups:
            if "lr" in group:
                group["lr"] = lr
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return copy.deepcopy(self.optimizer.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        try:
            self.optimizer.load_state_dict(copy.deepcopy(state))  # torch would go on with the caller's own tensors
        except (KeyError, ValueError) as error:
            raise InputError(f"checkpoint: the optimiser's state does not fit this network: {error}") from error
        for index, saved in state["state"].items():
            loaded = self.optimizer.state[self.views[index]]
            for name, value in saved.items():  # torch casts single numbers too (NAdam's mu_product): cast them back
                if isinstance(value, Tensor):
                    loaded[name] = loaded[name].to(value.dtype)

    def keep(self, rows: Tensor, parameters: Tensor) -> None:
        raise ValueError("a single run has no rows to keep")


def _refuse_unusable(kind: type[torch.optim.Optimizer]) -> None:
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InputError(
            f"optimizer: {kind.__name__} evaluates the loss several times in a step (it needs a closure), which ch12's "
            "loop does not do; choose one that takes a single gradient, such as optimizer=adam"
        )
    if issubclass(kind, torch.optim.SparseAdam):
        raise InputError(
            "optimizer: SparseAdam takes sparse gradients only (of embeddings), and ch12's networks have dense ones; "
            "choose optimizer=adam"
        )


# ch12's own forms, which are the ones that can be stacked, by the target in the configuration.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    f"torch.optim.{kind.__name__}": kind for kind in (SGD, Adam, AdamW, RMSprop, Adagrad)
}
