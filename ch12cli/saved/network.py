"""Builds the network of a saved run from its settings and weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ch12cli.config import combinations
from ch12cli.config.run_settings import RunSettings
from ch12cli.errors import InputError
from ch12cli.run.build import build_module
from ch12cli.run.task import choose_device
from ch12cli.training.checkpoint import checkpoint_must_fit
from ch12cli.training.network import Network


@dataclass(frozen=True)
class SavedEnds:
    """Inputs and outputs of a network.

    shape: of an image row, (channels, height, width), else None; output: the output activation; classes: their names,
    None for regression.
    """

    inputs: int
    shape: tuple[int, ...] | None
    outputs: int
    output: str
    classes: tuple[str, ...] | None


def ends_of(settings: RunSettings, state: Mapping[str, Any], *, where: str) -> SavedEnds:
    """Returns the inputs and outputs of a saved run's network without reading the data set.

    Raises InputError if the settings contradict the classes in the checkpoint.
    """
    names = state["class_names"]
    classes = len(names or ())
    problems = combinations.problems_of(settings.config, classes)
    if problems:
        raise InputError([f"{where}: {problem}" for problem in problems])
    target = combinations.loss_target(settings.config, classes)
    return SavedEnds(
        inputs=len(state["feature_names"]),
        shape=None if state["shape"] is None else tuple(state["shape"]),
        outputs=combinations.outputs_of(target, classes),
        output=combinations.output_of(settings.config, target),
        classes=None if names is None else tuple(names),
    )


def require_fits(settings: RunSettings, state: Mapping[str, Any], *, where: str) -> None:
    """Raises InputError unless the saved weights have the names, shapes and types that the settings imply.

    The network is built on the meta device, so a huge one allocates no memory.
    """
    with torch.device("meta"):
        module = build_module(settings.model, ends_of(settings, state, where=where))
    dtype = torch.float64 if settings.model.precision == "float64" else torch.float32
    wanted = {name: (tuple(value.shape), dtype) for name, value in module.state_dict().items()}
    found = {name: (tuple(value.shape), value.dtype) for name, value in state["network"].items()}
    if found != wanted:
        differing = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
        raise InputError(f"{where}: its weights ({', '.join(differing[:3])}) are not those of the network it describes")


def trained_network(settings: RunSettings, state: Mapping[str, Any], device: torch.device, *, where: str) -> Network:
    """Returns the network with the saved weights."""
    module = build_module(settings.model, ends_of(settings, state, where=where))
    network = Network(module, device=device, precision=settings.model.precision, compile_it=settings.model.compile)
    with checkpoint_must_fit(where):
        network.restore(state["network"])
    return network


def on_this_machine(settings: RunSettings, *, trains: bool = False) -> tuple[RunSettings, list[str]]:
    """Returns the settings adapted to this machine, and a message if the device changed.

    The device becomes "auto" if this machine lacks it. `workers` becomes 0, which does not change results. The network
    is compiled only for training (trains): for a few forward passes the compiler takes longer than it saves.
    """
    settings = settings.with_changes({"workers": 0} if trains else {"workers": 0, "compile": False})
    device = settings.machine.device
    try:
        choose_device(device)
    except InputError:
        return settings.with_changes({"device": "auto"}), [f"trained on device {device}, which is not available here"]
    return settings, []
