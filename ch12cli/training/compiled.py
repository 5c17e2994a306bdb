"""The optimisation step of a stack as one function that torch compiles: forward, backward, clipping and update.

The function takes any number of runs. It is compiled from a sample of always the same size, so that a resume, whose
stack may be smaller by then, gets the same code and with it the same bits.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ch12cli.errors import describe_error
from ch12cli.training.loop import Training
from ch12cli.training.losses import StackedLoss
from ch12cli.training.per_run import clip_norms, clip_values
from ch12cli.training.stack import Stack, differentiate
from ch12cli.training.stacked_batches import StackedSource
from ch12cli.training.stacked_layers import stacked_layers
from ch12cli.training.stopping import Values
from ch12cli.training.update import Optimizer

SAMPLE = 64  # runs

# What `pays` rests on, measured by `make bench BENCH=compiled`.
COMPILING = 12.0  # processor seconds that a compilation costs, with torch's cache empty
SAVED = 80e-6  # processor seconds that a compiled step saves: calls, so the same for any stack...
LARGEST = 2**18  # ...of so many parameters in all; beyond, memory decides, and both are about as fast


class CannotCompileError(Exception):
    """Why a step could not be compiled."""


def pays(*, runs: int, parameters: int, steps: int) -> bool:
    """Whether compiling saves more time than it costs. runs: of a stack; parameters: of one; steps: in all."""
    return runs * parameters <= LARGEST and steps * SAVED > COMPILING


def can_compile(stack: Stack, device: torch.device) -> bool:
    """Whether the step of such a stack can be compiled for a device, or captured (captured.py) where that is a GPU.

    Dropout cannot: its hash has integers wrap around, and counts steps.
    """
    if stack.leaves is None or any(isinstance(leaf, nn.Dropout) for leaf in stack.leaves):
        return False
    return device.type == "cuda" or (device.type == "cpu" and stack.narrow)


def step(
    stack: Stack,
    optimizer: Optimizer,
    loss: StackedLoss,
    x: Tensor,
    y: Tensor,
    *,
    clip_norm: Tensor | None,
    clip_value: Tensor | None,
    changing: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Loss (runs,) and prediction (runs, rows, outputs) of a batch, and the parameters updated.

    clip_norm, clip_value: (runs, 1) or (); changing: what the optimiser's `advance` gave.
    """
    assert stack.leaves is not None
    memory = optimizer.parameters.t()  # (values, runs)
    gradient = torch.empty_like(memory)
    views = list(zip(stack.cut(memory), stack.cut(gradient), strict=True))
    # layers of its own: what they keep for their derivatives is nothing that the function must leave behind
    layers = stacked_layers(stack.leaves, views, stack.masks, narrow=True)
    values, prediction = differentiate(layers, stack.first, loss, x, y, narrow=True)
    if clip_value is not None:
        clip_values(gradient.t(), clip_value)
    if clip_norm is not None:
        clip_norms(gradient.t(), clip_norm)
    optimizer.update(gradient.t(), *changing)
    return values, prediction


