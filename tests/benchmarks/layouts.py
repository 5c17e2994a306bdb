"""The two layouts of a stack's memory against each other: what RUNS_LAST_UP_TO of ch12cli.training.stack rests on."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import torch
from torch import Tensor, nn

from ch12cli.training.batches import Part, StackedSource
from ch12cli.training.losses import StackedLoss
from ch12cli.training.optimizers import Adam
from ch12cli.training.stack import Stack, is_faster_runs_last
from ch12cli.training.step import TrainingStep
from ch12cli.training.streams import Streams
from tests.benchmarks.bench import Bench, Table, interleaved, medians

FEATURES, CLASSES = 4, 3
WIDTHS, DEPTHS, BATCHES, RUNS = (8, 16, 32, 64, 128), (1, 2), (2, 8, 32, 128), (256,)
BUDGET = 0.1  # seconds a measurement
TIMES = 3


class Laid:
    """A stack in one of the layouts. Processor seconds of a step a call."""

    def __init__(self, *, width: int, depth: int, batch: int, runs: int, runs_last: bool) -> None:
        sizes = [FEATURES, *[width] * depth, CLASSES]
        torch.manual_seed(0)
        modules = [chain(sizes) for _ in range(runs)]
        cpu = torch.device("cpu")
        self.stack = Stack(modules, list(range(runs)), device=cpu, dtype=torch.float32, runs_last=runs_last)
        optimizer = Adam(self.stack.parameters)
        self.step = TrainingStep(self.stack, StackedLoss(nn.CrossEntropyLoss()), optimizer)
        rows = batch * max(4, 64 // batch)
        part = Part(torch.randn(rows, FEATURES), torch.randint(CLASSES, (rows,)))
        self.streams = Streams(1)
        for seed in range(runs):
            self.streams.add(seed)
        self.source = StackedSource(part, self.streams, batch_size=batch, runs_last=runs_last)
        self.order: Tensor = self.streams.orders(self.source.members, range(1), rows)[0]
        start = time.process_time()
        self.epoch()
        self.epochs = max(1, int(BUDGET / (time.process_time() - start)))
        self.steps = self.epochs * rows // batch

    def epoch(self) -> None:
        for x, y in self.source.batches(self.order):
            self.step(x, y, 0.001)

    def __call__(self) -> float:
        start = time.process_time()
        for _ in range(self.epochs):
            self.epoch()
        return (time.process_time() - start) / self.steps


def chain(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """A network of these layers, with an activation in between."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


def run(bench: Bench) -> Table:
    torch.set_num_threads(1)
    table = Table(
        "The layouts of a stack",
        "Run axis last (sums of products) against run axis first (batched matrix products): microseconds of processor "
        f"time for a step of one run, one core, {FEATURES} features, {CLASSES} classes, Adam; "
        f"medians of {TIMES}, in turn. {RUNS[0]} runs; the largest product is inputs x outputs x rows of the largest "
        "layer.",
        ["width", "depth", "batch", "largest product", "last", "first", "last / first", "chosen"],
    )
    for runs, width, depth, batch in product(RUNS, WIDTHS, DEPTHS, BATCHES):
        shape = {"runs": runs, "width": width, "depth": depth, "batch": batch}
        last, first = Laid(**shape, runs_last=True), Laid(**shape, runs_last=False)
        middle = medians(interleaved({"last": last, "first": first}, times=TIMES))
        weights = width * (width if depth > 1 else FEATURES)
        microseconds = [f"{middle[name] / runs * 1e6:.2f}" for name in ("last", "first")]
        share = middle["last"] / middle["first"]
        runs_last = is_faster_runs_last(list(chain([FEATURES, *[width] * depth, CLASSES]).children()), batch)
        lost = max(share if runs_last else 1 / share, 1.0) - 1
        chosen = ("last" if runs_last else "first") + (f" (loses {lost:.0%})" if lost > 0.1 else "")
        table.add(*map(str, (width, depth, batch, weights * batch)), *microseconds, f"{share:.2f}", chosen)
    return table
