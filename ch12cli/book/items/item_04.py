"""Random numbers from a uniform distribution over [0, 1): other ones each time, as no seed is set."""

import torch

rand_tensor = torch.rand(2, 3)
print(rand_tensor)
