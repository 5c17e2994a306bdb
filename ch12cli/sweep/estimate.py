"""What a plan will cost: one epoch of a few runs of each group, scaled up."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ch12cli.run.build import build_stack, build_training
from ch12cli.run.task import Task, choose_device
from ch12cli.sweep.examine import runs_user_code
from ch12cli.sweep.groups import Group
from ch12cli.sweep.plan import Plan
from ch12cli.sweep.stack_size import bytes_of_run, processes_for
from ch12cli.sweep.subprocess_call import DiedError, call_in_subprocess
from ch12cli.sweep.work_item import WorkItem
from ch12cli.sweep.worker import failure_text

SAMPLE = 256  # runs at most that are trained for an estimate
RECORDING = 0.002  # seconds that the record of a run takes


class Estimate(NamedTuple):
    """What a group of a plan will cost. seconds: with all processes; bytes: at once."""

    seconds: float
    bytes: int


def estimates(plan: Plan) -> list[Estimate | str | None]:
    """An estimate for each group; None where nothing is left to do; a text that says why it cannot be measured."""
    return [
        estimate(group, [item for item in plan.items if item.group == index], task)
        for index, (group, task) in enumerate(zip(plan.groups, plan.tasks, strict=True))
    ]


def estimate(group: Group, items: Sequence[WorkItem], task: Task) -> Estimate | str | None:
    runs = sum(len(item.jobs) for item in items)
    if not runs:
        return None
    settings, largest = group.settings, max(max(map(len, item.parts())) for item in items)
    stacked = items[0].stacked
    sample = [job.settings for job in group.jobs[: min(SAMPLE, largest) if stacked else 1]]
    on_cpu = choose_device(settings["device"]).type == "cpu"
    # user code may end the process; a process that has used a GPU cannot be forked
    measured = (measure if on_cpu and not runs_user_code(settings) else measure_in_subprocess)(sample, task, stacked)
    if isinstance(measured, str):
        return measured
    processes = min(processes_for(settings), len(items))
    each = measured / len(sample) * settings["epochs"] + RECORDING
    return Estimate(runs * each / processes, processes * largest * bytes_of_run(group))


def measure_in_subprocess(*arguments: Any) -> float | str:
    """The result of `measure`, called in a process of its own."""
    try:
        return call_in_subprocess(measure, *arguments)
    except DiedError as error:
        return f"the process that tried it died ({error})"


def measure(sample: Sequence[dict[str, Any]], task: Task, stacked: bool) -> float | str:
    """Seconds of an epoch of these runs together, or of the first alone; or why it cannot be told."""
    device = choose_device(sample[0]["device"])
    try:
        with torch.random.fork_rng(devices=[]):
            training = (build_stack(sample, task, device) if stacked else build_training(sample[0], task, device))[0]
            for _ in range(min(2, sample[0]["epochs"])):  # the first is slower; but it may be the only one
                start = time.perf_counter()
                training.one_epoch()
            return time.perf_counter() - start
    except (Exception, SystemExit) as error:
        return failure_text(error)
