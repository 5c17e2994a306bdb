"""A data set out of files: pictures in a folder, whose names say what they show, brought to one size."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset


class ImageDataset(Dataset[tuple[Tensor, int]]):
    def __init__(self, files: list[Path], height: int, width: int) -> None:
        self.files, self.size = files, (width, height)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.files[index]) as image:
            pixels = np.asarray(image.convert("RGB").resize(self.size), dtype=np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1), int("dog" in self.files[index].name)


with tempfile.TemporaryDirectory() as folder:
    for number, name in enumerate(("cat-01", "cat-02", "cat-03", "dog-01", "dog-02", "dog-03")):
        pixels = np.random.default_rng(number).integers(0, 256, (90 + 10 * number, 150, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(Path(folder, f"{name}.png"))
    image_dataset = ImageDataset(sorted(Path(folder).glob("*.png")), height=80, width=120)
    print("labels:", [label for _, label in image_dataset])
    for image, _ in image_dataset:
        print(list(image.shape))
