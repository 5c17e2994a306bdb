"""Groups of jobs with the same structure, and the sizes of the stacks that train them."""

import heapq
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ch12cli.catalogue.formatting import count_of
from ch12cli.config.run_settings import RunSettings
from ch12cli.files.hydra_folder import flatten
from ch12cli.files.plain_values import is_finite_number
from ch12cli.run.task import choose_device
from ch12cli.sweeps.jobs import FREE, FREE_GROUPS, IRRELEVANT, SweepJob
from ch12cli.training.optimizers import OPTIMIZERS

SINGLE = "the only job of its structure"  # why such a job is trained by itself


@dataclass(frozen=True)
class Group:
    """Jobs of one structure.

    `reason`: why the jobs are trained one by one; empty if they are stacked.
    `parameters`: the number of parameters of one network; 0 before a trial build.
    `values`: the number of values that its layers output per data row; 0 before a trial build.
    `seconds`: how long a run takes in a stack, to its last epoch; 0 where that is not measured.
    `runs_in_time`: the number of runs of a stack that ends within a time limit; None where that is not measured.
    """

    jobs: Sequence[SweepJob]
    reason: str = ""
    parameters: int = 0
    values: int = 0
    seconds: float = 0.0
    runs_in_time: int | None = None

    @cached_property
    def settings(self) -> RunSettings:
        """The settings of the first job. The other jobs differ only in settings that may vary within a stack."""
        return self.jobs[0].run_settings


@dataclass(frozen=True)
class Elsewhere:
    """The processes of other machines that an engine trains work items with.

    `processes`: how many at once. `memory`: bytes of each; None if that is not known. `gpus`: whether they have GPUs.
    `seconds`: how long each may work; None if there is no limit.
    """

    processes: int
    memory: int | None = None
    gpus: bool = False
    seconds: float | None = None

    @property
    def device(self) -> str:
        """What device=auto stands for there."""
        return "cuda" if self.gpus else "cpu"


Pairs = tuple[tuple[str, str], ...]  # of the path of a setting, and a text


def kinds(values: Iterable[tuple[str, Any]]) -> Pairs:
    """Returns what must match of settings for stacking, of those that matter."""
    return tuple([(path, kind(path, value)) for path, value in values if not path.startswith(IRRELEVANT)])


def kind(path: str, value: Any) -> str:
    """Returns what must match of a value for stacking: only its kind if its setting may vary, else its repr."""
    if path in FREE or path.startswith(FREE_GROUPS):
        if is_finite_number(value) or path == "early_stopping.patience":  # null means infinite patience
            return "number"
        if isinstance(value, list) and all(map(is_finite_number, value)):
            return "numbers"
    return repr(value)


def why_single(settings: RunSettings) -> str:
    """Returns why jobs with these settings cannot be stacked; empty if they can. Does not need torch."""
    optimizer = settings.optimizer.target.path
    if optimizer not in OPTIMIZERS:
        return f"{optimizer} has no stacked form"
    if settings.model.precision == "bfloat16":
        return "precision=bfloat16 has no stacked form"
    if settings.model.compile:
        return "compile=true compiles one network"
    return ""


def why_not_halved(group: Group) -> str:
    """Returns why `sweep.halving` has no effect on a group; empty if it has one or is not set."""
    halving, epochs = group.settings.sweep.halving, group.settings.loop.epochs
    if not halving:
        return ""
    reason = f"min_epochs={halving.min_epochs} is not before the last of {count_of(epochs, 'epoch')}"
    return group.reason or (reason if halving.min_epochs >= epochs else "")


def group_jobs(jobs: Sequence[SweepJob]) -> list[Group]:
    """Returns the groups of jobs with equal structure, in the order of their first jobs."""
    members: dict[Pairs, list[SweepJob]] = {}
    alike: dict[tuple[int, Pairs], list[SweepJob]] = {}  # the group of jobs with this base and such changes
    of_base: dict[int, Pairs] = {}
    for job in jobs:
        base, changes = id(job.base), kinds(job.changes.items())
        if base not in of_base:
            of_base[base] = kinds(flatten(job.base.resolved))
        if (base, changes) not in alike:
            structure = tuple(dict((*of_base[base], *changes)).items())
            alike[base, changes] = members.setdefault(structure, [])
        alike[base, changes].append(job)
    return [
        Group(found, why_single(found[0].run_settings) or (SINGLE if len(found) == 1 else ""))
        for found in members.values()
    ]


RUNS_AT_LEAST = 32  # per stack; with fewer, starting another process does not pay off
# Of networks this narrow (bytes of a run's step), whose step takes hardly longer for 64 runs than for 32. Two stacks of
# 32 networks of Iris take 0.4 s of processor time more than one of 64.
NARROW, NARROW_AT_LEAST = 2**13, 64
RUNS_AT_MOST = 4096  # per stack on a CPU; more bring no speedup
# Per stack on a GPU. On an H200, a step of 16,384 networks of Iris takes as long as a step of 1,024.
RUNS_AT_MOST_ON_GPU = 16_384
MEMORY = 512 * 2**20  # bytes that one stack may take
PROCESS = 400 * 2**20  # bytes of a process that has imported torch, before it trains
# Bytes that a step of a stack may read and write on a CPU. Data that fits into the cache stays there between steps.
# Measured: 8 to 256 runs of widths 32 to 256, 128 to 4,096 runs of widths 16 and 32, and convolutions.
# 8 to 24 MiB were fastest: by up to a third on one core, and by 5 to 14 % in complete sweeps on two cores.
# The two cores share a cache of 32 MiB.
CACHE = 16 * 2**20
STREAM = 6000  # bytes of a run's random stream
PASSES = 2  # copies of the layer outputs: forward and backward
COPIES = 14  # of a run's parameters: gradient, optimizer, best epoch, last epoch, temporaries
COPIES_OF_STEP = 6  # of these, the ones that a step reads and writes


