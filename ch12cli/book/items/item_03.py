"""A tensor of ones of a given shape."""

import torch

t_ones = torch.ones(2, 3)
print(t_ones.shape)
print(t_ones)
