"""Trial runs beside a sweep: builds and timings of a few networks before it, and single runs that verify it after."""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import RefusedError, call
from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.errors import InputError, describe_error
from ch12cli.files.cluster.journal import machines_of_jobs
from ch12cli.files.run_directory import MODEL
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.fused.stack_training import StackTraining
from ch12cli.run.build import build_module, build_optimizer, build_stack, build_training
from ch12cli.run.data_sets import data_read_once
from ch12cli.run.signals import Terminated
from ch12cli.run.task import (
    Task,
    build_task,
    check_fit,
    choose_device,
    is_elsewhere,
    last_batch_size,
    notes_on_outputs,
    require_learnable,
    tensors,
)
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import prepare_job
from ch12cli.run.users_errors import users_errors
from ch12cli.saved.unpack import readable
from ch12cli.sweeps.groups import SINGLE, Elsewhere, Group, bytes_of_run, makespan, max_stack_size, processes_for
from ch12cli.sweeps.jobs import SweepJob, located_in_jobs
from ch12cli.sweeps.workers.work_item import WorkItem
from ch12cli.sweeps.workers.worker import failure_text
from ch12cli.sweeps.workers.worker_pool import ProcessDiedError, call_in_subprocess
from ch12cli.training.loop import Training
from ch12cli.training.network import Network
from ch12cli.training.optimizers import OPTIMIZERS
from ch12cli.training.stack import CannotStackError, Stack
from ch12cli.training.torch_internals import is_convolution

TRIAL = 2**62  # a seed that no job uses; jobs report errors of their own seeds
# Layer outputs per batch from which on a stack of convolutional networks is slower than single runs on a CPU.
# Measured for images of 8 to 32 pixels, 1 and 3 colours, 4 to 16 channels, and batches of 2 to 32.
CONVOLVED = 1_000_000
OWN_PREFIXES = ("torch.", "ch12cli.", "auto")  # prefixes of targets that run no user code


class TrialResult(NamedTuple):
    """The result of a trial build.

    `parameters` and `values`: as in Group.
    `problems`: errors in the input.
    `reason`: why the group cannot be stacked.
    `failed`: the error that user code raised. The jobs themselves will fail with it.
    `notes`: remarks on the network's outputs, for the user.
    """

    parameters: int = 0
    values: int = 0
    problems: tuple[str, ...] = ()
    reason: str = ""
    failed: str = ""
    notes: tuple[str, ...] = ()


def examine(groups: Sequence[Group]) -> tuple[list[Group], list[Task]]:
    """Returns the groups, updated from a trial build of one network each, and the task of each group.

    Raises InputError with all problems, before anything is trained.
    """
    torch.set_num_threads(1)  # workers are forked from this process, so torch must not have started threads
    examined: list[Group] = []
    tasks: list[Task] = []
    problems: dict[str, list[int]] = {}  # by message, with job numbers
    failed: dict[str, list[int]] = {}
    any_built = False
    divided: list[tuple[Group, Task]] = []
    for group in groups:
        try:
            divided += divide_by_fold(group)
            choose_device(group.settings.machine.device)
        except InputError as error:
            note(problems, error.messages, group)
        except SystemExit as error:
            target = group.settings.data.source.path
            note(problems, [f"dataset._target_={target}: called sys.exit({error.code!r})"], group)
    tried: dict[str, TrialResult] = {}
    for group, task in divided:
        found = try_once(group, task, tried)
        note(problems, found.problems, group)
        note(failed, [found.failed] if found.failed else [], group)
        any_built = any_built or not found.failed
        reason = f"trying its network failed: {found.failed}" if found.failed else group.reason or found.reason
        examined.append(replace(group, reason=reason, parameters=found.parameters, values=found.values))
        tasks.append(replace(task, warnings=(*task.warnings, *found.notes)))
    if problems or (failed and not any_built):
        total = sum(len(group.jobs) for group in groups)
        raise InputError(located_in_jobs({**problems, **failed}, total))
    return examined, tasks


