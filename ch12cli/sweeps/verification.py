"""Verification: trains some finished jobs of a sweep again as single runs, and compares the results."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ch12cli.files.run_directory import MODEL
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import prepare_job
from ch12cli.sweeps.jobs import SweepJob


class Difference(NamedTuple):
    """The difference between a job's run in the sweep and the same job as a single run.

    `weights` is the largest difference relative to the largest weight. `objective` is the relative difference.
    """

    job: int
    weights: float
    objective: float


def verify(jobs: Mapping[int, SweepJob], rows: Sequence[SweepRow], directory: Path, *, count: int) -> list[Difference]:
    """Returns the differences of `count` finished jobs from the same jobs trained as single runs.

    The jobs are drawn at random with a fixed seed. Jobs removed by halving are left out, as single runs would go on.
    """
    finished = [row for row in rows if row.status == "finished" and row.job in jobs and row.left_at is None]
    drawn = random.Random(count).sample(finished, min(count, len(finished)))
    return [difference(jobs[row.job], row, directory / row.directory) for row in drawn]


def difference(job: SweepJob, row: SweepRow, directory: Path) -> Difference:
    settings = job.run_settings
    with torch_settings(settings.machine) as device:
        single = prepare_job(settings, device)
        for epoch in single.training.epochs():
            if epoch.stopped[0]:
                break
        weights = single.network.snapshot()
        objective = float(single.training.best.value[0])
    swept = torch.load(directory / MODEL, map_location="cpu", weights_only=True)
    scale = max(float(value.abs().max()) for value in weights.values())
    largest_difference = max(float((weights[name].cpu() - swept[name]).abs().max()) for name in weights)
    return Difference(
        job.number, largest_difference / scale, abs(objective - row.number("objective")) / max(abs(objective), 1e-300)
    )
