"""From checked settings to the objects of a training; the last place that sees configuration."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ch12cli.config.targets import arguments_of, build, call, locate, positional_of, signature_problems
from ch12cli.errors import InputError, Problem
from ch12cli.files.objective import minimised
from ch12cli.models.activation import Activation
from ch12cli.run.task import Task, check_fit, tensors
from ch12cli.training.batches import Shuffled, StackedSource
from ch12cli.training.loop import Limits, Training
from ch12cli.training.losses import StackedLoss
from ch12cli.training.network import Network
from ch12cli.training.optimizers import OPTIMIZERS, Optimizer, TorchOptimizer
from ch12cli.training.schedules import Schedule
from ch12cli.training.stack import Stack
from ch12cli.training.stopping import Best, EarlyStopping
from ch12cli.training.streams import Streams, seed_stream


class Ends(Protocol):
    """What a network must know of what it learns: how much goes in and comes out, the shape of a row that is an image,
    and the output's activation."""

    @property
    def inputs(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...] | None: ...
    @property
    def outputs(self) -> int: ...
    @property
    def output(self) -> str: ...


def build_module(settings: Mapping[str, Any], task: Ends) -> nn.Module:
    """The network, its initial weights drawn from torch's default stream."""
    node, activation = settings["model"], activation_of(settings)
    offered = {
        "inputs": task.inputs,
        "shape": task.shape,
        "outputs": task.outputs,
        "activation": activation if node["_target_"].startswith("ch12cli.models.") else Activation(activation),
    }
    module = build("model", {**node, "output": task.output} if "output" in node else node, offered=offered)
    if not isinstance(module, nn.Module):
        raise InputError(f"model._target_={node['_target_']}: gave {type(module).__name__}, must give an nn.Module")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise InputError(f"model._target_={node['_target_']}: has no parameters to train")
    return module


def activation_of(settings: Mapping[str, Any]) -> Callable[[], nn.Module]:
    """Makes a new activation at each call; its arguments are checked now."""
    node = settings["activation"]
    target, arguments, positional = locate("activation", node["_target_"]), arguments_of(node), positional_of(node)
    problems = signature_problems("activation", target, arguments, {}, positional=len(positional))
    if problems:
        raise InputError(problems)

    def activation() -> nn.Module:
        made = call("activation", target, arguments, *positional)
        if not isinstance(made, nn.Module):
            raise InputError(
                f"activation._target_={node['_target_']}: gave {type(made).__name__}, must give an nn.Module"
            )
        return made

    return activation


