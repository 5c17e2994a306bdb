"""Epochs of a stack in one native call: instead of the steps of `Training.train_epoch`."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ch12cli.fused.compiler import CannotCompileError, is_cached, library
from ch12cli.fused.on_gpu import WARP, kernel_on_gpu
from ch12cli.fused.program import NUMBERS, SETTINGS, Program, kernel_settings, program_of
from ch12cli.fused.source import general_source, numbers_in_c, special_source
from ch12cli.fused.twister import MOST_ROWS
from ch12cli.training.batches import FoldedPart, Part
from ch12cli.training.loop import Limits
from ch12cli.training.metrics import Right
from ch12cli.training.optimizers import Adagrad, Adam, Optimizer, is_zero
from ch12cli.training.stack import Stack
from ch12cli.training.stopping import Values

MOST_STATES = 3
ALIGNMENT = 64  # bytes, of the largest vectors
MOST_VALUES = 2**17  # of a run in a block's memory; more would not stay in a cache

# Seconds of a step on one core, measured for widths 16 to 512, batches of 2 to 128 rows and 2 to 64 runs.
OF_STEP, OF_RUN = 130e-6, 0.7e-6  # by torch: for the stack, and for each run at least
OF_PARAMETER, OF_PRODUCT = 1e-9, 0.12e-9  # by torch: for each parameter of a run, and for each parameter and row
OF_PRODUCT_IN_LANES = 1.3e-9  # compiled: for each parameter and row of a block of runs
OTHER_ROWS = 3  # compiled: what does not depend on the rows takes as long as so many rows
VECTOR = 64  # bytes, the largest

WORTH_IT = 0.1  # compiled code is used for trainings that take torch so many seconds: it may have to be compiled first
# A structure whose runs take so many seconds has code of its own: 0.85 of the time of the general code, with the same
# bits, but a second to compile.
WORTH_ITS_OWN = 3.0
SECONDS_OF_CALL = 0.2  # so long a signal waits, and progress is not shown
DEVICES = ("cpu", "cuda")
NO_FORM = "its layers, loss or optimizer have no compiled form"


class OperationArguments(ctypes.Structure):
    """`Operation` of kernel.c."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("kind", "at", "to", "gradient", "units", "outputs", "weight")),
        *((name, ctypes.c_int) for name in ("bias", "layer")),
        *((name, ctypes.c_double) for name in ("a", "b")),
    )


