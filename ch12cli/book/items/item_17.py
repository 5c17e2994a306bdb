"""Two tensors side by side, along a new axis."""

import torch

a = torch.ones(3)
b = torch.zeros(3)
print(torch.stack([a, b], axis=1))
