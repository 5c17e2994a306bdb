"""The learning task: data, loss and metrics, and the network shape that they require."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ch12cli.config import combinations
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import RefusedError, build, call
from ch12cli.data.prepared import DataPart, Prepared
from ch12cli.data.streaming.arranged_rows import ArrangedRows
from ch12cli.data.streaming.lazy_rows import LazyRows, SelectedRows
from ch12cli.errors import InputError, Problem
from ch12cli.run.data_sets import read_data
from ch12cli.run.value_checks import output_notes, precision_notes, precision_problems, undefined_metric_problems
from ch12cli.training.batches import FoldedPart, Part, StreamedPart
from ch12cli.training.layers import spares_input
from ch12cli.training.losses import BinaryCrossEntropy, RowWeighted, of_scaled_values, with_nan
from ch12cli.training.metrics import Metric, metrics_for
from ch12cli.training.network import Network
from ch12cli.training.torch_internals import has_hooks


@dataclass(frozen=True)
class Task:
    """The data, and the loss, metrics and shapes derived from it.

    `classes` is 0 for regression. `loss` is that of targets as they are learned; `loss_in_units` that of values in the
    units of the data, which is reported. `loss_name` is the class name of the resolved loss. `row_class_weights`: of
    the classes, where the weights of the rows carry them, because the loss has no such argument. `folds`: the task of
    each fold, if this one stands for several, whose parts have equally many rows.
    """

    data: Prepared
    classes: int
    inputs: int
    shape: tuple[int, ...] | None
    outputs: int
    output: str
    loss: nn.Module
    loss_in_units: nn.Module
    row_class_weights: tuple[float, ...] | None
    loss_name: str
    metrics: dict[str, Metric]
    monitor: str
    stop_on: str
    warnings: tuple[str, ...]
    folds: Mapping[int | None, "Task"] = field(default_factory=dict)

    def of_fold(self, fold: int | None) -> "Task":
        """Returns the task of one fold: this one, unless it stands for several."""
        return self.folds.get(fold, self)


def build_task(settings: RunSettings) -> Task:
    """Returns the data with the loss and metrics that suit it. Draws nothing from the random stream.

    Raises InputError if the settings do not suit the data.
    """
    data = read_data(settings.data)
    classes = len(data.table.class_names or ())
    has_valid = data.valid is not None
    monitor = combinations.monitored(settings.loop.monitor, valid=has_valid)
    stop_on = combinations.monitored(settings.loop.stop_on, valid=has_valid)
    problems = combinations.problems_of(settings.config, classes)
    if problems:
        raise InputError(problems)
    target = combinations.loss_target(settings.config, classes)
    outputs, output = combinations.outputs_of(target, classes), combinations.output_of(settings.config, target)
    in_loss = target in CLASS_WEIGHTED
    by_class = bool(classes) and outputs > 1
    loss = with_nan(build_loss(settings, target, data.class_weights if in_loss else None))
    rows_class_weights = None if in_loss else data.class_weights
    learned = loss if data.target_scaling is None else of_scaled_values(loss, data.target_scaling.deviation)
    if data.train.weights is not None or rows_class_weights is not None:
        loss, learned = (weighted_by_row(each, target, by_class=by_class) for each in (loss, learned))
    return Task(
        data=data,
        classes=classes,
        inputs=data.table.features.shape[1],
        shape=data.table.shape,
        outputs=outputs,
        output=output,
        loss=learned,
        loss_in_units=loss,
        row_class_weights=rows_class_weights,
        loss_name=target.rpartition(".")[2],
        metrics=metrics_for(classes=classes, outputs=outputs, output=output, further=settings.loop.metrics),
        monitor=monitor,
        stop_on=stop_on,
        warnings=(
            *data.notes,
            *precision_notes(data, settings.model.precision),
            *combinations.loss_warnings(settings.config, classes),
        ),
    )


CLASS_WEIGHTED = ("torch.nn.CrossEntropyLoss", "torch.nn.NLLLoss")  # which take a weight for each class


def build_loss(settings: RunSettings, target: str, class_weights: Sequence[float] | None) -> nn.Module:
    """Returns the loss, with its weights as tensors in the network's precision. class_weights: of dataset.class_weight.

    Raises InputError if the target does not give an nn.Module.
    """
    dtype = torch.float64 if settings.model.precision == "float64" else torch.float32
    weights = {name: settings.loss.arguments.get(name) for name in ("weight", "pos_weight")}
    if class_weights is not None:
        weights["weight"] = list(class_weights)
    own = target.startswith("torch.nn.")
    given = {name: torch.tensor(value, dtype=dtype) for name, value in weights.items() if own and is_list(value)}
    loss = build("loss", replace(settings.loss, path=target, arguments={**settings.loss.arguments, **given}))
    if not isinstance(loss, nn.Module):
        raise InputError(f"loss._target_={target}: must be an nn.Module that takes (prediction, target)")
    if isinstance(loss, torch.jit.ScriptModule):  # which takes no hooks
        return OnCopies(loss)
    if not is_of_torch(loss) or has_hooks(loss):  # it may change what it is given in place
        loss.register_forward_pre_hook(copied_inputs, prepend=True)
    return loss


def is_of_torch(loss: nn.Module) -> bool:
    """Returns whether a loss is torch's own, or ch12's in place of it."""
    return type(loss) in (BinaryCrossEntropy, RowWeighted) or type(loss).__module__.startswith("torch.nn.")


def copied_inputs(_loss: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns copies of what a loss is given: the metrics are computed from the same predictions and targets."""
    return tuple(value.clone() if isinstance(value, Tensor) else value for value in inputs)


