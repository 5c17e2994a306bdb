"""A data set of two tensors: `__len__` says how many rows there are, `__getitem__` gives one with its label."""

import torch
from torch import Tensor
from torch.utils.data import Dataset


class JointDataset(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


torch.manual_seed(1)
joint_dataset = JointDataset(torch.rand(4, 3), torch.arange(4))
for example in joint_dataset:
    print(" x:", example[0], " y:", example[1])
