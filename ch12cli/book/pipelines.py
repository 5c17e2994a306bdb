"""Demonstration of section 12.2: when DataLoader workers pay off."""

import os

import torch

from ch12cli.book.demo import Demo
from ch12cli.training.batches import Part
from ch12cli.training.loader_bench import Costs, Measured, advise, measure

ROWS, BATCH_SIZE = 320, 16
WORKERS = (0, 2)
LASTING = 0.3  # seconds measured for each setting
CASES = {
    "cheap items": Costs(),
    "costly items (2 ms each)": Costs(item=0.002),
    "costly steps (20 ms each)": Costs(step=0.02),
}


def workers() -> Demo:
    """12.2: measures batches per second with and without workers, for cheap items, costly items and costly steps."""
    part = Part(torch.zeros(ROWS, 4), torch.zeros(ROWS, dtype=torch.int64))
    width = max(map(len, CASES))
    lines = [f"{'batches a second':<{width}}" + "".join(f"{f'workers={count}':>12}" for count in WORKERS)]
    for name, costs in CASES.items():
        found = [measure_loader(part, count, costs) for count in WORKERS]
        rates = "".join(f"{1 / each.seconds:>12,.0f}" for each in found)
        lines += [f"{name:<{width}}{rates}", f"  {advise(found, cores=os.cpu_count() or 1).text}"]
    about = (
        "A DataLoader with num_workers fetches batches in processes of their own while the network trains. That costs "
        "a few tenths of a millisecond a batch, and pays where getting an item ready takes longer. `ch12 bench loader` "
        "measures it for your own data, batch size and costs."
    )
    return Demo("When workers pay, measured here", about, lines)


def measure_loader(part: Part, count: int, costs: Costs) -> Measured:
    return measure(
        part,
        batch_size=BATCH_SIZE,
        workers=count,
        fetch="batch",
        pinned=False,
        costs=costs,
        device=torch.device("cpu"),
        lasting=LASTING,
    )
