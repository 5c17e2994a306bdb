"""A loader gives the items of a data set one by one, or in batches."""

import torch
from torch.utils.data import DataLoader

t = torch.arange(6, dtype=torch.float32)
for item in DataLoader(t):
    print(item)
for batch in DataLoader(t, batch_size=3, drop_last=False):
    print(batch)
