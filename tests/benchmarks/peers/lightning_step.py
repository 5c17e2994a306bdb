"""The same training in Lightning with everything switched off that can be."""

import logging
import sys
import time
import warnings

import lightning
import torch
from plain import Model, read_rows
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Iris(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model, self.loss_fn = Model(), nn.CrossEntropyLoss()

    def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
        x, y = batch
        return self.loss_fn(self.model(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.001)


class Clock(lightning.Callback):
    """Seconds of all epochs but the first, in which the trainer sets itself up."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, _module: lightning.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.start = time.process_time()

    def on_train_epoch_end(self, _trainer: lightning.Trainer, _module: lightning.LightningModule) -> None:
        self.end = time.process_time()


x, y = read_rows(sys.argv[1])
for _line in sys.stdin:
    clock = Clock()
    trainer = lightning.Trainer(
        max_epochs=int(sys.argv[2]) + 1,
        accelerator="cpu",
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Iris(), DataLoader(TensorDataset(x, y), 2, shuffle=True))
    print(clock.end - clock.start, flush=True)
