"""Writes the metrics of a run as TensorBoard event files in its directory: `tensorboard --logdir outputs`."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ch12cli.files.result_json import Result
from ch12cli.trackers.protocol import TrackedRun, epoch_metrics, final_metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TAG_PARTS = ("train", "valid", "test")
SCALARS = (bool, int, float, str)


class TensorBoard:
    """Scalars by epoch, one chart for the parts of a metric, and the run's line in the HPARAMS view."""

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self.writer: SummaryWriter | None = None

    def on_epoch_end(self, row: Mapping[str, float | int]) -> None:
        epoch = int(row["epoch"])
        writer = self.writer or self.open(epoch)
        for name, value in epoch_metrics(row).items():
            writer.add_scalar(tag_of(name), value, epoch)

    def open(self, epoch: int | None) -> "SummaryWriter":
        """Opens the writer. epoch: the first one to write; events that an earlier session wrote from it on are
        dropped."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.run.directory), purge_step=epoch)
        return self.writer

    def on_end(self, result: Result) -> None:
        writer = self.writer or self.open(None)
        metrics = {name: value for name, value in final_metrics(result).items() if math.isfinite(value)}
        # hyperparameters must be numbers, booleans or strings
        params = {k: v if isinstance(v, SCALARS) else str(v) for k, v in self.run.params.items()}
        writer.add_hparams(params, {f"hparam/{name}": value for name, value in metrics.items()}, run_name=".")
        writer.close()


def tag_of(column: str) -> str:
    """The tag of a column, such as `loss/train` for train_loss: TensorBoard groups by the part before the slash."""
    part, _, metric = column.partition("_")
    return f"{metric}/{part}" if part in TAG_PARTS and metric else column
