"""`ch12 export --format script`: writes a run as a short program that repeats its training with PyTorch only."""

import ast
import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ch12cli.errors import InputError
from ch12cli.files.untrusted_text import escape_controls
from ch12cli.plots.plot import Values
from ch12cli.run.recorder import MetricsRow
from ch12cli.run.train import Job
from ch12cli.training.losses import BOUNDS, BinaryCrossEntropy, RowWeighted, class_weight_of

INIT = {
    "xavier": "nn.init.xavier_uniform_(layer.weight)",
    "kaiming": 'nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")',
    "normal": "nn.init.normal_(layer.weight)",
}
DRAWN = '''

def drawn(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """The layer, of which nothing but the weights is drawn from the random stream."""
    layer = layer.to_empty(device="cpu")
    {init}
    nn.init.zeros_(layer.bias)
    return layer

'''


def script_of(job: Job, rows: list[MetricsRow], *, name: str, command: str, threads: int | None) -> dict[str, bytes]:
    """Returns the program and its data, `NAME.py` and `NAME.npz`.

    job: newly prepared, not trained; rows: the rows of the run's metrics.csv. Raises InputError if the program would
    need ch12 or user-defined classes.
    """
    settings, task = job.settings, job.task
    offset = settings.loop.stream_offset
    init = str(settings.model.target.arguments.get("init", "torch"))
    layers = layers_of(job.network.module, init=init)
    rates = learning_rates_of_run(job, rows)
    weighted = isinstance(task.loss, RowWeighted)
    given, kind = settings.optimizer.target.arguments, optimizer_of(settings.optimizer.target.path)
    by_class = bool(task.classes) and task.outputs > 1
    double, half = settings.model.precision == "float64", settings.model.precision == "bfloat16"
    dtype = "torch.float64" if double else "torch.float32"
    device = job.device.type
    evaluated = "test" if task.data.test is not None else "valid" if task.data.valid is not None else "train"
    own_init = init != "torch"
    forward = "model(x)" + (".float()" if half else "")
    autocast = f'with torch.autocast("{device}", dtype=torch.bfloat16):\n                ' if half else ""
    of_part = "y_all[part]" + ", w_all[part]" * weighted
    target = 'data["target"]' if task.data.target_scaling is None else "target"
    loss = written_loss(job, place=f'"{device}", {dtype}')
    lines = [
        '"""Trains one network, and saves its weights as model.pt beside this file. Needs PyTorch and NumPy alone."""',
        "",
        f"# What ch12 trained with: {one_line(command)}",
        "",
        "from pathlib import Path",
        "",
        "import numpy as np",
        "import torch",
        "from torch import nn",
        "from torch.utils.data import DataLoader, TensorDataset",
        DRAWN.format(init=INIT[init]) if own_init else "",
        f"torch.set_num_threads({threads})  # another number may round sums otherwise" if threads else None,
        "torch.use_deterministic_algorithms(True)" if settings.machine.deterministic else None,
        "",
        "# the rows of the data, which part each belongs to, and the scaling, which the training part has settled",
        f"with np.load(Path(__file__).with_name({f'{name}.npz'!r})) as file:",
        "    data = dict(file)",
        'features = (data["features"] - data["mean"]) / data["deviation"]'
        if task.data.scaling.method != "none"
        else 'features = data["features"]',
        f'x_all = torch.from_numpy(features).to("{device}", {dtype})',
        *written_scaling(job),
        f'y_all = torch.from_numpy({target}).to("{device}"' + (")" if by_class else f", {dtype}).unsqueeze(-1)"),
        f'w_all = torch.from_numpy(data["weight"]).to("{device}", {dtype})  # how much each row counts in the loss'
        if weighted
        else None,
        'train = torch.from_numpy(data["train"])',
        "",
        f"torch.manual_seed({int(settings.loop.seed)})",
        f"torch.empty({int(offset)}, dtype=torch.int64).random_()  # so many numbers are thrown away"
        if offset
        else None,
        f"loader = DataLoader(TensorDataset(x_all[train], y_all[train]{', w_all[train]' * weighted}), "
        f"batch_size={int(settings.loop.batch_size)}, shuffle=True)",
        "model = nn.Sequential(",
        *(f"    {layer}," for layer in layers),
        f').to("{device}", {dtype})',
        *loss.definition,
        f"optimizer = torch.optim.{call_of('optimizer', kind, '', given, first='model.parameters()')}",
        'rates = data["rates"].tolist()  # the learning rate of each step' if rates is not None else None,
        "step = 0" if rates is not None else None,
        "",
        f"for epoch in range(1, {len(rows)} + 1):",
        f"    total = {'' if loss.counted is None else 'below = '}0.0",
        f"    for x, y{', w' * weighted} in loader:",
        "        for group in optimizer.param_groups:" if rates is not None else None,
        '            group["lr"] = rates[step]' if rates is not None else None,
        "        step += 1" if rates is not None else None,
        f"        {autocast}prediction = {forward}" if half else None,
        f"        loss = loss_fn({'prediction' if half else forward}, y{', w' * weighted})",
        "        optimizer.zero_grad()",
        "        loss.backward()",
        f"        nn.utils.clip_grad_value_(model.parameters(), {settings.optimizer.clip_grad_value!r})"
        if settings.optimizer.clip_grad_value is not None
        else None,
        f"        nn.utils.clip_grad_norm_(model.parameters(), {settings.optimizer.clip_grad_norm!r})"
        if settings.optimizer.clip_grad_norm is not None
        else None,
        "        optimizer.step()",
        f"        total += loss.item() * {loss.counted or 'len(x)'}",
        f"        below += {loss.counted}" if loss.counted else None,
        f"    if epoch % {max(1, len(rows) // 10)} == 0:",
        '        print(f"epoch {epoch}: training loss {total / '
        + ("below" if loss.counted else "len(train)")
        + ':.4f}")',
        "",
        "model.eval()",
        f'part = torch.from_numpy(data["{evaluated}"])',
        "with torch.no_grad():",
        f"    prediction = model(x_all[part]){'.float()' if half else ''}",
        f'print(f"{PARTS[evaluated]} loss {{loss_fn(prediction, {of_part}).item():.4f}}")',
        *accuracy_of(job, by_class=by_class, part=PARTS[evaluated]),
        'torch.save(model.state_dict(), Path(__file__).with_name("model.pt"))',
    ]
    text = "\n".join(line for line in lines if line is not None) + "\n"
    return {f"{name}.py": text.encode(), f"{name}.npz": arrays_of(job, rates)}


