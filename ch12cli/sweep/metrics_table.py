"""The figures of a stack's runs, epoch by epoch: what becomes the rows of their metrics.csv."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.run.recorder import Rows

FIRST = 64  # epochs for which there is room at first; doubled as they are needed


class Figures:
    """The columns of metrics.csv of many runs, (runs, epochs) each, as long as has been trained and a little longer."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.columns: dict[str, NDArray[np.float64]] = {}

    def put(
        self,
        epoch: int,
        columns: Mapping[str, NDArray[np.float64]],
        *,
        members: NDArray[np.int64],
        sound: NDArray[np.bool_],
    ) -> None:
        """Takes note of an epoch, counted from 1, of those runs (members) whose figures mean something (sound)."""
        for name, values in columns.items():
            self.room(name, epoch)[members[sound], epoch - 1] = values[sound]

    def room(self, name: str, epochs: int) -> NDArray[np.float64]:
        """A column in which there is room for so many epochs."""
        old = self.columns.get(name, np.empty((self.runs, 0)))
        if old.shape[1] < epochs:
            self.columns[name] = np.full((self.runs, max(FIRST, 2 * old.shape[1], epochs)), np.nan)
            self.columns[name][:, : old.shape[1]] = old
        return self.columns[name]

    def rows(self, run: int, epochs: int) -> Rows:
        """The rows of a run's metrics.csv."""
        columns = [np.arange(1.0, epochs + 1), *(values[run, :epochs] for values in self.columns.values())]
        return Rows(list(self.columns), np.stack(columns, axis=1))

    def state_dict(self, epochs: int) -> dict[str, Tensor]:
        """The columns up to an epoch, copied: a checkpoint is not to hold the room beyond."""
        return {name: torch.from_numpy(values[:, :epochs].copy()) for name, values in self.columns.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.columns = {name: values.numpy().copy() for name, values in state.items()}
