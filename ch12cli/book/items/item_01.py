"""A tensor from a list, and one from a NumPy array: the array's type stays, and so does its memory."""

import numpy as np
import torch

a = [1, 2, 3]
b = np.array([4, 5, 6], dtype=np.int32)
t_a = torch.tensor(a)
t_b = torch.from_numpy(b)
print(t_a)
print(t_b)
