"""Builds the objects of a training run from its settings: network, optimizer, schedule and batch source."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ch12cli.config.run_settings import LoopSettings, MachineSettings, ModelSettings, RunSettings
from ch12cli.config.targets import (
    RefusedError,
    Target,
    arguments_of,
    build,
    call,
    locate,
    positional_of,
    signature_problems,
)
from ch12cli.distributed.independent_rows import require_independent_rows
from ch12cli.distributed.ranks import Ranks
from ch12cli.distributed.shared_network import SharedNetwork
from ch12cli.distributed.shared_training import SharedTraining
from ch12cli.distributed.sharing import SharedSource, Sharing
from ch12cli.errors import InputError, Problem
from ch12cli.files.metrics_csv import minimised
from ch12cli.fused.compiler import CannotCompileError
from ch12cli.fused.epochs import whole_epochs
from ch12cli.fused.stack_training import StackTraining
from ch12cli.fused.twister import draw_beginnings, drawing_on, drawn_states, twister_if_cached
from ch12cli.models.activation import USES, Activation
from ch12cli.models.init import draw_uniform, uniform_draws
from ch12cli.run.task import Task, check_fit, last_batch_size, tensors, tensors_of_runs
from ch12cli.training.batches import BatchLoader, FoldedPart, Part, Shuffled, StackedSource, StreamedPart
from ch12cli.training.loop import Limits, Source, Training
from ch12cli.training.losses import StackedLoss
from ch12cli.training.metrics import Right
from ch12cli.training.network import Network
from ch12cli.training.optimizers import OPTIMIZERS, Optimizer, TorchOptimizer
from ch12cli.training.schedules import Schedule
from ch12cli.training.stack import Stack
from ch12cli.training.stopping import Best, EarlyStopping
from ch12cli.training.streams import Streams, seed_stream


class Ends(Protocol):
    """The inputs and outputs that a network needs: counts, the image shape of a row, and the output activation."""

    @property
    def inputs(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...] | None: ...
    @property
    def outputs(self) -> int: ...
    @property
    def output(self) -> str: ...


def build_module(settings: ModelSettings, task: Ends) -> nn.Module:
    """Returns the network. Draws its initial weights from torch's default random stream.

    Raises InputError if the target does not give an nn.Module with trainable parameters.
    """
    target, activation = settings.target, activation_of(settings.activation)
    offered = {
        "inputs": task.inputs,
        "shape": task.shape,
        "outputs": task.outputs,
        "activation": activation if target.path.startswith("ch12cli.models.") else Activation(activation),
    }
    resolved = {"output": task.output} if "output" in target.arguments else {}
    try:
        module = build("model", replace(target, arguments={**target.arguments, **resolved}), offered=offered)
    except RefusedError as error:
        raise with_uses_of_activation(error) from error.__cause__
    if not isinstance(module, nn.Module):
        raise InputError(f"model._target_={target.path}: gave {type(module).__name__}, must give an nn.Module")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise InputError(f"model._target_={target.path}: has no parameters to train")
    if not target.path.startswith("ch12cli.models."):
        refuse_odd_values(module, target.path)
    return module


def refuse_odd_values(module: nn.Module, path: str) -> None:
    """Raises RefusedError unless a network of the user's own consists of real numbers that can be saved.

    On the meta device, where networks are built to compare their shapes, all are without values.
    """
    may_be_meta = torch.get_default_device().type == "meta"
    key, named = "model._target_", [*module.named_parameters(), *module.named_buffers()]
    for name, value in named:
        rule = hint = ""
        if is_lazy(value):
            rule = f"its {name} has no shape before the first batch"
            hint = "use layers that are told their inputs, such as nn.Linear; ch12 passes `inputs` and `outputs`"
        elif value.is_meta and not may_be_meta:
            rule, hint = f"its {name} is on the meta device, without values", "build it without device='meta'"
        elif value.is_complex():
            rule = f"its {name} is complex, and networks are trained in real numbers"
            hint = "keep the real and the imaginary part, as torch.view_as_real gives them"
        if rule:
            raise RefusedError(Problem(key, path, rule, hint))
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            rule = f"its state_dict has {name}, a {type(value).__name__}, and checkpoints hold tensors only"
            raise RefusedError(Problem(key, path, rule, "keep it in a buffer, or leave it out of the state"))


def with_uses_of_activation(error: RefusedError) -> RefusedError:
    """Returns the error, with how to use the activation if the error names its class."""
    text = str(error)
    return RefusedError(f"{text}; {USES}") if Activation.__name__ in text and USES not in text else error


def activation_of(target: Target) -> Callable[[], nn.Module]:
    """Returns a function that makes a new activation module at each call.

    Checks the target's arguments at once and raises InputError if they are wrong.
    """
    kind, arguments, positional = locate("activation", target.path), arguments_of(target), positional_of(target)
    problems = signature_problems("activation", kind, arguments, {}, positional=len(positional))
    if problems:
        raise InputError(problems)

    def activation() -> nn.Module:
        made = call("activation", kind, arguments, *positional)
        if not isinstance(made, nn.Module):
            raise InputError(f"activation._target_={target.path}: gave {type(made).__name__}, must give an nn.Module")
        return made

    return activation


def optimizer_class(target: Target) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns the optimizer class to build and its arguments.

    The class is ch12's own implementation if there is one, else torch's. Raises InputError for invalid arguments.
    """
    kind = locate("optimizer", target.path)
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        raise InputError(f"optimizer._target_={target.path}: must be a torch.optim.Optimizer")
    if target.positional:
        hint = "name the others"
        raise InputError(
            Problem("optimizer._args_", None, "the first argument is the parameters; ch12 passes them", hint)
        )
    arguments = arguments_of(target)
    problems = signature_problems("optimizer", kind, arguments, {"params": None})
    if problems:
        raise InputError(problems)
    parameter = inspect.signature(kind).parameters.get("lr")
    if parameter is not None:  # the schedule starts from lr, even if only torch's default gives it
        arguments.setdefault("lr", parameter.default)
    own = OPTIMIZERS.get(target.path)
    if own is not None and not signature_problems("optimizer", own, arguments, {"parameters": None}):
        return own, arguments
    return kind, arguments


