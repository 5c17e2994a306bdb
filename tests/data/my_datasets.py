"""Data sets of a user's own, as torch's documentation writes them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset

POINTS = torch.randn(90, 4, generator=torch.Generator().manual_seed(1))
SIDES = (POINTS[:, 0] > 0).long()


class Points(Dataset[Any]):
    """Points and the side that they lie on, as pairs."""

    def __init__(self, start: int = 0, end: int = 90, *, bad: int = -1) -> None:
        self.start, self.end, self.bad = start, end, bad

    def __len__(self) -> int:
        return self.end - self.start

    def __getitem__(self, index: int) -> Any:
        if index == self.bad:
            raise OSError("the file is gone")
        return POINTS[self.start + index], SIDES[self.start + index]


class Named(Points):
    """The same as mappings, with names of the classes."""

    classes = ("left", "right")

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return {"label": int(y), "point": x.tolist()}


class Late(Points):
    """The same with known targets, whose rows are read in training alone."""

    def __init__(self, bad: int) -> None:
        super().__init__(bad=bad)
        self.targets = SIDES


class Stream(IterableDataset[Any]):
    """The same one after the other, with a sum to learn."""

    def __init__(self, start: int = 0, end: int = 90) -> None:
        self.start, self.end = start, end

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.start, self.end):
            yield POINTS[index], POINTS[index].sum()


class Pictures(Points):
    """Noise of 2 x 6 x 5."""

    def __getitem__(self, index: int) -> Any:
        return torch.full((2, 6, 5), float(index)), f"class {index % 3}"
