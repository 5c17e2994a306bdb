"""Any optimiser of torch.optim that ch12 has no form of its own of, for a run alone."""

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ch12cli.errors import InputError
from ch12cli.training.update import Optimizer, Value


class TorchOptimizer(Optimizer):
    """Any other torch.optim.Optimizer behind the same interface, for a run alone.

    parameters: the module's own, which are views of the flat tensor in this order; values: the class's arguments.
    """

    def __init__(self, kind: type[torch.optim.Optimizer], parameters: Sequence[Tensor], **values: Any) -> None:
        _refuse_unusable(kind)
        self.views = list(parameters)
        try:
            self.optimizer = kind(self.views, **values)
        except (TypeError, ValueError) as error:
            raise InputError(f"optimizer: {kind.__name__} refuses this network or its values: {error}") from error
        self._bound: Tensor | None = None

    def step(self, gradient: Tensor, lr: Value) -> None:
        """One update of the module's parameters. gradient: (P,), flat; its views become their .grad."""
        if gradient is not self._bound:
            parts = gradient.split([view.numel() for view in self.views])
            for view, part in zip(self.views, parts, strict=True):
                view.grad = part.view_as(view)
            self._bound = gradient
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
        raise ValueError("a run alone has no rows to keep")


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
