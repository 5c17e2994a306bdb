"""Hydra launcher `stacked`: passes all jobs of a batch to ch12, which trains jobs of equal structure as one stack.

Hydra imports every module in hydra_plugins when any program starts it, so this module imports nothing slow.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class StackedLauncher(Launcher):
    """The default launcher of `ch12 train -m`. The task function must have a method `launch`."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.task: Any = task_function
        self.callbacks = hydra_context.callbacks  # the sweep's objects: a callback may count jobs

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        done: Sequence[JobReturn] = self.task.launch(self.callbacks, job_overrides, initial_job_idx)
        return done