class OnCopies(nn.Module):
    """A loss that is given copies."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *inputs: Any) -> Any:
        return self.loss(*copied_inputs(self.loss, inputs))


def is_list(value: object) -> bool:
    return isinstance(value, list)


def weighted_by_row(loss: nn.Module, target: str, *, by_class: bool) -> nn.Module:
    """Returns the weighted mean of a loss over the rows. Raises InputError if the loss cannot give each row's."""
    if getattr(loss, "reduction", None) != "mean":
        rule = "gives no loss for each row, so that rows cannot have weights"
        hint = "use a loss with torch's argument `reduction`, or leave out dataset.weight and dataset.class_weight"
        raise InputError(Problem("loss._target_", target, rule, hint))
    return RowWeighted(loss, by_class=by_class)


def require_learnable(settings: RunSettings, task: Task) -> None:
    """Raises InputError if the values of the data cannot be learned as the settings say."""
    problems: list[str | Problem] = [*precision_problems(task.data, settings.model.precision)]
    problems += undefined_metric_problems(task.data, monitored_columns(settings, task.monitor, task.stop_on))
    if problems:
        raise InputError(problems)


def monitored_columns(settings: RunSettings, monitor: str, stop_on: str) -> dict[str, str]:
    """Returns the columns of metrics.csv that decide something, by the key that names them."""
    found = {"monitor": monitor}
    if settings.loop.patience is not None and stop_on != monitor:
        found["early_stopping.metric"] = stop_on
    halving = settings.sweep.halving
    return found if halving is None else {**found, "sweep.halving.metric": halving.metric}


CUDA = re.compile(r"cuda(:[0-9]{1,3})?")
_elsewhere: ContextVar[str] = ContextVar("elsewhere", default="")  # the device of machines that train in place of this


@contextmanager
def devices_elsewhere(default: str) -> Iterator[None]:
    """Within the block, devices of other machines are meant: none that CUDA may have is refused.

    `default`: what `auto` stands for there; empty for the devices of this machine.
    """
    before = _elsewhere.set(default)
    try:
        yield
    finally:
        _elsewhere.reset(before)


def is_elsewhere(device: torch.device) -> bool:
    """Returns whether this machine does not have a device, which others have."""
    return bool(_elsewhere.get()) and device.type == "cuda" and not torch.cuda.device_count()


