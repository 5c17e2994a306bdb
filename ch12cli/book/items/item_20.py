"""Shuffled batches: each pass over the loader, each epoch, has an order of its own."""

import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
joint_dataset = TensorDataset(torch.rand(4, 3), torch.arange(4))
torch.manual_seed(1)
data_loader = DataLoader(joint_dataset, batch_size=2, shuffle=True)
print("one pass:", *(y.tolist() for _, y in data_loader))
for epoch in range(2):
    print(f"epoch {epoch + 1}:", *(y.tolist() for _, y in data_loader))
