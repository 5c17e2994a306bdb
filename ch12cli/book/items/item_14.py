"""A tensor in so many parts of one size."""

import torch

torch.manual_seed(1)
t = torch.rand(6)
print(t)
for part in torch.chunk(t, 3):
    print(part)