class WrittenLoss(NamedTuple):
    """A loss as source code. counted: what a batch counts in the mean over an epoch; None: its number of rows."""

    definition: list[str]
    counted: str | None


def written_scaling(job: Job) -> list[str]:
    """Returns the line that scales the target; none if it is learned as it is."""
    scaling = job.task.data.target_scaling
    if scaling is None:
        return []
    units = "# losses are those of scaled values"
    return [f'target = (data["target"].astype(np.float64) - {scaling.mean!r}) / {scaling.deviation!r}  {units}']


def written_loss(job: Job, *, place: str) -> WrittenLoss:
    """Returns the lines that define `loss_fn`. place: device and type of its weights, as source code."""
    loss = job.task.loss
    mean = loss.mean if isinstance(loss, RowWeighted) else loss
    kind = nn.BCELoss if isinstance(mean, BinaryCrossEntropy) else type(mean)
    tensors = {name: value for name in ("weight", "pos_weight") if (value := getattr(mean, name, None)) is not None}
    bounds = (
        {}
        if job.task.data.target_scaling is None
        else {name: getattr(mean, name) for each, name in BOUNDS.items() if isinstance(mean, each)}
    )  # of scaled values
    arguments = {**job.settings.loss.arguments, **tensors, **bounds}
    by_class = class_weight_of(mean) is not None
    if not isinstance(loss, RowWeighted):
        made = call_of("loss", kind, "nn", arguments, place=place)
        return WrittenLoss([f"loss_fn = {made}"], "loss_fn.weight[y].sum().item()" if by_class else None)
    made = call_of("loss", kind, "nn", {**arguments, "reduction": "none"}, place=place)
    total = "w * each_loss.weight[y]" if by_class else "w"
    lines = [
        f"each_loss = {made}",
        "",
        "",
        "def loss_fn(prediction: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:",
        '    """The mean of the loss over the rows, each with its weight."""',
        f"    below = ({total}).sum()",
        "    return (w * each_loss(prediction, y).reshape(-1)).sum() / torch.where(below > 0, below, 1)",
        "",
        "",
    ]
    return WrittenLoss(lines, f"({total}).sum().item()")


PARTS = {"train": "training", "valid": "validation", "test": "test"}


def accuracy_of(job: Job, *, by_class: bool, part: str) -> list[str]:
    """Returns lines of code that print the accuracy; none for regression."""
    if not job.task.classes:
        return []
    threshold = 0.0 if job.task.output == "none" else 0.5
    found = "prediction.argmax(1)" if by_class else f"(prediction >= {threshold}).to(y_all.dtype)"
    return [f'print(f"{part} accuracy {{({found} == y_all[part]).float().mean().item():.4f}}")']


