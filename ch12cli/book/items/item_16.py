"""Two tensors, one behind the other."""

import torch

a = torch.ones(3)
b = torch.zeros(2)
print(torch.cat([a, b], axis=0))
