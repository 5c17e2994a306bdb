"""Every column of one matrix times every column of another."""

import torch

torch.manual_seed(1)
t1 = 2 * torch.rand(5, 2) - 1
t2 = torch.normal(mean=0.0, std=1.0, size=(5, 2))
print(torch.matmul(torch.transpose(t1, 0, 1), t2))
