"""Hydra sweeper `search`: draws settings in batches, has the launcher train each, and draws the next near the best.

Hydra imports every module in hydra_plugins when any program starts it, so this module imports nothing slow.
"""

from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class SearchSweeper(Sweeper):
    """The sweeper of `ch12 train -m hydra/sweeper=search`. The task function must be ch12's sweep."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.task: Any = task_function
        self.directory = Path(config.hydra.sweep.dir)
        self.configuration = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from ch12cli.sweeps.search.driver import run_search

        self.directory.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.configuration, self.directory / "multirun.yaml")
        return run_search(self.task, self.launcher)
