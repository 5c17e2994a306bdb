"""The mean of each column: over axis 0, the rows."""

import torch

torch.manual_seed(1)
t1 = 2 * torch.rand(5, 2) - 1
print(torch.mean(t1, axis=0))
