"""What is a tensor, and what is not."""

import torch

a = [1, 2, 3]
t_a = torch.tensor(a)
print((torch.is_tensor(a), torch.is_tensor(t_a)))