class CompiledStep:
    """The step of a narrow stack on the CPU, for its training.

    Making one compiles it, or takes it from torch's cache. Raises CannotCompileError, and has changed nothing then.
    """

    def __init__(self, training: Training) -> None:
        stack = cast(Stack, training.network)
        if not can_compile(stack, stack.device):
            raise CannotCompileError("only narrow chains of torch's layers without dropout are compiled, on the CPU")
        self.training, self.stack = training, stack
        self.rows = min(cast(StackedSource, training.source).batch_size, len(training.train))
        # Without guards, half of what a small stack's step would take: nothing that they watch changes in one stack,
        # but for the number of runs, which the function takes as it comes. Isolated, it is this stack's alone.
        options: Any = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        self.step: Any = cast(Any, torch.compile)(step, fullgraph=True, isolate_recompiles=True, options=options)
        try:
            self.compile()
        except Exception as error:  # whatever torch's compiler or the C++ compiler make of it
            # torch tells of what its compiler raised in an error of its own
            raise CannotCompileError(describe_error(getattr(error, "inner_exception", error))) from error
        training.optimizer.unfuse()

    def compile(self) -> None:
        """Does a step of a sample of the runs, copied, which makes torch compile it."""
        import torch._dynamo  # here, for they take a second
        import torch._inductor.config

        runs = np.arange(SAMPLE) % self.stack.runs
        training, rows = self.training, torch.arange(self.rows).expand(SAMPLE, -1)
        stack, optimizer = copy.copy(self.stack), copy.copy(training.optimizer)
        stack.masks = copy.copy(stack.masks)  # unused here, but cut down with the stack
        stack.keep(torch.from_numpy(runs))
        optimizer.may_fuse, optimizer.steps = False, 1
        optimizer.keep(torch.from_numpy(runs), stack.parameters)
        clips = training.limits.clip_grad_norm, training.limits.clip_grad_value
        taken = arguments(
            stack,
            optimizer,
            cast(StackedLoss, training.loss),
            training.train.x[rows],
            training.train.y[rows],
            training.schedule.rates(training.epoch)[0][runs],
            *(clip[runs] if isinstance(clip, np.ndarray) else clip for clip in clips),
        )
        numbers = [*taken["changing"], taken["clip_norm"], taken["clip_value"]]
        for value in [*vars(optimizer).values(), *optimizer.state.values(), taken["x"], taken["y"], *numbers]:
            if isinstance(value, Tensor) and value.dim() and len(value) == SAMPLE:
                torch._dynamo.mark_dynamic(value, 0)
        with (
            torch._inductor.config.patch(compile_threads=1),  # a worker starts no processes of its own
            # not automatic: what was compiled before for another structure would make other code of this one
            torch._dynamo.config.patch(trace_autograd_ops=True, automatic_dynamic_shapes=False),
            warnings.catch_warnings(action="ignore"),  # of what torch itself has that is deprecated
            torch.no_grad(),
        ):
            self.step(**taken)

    def takes(self, x: Tensor) -> bool:
        """Whether it is for such a batch: the last one may be smaller, and the first step may differ from others."""
        return x.shape[1] == self.rows and self.training.optimizer.steps > 0 and self.stack.runs > 1

    def __call__(self, x: Tensor, y: Tensor, lr: Values) -> tuple[Tensor, Tensor]:
        """Loss (runs,) and prediction (runs, rows, outputs) of a batch, and the step done. lr: (runs,)."""
        training, loss = self.training, cast(StackedLoss, self.training.loss)
        clips = training.limits.clip_grad_norm, training.limits.clip_grad_value
        with torch.no_grad():
            return self.step(**arguments(self.stack, training.optimizer, loss, x, y, lr, *clips))


def arguments(
    stack: Stack,
    optimizer: Optimizer,
    loss: StackedLoss,
    x: Tensor,
    y: Tensor,
    lr: Values,
    clip_norm: float | Values | None,
    clip_value: float | Values | None,
) -> dict[str, Any]:
    """What `step` takes, all that changes from step to step as tensors: a number would be compiled in."""

    def tensor(value: Any) -> Tensor | None:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value).unsqueeze(1)  # (runs, 1)
        return None if value is None else torch.as_tensor(value, dtype=stack.dtype)

    # cloned, they have the same strides in every batch; in memory the runs come last
    x = x.permute(1, 2, 0).clone(memory_format=torch.contiguous_format).permute(2, 0, 1)
    y = y.transpose(0, 1).clone(memory_format=torch.contiguous_format).transpose(0, 1)
    return {
        "stack": stack,
        "optimizer": optimizer,
        "loss": loss,
        "x": x,
        "y": y,
        "clip_norm": tensor(clip_norm),
        "clip_value": tensor(clip_value),
        "changing": [tensor(value) for value in optimizer.advance(lr)],
    }
