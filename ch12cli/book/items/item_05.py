"""The same values in another type."""

import torch

t_a = torch.tensor([1, 2, 3])
t_a_new = t_a.to(torch.int64)
print(t_a_new.dtype)
