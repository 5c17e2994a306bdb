"""An axis of length one is taken out; the others stay."""

import torch

t = torch.zeros(1, 2, 1, 4, 1)
t_sqz = torch.squeeze(t, 2)
print(t.shape, "-->", t_sqz.shape)
