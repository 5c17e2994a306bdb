"""Pictures a second out of a folder of JPEG files, against a plain Dataset with PIL in torch's DataLoader."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ch12cli.data import image_folder
from ch12cli.data.prepared import prepare
from ch12cli.training.batches import Shuffled, StreamedPart
from tests.benchmarks.bench import Bench, Table, ratio

PICTURES, SIDE, SMALL, BATCH = 5_000, 96, 64, 64


class Plain(Dataset[Any]):
    """What a user of torch writes."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        with Image.open(self.files[index]) as image:
            small = image.convert("RGB").resize((SMALL, SMALL), Image.Resampling.BILINEAR)
        x = torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1)
        return x, index % 2


def make_pictures(folder: Path) -> list[Path]:
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (PICTURES, 12, 12, 3), dtype=np.uint8)
    files = [folder / f"{'ab'[number % 2]}{number:05}.jpg" for number in range(PICTURES)]
    for pixels, file in zip(coarse, files, strict=True):
        Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, quality=90)
    return files


def rates(batches: Any) -> tuple[float, float]:
    """(seconds to the first batch, pictures a second) of one epoch."""
    start = time.perf_counter()
    first = 0.0
    rows = 0
    for x, _ in batches:
        first = first or time.perf_counter() - start
        rows += len(x)
    return first, rows / (time.perf_counter() - start)


def run(bench: Bench) -> Table:
    folder = bench.folder("pictures")
    files = make_pictures(folder)
    table = Table(
        f"{PICTURES:,} JPEG files of {SIDE} x {SIDE}, brought to {SMALL} x {SMALL}",
        "One epoch in batches of 64, with `dataset.cache=none` and `memory` (its second epoch) against a plain "
        "Dataset + PIL + DataLoader. Pictures a second; seconds to the first batch.",
        ["workers", "plain", "first", "ch12, none", "first", "times", "ch12, memory", "times"],
    )
    cpu = torch.device("cpu")
    for workers in (0, 1, 2):
        plain_first, plain = rates(DataLoader(Plain(files), BATCH, shuffle=True, num_workers=workers))
        found: dict[str, tuple[float, float]] = {}
        for cache in ("none", "memory"):
            data = prepare(image_folder(str(folder), height=SMALL, width=SMALL, colour=True, cache=cache))
            y = torch.from_numpy(np.ascontiguousarray(data.train.y))
            rows: Any = data.train.x
            part = StreamedPart(rows.take, y, shape=(rows.shape[1],), dtype=torch.float32, device=cpu)
            source = Shuffled(part, batch_size=BATCH, workers=workers, device=cpu, pin_memory=False)
            for _ in range(1 if cache == "none" else 2):
                found[cache] = rates(source.batches(source.order()))
        (first, none), (_, memory) = found["none"], found["memory"]
        table.rows.append(
            [
                str(workers), f"{plain:,.0f}", f"{plain_first:.2f}", f"{none:,.0f}", f"{first:.2f}",
                ratio(none, plain), f"{memory:,.0f}", ratio(memory, plain),
            ]
        )  # fmt: skip
    return table