def divide_by_fold(group: Group) -> list[tuple[Group, Task]]:
    """Returns the groups whose jobs have equally many rows in each part, with the task of each. Reads the data once.

    Folds that scale or weigh their targets each in its own way are groups of their own.
    """
    tasks: dict[int | None, Task] = {}
    with data_read_once():
        for job in group.jobs:
            if (fold := job.fold) not in tasks:
                settings = job.run_settings
                tasks[fold] = build_task(settings)
                require_learnable(settings, tasks[fold])
    alike: dict[tuple[Any, ...], dict[int | None, Task]] = {}
    for fold, task in tasks.items():
        data = task.data
        sizes = (len(part.rows) if part else 0 for part in (data.train, data.valid, data.test))
        alike.setdefault((*sizes, data.table.feature_names, data.class_weights, data.target_scaling), {})[fold] = task
    found = []
    for folds in alike.values():
        jobs = [job for job in group.jobs if job.fold in folds]
        first, *others = folds.values()
        warnings = tuple(dict.fromkeys(warning for task in folds.values() for warning in task.warnings))
        task = replace(first, warnings=warnings, folds=folds if others else {})
        found.append((replace(group, jobs=jobs, reason=group.reason or (SINGLE if len(jobs) == 1 else "")), task))
    return found


def note(problems: dict[str, list[int]], found: Sequence[str], group: Group) -> None:
    for problem in found:
        problems.setdefault(problem, []).extend(job.number for job in group.jobs)


def runs_user_code(settings: RunSettings) -> bool:
    """Returns True if the network, activation or loss is neither torch's nor ch12's."""
    targets = (settings.model.target, settings.model.activation, settings.loss)
    return not all(target.path.startswith(OWN_PREFIXES) for target in targets)


def try_once(group: Group, task: Task, tried: dict[str, TrialResult]) -> TrialResult:
    """Returns what trying a group gives. Of groups that differ in their optimizer alone, one network is tried.

    tried: the results so far, by what they depend on.
    """
    settings = group.settings
    if runs_user_code(settings):
        return try_group_in_subprocess(group, task)
    parts = (settings.data, settings.model, settings.loss, settings.loop.batch_size, settings.machine.device)
    key = repr((parts, len(task.data.train.y), group.reason))
    if key not in tried or tried[key].problems:
        tried[key] = try_group(group, task)
        return tried[key]
    try:
        try_optimizers(group, Network(nn.Linear(1, 1), device=torch.device("cpu"), precision="float32"))
    except InputError as error:
        return TrialResult(problems=tuple(error.messages))
    return tried[key]


