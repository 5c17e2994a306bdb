"""Every row of one matrix times every row of another: a matrix product with the second transposed."""

import torch

torch.manual_seed(1)
t1 = 2 * torch.rand(5, 2) - 1
t2 = torch.normal(mean=0.0, std=1.0, size=(5, 2))
print(torch.matmul(t1, torch.transpose(t2, 0, 1)))
