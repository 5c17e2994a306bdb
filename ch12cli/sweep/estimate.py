"""What a plan will cost: one epoch of a few runs of each group, scaled up."""

import time
from typing import NamedTuple

import torch

from ch12cli.config.build import build_stack, build_training
from ch12cli.config.task import choose_device
from ch12cli.sweep.plan import Plan, bytes_of_run, processes_for
from ch12cli.sweep.units import Workshop

SAMPLE = 256  # runs at most that are trained for an estimate
RECORDING = 0.002  # seconds that the record of a run takes


class Estimate(NamedTuple):
    """What a group of a plan will cost. seconds: with all processes; bytes: at once."""

    seconds: float
    bytes: int


def estimates(plan: Plan, workshop: Workshop) -> list[Estimate | None]:
    """An estimate for each group, None for one that has nothing left to do."""
    found: list[Estimate | None] = []
    for index, group in enumerate(plan.groups):
        units = [unit for unit in plan.units if unit.group == index]
        runs = sum(len(unit.jobs) for unit in units)
        if not runs:
            found.append(None)
            continue
        settings, device = group.settings, choose_device(group.settings["device"])
        processes = min(processes_for(settings), len(units))
        sample = [job.settings for job in group.jobs[: min(SAMPLE, max(len(unit.jobs) for unit in units))]]
        with torch.random.fork_rng(devices=[]):
            if units[0].stacked:
                training = build_stack(sample, workshop.task(index), device)[0]
            else:
                sample = sample[:1]
                training = build_training(settings, workshop.task(index), device)[0]
            training.one_epoch()
            start = time.perf_counter()
            training.one_epoch() if settings["epochs"] > 1 else None
            seconds = time.perf_counter() - start
        each = seconds / len(sample) * settings["epochs"] + RECORDING
        largest = max(len(unit.jobs) for unit in units)
        found.append(Estimate(runs * each / processes, processes * largest * bytes_of_run(group)))
    return found
