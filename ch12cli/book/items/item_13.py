"""The length of each row, by torch and by NumPy."""

import numpy as np
import torch

torch.manual_seed(1)
t1 = 2 * torch.rand(5, 2) - 1
print(torch.linalg.norm(t1, ord=2, dim=1))
print(np.sqrt(np.sum(np.square(t1.cpu().numpy()), axis=1)).round(4))
