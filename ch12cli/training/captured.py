"""The optimisation step of a stack on a GPU as one graph, launched as a whole instead of kernel by kernel.

A graph repeats what was recorded, on the memory it was recorded with: each batch and all that changes from step to step
is copied there first, and a stack that shrinks, whose parameters lie elsewhere then, is recorded anew.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ch12cli.errors import describe_error
from ch12cli.training.compiled import CannotCompileError, can_compile
from ch12cli.training.loop import Training
from ch12cli.training.losses import StackedLoss
from ch12cli.training.per_run import clip_norms, clip_values
from ch12cli.training.stack import Stack
from ch12cli.training.stacked_batches import StackedSource
from ch12cli.training.stopping import Values

Step = Callable[[], tuple[Tensor, Tensor]]
Recorder = Callable[[Step, torch.device], tuple[Callable[[], Any], tuple[Tensor, Tensor]]]

WARMING = 3  # steps before one is recorded: what torch sets up at first must not be part of it
TRIED = 20  # steps of a comparison
WORTH = 0.95  # of the ordinary step's time, from which on the graph is not used
EQUAL = {torch.float32: 1e-3, torch.float64: 1e-9}  # of how far the weights moved: a difference that is still rounding
TRIAL_RATE = 1e-3  # of a run whose schedule begins with a rate of 0


def cuda_graph(step: Step, device: torch.device) -> tuple[Callable[[], Any], tuple[Tensor, Tensor]]:
    """Records what a step has a GPU do. Gives what repeats it, and the tensors in which it leaves its results."""
    with torch.cuda.device(device):
        before, stream = torch.cuda.current_stream(), torch.cuda.Stream()
        stream.wait_stream(before)
        try:
            with torch.cuda.stream(stream):
                for _ in range(WARMING):
                    step()
            before.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                results = step()
        finally:
            torch.cuda.set_stream(before)  # a recording that fails leaves its own stream as the current one

    def replay() -> None:
        with torch.cuda.device(device):  # on whose current stream it is launched
            graph.replay()

    return replay, results


class CapturedStep:
    """The step of a stack of chains of torch's layers on a GPU, for its training.

    Making one records it, and compares it with the ordinary step: CannotCompileError, and nothing has been changed, if
    it cannot be recorded, gives other weights, or is not faster.
    """

    failed = ""  # why a recording failed in this process: torch may not be ready for another one

    def __init__(self, training: Training, *, recorder: Recorder = cuda_graph) -> None:
        self.training, self.stack, self.recorder = training, cast(Stack, training.network), recorder
        if not can_compile(self.stack, torch.device("cuda")):
            raise CannotCompileError("on a GPU only chains of torch's layers without dropout are, as a graph")
        source = cast(StackedSource, training.source)
        self.rows = min(source.batch_size, len(training.train))
        self.recorded: Tensor | None = None  # the parameters on whose memory the graph works
        x, y = next(iter(source.batches(torch.arange(len(training.train)).expand(self.stack.runs, -1))))
        self.prepare(x, y, training.schedule.rates(training.epoch)[0])

    def prepare(self, x: Tensor, y: Tensor, lr: Values) -> None:
        """Makes the graph, for batches like this one, (runs, rows, …); CannotCompileError if it is not to be used."""
        if self.failed:
            raise CannotCompileError(self.failed)
        try:
            self.record(x, y, lr)
        except Exception as error:  # whatever the driver or torch make of it
            while error.__context__ is not None:  # that of the operation, not that of the end of the recording
                error = cast(Exception, error.__context__)
            CapturedStep.failed = describe_error(error)
            raise CannotCompileError(self.failed) from error
        self.compare(x, y, np.where(lr > 0, lr, TRIAL_RATE))

    def record(self, x: Tensor, y: Tensor, lr: Values) -> None:
        """Makes the graph and its memory."""
        limits, optimizer = self.training.limits, self.training.optimizer
        self.clip_norm, self.clip_value = self.column(limits.clip_grad_norm), self.column(limits.clip_grad_value)
        self.x, self.y = torch.empty_like(x).copy_(x), torch.empty_like(y).copy_(y)
        with self.unchanged():
            self.changing = [cast(Tensor, self.column(value)) for value in optimizer.advance(lr)]
            self.replay, self.results = self.recorder(self.step, self.stack.device)
        self.recorded = self.stack.parameters

    def column(self, value: Any) -> Tensor | None:
        """A number, or one for each run, as a tensor of the graph's own: () or (runs, 1)."""
        if value is None:
            return None
        value = torch.from_numpy(value).unsqueeze(1) if isinstance(value, np.ndarray) else value
        return torch.as_tensor(value, dtype=self.stack.dtype).to(self.stack.device, copy=True)

    def step(self) -> tuple[Tensor, Tensor]:
        """Loss (runs,) and prediction (runs, rows, outputs) of the batch in the graph's memory, and the step done."""
        values, prediction = self.stack.differentiate(cast(StackedLoss, self.training.loss), self.x, self.y)
        if self.clip_value is not None:
            clip_values(self.stack.gradient, self.clip_value)
        if self.clip_norm is not None:
            clip_norms(self.stack.gradient, self.clip_norm)
        self.training.optimizer.update(self.stack.gradient, *self.changing)
        return values, prediction

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Puts parameters and optimiser back, whatever is tried with them: steps that are not the first."""
        weights, state = self.stack.snapshot(), self.training.optimizer.state_dict()
        self.training.optimizer.steps = max(1, state["steps"])
        try:
            yield
        finally:
            self.stack.restore(weights)
            self.training.optimizer.load_state_dict(state)

    def compare(self, x: Tensor, y: Tensor, lr: Values) -> None:
        """CannotCompileError if the graph gives other weights than the ordinary step, or is not faster."""
        start = self.stack.parameters.detach().clone()
        (expected, ordinary), (weights, captured) = (self.tried(do, x, y, lr) for do in (self.ordinary, self))
        moved = (expected - start).abs().amax(1, keepdim=True)  # (runs, 1)
        apart = torch.where(weights.isfinite() | expected.isfinite(), (weights - expected).abs(), 0.0)
        if not (apart <= EQUAL[self.stack.dtype] * moved.nan_to_num(nan=torch.inf)).all():
            raise CannotCompileError("the graph of a step gave other weights than the step")
        share = captured / ordinary
        if share >= WORTH:
            raise CannotCompileError(f"a graph takes {share:.2f} of the ordinary step's time on this GPU")

    def ordinary(self, x: Tensor, y: Tensor, lr: Values) -> tuple[Tensor, Tensor]:
        """The same as a call, without the graph."""
        values, prediction = self.stack.differentiate(cast(StackedLoss, self.training.loss), x, y)
        self.training.update(lr)
        return values, prediction

    def tried(self, do: Callable[..., Any], x: Tensor, y: Tensor, lr: Values) -> tuple[Tensor, float]:
        """The weights after some steps from where the stack is, and the seconds that these took."""
        with self.unchanged():
            self.wait()
            start = time.perf_counter()
            for _ in range(TRIED):
                do(x, y, lr)
            self.wait()
            return self.stack.parameters.detach().clone(), time.perf_counter() - start

    def wait(self) -> None:
        if self.stack.device.type == "cuda":
            torch.cuda.synchronize(self.stack.device)

    def takes(self, x: Tensor) -> bool:
        """Whether it is for such a batch: the last one may be smaller, and the first step may differ from others."""
        return x.shape[1] == self.rows and self.training.optimizer.steps > 0

    def __call__(self, x: Tensor, y: Tensor, lr: Values) -> tuple[Tensor, Tensor]:
        """Loss (runs,) and prediction (runs, rows, outputs) of a batch, and the step done. lr: (runs,)."""
        if self.recorded is not self.stack.parameters:
            try:
                self.prepare(x, y, lr)
            except CannotCompileError:
                self.training.compiled = None
                return self.ordinary(x, y, lr)
        self.x.copy_(x)
        self.y.copy_(y)
        for kept, value in zip(self.changing, self.training.optimizer.advance(lr), strict=True):
            kept.copy_(value) if isinstance(value, Tensor) else kept.fill_(value)
        self.replay()
        values, prediction = self.results
        return values.clone(), prediction.clone()
