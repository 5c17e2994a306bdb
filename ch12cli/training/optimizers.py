"""Optimisers on one flat parameter tensor: (P,) for a run alone, (R, P) for R stacked runs with values of their own.

Alone, on the CPU, each does exactly the tensor operations of its namesake in torch.optim, so that the weights are the
same bit for bit. Stacked, the formula is the same; a value that differs between the runs is a column (R, 1) in it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ch12cli.errors import InputError
from ch12cli.training.torch_internals import HAS_FUSED_ADAM, fused_adam
from ch12cli.training.update import (
    FUSED_FROM,
    Optimizer,
    Scale,
    Value,
    add,
    add_quotient,
    add_square,
    in_memory,
    is_zero,
    plus,
)


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

    def advance(self, lr: Value) -> tuple[Scale, ...]:
        self._begins = self.steps == 0
        return super().advance(lr)

    def update(self, gradient: Tensor, rate: Scale, *_others: Scale) -> None:
        gradient = self._decayed(gradient)
        buffer = self.state.get("momentum_buffer")
        if buffer is not None:
            if self._begins:
                buffer.copy_(gradient)  # torch's beginning: the first gradient is not dampened
            else:
                add(buffer.mul_(self._momentum), gradient, self._undamped)
            gradient = plus(gradient, buffer, self._nesterov) if self.nesterov else buffer
        add(self.parameters, gradient, rate)


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
            raise InputError(f"optimizer.betas={list(betas)}: must be two numbers, such as [0.9, 0.999]")
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

    def advance(self, lr: Value) -> tuple[Scale, ...]:
        self.steps += 1
        shrink = self._scale(1 - lr * self.values["weight_decay"]) if self.decoupled else 1.0
        if self._update is not None:
            return self._scale(lr), 1.0, shrink
        root = (1 - self.values["beta2"] ** self.steps) ** 0.5
        return self._scale(-lr / (1 - self.values["beta1"] ** self.steps)), self._scale(root), shrink

    def update(self, gradient: Tensor, rate: Scale, *others: Scale) -> None:
        root, shrink = others
        if not self.decoupled:
            gradient = self._decayed(gradient)
        elif self._weight_decay is not None:
            self.parameters.mul_(shrink)
        if self._update is not None:
            if gradient.stride() != self._update.stride():  # the fused kernel does not look at strides
                gradient = self._in_layout(gradient)
            self._fused_update(gradient, self._update)
            add(self.parameters, self._update, rate)
            return
        exp_avg, exp_avg_sq = self.state["exp_avg"], self.state["exp_avg_sq"]
        exp_avg.lerp_(gradient, self._mean_weight)
        add_square(exp_avg_sq.mul_(self._beta2), gradient, self._square_weight)
        if "max_exp_avg_sq" in self.state:
            exp_avg_sq = self.state["max_exp_avg_sq"].clamp_min_(exp_avg_sq)
        denominator = exp_avg_sq.sqrt().div_(root).add_(self._eps)
        add_quotient(self.parameters, exp_avg, denominator, rate)

    def _fused_update(self, gradient: Tensor, update: Tensor) -> None:
        """Leaves in `update`, (R, P), what a rate of 1 would add to the parameters; one pass over the moments.

        torch's fused kernel takes one rate only, so it moves zeros and each run's rate multiplies the result: about
        half the time of the plain operations on 2 cores (0.45 with 256 runs of 131 float32 parameters, 0.5 with 1,024).
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

    def update(self, gradient: Tensor, rate: Scale, *_others: Scale) -> None:
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
            add(self.parameters, buffer, rate)
        else:
            add_quotient(self.parameters, gradient, denominator, rate)


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

    def advance(self, lr: Value) -> tuple[Scale, ...]:
        return super().advance(lr / (1 + self.steps * self.values["lr_decay"]))

    def update(self, gradient: Tensor, rate: Scale, *_others: Scale) -> None:
        gradient = self._decayed(gradient)
        denominator = self.state["sum"].addcmul_(gradient, gradient, value=1).sqrt().add_(self._eps)
        add_quotient(self.parameters, gradient, denominator, rate)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    f"torch.optim.{kind.__name__}": kind for kind in (SGD, Adam, AdamW, RMSprop, Adagrad)
}