def try_group(group: Group, task: Task) -> TrialResult:
    """Builds and tries the group's first network, and returns the result."""
    parameters, values = 0, 0
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(TRIAL)
            modules = [build_module(group.settings.model, task) for _ in range(2)]
            parameters = sum(parameter.numel() for parameter in modules[0].parameters())
            double = group.settings.model.precision == "float64"
            dtype = torch.float64 if double else torch.float32
            part = tensors(two_rows(task), task, dtype=dtype, device=torch.device("cpu"))
            if not group.reason and isinstance(task.data.table.features, LazyRows):
                raise CannotStackError(task.data.table.features.alone)
            if not group.reason:
                size = group.settings.loop.batch_size
                network = Stack(modules, [0, 1], device=torch.device("cpu"), dtype=dtype, batch_size=size)
                try_stack(network, part.x.expand(2, *part.x.shape))
            single = Network(modules[0], device=torch.device("cpu"), precision="float64" if double else "float32")
            last_batch = last_batch_size(len(task.data.train.y), group.settings.loop.batch_size)
            check_fit(single, task, part, last_batch=last_batch)
            try_optimizers(group, single)
            notes = notes_on_outputs(single, task, part)
            values = layer_values(modules[0], part.x)
    except CannotStackError as reason:
        return try_group(replace(group, reason=str(reason)), task)._replace(reason=str(reason))
    except RefusedError as error:
        return (
            TrialResult(failed=str(error))
            if runs_user_code(group.settings)
            else TrialResult(problems=tuple(error.messages))
        )
    except InputError as error:
        return TrialResult(problems=tuple(error.messages))
    except SystemExit as error:
        return TrialResult(failed=f"it called sys.exit({error.code!r})")
    except (Exception, KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # of the user's own kind
        return TrialResult(failed=describe_error(error))
    return TrialResult(parameters, values, reason=why_not_worth(group, modules[0], values), notes=notes)


def why_not_worth(group: Group, module: nn.Module, values: int) -> str:
    """Returns why runs that can be stacked are trained one by one; empty if stacking them pays off.

    `values` is the number of layer outputs per data row.
    """
    size = group.settings.loop.batch_size * values
    convolves = any(map(is_convolution, module.modules()))
    if convolves and size >= CONVOLVED and choose_device(group.settings.machine.device).type == "cpu":
        return f"its layers give {size:,} values a batch; from {CONVOLVED:,} on, a CPU is faster without a stack"
    return ""


@torch.no_grad()
def layer_values(module: nn.Module, x: torch.Tensor) -> int:
    """Returns how many values the layers of a module output per row. `x` has shape (rows, features)."""
    found: list[int] = []

    def count(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        found.append(output.numel() if isinstance(output, torch.Tensor) else 0)

    hooks = [layer.register_forward_hook(count) for layer in module.modules() if not list(layer.children())]
    call("model", module.eval(), {}, x.clone())
    for hook in hooks:
        hook.remove()
    return sum(found) // len(x)


def two_rows(task: Task) -> Any:
    part = task.data.train
    weights = None if part.weights is None else part.weights[:2]
    return replace(part, x=part.x[:2], y=part.y[:2], rows=part.rows[:2], weights=weights)


def try_stack(network: Stack, x: torch.Tensor) -> None:
    """Raises CannotStackError if torch cannot vectorize the network in training or evaluation mode.

    `x` has shape (2, rows, features).
    """
    for mode in (False, True):
        network.train(mode)
        try:
            network(x)
        except Exception as error:
            raise CannotStackError(f"torch cannot vectorise its network: {describe_error(error)}") from error


def try_group_in_subprocess(group: Group, task: Task) -> TrialResult:
    """Calls try_group in a subprocess, so that user code cannot end the sweep."""
    try:
        return call_in_subprocess(try_group, group, task)
    except ProcessDiedError as error:
        return TrialResult(failed=f"the process that tried it died ({error})")


def try_optimizers(group: Group, network: Network) -> None:
    """Raises InputError if the optimizer of a job cannot be built.

    torch's optimizers check their arguments only then. The arguments of ch12's own were checked with the settings.
    """
    targets = [group.settings.optimizer.target]
    if targets[0].path not in OPTIMIZERS:
        targets = [job.run_settings.optimizer.target for job in group.jobs]
    problems: list[str] = []
    for target in {repr(target): target for target in targets}.values():
        try:
            build_optimizer(target, network)
        except InputError as error:
            problems += error.messages
    if problems:
        raise InputError(list(dict.fromkeys(problems)))


SAMPLE = 256  # largest number of runs trained for an estimate
WORTHWHILE = 0.8  # of a stack's time is the most that its half may take, or else halving only adds work
BRIEF = 0.2  # seconds of training that measure an epoch, unless two epochs take longer
RECORDING = 0.002  # seconds to write the record of a run


class Estimate(NamedTuple):
    """The estimated cost of a group. `seconds` is the time of its schedule by itself. `bytes` is the peak memory.

    `trainer`: what trains a stack, and why; empty for single runs.
    """

    seconds: float
    bytes: int
    trainer: str


def estimates(
    groups: Sequence[Group], tasks: Sequence[Task], items: Sequence[WorkItem], *, elsewhere: Elsewhere | None = None
) -> tuple[list[Estimate | str | None], list[WorkItem]]:
    """Returns an estimate for each group, None if no job is left, or the reason why it cannot be measured.

    Returns also the items with the seconds that each takes. `elsewhere`: what trains them; None for this machine.
    """
    found: list[Estimate | str | None] = []
    seconds: dict[int, float] = {}  # of a run, by group
    for index, (group, task) in enumerate(zip(groups, tasks, strict=True)):
        of_group = [item for item in items if item.group == index]
        measured = measure_items(group, task, of_group) if of_group else None
        if isinstance(measured, tuple):
            seconds[index], trainer = measured
            found.append(estimate(group, of_group, elsewhere, seconds[index], trainer))
        else:
            found.append(measured)
    return found, [replace(item, seconds=len(item.jobs) * seconds.get(item.group, 0.0)) for item in items]


def measure_items(group: Group, task: Task, items: Sequence[WorkItem]) -> tuple[float, str] | str:
    """Returns what `measure_run` does, for the largest stack of a group's items."""
    return measure_run(group, task, largest_stack(items) if items[0].stacked else 0)


def largest_stack(items: Sequence[WorkItem]) -> int:
    return max(max(map(len, item.parts())) for item in items)


def estimate(
    group: Group, items: Sequence[WorkItem], elsewhere: Elsewhere | None, each: float, trainer: str
) -> Estimate:
    """Returns the cost of a group. each: seconds of a run."""
    processes = min(processes_for(group.settings) if elsewhere is None else elsewhere.processes, len(items))
    seconds = makespan((len(item.jobs) * each for item in items), processes)
    return Estimate(seconds, processes * largest_stack(items) * bytes_of_run(group), trainer)


def timed(group: Group, task: Task, elsewhere: Elsewhere) -> Group:
    """Returns the group with the time that a run takes here, and the size of stacks that end within the time limit."""

    def measure(runs: int) -> float | None:
        measured = measure_run(group, task, runs)
        return None if isinstance(measured, str) else measured[0]

    runs = 0 if group.reason else min(len(group.jobs), max_stack_size(group, elsewhere))
    seconds, in_time = cut_in_time(runs, elsewhere.seconds, measure)
    return replace(group, seconds=seconds, runs_in_time=in_time or None)


def cut_in_time(runs: int, limit: float | None, measure: Callable[[int], float | None]) -> tuple[float, int]:
    """Returns the seconds of a run, and the size of its stack: halved as long as that brings its end nearer the limit.

    `measure`: returns the seconds of a run in a stack of so many, or None if they cannot be measured; then 0 and the
    size as it was are returned.
    """
    seconds = measure(runs)
    while seconds and limit is not None and runs > 2 and runs * seconds > limit:
        fewer = max(2, runs // 2)
        each = measure(fewer)
        if each is None or fewer * each > WORTHWHILE * runs * seconds:
            break
        runs, seconds = fewer, each
    return seconds or 0.0, runs


def measure_run(group: Group, task: Task, stacked: int) -> tuple[float, str] | str:
    """Returns the seconds that a run takes in a stack of so many runs, and what trains them. 0: by itself.

    Returns why it cannot be measured, where it cannot.
    """
    settings = group.settings
    device = choose_device(settings.machine.device)
    if is_elsewhere(device):
        return "this machine has no GPU to measure it on"
    sample = [job.run_settings for job in group.jobs[: min(SAMPLE, stacked) if stacked else 1]]
    # user code may end the process; a process that has used a GPU cannot be forked
    measure = measure_epoch if device.type == "cpu" and not runs_user_code(settings) else measure_in_subprocess
    measured = measure(sample, task, stacked > 0)
    if isinstance(measured, str):
        return measured
    seconds, trainer = measured
    return seconds / len(sample) * settings.loop.epochs + RECORDING, trainer


def measure_in_subprocess(*arguments: Any) -> tuple[float, str] | str:
    """Calls `measure_epoch` in a subprocess and returns its result."""
    try:
        return call_in_subprocess(measure_epoch, *arguments)
    except ProcessDiedError as error:
        return f"the process that tried it died ({error})"


def measure_epoch(sample: Sequence[RunSettings], task: Task, stacked: bool) -> tuple[float, str] | str:
    """Returns the seconds that an epoch of these runs takes as a stack, and what trains them.

    Times only the first run if not `stacked`.

    Returns an error message if the training fails.
    """
    device = choose_device(sample[0].machine.device)
    try:
        with torch.random.fork_rng(devices=[]):
            training = (build_stack(sample, task, device) if stacked else build_training(sample[0], task, device))[0]
            seconds: list[float] = []
            # the first epoch is slower, and any that other processes of the machine disturb; there may be only one
            while len(seconds) < min(2 if sum(seconds) > BRIEF else 6, sample[0].loop.epochs):
                start = time.perf_counter()
                training.one_epoch()
                seconds.append(time.perf_counter() - start)
            return min(seconds), describe_trainer(training)
    except (Exception, SystemExit) as error:
        return failure_text(error)


def describe_trainer(training: Training) -> str:
    """Returns what trains a stack: compiled code, or torch and why. Empty for a single run."""
    if not isinstance(training, StackTraining):
        return ""
    return f"torch; {training.why_steps}" if training.whole is None else "compiled code"


class Difference(NamedTuple):
    """The difference between a job's run in the sweep and the same job as a single run.

    `weights` is the largest difference relative to the largest weight. `objective` is the relative difference.
    `error`: why the job could not be trained as a single run; empty if it was.
    """

    job: int
    weights: float
    objective: float
    error: str = ""


def verify(jobs: Mapping[int, SweepJob], rows: Sequence[SweepRow], directory: Path, *, count: int) -> list[Difference]:
    """Returns the differences of `count` finished jobs from the same jobs trained as single runs.

    The jobs are drawn at random with a fixed seed, first one of each machine that trained some. Jobs removed by halving
    are left out, as single runs would go on, and jobs that a resume trained further.
    """
    finished = [
        row
        for row in rows
        if row.status == "finished"
        and row.job in jobs
        and row.left_at is None
        and row.overrides.get("epochs") == jobs[row.job].values.get("epochs")
    ]
    drawn = random.Random(count).sample(finished, len(finished))
    machines = machines_of_jobs(directory)
    firsts = {machines.get(row.job, ""): row.job for row in reversed(drawn)}.values()
    if len(firsts) > 1:
        drawn.sort(key=lambda row: row.job not in firsts)
    drawn = drawn[:count]
    return [verified(jobs[row.job], row, directory / row.directory) for row in drawn]


def verified(job: SweepJob, row: SweepRow, directory: Path) -> Difference:
    """Returns the difference of a job, with the error if code of the user's own, or its input, failed."""
    try:
        with users_errors(job.run_settings, "verifying"):
            return difference(job, row, directory)
    except InputError as error:
        return Difference(job.number, math.nan, math.nan, str(error))
    except SystemExit as error:
        return Difference(job.number, math.nan, math.nan, f"it called sys.exit({error.code!r})")


def difference(job: SweepJob, row: SweepRow, directory: Path) -> Difference:
    settings = job.run_settings
    with torch_settings(settings.machine) as device:
        single = prepare_job(settings, device)
        for epoch in single.training.epochs():
            if epoch.stopped[0]:
                break
        weights = single.network.snapshot()
        objective = float(single.training.best.value[0])
    swept = torch.load(readable(directory) / MODEL, map_location="cpu", weights_only=True)
    scale = max(float(value.abs().max()) for value in weights.values())
    largest_difference = max(float((weights[name].cpu() - swept[name]).abs().max()) for name in weights)
    return Difference(
        job.number, largest_difference / scale, abs(objective - row.number("objective")) / max(abs(objective), 1e-300)
    )