def choose_device(name: str) -> torch.device:
    """Returns the device that `name` stands for.

    Raises InputError, listing the available devices, if this machine does not have it.
    """
    there = _elsewhere.get()
    if there and (name == "auto" or CUDA.fullmatch(name)):
        return torch.device(there if name == "auto" else name)
    available = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if name == "auto":
        return torch.device("cuda" if "cuda:0" in available else "mps" if "mps" in available else "cpu")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise InputError(f"device={name}: this machine has {', '.join(available)}; use one of them, or device=auto")
    return torch.device(name)


def tensors(part: DataPart, task: Task, *, dtype: torch.dtype, device: torch.device) -> Part:
    """Returns a data part as tensors.

    `y` is (rows,) int64 for losses on classes, else (rows, 1) in the network's precision. If rows have weights, it is
    (rows, 2) in that precision: the class or value, and the weight. Values are scaled as `dataset.target_scaling` says.
    """
    y = torch.from_numpy(np.ascontiguousarray(task.data.learned(part.y))).to(device)
    if isinstance(task.loss, RowWeighted):
        weight = np.ones(len(part.y)) if part.weights is None else part.weights
        if task.row_class_weights is not None:
            weight = weight * np.array(task.row_class_weights)[part.y]
        y = torch.stack([y.to(dtype), torch.from_numpy(weight).to(device, dtype)], -1)
    elif not (task.classes and task.outputs > 1):
        y = y.to(dtype).unsqueeze(-1)
    x = part.x
    if isinstance(x, LazyRows):
        how: dict[str, Any] = {"at_once": x.at_once, "sequential": x.sequential}
        if isinstance(x, SelectedRows):
            x = x.rounded_to(np.float64 if dtype == torch.float64 else np.float32)
            if x.is_slow:
                x = ArrangedRows(x)
                how["arrange"] = x.arrange
        return StreamedPart(x.take, y, shape=x.shape[1:], dtype=dtype, device=device, **how)
    return Part(torch.from_numpy(np.ascontiguousarray(x)).to(device, dtype), y)


def tensors_of_runs(
    name: str, task: Task, folds: Sequence[int | None], *, dtype: torch.dtype, device: torch.device
) -> Part | None:
    """Returns a data part for the runs of a stack, None if there is none. name: of the part; folds: of each run."""
    distinct = list(dict.fromkeys(folds))
    tasks = [task.of_fold(fold) for fold in distinct]
    parts = [
        tensors(part, one, dtype=dtype, device=device) for one in tasks if (part := getattr(one.data, name)) is not None
    ]
    if len(parts) < 2:
        return parts[0] if parts else None
    fold = torch.tensor([distinct.index(fold) for fold in folds], device=device)
    return FoldedPart(torch.stack([part.x for part in parts]), torch.stack([part.y for part in parts]), fold)


def last_batch_size(rows: int, batch_size: int) -> int:
    """Returns the number of rows in the last batch of an epoch."""
    return (rows - 1) % batch_size + 1


def notes_on_outputs(network: Network, task: Task, train: Part) -> tuple[str, ...]:
    """Returns notes on what an untrained network gives for two rows. Draws nothing from the random stream."""
    stream = torch.get_rng_state()
    network.train(False)
    prediction = evaluated(network, train.head(2)[0])
    notes = output_notes(prediction, task.loss_name, classes=task.classes)
    network.train(True)
    torch.set_rng_state(stream)
    said = any(note.startswith("model.output=") for note in task.warnings)
    return () if said else tuple(notes)


@torch.no_grad()
def evaluated(network: Network, x: Tensor) -> Any:
    """Returns what a network gives for rows where no gradient is recorded. Raises RefusedError if it fails there."""
    try:
        return call("model", network.module, {}, x.clone())
    except RefusedError as error:
        if "does not require grad" not in str(error):
            raise
        hint = "evaluation records no gradients; a forward that needs them computes within `with torch.enable_grad():`"
        raise RefusedError(f"{error}; {hint}") from error.__cause__


