"""Pictures a second out of a folder of JPEG files, against a plain Dataset with PIL in torch's DataLoader."""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ch12cli.data import image_folder
from ch12cli.data.prepared import prepare
from ch12cli.training.batches import Shuffled, StreamedPart
from tests.benchmarks.bench import Bench, Table, ratio

PICTURES = int(os.environ.get("CH12_BENCH_PICTURES", 5_000))
SIDE, SMALL, BATCH = 96, 64, 64


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


class Rates(NamedTuple):
    """Of an epoch. first: seconds to the first batch; rate: pictures a second; growth: bytes after a quarter of it."""

    first: float
    rate: float
    growth: int


def rates(batches: Any) -> Rates:
    start = time.perf_counter()
    first, rows, quarter = 0.0, 0, 0
    for x, _ in batches:
        first = first or time.perf_counter() - start
        rows += len(x)
        quarter = quarter or (resident_now() if 4 * rows >= PICTURES else 0)
    return Rates(first, rows / (time.perf_counter() - start), resident_now() - quarter)


def resident_now() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(bench: Bench) -> Table:
    folder = bench.folder("pictures")
    files = make_pictures(folder)
    table = Table(
        f"{PICTURES:,} JPEG files of {SIDE} x {SIDE}, brought to {SMALL} x {SMALL}",
        "One epoch in batches of 64, with `dataset.cache=none` and `memory` (its second epoch) against a plain "
        "Dataset + PIL + DataLoader. Pictures a second; seconds to the first batch; by how much memory grows from the "
        "first quarter of the epoch to its end.",
        ["workers", "plain", "first", "ch12, none", "first", "memory", "times", "ch12, memory", "times"],
    )
    cpu = torch.device("cpu")
    for workers in (0, 1, 2):
        plain = rates(DataLoader(Plain(files), BATCH, shuffle=True, num_workers=workers))
        found: dict[str, Rates] = {}
        for cache in ("none", "memory"):
            data = prepare(image_folder(str(folder), height=SMALL, width=SMALL, colour=True, cache=cache))
            y = torch.from_numpy(np.ascontiguousarray(data.train.y))
            rows: Any = data.train.x
            part = StreamedPart(rows.take, y, shape=(rows.shape[1],), dtype=torch.float32, device=cpu)
            source = Shuffled(part, batch_size=BATCH, workers=workers, device=cpu, pin_memory=False)
            for _ in range(1 if cache == "none" else 2):
                found[cache] = rates(source.batches(source.order()))
        none, memory = found["none"], found["memory"]
        table.rows.append(
            [
                *(str(workers), f"{plain.rate:,.0f}", f"{plain.first:.2f}"),
                *(f"{none.rate:,.0f}", f"{none.first:.2f}", f"{none.growth / 1e6:+.0f} MB"),
                *(ratio(none.rate, plain.rate), f"{memory.rate:,.0f}", ratio(memory.rate, plain.rate)),
            ]
        )
    return table