def optimizer_class(settings: Mapping[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The optimiser to build and its arguments: ch12's own form of it where it has one, else torch's class itself."""
    node = settings["optimizer"]
    kind = locate("optimizer", node["_target_"])
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        raise InputError(f"optimizer._target_={node['_target_']}: must be a torch.optim.Optimizer")
    if "_args_" in node:
        hint = "name the others"
        raise InputError(
            Problem("optimizer._args_", None, "the first argument is the parameters, which ch12 gives", hint)
        )
    arguments = arguments_of(node)
    problems = signature_problems("optimizer", kind, arguments, {"params": None})
    if problems:
        raise InputError(problems)
    parameter = inspect.signature(kind).parameters.get("lr")
    if parameter is not None:  # the schedule starts from it, also where only torch names it
        arguments.setdefault("lr", parameter.default)
    own = OPTIMIZERS.get(node["_target_"])
    if own is not None and not signature_problems("optimizer", own, arguments, {"parameters": None}):
        return own, arguments
    return kind, arguments


def build_optimizer(settings: Mapping[str, Any], network: Network) -> Optimizer:
    kind, arguments = optimizer_class(settings)
    if kind in OPTIMIZERS.values():
        optimizer: Optimizer = call("optimizer", kind, arguments, network.parameters)
    else:
        optimizer = call("optimizer", TorchOptimizer, arguments, kind, network.trained)
    return optimizer


def build_schedule(settings: Mapping[str, Any], *, steps_per_epoch: int, minimise: bool, lr: Any) -> Schedule:
    node = settings["scheduler"]
    target = locate("scheduler", node["_target_"])
    if not (isinstance(target, type) and issubclass(target, Schedule)):
        raise InputError(
            f"scheduler._target_={node['_target_']}: must be a subclass of ch12cli.training.schedules.Schedule"
        )
    offered = {"lr": lr, "epochs": settings["epochs"], "steps_per_epoch": steps_per_epoch, "minimise": minimise}
    schedule: Schedule = build("scheduler", node, offered=offered)
    return schedule


def build_training(settings: Mapping[str, Any], task: Task, device: torch.device) -> tuple[Training, Network]:
    """A training ready for its first epoch, and its network.

    The order of what is drawn from torch's default stream is that of a loop written by hand: the seed, the network's
    initial weights, then each epoch's order of rows.
    """
    seed_stream(settings["seed"], offset=settings["stream_offset"])
    module = build_module(settings, task)
    network = Network(module, device=device, precision=settings["precision"], compile_it=settings["compile"])
    workers = settings["workers"]
    train = tensors(task.data.train, task, dtype=network.dtype, device=device)
    loaded = tensors(task.data.train, task, dtype=network.dtype, device=torch.device("cpu")) if workers else train
    check_fit(network, task, train)
    steps = -(-len(train) // settings["batch_size"])
    minimise = minimised(task.monitor)
    stopping = settings["early_stopping"]
    lr = optimizer_class(settings)[1].get("lr", 0.0)
    training = Training(
        network,
        loss=task.loss.to(device),
        metrics=task.metrics,
        optimizer=build_optimizer(settings, network),
        schedule=build_schedule(settings, steps_per_epoch=steps, minimise=minimise, lr=lr),
        source=Shuffled(
            loaded,
            batch_size=settings["batch_size"],
            workers=workers,
            device=device,
            pin_memory=settings["pin_memory"],
        ),
        train=train,
        valid=tensors(task.data.valid, task, dtype=network.dtype, device=device) if task.data.valid else None,
        best=Best(1, minimise=minimise),
        stopping=EarlyStopping(
            1,
            minimise=minimised(task.stop_on),
            patience=stopping["patience"],
            min_delta=stopping["min_delta"],
        ),
        limits=limits(settings, task),
    )
    return training, network


def build_stack(jobs: Sequence[Mapping[str, Any]], task: Task, device: torch.device) -> tuple[Training, Stack, Streams]:
    """The training of many jobs of one structure as a stack, with the random stream of each job.

    Each network is built after its own seed, as it would be alone: the same initial weights, bit for bit.
    Raises CannotStackError if the network has no stacked form.
    """
    first = jobs[0]
    streams = Streams(first["epochs"])
    modules = []
    for settings in jobs:
        seed_stream(settings["seed"], offset=settings["stream_offset"], devices=False)
        modules.append(build_module(settings, task))
        streams.add()
    dtype = torch.float64 if first["precision"] == "float64" else torch.float32
    network = Stack(
        modules,
        [settings["seed"] for settings in jobs],
        device=device,
        dtype=dtype,
        batch_size=first["batch_size"],
    )
    train = tensors(task.data.train, task, dtype=dtype, device=device)
    kind, arguments = optimizer_class(first)
    values = arguments | {name: values_of(jobs, "optimizer", name) for name in arguments_of(first["optimizer"])}
    steps = -(-len(train) // first["batch_size"])
    minimise = minimised(task.monitor)
    node = {name: values_of(jobs, "scheduler", name) for name in first["scheduler"]}
    training = Training(
        network,
        loss=StackedLoss(task.loss.to(device)),
        metrics=task.metrics,
        optimizer=call("optimizer", kind, values, network.parameters),
        schedule=build_schedule(
            {**first, "scheduler": node},
            steps_per_epoch=steps,
            minimise=minimise,
            lr=np.broadcast_to(np.asarray(values.get("lr", 0.0), np.float64), len(jobs)),
        ),
        source=StackedSource(train, streams, batch_size=first["batch_size"], runs_last=network.runs_last),
        train=train,
        valid=tensors(task.data.valid, task, dtype=dtype, device=device) if task.data.valid else None,
        best=Best(len(jobs), minimise=minimise),
        stopping=EarlyStopping(
            len(jobs),
            minimise=minimised(task.stop_on),
            patience=values_of(jobs, "early_stopping", "patience"),
            min_delta=values_of(jobs, "early_stopping", "min_delta"),
        ),
        limits=Limits(
            epochs=first["epochs"],
            monitor=task.monitor,
            stop_on=task.stop_on,
            clip_grad_norm=values_of(jobs, "clip_grad_norm"),
            clip_grad_value=values_of(jobs, "clip_grad_value"),
        ),
    )
    return training, network, streams


def values_of(jobs: Sequence[Mapping[str, Any]], *path: str) -> Any:
    """A setting of all jobs: as it is if the same for all, else one number a job, (runs,) float64; null is NaN."""
    found = []
    for settings in jobs:
        node: Any = settings
        for part in path:
            node = node[part]
        found.append(node)
    if all(value == found[0] for value in found):
        return found[0]
    if isinstance(found[0], list):
        columns = zip(*found, strict=True)
        return [column[0] if len(set(column)) == 1 else np.array(column, np.float64) for column in columns]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def limits(settings: Mapping[str, Any], task: Task) -> Limits:
    return Limits(
        epochs=settings["epochs"],
        monitor=task.monitor,
        stop_on=task.stop_on,
        clip_grad_norm=settings["clip_grad_norm"],
        clip_grad_value=settings["clip_grad_value"],
    )