def one_line(text: str) -> str:
    """Returns the text with line breaks and control characters escaped, so that it stays within a comment."""
    return escape_controls(text)


def layers_of(module: nn.Module, *, init: str) -> list[str]:
    """Returns the source code of each layer. Raises InputError unless all layers are torch's own, in a Sequential."""
    if type(module) is not nn.Sequential:
        kind = type(module).__name__
        raise InputError(f"--format script: writes sequential networks of torch's layers; this one is a {kind}")
    written = []
    for layer in module:
        if not type(layer).__module__.startswith("torch.nn.") or repr(made_of(repr(layer))) != repr(layer):
            raise InputError(f"--format script: {type(layer).__name__} is no layer that it can write; torch's own are")
        text = f"nn.{layer!r}"
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            text = f"nn.Linear({layer.in_features}, {layer.out_features})"
        if isinstance(layer, nn.Linear | nn.Conv2d) and init != "torch":
            text = f'drawn({text[:-1]}, device="meta"))'
        written.append(text)
    return written


def made_of(text: str) -> nn.Module | None:
    """Returns the torch layer that a repr describes, such as `Softmax(dim=-1)`.

    Returns None if the arguments are not plain values.
    """
    try:
        called = ast.parse(text, mode="eval").body
        assert isinstance(called, ast.Call)
        assert isinstance(called.func, ast.Name)
        values = [ast.literal_eval(value) for value in called.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in called.keywords}
        layer = getattr(nn, called.func.id)(*values, **named)
    except (SyntaxError, ValueError, AssertionError, AttributeError, TypeError):
        return None
    return layer if isinstance(layer, nn.Module) else None


def optimizer_of(target: str) -> type[Any]:
    """Returns the optimizer class. Raises InputError if it is not in torch.optim. target: its dotted path."""
    kind = getattr(torch.optim, target.rpartition(".")[2], None)
    if not target.startswith("torch.optim.") or not isinstance(kind, type):
        raise InputError(f"--format script: optimizer._target_={target}: must be one of torch.optim")
    return kind


def call_of(
    what: str, kind: type[Any], module: str, arguments: Mapping[str, Any], *, first: str = "", place: str = ""
) -> str:
    """Returns source code that constructs an object of a torch class. Raises InputError for any other class.

    place: device and type of arguments that are tensors, as source code.
    """
    if not kind.__module__.startswith("torch."):
        raise InputError(f"--format script: {what}: {kind.__name__} is not torch's; the program could not make it")
    plain = (str, int, float, bool, list, type(None), torch.Tensor)
    if not all(isinstance(value, plain) and name.isidentifier() for name, value in arguments.items()):
        raise InputError(f"--format script: {what}: its arguments are not plain values")
    written = [first] * bool(first) + [f"{name}={in_code(value, place)}" for name, value in arguments.items()]
    return f"{module + '.' if module else ''}{kind.__name__}({', '.join(written)})"


def in_code(value: Any, place: str) -> str:
    """Returns source code of a plain value or a tensor of numbers."""
    if isinstance(value, torch.Tensor):
        return f"torch.tensor({value.tolist()}, dtype=torch.float64).to({place})"
    return repr(value)


def learning_rates_of_run(job: Job, rows: list[MetricsRow]) -> Values | None:
    """Returns the learning rate of each step, (steps,), or None if it is constant."""
    schedule, found = job.training.schedule, []
    for epoch, row in enumerate(rows):
        found.append(schedule.learning_rates(epoch)[:, 0])
        schedule.observe(np.array([float(row[job.task.monitor])]))
    rates = np.concatenate(found)
    return None if (rates == job.settings.optimizer.target.arguments.get("lr")).all() else rates


def arrays_of(job: Job, rates: Values | None) -> bytes:
    """Returns the data as an npz archive, which holds arrays and no code."""
    data = job.task.data
    dtype = data.table.features.dtype
    arrays: dict[str, Any] = {"features": data.features, "target": data.table.target}
    if data.scaling.method != "none":
        arrays |= {"mean": np.array(data.scaling.mean, dtype), "deviation": np.array(data.scaling.deviation, dtype)}
    if isinstance(job.task.loss, RowWeighted):
        weight = np.ones(data.table.rows) if data.table.weights is None else data.table.weights
        by_class = job.task.row_class_weights
        arrays["weight"] = weight if by_class is None else weight * np.array(by_class)[data.table.target]
    for name in PARTS:
        if (part := getattr(data, name)) is not None:
            arrays[name] = part.rows.astype(np.int64)
    if rates is not None:
        arrays["rates"] = rates
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()
