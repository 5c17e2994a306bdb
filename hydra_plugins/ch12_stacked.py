"""Hydra launchers that pass all jobs of a batch to ch12, which trains jobs of equal structure as one stack.

`stacked` trains in processes of this machine, `slurm` in jobs of a cluster, `executor` in a `concurrent.futures`
executor's. Hydra imports every module in hydra_plugins when any program starts it, so this one imports nothing slow.
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

    def make_engine(self, *, trust: bool = True) -> Any:
        """Returns the engine that trains the jobs. trust: the sweep may import classes of the user's own."""
        from ch12cli.sweeps.workers.worker_pool import LocalEngine

        return LocalEngine()


class SlurmLauncher(StackedLauncher):
    """Trains stacks in the jobs of a Slurm array. The options are those of conf/hydra/launcher/slurm.yaml."""

    def make_engine(self, *, trust: bool = True) -> Any:
        from ch12cli.engines.remote import RemoteEngine
        from ch12cli.engines.slurm import Slurm

        options = {name: value for name, value in self.options.items() if name != "wait"}
        return RemoteEngine(Slurm.from_options(options), wait=bool(self.options.get("wait", True)), trust=trust)


class ExecutorLauncher(StackedLauncher):
    """Trains stacks in the tasks of an executor. The options are those of conf/hydra/launcher/executor.yaml."""

    def make_engine(self, *, trust: bool = True) -> Any:
        from ch12cli.engines.executor import ExecutorEngine
        from ch12cli.engines.remote import RemoteEngine

        return RemoteEngine(ExecutorEngine.from_options(self.options, self.make_executor), trust=trust)

    def make_executor(self) -> Any:
        """Returns the executor that the option names. Raises InputError if it cannot be made."""
        from hydra.utils import instantiate

        from ch12cli.config.settings import first_lines
        from ch12cli.config.targets import current_directory_last
        from ch12cli.errors import InputError

        try:
            with current_directory_last():
                return instantiate(self.options["executor"])
        except Exception as error:
            raise InputError(f"hydra.launcher.executor: {first_lines(error)}") from error
