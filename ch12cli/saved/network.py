"""The network of a saved run: what goes in and comes out, and the network itself with its weights in place."""

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
    """What goes into a network and comes out of it. classes: their names, None for values; output: its activation;
    shape: of a row that is an image, (channels, height, width)."""

    inputs: int
    shape: tuple[int, ...] | None
    outputs: int
    output: str
    classes: tuple[str, ...] | None


def ends_of(settings: RunSettings, state: Mapping[str, Any], *, where: str) -> SavedEnds:
    """What a saved run's network takes and gives; the data set is not read. InputError if it cannot be."""
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
    """InputError unless the saved weights are those of the network that the settings describe.

    That network is built without its memory, however large it would be.
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
    """The network with the saved weights."""
    module = build_module(settings.model, ends_of(settings, state, where=where))
    network = Network(module, device=device, precision=settings.model.precision, compile_it=settings.model.compile)
    with checkpoint_must_fit(where):
        network.restore(state["network"])
    return network


def on_this_machine(settings: RunSettings) -> tuple[RunSettings, list[str]]:
    """Settings with the run's device if this machine has it, else with any; and a message if it has not.

    This process alone loads the batches: that changes no result.
    """
    settings = settings.with_changes({"workers": 0})
    device = settings.machine.device
    try:
        choose_device(device)
    except InputError:
        return settings.with_changes({"device": "auto"}), [f"trained on device {device}, which is not here"]
    return settings, []