class EpochsArguments(ctypes.Structure):
    """`Epochs` of kernel.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("runs", "rows", "epochs", "begin", "end")),
        *((name, ctypes.c_int64) for name in ("steps_before", "masks_before")),
        ("parameters", ctypes.c_void_p),
        ("states", ctypes.c_void_p * MOST_STATES),
        *((name, ctypes.c_void_p) for name in ("snapshots", "finite", "x", "y", "order", "lr", "root", "shrink")),
        *((f"{name}_{distance}", ctypes.c_int64) for name in ("lr", "root", "shrink") for distance in ("step", "run")),
        *((name, ctypes.c_void_p) for name in ("settings", "seeds", "losses", "predictions", "right")),
        *((name, ctypes.c_void_p) for name in ("valid_x", "valid_y", "valid_starts")),
        ("valid_rows", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("valid_predictions", "valid_right", "valid_losses")),
        *((name, ctypes.c_void_p) for name in ("numbers", "operations")),
        *((name, ctypes.c_int64) for name in ("forward", "all")),
    )


Launcher = Callable[[EpochsArguments], None]


def clips_of(limits: Limits) -> dict[str, Any]:
    given = {"CLIP_VALUE": limits.clip_grad_value, "CLIP_NORM": limits.clip_grad_norm}
    return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class TrainedEpochs:
    """What compiled code leaves of some epochs. The epochs of a stack stand beside each other like further runs.

    losses: (steps, epochs x runs). predictions: of the training part, each as its step made it, (epochs x runs, rows,
    outputs); valid: of the validation part after each epoch. right, valid_right: the share of rows that were right,
    (epochs x runs,), in place of predictions; valid_loss: the loss there. None: it was not made. parameters: after each
    epoch, (epochs, values, runs). finite: whether all of these are, (epochs x runs,).
    """

    losses: Values
    parameters: Tensor
    finite: NDArray[np.bool_]
    predictions: Tensor | None = None
    valid: Tensor | None = None
    right: Values | None = None
    valid_right: Values | None = None
    valid_loss: Values | None = None


class FusedEpochs:
    """Trains epochs of a stack through compiled code, which predicts a validation part in memory too.

    trains_several: whether it can train more than one epoch at a time. The code changes the stack's parameters and the
    optimiser's state in place, as the steps would.
    """

    def __init__(
        self,
        stack: Stack,
        optimizer: Optimizer,
        part: Part,
        *,
        valid: Part | None,
        program: Program,
        batch_size: int,
        special: bool = False,
    ) -> None:
        self.stack, self.optimizer, self.part = stack, optimizer, part
        self.program, self.batch_size = program, batch_size
        self.outputs, self.outputs_in_mean = program.numbers["OUTPUTS"], program.numbers["OUTPUTS_IN_MEAN"]
        self.y = flat_targets(part.y, part.x.dtype)
        self.valid = valid if type(valid) in (Part, FoldedPart) else None
        self.trains_several = self.valid is valid
        rows = self.valid.flat() if isinstance(self.valid, FoldedPart) else self.valid
        self.valid_x = None if rows is None else rows.x.contiguous()
        self.valid_y = None if rows is None else flat_targets(rows.y, rows.x.dtype)
        self.special = special
        self.launch = self.launcher()

    def launcher(self) -> Launcher:
        if self.stack.device.type == "cpu":
            return launcher_on_cpu(self.program, self.part, special=self.special)
        return launcher_on_gpu(self.program, self.part, self.stack.device)

    def __call__(self, order: Tensor, lrs: NDArray[np.float64], limits: Limits) -> TrainedEpochs:
        """Trains epochs. order: (epochs, runs, rows); lrs: (epochs, steps, runs)."""
        stack, optimizer = self.stack, self.optimizer
        decays = not is_zero(optimizer.values["weight_decay"])
        if decays and not self.program.numbers["WEIGHT_DECAY"]:  # a population may have begun without
            self.program = replace(self.program, numbers={**self.program.numbers, "WEIGHT_DECAY": 1})
            self.launch = self.launcher()
        epochs, runs, rows = order.shape
        steps = -(-rows // self.batch_size)
        made = partial(torch.empty, dtype=stack.dtype, device=stack.device)
        settings = np.zeros((len(SETTINGS), runs))
        for name, value in {**kernel_settings(optimizer), **clips_of(limits)}.items():
            settings[SETTINGS.index(name)] = value
        numbers = {"settings": settings, **self.per_step(lrs.reshape(-1, lrs.shape[-1]))}
        tensors = {
            "order": order.contiguous().to(stack.device),
            "seeds": stack.masks.seeds,
            "x": self.part.x,
            "y": self.y,
            "losses": made(steps, epochs, runs),
            "snapshots": made(epochs, self.program.numbers["PARAMETERS"], runs),
            "finite": made(epochs, runs),
            "parameters": runs_last(stack.parameters),
            **{name: torch.from_numpy(array).to(stack.device) for name, array in numbers.items()},
        }
        arguments = EpochsArguments(
            runs=runs, rows=rows, epochs=epochs, steps_before=optimizer.steps, masks_before=stack.masks.step
        )
        counts = bool(self.program.numbers["COUNTS"])
        tensors |= {"right": made(epochs, runs)} if counts else {"predictions": made(rows, self.outputs, epochs, runs)}
        if self.valid_x is not None and self.valid_y is not None:
            assert self.valid is not None
            valid_rows = arguments.valid_rows = len(self.valid)
            tensors |= {"valid_x": self.valid_x, "valid_y": self.valid_y}
            if isinstance(self.valid, FoldedPart):
                tensors["valid_starts"] = self.valid.starts
            if counts:
                sums = torch.empty(epochs, runs, dtype=torch.float64, device=stack.device)
                tensors |= {"valid_right": made(epochs, runs), "valid_losses": sums}
            else:
                tensors |= {"valid_predictions": made(valid_rows, self.outputs, epochs, runs)}
        for name, tensor in tensors.items():
            setattr(arguments, name, tensor.data_ptr())
        for place, state in enumerate(optimizer.state.values()):
            arguments.states[place] = runs_last(state).data_ptr()
        for name in ("lr", "root", "shrink"):
            steps_known, runs_known = tensors[name].shape  # 1 where all have the same number
            setattr(arguments, f"{name}_step", runs_known if steps_known > 1 else 0)
            setattr(arguments, f"{name}_run", 1 if runs_known > 1 else 0)
        at_once = min(steps, self.steps_of_call()) if epochs == 1 else steps
        for begin in range(0, steps, at_once):
            arguments.begin, arguments.end = begin, min(begin + at_once, steps)
            self.launch(arguments)
        optimizer.steps += epochs * steps
        stack.masks.step += epochs * steps
        predictions, valid = (
            tensors[name].flatten(2).permute(2, 0, 1) if name in tensors else None
            for name in ("predictions", "valid_predictions")
        )
        right, valid_right, valid_losses = (
            tensors[name].flatten().cpu().double().numpy() if name in tensors else None
            for name in ("right", "valid_right", "valid_losses")
        )
        return TrainedEpochs(
            tensors["losses"].flatten(1).cpu().double().numpy(),
            tensors["snapshots"],
            tensors["finite"].flatten().cpu().numpy() > 0,
            predictions,
            valid,
            None if right is None else right / rows,
            None if valid_right is None else valid_right / arguments.valid_rows,
            None if valid_losses is None else valid_losses / (arguments.valid_rows * self.outputs_in_mean),
        )

    def steps_of_call(self) -> int:
        """Returns how many steps of an epoch one call trains, so that signals are dealt with in between."""
        stack = self.stack
        if stack.device.type != "cpu":
            return sys.maxsize
        seconds = seconds_compiled(stack.parameters.shape[1], self.batch_size, stack.runs, stack.dtype)
        return max(1, int(SECONDS_OF_CALL / seconds))

    def per_step(self, lrs: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Returns what the code wants of each step: three numbers, of which most optimizers use the first only.

        lrs: (steps, runs), as are the arrays returned, but for axes of length 1 where all steps or runs have the same.
        """
        optimizer, values = self.optimizer, self.optimizer.values
        numbers = optimizer.steps + 1 + np.arange(len(lrs))[:, None]
        lrs, one = compact(lrs), np.ones((1, 1))
        if isinstance(optimizer, Adam):
            beta1, beta2, decay = (
                np.asarray(values[name]).reshape(1, -1) for name in ("beta1", "beta2", "weight_decay")
            )
            sizes, roots = lrs / (1 - beta1**numbers), 1 / np.sqrt(1 - beta2**numbers)
            return {"lr": sizes, "root": roots, "shrink": 1 - lrs * decay}
        if isinstance(optimizer, Adagrad):
            lrs = lrs / (1 + (numbers - 1) * values["lr_decay"])
        return {"lr": lrs, "root": one, "shrink": one}


