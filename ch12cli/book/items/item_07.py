"""The same values in another shape."""

import torch

t = torch.zeros(30)
t_reshape = t.reshape(5, 6)
print(t_reshape.shape)
