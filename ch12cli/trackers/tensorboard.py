"""Writes the metrics of a run as TensorBoard event files in its directory: `tensorboard --logdir outputs`."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ch12cli.files.result_json import Result
from ch12cli.trackers.protocol import TrackedRun, epoch_metrics, final_metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TAG_PARTS = ("train", "valid", "test")
SCALARS = (bool, int, float, str)
EVENTS, HPARAMS = "events.out.tfevents.", ".hparams"  # how the file of the HPARAMS view begins and ends


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
        writer.close()
        self.write_hparams(params, {f"hparam/{name}": value for name, value in metrics.items()})

    def write_hparams(self, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Writes the run's line of the HPARAMS view to a file of its own, in place of that of an earlier session.

        TensorBoard shows the first line that it finds in a directory.
        """
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        for earlier in self.run.directory.glob(f"{EVENTS}*{HPARAMS}"):
            earlier.unlink()
        with SummaryWriter(str(self.run.directory), filename_suffix=HPARAMS) as writer:
            for summary in hparams(dict(params), dict(metrics)):
                writer.file_writer.add_summary(summary)
            for name, value in metrics.items():
                writer.add_scalar(name, value)


def tag_of(column: str) -> str:
    """The tag of a column, such as `loss/train` for train_loss: TensorBoard groups by the part before the slash."""
    part, _, metric = column.partition("_")
    return f"{metric}/{part}" if part in TAG_PARTS and metric else column
