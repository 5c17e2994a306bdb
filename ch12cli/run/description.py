"""Describes a run before it is trained, in a few labelled lines."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from ch12cli.config.combinations import LOSSES
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import Target
from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.run.task import Task

NAMED = 8  # weights of classes that are listed, at most
SHIPPED = "ch12cli.models."  # prefix of the targets of ch12's own networks


def describe_run(settings: RunSettings, task: Task, module: nn.Module, device: torch.device) -> list[tuple[str, str]]:
    """Returns (label, text) pairs for the data, network, loss, optimizer, schedule, device and length of a run."""
    choices, loop = settings.choices, settings.loop
    described = [
        ("data", describe_data(task, choices.get("dataset"))),
        *describe_reading(task),
        ("network", describe_network(module, settings)),
        ("loss", describe_loss(task)),
        ("optimizer", describe_choice(settings.optimizer.target, choices.get("optimizer"))),
    ]
    if choices.get("scheduler") != "none" or settings.schedule.arguments.get("warmup"):
        described.append(("scheduler", describe_choice(settings.schedule, choices.get("scheduler"))))
    length = f"{plural(loop.epochs, 'epoch')}, batch size {loop.batch_size}, seed {loop.seed}"
    return [*described, ("device", describe_machine(device, settings)), ("training", length)]


def describe_data(task: Task, choice: str | None) -> str:
    data = task.data
    parts = [("train", data.train), ("validation", data.valid), ("test", data.test)]
    rows = ", ".join(f"{len(part.x)} {name}" for name, part in parts if part is not None)
    target = f"{task.classes} classes" if task.classes else f"values of {data.table.target_name}"
    name = choice or data.table.source
    name += f" {data.table.source}" if data.table.columns else ""  # read from a file, which is the source
    each = plural(task.inputs, "feature") if task.shape is None else f"images of {by(task.shape)}"
    return f"{name}: {rows} rows; {each}, {target}"


def describe_reading(task: Task) -> list[tuple[str, str]]:
    """Returns a line that says why the rows are not held in memory, if they are not."""
    features = task.data.table.features
    return [("memory", features.why)] if isinstance(features, LazyRows) and features.why else []


def plural(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def describe_loss(task: Task) -> str:
    """Returns the loss's name on the command line if ch12 ships it, else its class name; and what weighs the rows."""
    names = [kind.name for target, kind in LOSSES.items() if target.endswith(f".{task.loss_name}")]
    weights = task.data.class_weights
    classes = "" if weights is None else f", classes weigh {', '.join(f'{weight:.3g}' for weight in weights[:NAMED])}"
    more = f" and {len(weights) - NAMED} more" if weights is not None and len(weights) > NAMED else ""
    rows = "" if task.data.train.weights is None else ", rows are weighted"
    return f"{names[0] if names else task.loss_name}{classes}{more}{rows}"


def describe_network(module: nn.Module, settings: RunSettings) -> str:
    """Returns the network's name, its layer sizes and its number of parameters.

    Layer sizes of user modules are shown only for a plain Sequential. The order of other modules' layers is unknown.
    """
    parameters = f"{sum(parameter.numel() for parameter in module.parameters()):,} parameters"
    target = settings.model.target
    layers = list(module) if isinstance(module, nn.Sequential) else []
    sized = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
    if target.path.startswith(SHIPPED) and layers:
        name = settings.choices.get("model") or target.name
        activation = settings.choices.get("activation") if len(sized) > 1 else None
        output = None if isinstance(layers[-1], nn.Linear) else f"{type(layers[-1]).__name__.lower()} output"
        described = [f"{name} {'-'.join(sizes_of(layers, sized))}", activation, output, parameters]
        return ", ".join(part for part in described if part)
    sizes = "-".join(sizes_of(layers, sized)) if is_plain_sequence(module) else ""
    return f"{type(module).__name__} {sizes}".strip() + f", {parameters}"


def is_plain_sequence(module: nn.Module) -> bool:
    """Returns True if the module is a torch Sequential of torch layers without children."""
    return type(module) is nn.Sequential and all(
        type(layer).__module__.startswith("torch.nn.") and not list(layer.children()) for layer in module
    )


def sizes_of(layers: Sequence[nn.Module], sized: Sequence[nn.Linear | nn.Conv2d]) -> list[str]:
    """Returns the input size of the first layer, then the output size of each layer, in units or channels.

    `sized` are the layers with parameters.
    """
    if not sized:
        return []
    first = sized[0]
    shapes = [layer.unflattened_size for layer in layers if isinstance(layer, nn.Unflatten)]
    inputs = first.in_features if isinstance(first, nn.Linear) else first.in_channels
    return [
        by(shapes[0]) if shapes else str(inputs),
        *(str(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels) for layer in sized),
    ]


def by(shape: Iterable[Any]) -> str:
    """Returns a shape as text, such as `1x24x24`."""
    return "x".join(map(str, shape))


def describe_choice(target: Target, name: str | None) -> str:
    """Returns a choice and its main arguments: the nonzero numbers, and those that are true."""
    shown = [
        f"{key}={value:g}"
        for key, value in target.arguments.items()
        if type(value) in (int, float) and value and key != "eps"
    ]
    shown += [key for key, value in target.arguments.items() if value is True]
    return " ".join([name or target.path, *shown])


def describe_machine(device: torch.device, settings: RunSettings) -> str:
    machine = settings.machine
    processes = f", {machine.devices} processes" if machine.devices > 1 else ""
    shards = f", {plural(machine.shards, 'shard')}" if machine.shards is not None else ""
    return f"{describe_device(device, settings.model.precision)}{processes}{shards}"


def describe_device(device: torch.device, precision: str) -> str:
    text = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    return text if precision == "float32" else f"{text}, {precision}"
