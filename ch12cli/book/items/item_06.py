"""Rows become columns."""

import torch

t = torch.rand(3, 5)
t_tr = torch.transpose(t, 0, 1)
print(t.shape, "-->", t_tr.shape)
