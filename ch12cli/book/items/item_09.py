"""The product of two tensors, element by element."""

import torch

torch.manual_seed(1)
t1 = 2 * torch.rand(5, 2) - 1
t2 = torch.normal(mean=0.0, std=1.0, size=(5, 2))
print(torch.multiply(t1, t2))