def trains_on_cpu(settings: RunSettings) -> bool:
    return choose_device(settings.machine.device).type == "cpu"


def bytes_of_step(group: Group, *, copies: int = COPIES_OF_STEP) -> int:
    """Returns the approximate memory that one step reads and writes per run of a stack, in bytes."""
    size = 8 if group.settings.model.precision == "float64" else 4
    batch_size = group.settings.loop.batch_size
    return size * (copies * group.parameters + PASSES * batch_size * group.values)


def bytes_of_run(group: Group) -> int:
    """Returns the approximate memory that one run of a stack takes, in bytes."""
    history = 10 * 8 * group.settings.loop.epochs
    return bytes_of_step(group, copies=COPIES) + history + STREAM


def max_stack_size(group: Group, elsewhere: Elsewhere | None = None) -> int:
    """Returns the largest number of runs of a group that one stack may hold. `elsewhere`: None for this machine."""
    configured = group.settings.sweep.max_stacked
    if configured is not None:
        return configured
    at_most = RUNS_AT_MOST if trains_on_cpu(group.settings) else RUNS_AT_MOST_ON_GPU
    memory = MEMORY
    if elsewhere is not None and elsewhere.memory is not None:
        memory = min(memory, max(0, elsewhere.memory - PROCESS))
    return max(2, min(at_most, memory // bytes_of_run(group)))


def best_stack_size(group: Group, elsewhere: Elsewhere | None = None) -> int:
    """Returns the number of runs per stack that trains fastest, at most `max_stack_size`.

    Unless `sweep.max_stacked` is set, such a stack ends within a time limit, if there is one, and on a CPU its step
    fits into the cache.
    """
    runs = max_stack_size(group, elsewhere)
    if group.settings.sweep.max_stacked is not None:
        return runs
    runs = min(runs, group.runs_in_time or runs)
    return max(2, min(runs, CACHE // max(1, bytes_of_step(group)))) if trains_on_cpu(group.settings) else runs


def trains_on_any_gpu(settings: RunSettings) -> bool:
    """Returns whether jobs with these settings are trained on a GPU, and name none, as `cuda:1` does."""
    return choose_device(settings.machine.device) == torch.device("cuda")


def visible_gpus() -> list[str]:
    """Returns the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Does not initialise CUDA."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return named[:count] if any(named) else [str(number) for number in range(count)]


def gpus_to_share(groups: Sequence[Group]) -> list[str]:
    """Returns the GPUs of which each worker process gets one; none if a job names its GPU, or uses none."""
    on_gpu = [group.settings for group in groups if not trains_on_cpu(group.settings)]
    return visible_gpus() if on_gpu and all(map(trains_on_any_gpu, on_gpu)) else []


def processes_for(settings: RunSettings) -> int:
    """Returns how many processes train jobs with these settings: one per CPU core, or one per GPU.

    A GPU that the settings name has one process. `sweep.processes` overrides this number.
    """
    configured = settings.sweep.processes
    if configured is not None:
        return configured
    if trains_on_any_gpu(settings):
        return len(visible_gpus())
    return len(os.sched_getaffinity(0)) if trains_on_cpu(settings) and hasattr(os, "sched_getaffinity") else 1


def makespan(seconds: Iterable[float], processes: int) -> float:
    """Returns how long so many processes take for tasks of these lengths, of which each takes the next that is left."""
    free = [0.0] * max(1, processes)  # a heap: when each process is free
    for length in seconds:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def divide_into_stacks(group: Group, runs: int, elsewhere: Elsewhere | None = None) -> list[int]:
    """Returns the sizes of the stacks that `runs` runs of a group are divided into.

    `elsewhere`: what trains them; None for this machine.
    """
    at_least = NARROW_AT_LEAST if bytes_of_step(group) <= NARROW else RUNS_AT_LEAST
    processes = processes_for(group.settings) if elsewhere is None else elsewhere.processes
    return stack_sizes(runs, at_most=best_stack_size(group, elsewhere), at_least=at_least, processes=processes)


def stack_sizes(runs: int, *, at_most: int, at_least: int, processes: int) -> list[int]:
    """Returns the sizes of the stacks that `runs` runs are divided into.

    Makes as few stacks as `at_most` allows, but keeps all processes equally busy if the stacks are large enough.
    """
    stacks = max(-(-runs // at_most), min(processes, runs // at_least), 1)
    even = -(-stacks // processes) * processes
    if runs >= even * at_least:  # else some processes would be idle during the last stacks
        stacks = even
    return [runs // stacks + (index < runs % stacks) for index in range(stacks)]