def build_optimizer(target: Target, network: Network) -> Optimizer:
    kind, arguments = optimizer_class(target)
    optimizer: Optimizer
    if kind in OPTIMIZERS.values():
        optimizer = call("optimizer", kind, arguments, network.parameters)
        optimizer.places = network.places
    else:
        optimizer = call("optimizer", TorchOptimizer, arguments, kind, network.trained)
    return optimizer


def build_schedule(target: Target, *, epochs: int, steps_per_epoch: int, minimise: bool, lr: Any) -> Schedule:
    kind = locate("scheduler", target.path)
    if not (isinstance(kind, type) and issubclass(kind, Schedule)):
        raise InputError(f"scheduler._target_={target.path}: must be a subclass of ch12cli.training.schedules.Schedule")
    offered = {"lr": lr, "epochs": epochs, "steps_per_epoch": steps_per_epoch, "minimise": minimise}
    schedule: Schedule = build("scheduler", target, offered=offered)
    return schedule


def sharing_of(settings: MachineSettings, ranks: Ranks) -> Sharing | None:
    """Returns how the batches of a run are shared out; None if this process computes them whole."""
    shards = settings.shards or ranks.world
    return Sharing(ranks, shards, is_exact=settings.shards is not None) if shards > 1 else None


ALONE = Ranks()


def build_network(module: nn.Module, settings: ModelSettings, device: torch.device, sharing: Sharing | None) -> Network:
    precision, compile_it = settings.precision, settings.compile
    if sharing is None:
        return Network(module, device=device, precision=precision, compile_it=compile_it)
    return SharedNetwork(module, device=device, precision=precision, compile_it=compile_it, sharing=sharing)


