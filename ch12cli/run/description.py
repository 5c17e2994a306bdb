"""What is about to be trained, in a few labelled lines for a person."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ch12cli.config.combinations import LOSSES
from ch12cli.run.task import Task


def facts_of(
    settings: Mapping[str, Any], chosen: Mapping[str, str | None], task: Task, module: nn.Module, device: torch.device
) -> list[tuple[str, str]]:
    """(label, text) of the data, network, loss, optimiser, schedule, device and length of a run."""
    facts = [
        ("data", describe_data(task, chosen)),
        ("network", describe_network(module, settings, chosen)),
        ("loss", describe_loss(task)),
        ("optimizer", describe_choice(settings["optimizer"], chosen.get("optimizer"))),
    ]
    if chosen.get("scheduler") != "none" or settings["scheduler"].get("warmup"):
        facts.append(("scheduler", describe_choice(settings["scheduler"], chosen.get("scheduler"))))
    length = f"{counted(settings['epochs'], 'epoch')}, batch size {settings['batch_size']}, seed {settings['seed']}"
    return [*facts, ("device", describe_device(device, settings)), ("training", length)]


def describe_data(task: Task, chosen: Mapping[str, str | None]) -> str:
    data = task.data
    parts = [("train", data.train), ("validation", data.valid), ("test", data.test)]
    rows = ", ".join(f"{len(part.x)} {name}" for name, part in parts if part is not None)
    target = f"{task.classes} classes" if task.classes else f"values of {data.table.target_name}"
    name = chosen.get("dataset") or data.table.source
    name += f" {data.table.source}" if data.table.columns else ""  # read from a file, which is the source
    each = counted(task.inputs, "feature") if task.shape is None else f"images of {by(task.shape)}"
    return f"{name}: {rows} rows; {each}, {target}"


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def describe_loss(task: Task) -> str:
    """The loss as it is typed, if it is one that ch12 ships."""
    return next((kind.name for target, kind in LOSSES.items() if target.endswith(f".{task.loss_name}")), task.loss_name)


def describe_network(module: nn.Module, settings: Mapping[str, Any], chosen: Mapping[str, str | None]) -> str:
    name = chosen.get("model") or str(settings["model"]["_target_"])
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    sizes = "-".join(sizes_of(module, layers))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    activation = chosen.get("activation") if len(layers) > 1 else None
    last = list(module.children())[-1:]
    output = f"{type(last[0]).__name__.lower()} output" if last and not isinstance(last[0], nn.Linear) else None
    described = [f"{name} {sizes}".strip(), activation, output, f"{parameters:,} parameters"]
    return ", ".join(part for part in described if part)


def sizes_of(module: nn.Module, layers: Sequence[nn.Linear | nn.Conv2d]) -> list[str]:
    """What goes into the first layer, then what comes out of each: units, or channels."""
    if not layers:
        return []
    first = layers[0]
    images = [layer.unflattened_size for layer in module.modules() if isinstance(layer, nn.Unflatten)]
    inputs = first.in_features if isinstance(first, nn.Linear) else first.in_channels
    return [
        by(images[0]) if images else str(inputs),
        *(str(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels) for layer in layers),
    ]


def by(shape: Iterable[Any]) -> str:
    """A shape as `1x24x24`."""
    return "x".join(map(str, shape))


def describe_choice(node: Mapping[str, Any], name: str | None) -> str:
    """A choice with its main arguments: those that are numbers other than 0, or true."""
    shown = [
        f"{key}={value:g}" for key, value in node.items() if type(value) in (int, float) and value and key != "eps"
    ]
    shown += [key for key, value in node.items() if value is True]
    return " ".join([name or str(node["_target_"]), *shown])


def describe_device(device: torch.device, settings: Mapping[str, Any]) -> str:
    text = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    return text if settings["precision"] == "float32" else f"{text}, {settings['precision']}"
