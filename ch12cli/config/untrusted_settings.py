"""Restricts the settings of a saved run: what they may build, and what they may reach outside of its directory."""

import os
import re
from collections.abc import Collection, Mapping
from enum import Flag, auto
from glob import glob
from pathlib import Path
from typing import Any

from ch12cli.config.choices import choices_of_group, keys_of_choice, top_level
from ch12cli.config.values import shown
from ch12cli.errors import InputError, Problem

# The import path is checked before anything is imported. The imported object is checked before it is called.
ALLOWED = {
    "dataset": re.compile(r"ch12cli\.data\.[a-z_]+"),
    "model": re.compile(r"ch12cli\.models\.[a-z_]+"),
    "activation": re.compile(r"torch\.nn\.[A-Z][A-Za-z0-9]*"),
    "loss": re.compile(r"auto|torch\.nn\.[A-Z][A-Za-z0-9]*"),
    "optimizer": re.compile(r"torch\.optim\.[A-Z][A-Za-z0-9]*"),
    "scheduler": re.compile(r"ch12cli\.training\.schedules\.[A-Z][A-Za-z0-9]*"),
}

ENSEMBLE = "ch12cli.models.ensemble"  # the network that `ch12 ensemble` writes; no choice of conf/model
FLAGS = ("_partial_", "_convert_", "_recursive_")
TRUST = "if the run is your own, add --trust"
NOT_ITS_TO_SAY = "and a saved run may not ask for that"
INSIDE_LOGGERS = ("csv", "tensorboard")  # write only into the run's directory
PATH_KEYS = ("file", "folder")  # keys of a data set that name the path it reads
IN_FOLDER = ("train_images", "train_labels", "test_images", "test_labels")  # keys that name a file in `folder`


class Use(Flag):
    """What a command does with saved settings: read the data set, compile the network, send metrics to trackers."""

    DATA = auto()
    COMPILER = auto()
    TRACKERS = auto()


NO_USE, EVERY_USE = Use(0), Use.DATA | Use.COMPILER | Use.TRACKERS


def untrusted_problems(
    settings: Mapping[str, Any], *, uses: Use = EVERY_USE, own: Collection[str] = ()
) -> list[Problem]:
    """Returns a problem for each saved setting that runs code, or that reads or writes outside. Imports nothing.

    settings: with all changes applied. uses: what the command does with them; the rest is not checked. own: the keys
    that the user has set on the command line.
    """
    problems = target_problems(settings)
    if Use.DATA in uses:
        problems += path_problems(settings.get("dataset"))
    if Use.TRACKERS in uses:
        problems += logger_problems(settings.get("logger"))
    if Use.COMPILER in uses and settings.get("compile") not in (False, None):
        rule = f"starts a compiler, {NOT_ITS_TO_SAY}"
        problems.append(Problem("compile", shown(settings["compile"]), rule, TRUST))
    return [problem for problem in problems if problem.key not in own]


def target_problems(settings: Mapping[str, Any]) -> list[Problem]:
    """Returns a problem for each target in saved settings that must not be built, and for each interpolation."""
    problems = []
    for group, pattern in ALLOWED.items():
        node = settings.get(group)
        target = node.get("_target_") if isinstance(node, Mapping) else None
        if not (isinstance(target, str) and pattern.fullmatch(target) and is_shipped(group, target)):
            rule = "is not torch's or ch12's own, and a saved run is data, not code"
            problems.append(Problem(f"{group}._target_", repr(target), rule, TRUST))
    return problems + [Problem(path, None, "holds a target where none belongs") for path in nested_targets(settings)]


def choice_name_problems(choices: Mapping[str, Any]) -> list[Problem]:
    """Returns a problem for each choice that is not a name: a path could lead out of the configuration's folder."""
    return [
        Problem(group, None, "is not the name of a choice")
        for group, choice in choices.items()
        if not (choice is None or (isinstance(choice, str) and ".." not in choice and not choice.startswith("/")))
    ]


def logger_problems(logger: Any) -> list[Problem]:
    """Returns a problem for each tracker that writes elsewhere than into the run's directory."""
    names = logger if isinstance(logger, list) else [logger]
    return [
        Problem("logger", shown(name), f"writes outside of the run's directory, {NOT_ITS_TO_SAY}", TRUST)
        for name in names
        if name not in INSIDE_LOGGERS
    ]