def check_fit(network: Network, task: Task, train: Part, *, last_batch: int) -> None:
    """Raises InputError if the network or loss cannot be trained, or if shapes would be broadcast silently.

    Runs two rows in evaluation mode and restores the random state afterwards. last_batch: the number of rows in the
    smallest batch; if it is one, that batch is tried too.
    """
    x, y = train.head(2)
    rng = torch.get_rng_state()
    network.train(False)
    if not spares_input(network.module):  # of the user's own, which may not compute without gradients
        evaluated(network, x)
    prediction = call("model", network.module, {}, x.clone())  # not compiled: only the shapes matter
    if not isinstance(prediction, Tensor) or tuple(prediction.shape) != (len(x), task.outputs):
        gave = f"shape {tuple(prediction.shape)}" if isinstance(prediction, Tensor) else type(prediction).__name__
        rule = f"{task.loss_name} on this data set needs {(len(x), task.outputs)}"
        shape = tuple(prediction.shape) if isinstance(prediction, Tensor) else ()
        own = shape[1] if len(shape) == 2 and shape[0] == len(x) else 0
        suitable = "cross_entropy" if own == task.classes else "bce_logits" if (own, task.classes) == (1, 2) else ""
        hint = f"; add loss={suitable} for a network with such outputs" if own and suitable else ""
        raise InputError(f"model: gives {gave} for {len(x)} rows; {rule}{hint}")
    loss = call("loss", task.loss.to(network.device), {}, prediction, y)
    if not isinstance(loss, Tensor) or loss.dim():
        gave = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"loss: {task.loss_name} gives {gave}; must be one number, the mean over the rows")
    refuse_sum(task, loss, prediction.detach(), y)
    if not loss.requires_grad:
        raise InputError("model: the loss does not depend on its parameters; keep .detach() and no_grad out of forward")
    network.train(True)
    if last_batch == 1:
        try_single_row(network, x)
    torch.set_rng_state(rng)


def refuse_sum(task: Task, value: Tensor, prediction: Tensor, y: Tensor) -> None:
    """Raises InputError for a loss that adds up the rows: epochs and parts are reported as means over their rows.

    value: the loss of these rows.
    """
    if is_of_torch(task.loss):
        if getattr(task.loss, "reduction", "mean") == "sum":
            rule = "adds up the rows of a batch; must be one number, the mean over the rows"
            raise InputError(Problem("loss.reduction", "sum", rule, "leave it out"))
    elif adds_up(task.loss, float(value.detach()), prediction, y):
        rule = "grows with the number of rows, as a sum does; must be one number, the mean over the rows"
        raise RefusedError(f"loss: {task.loss_name} {rule}; divide it by their number")


# Relative. Divided by n, a sum stays equal up to rounding, which is smaller; a mean becomes a half and a third.
CLOSE = 1e-3


@torch.no_grad()
def adds_up(loss: nn.Module, value: float, prediction: Tensor, y: Tensor) -> bool:
    """Returns whether a loss is n times as large for each row n times. False if that cannot be tried."""
    try:
        tried = deepcopy(loss)  # it may count its calls
        found = [float(tried(torch.cat([prediction] * n), torch.cat([y] * n))) / n for n in (2, 3)]
    except Exception:  # it cannot be copied, or takes batches of one size only
        return False
    return value != 0 and all(math.isclose(each, value, rel_tol=CLOSE) for each in found)


@torch.no_grad()
def try_single_row(network: Network, x: Tensor) -> None:
    """Raises InputError if the network cannot train on a batch of one row, as batch normalisation cannot.

    Restores the network's state, because layers may count what they see in training. `x`: two rows.
    """
    before = network.snapshot()
    with torch.random.fork_rng(devices=[network.device] if network.device.type == "cuda" else []):
        try:
            call("model", network.module, {}, x.clone())
            refuse_single_row(network.module, x[:1])
        finally:
            network.undo(before)


def refuse_single_row(module: nn.Module, row: Tensor) -> None:
    try:
        call("model", module, {}, row.clone())
    except RefusedError as error:
        hint = "the last batch of an epoch has one row; choose another batch_size or dataset.test_size"
        raise RefusedError(f"{error}; {hint}") from error.__cause__
