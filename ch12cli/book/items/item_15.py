"""A tensor in parts of given sizes."""

import torch

torch.manual_seed(1)
t = torch.rand(5)
for part in torch.split(t, [3, 2]):
    print(part)
