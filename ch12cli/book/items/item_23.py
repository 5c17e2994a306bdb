"""The same regression with nn.Linear, nn.MSELoss and optim.SGD, on the random stream where the last one left it."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

X_train = np.arange(10, dtype="float32").reshape((10, 1))
y_train = np.array([1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0], dtype="float32")
X_train_norm = torch.from_numpy((X_train - np.mean(X_train)) / np.std(X_train))
train_dl = DataLoader(TensorDataset(X_train_norm, torch.from_numpy(y_train)), batch_size=1, shuffle=True)

torch.manual_seed(1)
torch.empty(402, dtype=torch.int64).random_()  # two numbers for the weight, and two for each of the 200 epochs

model = nn.Linear(1, 1)
loss_fn = nn.MSELoss(reduction="mean")
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
for epoch in range(200):
    for x_batch, y_batch in train_dl:
        loss = loss_fn(model(x_batch)[:, 0], y_batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    if epoch % 10 == 0:
        print(f"Epoch {epoch} Loss {loss.item():.4f}")
print("Final Parameters:", model.weight.item(), model.bias.item())
