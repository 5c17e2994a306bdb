"""Iris by a network with one hidden layer; the trained network saved and loaded, as a whole and as its weights."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.data import iris

table = iris()
shuffled = np.random.RandomState(1).permutation(150)
test, train = shuffled[:50], shuffled[50:]
mean, deviation = np.mean(table.features[train]), np.std(table.features[train])
X = torch.from_numpy((table.features - mean) / deviation).float()
y = torch.from_numpy(np.array(table.target))


class Model(nn.Module):
    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.layer1 = nn.Linear(input_size, hidden_size)
        self.layer2 = nn.Linear(hidden_size, output_size)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.layer2(torch.sigmoid(self.layer1(x))), dim=1)


torch.manual_seed(1)
train_dl = DataLoader(TensorDataset(X[train], y[train]), batch_size=2, shuffle=True)
model = Model(4, 16, 3)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
for _epoch in range(100):
    for x_batch, y_batch in train_dl:
        loss = loss_fn(model(x_batch), y_batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def accuracy(network: nn.Module) -> float:
    return (network(X[test]).argmax(dim=1) == y[test]).float().mean().item()


print(f"Test Acc.: {accuracy(model):.4f}")
with tempfile.TemporaryDirectory() as folder:
    torch.save(model, Path(folder, "whole.pt"))
    model_new = torch.load(Path(folder, "whole.pt"), weights_only=False)  # a file of one's own: it may hold any code
    print(f"Test Acc.: {accuracy(model_new):.4f}")
    torch.save(model.state_dict(), Path(folder, "state.pt"))
    model_new = Model(4, 16, 3)
    model_new.load_state_dict(torch.load(Path(folder, "state.pt")))
    print(f"Test Acc.: {accuracy(model_new):.4f}")
