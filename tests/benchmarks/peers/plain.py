"""The chapter's training loop for Iris: a DataLoader, five lines, `.item()` and the accuracy in each step."""

import csv
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Model(nn.Module):
    def __init__(self, inputs: int = 4, hidden: int = 16, outputs: int = 3) -> None:
        super().__init__()
        self.layer1 = nn.Linear(inputs, hidden)
        self.layer2 = nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(self.layer1(x))
        return nn.Softmax(dim=1)(self.layer2(x))


def read_rows(path: str) -> tuple[torch.Tensor, torch.Tensor]:
    """100 of the flowers in a file, scaled. x: (100, 4); y: (100,)."""
    with open(path, newline="") as file:
        rows = list(csv.reader(file))[1:]
    names = sorted({row[-1] for row in rows})
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1)).tolist()[:100]
    x = torch.tensor([[float(value) for value in rows[place][:-1]] for place in order])
    y = torch.tensor([names.index(rows[place][-1]) for place in order])
    return (x - x.mean()) / x.std(), y


class Plain:
    """The loop, an epoch a call."""

    def __init__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        *,
        make: Callable[[], nn.Module] = Model,
        seed: int = 1,
        batch: int = 2,
        lr: float = 0.001,
    ) -> None:
        torch.manual_seed(seed)
        self.loader = DataLoader(TensorDataset(x, y), batch, shuffle=True)
        self.model = make()
        self.loss_fn = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        self.loss_hist: list[float] = []
        self.accuracy_hist: list[torch.Tensor] = []

    def epoch(self) -> None:
        loss_sum, correct = 0.0, torch.zeros(())
        for x_batch, y_batch in self.loader:
            pred = self.model(x_batch)
            loss = self.loss_fn(pred, y_batch)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            loss_sum += loss.item() * y_batch.size(0)
            correct += (torch.argmax(pred, dim=1) == y_batch).float().sum()
        self.loss_hist.append(loss_sum / len(self.loader.dataset))
        self.accuracy_hist.append(correct / len(self.loader.dataset))


if __name__ == "__main__":  # plain.py IRIS.CSV EPOCHS: seconds of so many epochs for each line read
    plain = Plain(*read_rows(sys.argv[1]))
    for _line in sys.stdin:
        start = time.process_time()
        for _ in range(int(sys.argv[2])):
            plain.epoch()
        print(time.process_time() - start, flush=True)