def is_shipped(group: str, target: str) -> bool:
    """Returns True if a shipped choice of the group has this target, or `ch12 ensemble` writes it.

    Always returns True for groups other than dataset and model.
    """
    if (group, target) == ("model", ENSEMBLE):
        return True
    targets = {keys_of_choice(choice).get(f"{group}._target_") for choice in choices_of_group(group)}
    return group not in ("dataset", "model") or target in targets


def path_problems(dataset: Any) -> list[Problem]:
    """Returns a problem for each path of a saved data set outside the current directory, after resolving links."""
    current = Path(os.path.realpath("."))
    problems = []
    for name in (*PATH_KEYS, *IN_FOLDER):
        value = dataset.get(name) if isinstance(dataset, Mapping) else None
        if not isinstance(value, str):
            continue  # nothing to read, or a value that its rule rejects
        path = Path(str(dataset.get("folder") or "") if name in IN_FOLDER else "", value)
        outside = path.is_absolute() or ".." in path.parts or "\0" in value
        files = [value] if outside else [value, *glob(value)]
        if outside or not all(Path(os.path.realpath(file)).is_relative_to(current) for file in files):
            rule = "lies outside of the current directory, and a saved run may not say what is read there"
            problems.append(Problem(f"dataset.{name}", value, rule, TRUST))
    return problems


def nested_targets(settings: Mapping[str, Any]) -> list[str]:
    """Returns the dotted keys of all interpolations, and of all targets that are not at the top of a group.

    Targets below a key of the user's own are allowed, because nothing is built from them.
    """
    found = []
    heads = {"hydra", *ALLOWED, *(key.partition(".")[0] for key in top_level())}

    def visit(node: Any, path: str, depth: int) -> None:
        if isinstance(node, Mapping):
            for name, value in node.items():
                below = f"{path}.{name}" if path else str(name)
                is_flag = name == "_target_" or (name in FLAGS and isinstance(value, bool | str))
                is_own = depth > 0 and path.partition(".")[0].partition("[")[0] not in heads
                if str(name).startswith("_") and not is_own and not (depth == 1 and is_flag and path in ALLOWED):
                    found.append(below)
                visit(value, below, depth + 1)
        elif isinstance(node, list):
            for index, value in enumerate(node):
                visit(value, f"{path}[{index}]", depth + 1)
        elif isinstance(node, str) and "${" in node:
            found.append(path)

    visit(settings, "", 0)
    return found


def require_kind(settings: Mapping[str, Any]) -> None:
    """Raises InputError unless each target is a usable class of the kind that its group builds. Imports torch.

    Of torch.nn only activations and losses are allowed. Their arguments are numbers, and activations keep the shape.
    """
    import torch
    from torch import nn

    from ch12cli.training import schedules

    def usable(found: Any, kind: type) -> bool:
        return isinstance(found, type) and issubclass(found, kind) and found is not kind

    named = {group: str(settings[group]["_target_"]).rpartition(".")[2] for group in ALLOWED}
    activation, loss = getattr(nn, named["activation"], None), getattr(nn, named["loss"], None)
    allowed = {
        "an activation of torch": usable(activation, nn.Module)
        and (activation.__module__ == "torch.nn.modules.activation" or activation is nn.Identity),
        "a loss of torch": named["loss"] == "auto"
        or (usable(loss, nn.Module) and loss.__module__ == "torch.nn.modules.loss"),
        "an optimiser of torch": usable(getattr(torch.optim, named["optimizer"], None), torch.optim.Optimizer),
        "a schedule of ch12": usable(getattr(schedules, named["scheduler"], None), schedules.Schedule),
    }
    problems = [
        Problem(f"{group}._target_", settings[group]["_target_"], f"is not {what}", TRUST)
        for group, (what, is_allowed) in zip(
            ("activation", "loss", "optimizer", "scheduler"), allowed.items(), strict=True
        )
        if not is_allowed
    ]
    if problems:
        raise InputError(problems)


RUN_COMMANDS = ("executor", "setup", "additional_parameters")  # options of launchers that say what is to be run


def commands_of_launcher(launcher: Mapping[str, Any]) -> list[str]:
    """Returns which options of a launcher say what is to be run."""
    runs = [name for name in launcher if name in RUN_COMMANDS and launcher[name]]
    return runs + [name for name, value in launcher.items() if "${" in str(value)]
