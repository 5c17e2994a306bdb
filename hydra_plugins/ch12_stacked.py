"""Hydra's launcher `stacked`: hands the whole batch of jobs to ch12, which trains those of one structure together.

Hydra imports every module in hydra_plugins at its start, in every program: nothing heavy is imported here.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class StackedLauncher(Launcher):
    """The default launcher of `ch12 train -m`. The task function must have a method `launch`, as ch12's has."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.task: Any = task_function
        self.callbacks = hydra_context.callbacks  # the sweep's own: a callback may count its jobs

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        done: Sequence[JobReturn] = self.task.launch(self.callbacks, job_overrides, initial_job_idx)
        return done