def build_source(
    part: Part, settings: RunSettings, device: torch.device, sharing: Sharing | None, *, y: Tensor
) -> Source:
    """Returns the batches of a part. y: its targets, on the network's device."""
    workers, pin_memory, batch_size = settings.machine.workers, settings.machine.pin_memory, settings.loop.batch_size
    if sharing is None:
        return Shuffled(part, batch_size=batch_size, workers=workers, device=device, pin_memory=pin_memory)
    return SharedSource(
        part, sharing, batch_size=batch_size, workers=workers, device=device, pin_memory=pin_memory, y=y
    )


def build_training(
    settings: RunSettings, task: Task, device: torch.device, ranks: Ranks = ALONE
) -> tuple[Training, Network]:
    """Returns a training that is ready for its first epoch, and its network. ranks: all processes of the run.

    Draws from torch's default random stream in the order of a handwritten loop: seed, initial weights, row orders.
    """
    loop, machine = settings.loop, settings.machine
    task = task.of_fold(settings.data.split.fold)
    seed_stream(loop.seed, offset=loop.stream_offset)
    module = build_module(settings.model, task)
    sharing = sharing_of(machine, ranks)
    network = build_network(module, settings.model, device, sharing)
    train = tensors(task.data.train, task, dtype=network.dtype, device=device)
    loaded = train
    if machine.workers and device.type != "cpu":
        loaded = tensors(task.data.train, task, dtype=network.dtype, device=torch.device("cpu"))
    check_fit(network, task, train, last_batch=last_batch_size(len(train), loop.batch_size))
    valid = tensors(task.data.valid, task, dtype=network.dtype, device=device) if task.data.valid else None
    if task.data.valid and machine.workers and isinstance(valid, StreamedPart):
        gathered = tensors(task.data.valid, task, dtype=network.dtype, device=torch.device("cpu"))
        valid.loader = BatchLoader(
            gathered, batch_size=loop.batch_size, workers=machine.workers, device=device, pin_memory=machine.pin_memory
        )
    make_training: Callable[..., Training] = Training
    if isinstance(network, SharedNetwork):
        require_independent_rows(network, task.loss, train)
        make_training = SharedTraining
    minimise = minimised(task.monitor)
    training = make_training(
        network,
        loss=task.loss.to(device),
        loss_in_units=task.loss_in_units.to(device),
        metrics=task.metrics,
        optimizer=build_optimizer(settings.optimizer.target, network),
        schedule=build_schedule(
            settings.schedule,
            epochs=loop.epochs,
            steps_per_epoch=-(-len(train) // loop.batch_size),
            minimise=minimise,
            lr=optimizer_class(settings.optimizer.target)[1].get("lr", 0.0),
        ),
        source=build_source(loaded, settings, device, sharing, y=train.y),
        train=train,
        valid=valid,
        best=Best(1, minimise=minimise),
        stopping=EarlyStopping(1, minimise=minimised(task.stop_on), patience=loop.patience, min_delta=loop.min_delta),
        limits=Limits(
            epochs=loop.epochs,
            monitor=task.monitor,
            stop_on=task.stop_on,
            clip_grad_norm=settings.optimizer.clip_grad_norm,
            clip_grad_value=settings.optimizer.clip_grad_value,
            norms=loop.norms,
        ),
        units=task.data.target_scaling,
    )
    return training, network


def build_stack(
    jobs: Sequence[RunSettings], task: Task, device: torch.device, *, compiled: bool = True, alike: int = 0
) -> tuple[StackTraining, Stack, Streams]:
    """Returns the training of several jobs as one stack, the stacked network, and the random streams of the jobs.

    Each network is built after seeding with its own seed. Its initial weights equal those of a single run bit for bit.
    compiled: whether compiled code trains it where that is faster. alike: how many jobs of this structure there are, in
    other stacks too. Raises CannotStackError if the network cannot be stacked.
    """
    first = jobs[0]
    streams = Streams(first.loop.epochs)
    module, initial = initial_weights(jobs, task, streams)
    dtype = torch.float64 if first.model.precision == "float64" else torch.float32
    folds = [job.data.split.fold for job in jobs]
    train = tensors_of_runs("train", task, folds, dtype=dtype, device=device)
    valid = tensors_of_runs("valid", task, folds, dtype=dtype, device=device)
    assert train is not None
    starts = None
    if isinstance(train, FoldedPart):
        starts, train = train.starts, train.flat()

    def laid(*, runs_last: bool | None) -> tuple[StackTraining, Stack]:
        size, seeds = first.loop.batch_size, [job.loop.seed for job in jobs]
        network = Stack(
            [module], seeds, device=device, dtype=dtype, batch_size=size, runs_last=runs_last, initial=initial
        )
        source = StackedSource(train, streams, batch_size=size, runs_last=network.runs_last, starts=starts)
        return stack_training(jobs, task, network, source, train=train, valid=valid), network

    if not compiled:
        return *laid(runs_last=None), streams
    training, network = laid(runs_last=True)
    try:
        training.whole = whole_epochs(
            network,
            task.loss,
            training.optimizer,
            train,
            valid=valid,
            batch_size=first.loop.batch_size,
            limits=training.limits,
            wanted=first.sweep.fused,
            right=right_rule(task),
            alike=alike,
        )
    except CannotCompileError as reason:
        if network.runs_last and not network.is_narrow:  # torch's operations are faster in the other layout
            training, network = laid(runs_last=None)
        training.why_steps = str(reason)
    else:
        with suppress(CannotCompileError):  # torch draws the same orders
            streams.draw = drawing_on(device)
    return training, network, streams


def stack_training(
    jobs: Sequence[RunSettings], task: Task, network: Stack, source: StackedSource, *, train: Part, valid: Part | None
) -> StackTraining:
    """Returns the training of a stacked network, step by step."""
    first, device, minimise = jobs[0], network.device, minimised(task.monitor)
    kind, arguments = optimizer_class(first.optimizer.target)
    values = arguments | arguments_of_jobs([job.optimizer.target for job in jobs])
    return StackTraining(
        network,
        loss=StackedLoss(task.loss.to(device)),
        loss_in_units=StackedLoss(task.loss_in_units.to(device)),
        metrics=task.metrics,
        optimizer=call("optimizer", kind, values, network.parameters),
        schedule=build_schedule(
            replace(first.schedule, arguments=arguments_of_jobs([job.schedule for job in jobs])),
            epochs=first.loop.epochs,
            steps_per_epoch=-(-len(train) // first.loop.batch_size),
            minimise=minimise,
            lr=np.broadcast_to(np.asarray(values.get("lr", 0.0), np.float64), len(jobs)),
        ),
        source=source,
        train=train,
        valid=valid,
        best=Best(len(jobs), minimise=minimise),
        stopping=EarlyStopping(
            len(jobs),
            minimise=minimised(task.stop_on),
            patience=one_or_each([job.loop.patience for job in jobs]),
            min_delta=one_or_each([job.loop.min_delta for job in jobs]),
        ),
        limits=Limits(
            epochs=first.loop.epochs,
            monitor=task.monitor,
            stop_on=task.stop_on,
            clip_grad_norm=one_or_each([job.optimizer.clip_grad_norm for job in jobs]),
            clip_grad_value=one_or_each([job.optimizer.clip_grad_value for job in jobs]),
            norms=first.loop.norms,
        ),
        units=task.data.target_scaling,
    )


def right_rule(task: Task) -> Right | None:
    """Returns which rows are right, if their share is all that is measured, with targets as they are."""
    metrics = list(task.metrics.values())
    return metrics[0].right if len(metrics) == 1 and task.data.target_scaling is None else None


COMPARED = 2  # networks of a stack that are built to compare with their weights drawn alone


def initial_weights(jobs: Sequence[RunSettings], task: Task, streams: Streams) -> tuple[nn.Module, Tensor]:
    """Returns the first job's network, and the initial weights of each job's, (runs, values). Adds to the streams.

    Building a network takes ten times as long as drawing its weights. So the weights are drawn alone where ch12 builds
    the same network for each job, and the first ones are the same bit for bit; those of all jobs at once where compiled
    code can do it.
    """
    seed_stream(jobs[0].loop.seed, offset=jobs[0].loop.stream_offset, devices=False)
    first, module = jobs[0].model, build_module(jobs[0].model, task)
    draws = uniform_draws(module) if first.target.path.startswith("ch12cli.models.") else None
    rows: list[Tensor] = []
    for number, job in enumerate(jobs):
        if number == COMPARED and draws is not None:
            drawn = drawn_at_once(jobs, draws, rows, streams)
            if drawn is not None:
                return module, drawn
        if number > 0:
            seed_stream(job.loop.seed, offset=job.loop.stream_offset, devices=False)
        if draws is not None and number >= COMPARED and (job.model is first or job.model == first):
            row = draw_uniform(draws)
        else:
            row = flat_weights(module if number == 0 else build_module(job.model, task))
            if draws is not None and not draws_the_same(draws, row, job.loop):
                draws = None
        rows.append(row)
        streams.add(job.loop.seed)
    return module, torch.stack(rows)


def drawn_at_once(
    jobs: Sequence[RunSettings], draws: Sequence[tuple[int, float]], rows: Sequence[Tensor], streams: Streams
) -> Tensor | None:
    """Returns the initial weights of all jobs, (runs, values), drawn by compiled code, and lets their streams begin.

    rows, streams: of the first jobs, by torch. None where torch is needed: the jobs differ in more than their seeds,
    the code would have to be compiled first, or it draws other numbers.
    """
    first, offsets = jobs[0], {job.loop.stream_offset for job in jobs}
    alike = len(offsets) == 1 and all(job.model is first.model or job.model == first.model for job in jobs)
    if not alike or first.sweep.fused is False or not twister_if_cached():
        return None
    seeds, skipped = [job.loop.seed for job in jobs], 2 * offsets.pop()
    weights, order_seeds = draw_beginnings(np.array(seeds), skipped, draws, streams.epochs)
    numbers = skipped + weights.shape[1]
    compared = slice(len(rows))
    if not (
        np.array_equal(weights[compared], torch.stack(list(rows)))
        and np.array_equal(order_seeds[compared], streams.order_seeds)
        and np.array_equal(drawn_states(np.array(seeds[compared]), numbers), torch.stack(streams.states))
    ):
        return None
    streams.begin(seeds, numbers, order_seeds, drawn_states)
    return torch.from_numpy(weights)


def flat_weights(module: nn.Module) -> Tensor:
    """Returns the parameters of a network in a row, (values,)."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])


def draws_the_same(draws: Sequence[tuple[int, float]], row: Tensor, loop: LoopSettings) -> bool:
    """Returns whether drawing the weights alone gives these, (values,), and leaves the stream as it is now."""
    state = torch.get_rng_state()
    seed_stream(loop.seed, offset=loop.stream_offset, devices=False)
    same = torch.equal(draw_uniform(draws), row) and torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(state)
    return same


def arguments_of_jobs(targets: Sequence[Target]) -> dict[str, Any]:
    """Returns the arguments of one target over several jobs, each combined by `one_or_each`."""
    return {name: one_or_each([target.arguments[name] for target in targets]) for name in targets[0].arguments}


def one_or_each(values: Sequence[Any]) -> Any:
    """Returns the common value if all are equal, else a float64 array of shape (runs,) with NaN for None."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if isinstance(first, list):
        columns = zip(*values, strict=True)
        return [column[0] if len(set(column)) == 1 else np.array(column, np.float64) for column in columns]
    return np.array([np.nan if value is None else value for value in values], np.float64)
