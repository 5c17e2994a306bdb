"""Pictures a second out of a folder of JPEG files, against a plain Dataset with PIL in torch's DataLoader."""

import os
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ch12cli.data import image_folder
from ch12cli.data.prepared import prepare
from ch12cli.training.batches import Shuffled, StreamedPart
from tests.benchmarks.bench import Bench, Table, interleaved, ratio, spread, verdict

PICTURES = int(os.environ.get("CH12_BENCH_PICTURES", 5_000))
ROUNDS = 5
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


def epoch_rates(batches: Iterable[Any]) -> Rates:
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
        "Epochs in batches of 64, with `dataset.cache=none` and `memory` (its second epoch on) against a plain "
        f"Dataset + PIL + DataLoader: the median of {ROUNDS} in turn, after one. Pictures a second; seconds to "
        "the first batch; by how much memory grows from the first quarter of an epoch to its end; the ratio to plain, "
        "median (lowest to highest).",
        ["workers", "plain", "first", "ch12, none", "first", "memory", "times", "ch12, memory", "times", "target"],
    )
    cpu = torch.device("cpu")
    for workers in (0, 1, 2):
        batches: dict[str, Callable[[], Iterable[Any]]] = {}
        plain = DataLoader(Plain(files), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        batches["plain"] = partial(iter, plain)
        for cache in ("none", "memory"):
            data = prepare(image_folder(str(folder), height=SMALL, width=SMALL, colour=True, cache=cache))
            y = torch.from_numpy(np.ascontiguousarray(data.train.y))
            rows: Any = data.train.x
            part = StreamedPart(rows.take, y, shape=(rows.shape[1],), dtype=torch.float32, device=cpu)
            source = Shuffled(part, batch_size=BATCH, workers=workers, device=cpu, pin_memory=False)
            batches[cache] = partial(epoch_of, source)
        first = {name: epoch_rates(give()).first for name, give in batches.items()}
        found: dict[str, list[Rates]] = {name: [] for name in batches}
        interleaved({name: partial(keep, found[name], give) for name, give in batches.items()}, times=ROUNDS, warm=0)
        middle = {name: statistics.median(rate for _, rate, _ in each) for name, each in found.items()}
        times = [ours.rate / peer.rate for ours, peer in zip(found["none"], found["plain"], strict=True)]
        growth = max(one.growth for one in found["none"])
        share = statistics.median(times)
        table.add(
            *(str(workers), f"{middle['plain']:,.0f}", f"{first['plain']:.2f}"),
            *(f"{middle['none']:,.0f}", f"{first['none']:.2f}", f"{growth / 1e6:+.0f} MB", spread(times)),
            *(f"{middle['memory']:,.0f}", ratio(middle["memory"], middle["plain"])),
            verdict(share, target=1, larger=True) if workers == 2 else "",
        )
    return table


def epoch_of(source: Shuffled) -> Iterable[Any]:
    return source.batches(source.order())


def keep(found: list[Rates], give: Callable[[], Iterable[Any]]) -> float:
    found.append(epoch_rates(give()))
    return found[-1].rate
