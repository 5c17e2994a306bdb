"""A callback of a user's own, which keeps what it was told, for the tests of sweeps."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Keeper(Callback):
    """kept: what each instance was told, in order; a sweep should make one of them."""

    kept: list["Keeper"] = []  # noqa: RUF012 - of all sweeps of a test

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        Keeper.kept.append(self)

    def on_multirun_start(self, config: DictConfig, **_more: Any) -> None:
        self.told.append(("multirun start", config.hydra.mode.name))

    def on_multirun_end(self, config: DictConfig, **_more: Any) -> None:
        self.told.append(("multirun end", config.hydra.sweep.dir))

    def on_job_start(self, config: DictConfig, **_more: Any) -> None:
        self.told.append(("job start", (config.hydra.job.num, config.hydra.runtime.output_dir, config.seed)))

    def on_job_end(self, config: DictConfig, job_return: Any, **_more: Any) -> None:
        self.told.append(("job end", (config.hydra.job.num, job_return.status.name, job_return.overrides)))
