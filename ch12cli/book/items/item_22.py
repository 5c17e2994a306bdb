"""Linear regression from scratch: a weight, a bias, the gradient by autograd and the step by hand."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

X_train = np.arange(10, dtype="float32").reshape((10, 1))
y_train = np.array([1.0, 1.3, 3.1, 2.0, 5.0, 6.3, 6.6, 7.4, 8.0, 9.0], dtype="float32")
X_train_norm = torch.from_numpy((X_train - np.mean(X_train)) / np.std(X_train))
train_dl = DataLoader(TensorDataset(X_train_norm, torch.from_numpy(y_train)), batch_size=1, shuffle=True)

torch.manual_seed(1)
weight = torch.randn(1)
weight.requires_grad_()
bias = torch.zeros(1, requires_grad=True)


def loss_fn(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).pow(2).mean()


learning_rate = 0.001
for epoch in range(200):
    for x_batch, y_batch in train_dl:
        loss = loss_fn(x_batch @ weight + bias, y_batch)
        loss.backward()
        with torch.no_grad():
            for parameter in (weight, bias):
                parameter -= parameter.grad * learning_rate
                parameter.grad.zero_()
    if epoch % 10 == 0:
        print(f"Epoch {epoch} Loss {loss.item():.4f}")
print("Final Parameters:", weight.item(), bias.item())
