"""A run's figures as TensorBoard's event files in its own directory: `tensorboard --logdir outputs` shows them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ch12cli.files.result_json import Result
from ch12cli.trackers.tracker import Tracked, outcome, scalars

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PARTS = ("train", "valid", "test")


class TensorBoard:
    """Scalars by epoch, parts of one metric in one chart, and the run's line in the HPARAMS view."""

    def __init__(self, tracked: Tracked) -> None:
        self.tracked = tracked
        self.writer: SummaryWriter | None = None

    def epoch(self, row: Mapping[str, float | int]) -> None:
        epoch = int(row["epoch"])
        writer = self.writer or self.open(epoch)
        for name, value in scalars(row).items():
            writer.add_scalar(tag_of(name), value, epoch)

    def open(self, epoch: int | None) -> "SummaryWriter":
        """The writer. epoch: with which it begins; what an earlier sitting wrote from there on no longer counts."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.tracked.directory), purge_step=epoch)
        return self.writer

    def end(self, result: Result) -> None:
        writer = self.writer or self.open(None)
        figures = {name: value for name, value in outcome(result).items() if math.isfinite(value)}
        # its own values must be numbers, truths or texts
        params = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in self.tracked.params.items()}
        writer.add_hparams(params, {f"hparam/{name}": value for name, value in figures.items()}, run_name=".")
        writer.close()


def tag_of(column: str) -> str:
    """`loss/train` for train_loss: TensorBoard puts what stands before the slash into one group of charts."""
    part, _, metric = column.partition("_")
    return f"{metric}/{part}" if part in PARTS and metric else column