def compact(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the values with an axis of length 1 wherever numpy only repeats one."""
    return values[tuple(slice(1 if stride == 0 else None) for stride in values.strides)].copy()


def seconds_by_torch(parameters: int, batch_size: int, runs: int) -> float:
    """Returns how long torch takes for a step of a stack on a core, roughly."""
    return OF_STEP + runs * max(OF_RUN, parameters * (OF_PARAMETER + batch_size * OF_PRODUCT))


def seconds_compiled(parameters: int, batch_size: int, runs: int, dtype: torch.dtype) -> float:
    """Returns how long compiled code takes for it, roughly."""
    blocks = -(-runs * dtype.itemsize // VECTOR)
    return blocks * parameters * (batch_size + OTHER_ROWS) * OF_PRODUCT_IN_LANES


@cache
def cpu_library(double: bool) -> Any:
    """Returns the compiled code of all structures. Raises CannotCompileError."""
    return library(general_source(double=double))


def launcher_on_cpu(program: Program, part: Part, *, special: bool) -> Launcher:
    """Returns a function that trains epochs, compiled by the system's compiler.

    special: for this program alone. It is taken where it is cached, too.
    """
    double = part.x.dtype == torch.float64
    own = special_source(program, rows=len(part), double=double)
    code = library(own) if special or is_cached(own) else cpu_library(double)
    code.epochs.restype = None
    memory = torch.empty(program.values * code.lanes() * part.x.element_size() + ALIGNMENT, dtype=torch.uint8)
    start = ctypes.c_void_p(-(-memory.data_ptr() // ALIGNMENT) * ALIGNMENT)
    numbers = (ctypes.c_int * len(NUMBERS))(*(program.numbers[name] for name in NUMBERS))
    fields = map(numbers_in_c, program.operations)
    operations = (OperationArguments * len(program.operations))(
        *(OperationArguments(*whole, *constants) for whole, constants in fields)
    )

    def launch(arguments: EpochsArguments, _memory: Tensor = memory) -> None:
        arguments.numbers, arguments.operations = ctypes.addressof(numbers), ctypes.addressof(operations)
        arguments.forward, arguments.all = program.forward, len(operations)
        code.epochs(ctypes.byref(arguments), start)

    return launch


def launcher_on_gpu(program: Program, part: Part, device: torch.device) -> Launcher:
    """Returns a function that trains epochs on a GPU."""
    shared = program.values * WARP * part.x.element_size()
    text = special_source(program, rows=len(part), double=part.x.dtype == torch.float64)
    kernel = kernel_on_gpu(text, "epochs", device, shared=shared)

    def launch(arguments: EpochsArguments) -> None:
        given = torch.frombuffer(bytearray(bytes(arguments)), dtype=torch.uint8).to(device)
        kernel(-(-arguments.runs // WARP), [given])

    return launch


def runs_last(values: Tensor) -> Tensor:
    """Returns (runs, values), which lies in memory with the runs last, as it lies there."""
    memory = values.t()
    if not memory.is_contiguous():
        raise ValueError("the runs do not come last in memory")
    return memory


def flat_targets(y: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns the targets as the compiled code reads them: (rows, targets), a class as a number."""
    return y.reshape(len(y), -1).to(dtype).contiguous()


def whole_epochs(
    stack: Stack,
    loss: nn.Module,
    optimizer: Optimizer,
    part: Part,
    *,
    valid: Part | None = None,
    batch_size: int,
    limits: Limits,
    wanted: bool | None,
    right: Right | None = None,
    alike: int = 0,
) -> FusedEpochs:
    """Returns the compiled epochs of a stack with its runs last in memory.

    Raises CannotCompileError with the reason why there are none. wanted: None to decide by the work: compiling takes a
    second or so, the first time. right: counts right rows, by this rule, in place of giving predictions, with losses
    that it suits. alike: how many runs of this structure there are, in other stacks too.
    """
    steps, parameters = limits.epochs * -(-len(part) // batch_size), stack.parameters.shape[1]
    if wanted is False:
        raise CannotCompileError("sweep.fused=false")
    if limits.norms:
        raise CannotCompileError("record_norms=true needs each step's gradient")
    if len(part) > MOST_ROWS:
        raise CannotCompileError(f"the data have more than {MOST_ROWS:,} rows")
    if stack.device.type not in DEVICES:
        raise CannotCompileError(f"there is no compiled form for device={stack.device.type}")
    if not stack.runs_last:
        raise CannotCompileError(NO_FORM)
    if wanted is None and stack.device.type == "cuda":
        raise CannotCompileError("no GPU has run the present code yet, sweep.fused=true does")
    by_torch = seconds_by_torch(parameters, batch_size, stack.runs)
    if wanted is None and steps * by_torch < WORTH_IT:
        raise CannotCompileError("it has too few steps to be worth compiling")
    compiled = seconds_compiled(parameters, batch_size, stack.runs, stack.dtype)
    if wanted is None and compiled > by_torch:
        raise CannotCompileError("its matrix products are faster for so few runs")
    program = program_of(
        stack.module_layers,
        loss,
        optimizer,
        features=part.x.shape[1],
        batch_size=min(batch_size, len(part)),
        clips=[*clips_of(limits)],
        right=right,
    )
    if program is None:
        raise CannotCompileError(NO_FORM)
    if program.values > MOST_VALUES:
        raise CannotCompileError("its matrix products are faster for so wide layers")
    return FusedEpochs(
        stack,
        optimizer,
        part,
        valid=valid,
        program=program,
        batch_size=min(batch_size, len(part)),
        special=steps * compiled * max(1.0, alike / stack.runs) > WORTH_ITS_OWN,
    )
