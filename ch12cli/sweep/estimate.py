"""What a plan will cost: one epoch of a few runs of each group, scaled up."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ch12cli.run.build import build_stack, build_training
from ch12cli.run.task import Task, choose_device
from ch12cli.sweep.examine import is_foreign
from ch12cli.sweep.plan import Plan
from ch12cli.sweep.stack_size import bytes_of_run, processes_for
from ch12cli.sweep.subprocess_call import DiedError, call_apart
from ch12cli.sweep.worker import Workshop, cause_of_failure

SAMPLE = 256  # runs at most that are trained for an estimate
RECORDING = 0.002  # seconds that the record of a run takes


class Estimate(NamedTuple):
    """What a group of a plan will cost. seconds: with all processes; bytes: at once."""

    seconds: float
    bytes: int


def estimates(plan: Plan, workshop: Workshop) -> list[Estimate | None]:
    """An estimate for each group, None for one that has nothing left to do, or that cannot be measured because a
    network of it fails, which is noted in the group."""
    found: list[Estimate | None] = []
    for index, group in enumerate(plan.groups):
        units = [unit for unit in plan.units if unit.group == index]
        runs = sum(len(unit.jobs) for unit in units)
        if not runs:
            found.append(None)
            continue
        settings, largest = group.settings, max(max(map(len, unit.parts())) for unit in units)
        stacked = units[0].stacked
        sample = [job.settings for job in group.jobs[: min(SAMPLE, largest) if stacked else 1]]
        arguments = (sample, workshop.task(index), stacked)
        apart = is_foreign(settings) or choose_device(settings["device"]).type != "cpu"  # which no fork may follow
        measured = call_measured(*arguments) if apart else measure(*arguments)
        if isinstance(measured, str):
            group.unmeasured = measured
            found.append(None)
            continue
        processes = min(processes_for(settings), len(units))
        each = measured / len(sample) * settings["epochs"] + RECORDING
        found.append(Estimate(runs * each / processes, processes * largest * bytes_of_run(group)))
    return found


def call_measured(*arguments: Any) -> float | str:
    """The same as `measure`, of a network of the user's, which may end the process."""
    try:
        return call_apart(measure, *arguments)
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
        return cause_of_failure(error)
