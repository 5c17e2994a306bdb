"""A step of many small networks: compiled epochs, torch's operations, and a loop in C for one structure."""

import subprocess
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ch12cli.fused.compiler import FLAGS, compiler
from ch12cli.fused.epochs import whole_epochs
from ch12cli.fused.twister import draw_orders
from ch12cli.training.batches import Part, StackedSource
from ch12cli.training.loop import Limits
from ch12cli.training.losses import StackedLoss
from ch12cli.training.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from ch12cli.training.stack import Stack
from ch12cli.training.step import TrainingStep
from ch12cli.training.streams import Streams
from tests.benchmarks.bench import ROOT, Bench, Repeated, Table, interleaved, medians, missing, verdict
from tests.benchmarks.layouts import chain

ROWS, TIMES = 100, 5
PEERS = ("torch", "C", "JAX")
RUNS = (64, 256, 1024, 4096)
LIMITS = Limits(epochs=1, monitor="train_loss", stop_on="train_loss")
Case = tuple[list[int], int, Callable[[], nn.Module], type[Optimizer], dict[str, float]]
OTHERS: dict[str, Case] = {
    "4-16-16-3, batch 2, Adam": ([4, 16, 16, 3], 2, nn.ReLU, Adam, {}),
    "4-32-3, batch 8, Adam": ([4, 32, 3], 8, nn.ReLU, Adam, {}),
    "8-64-3, batch 32, Adam": ([8, 64, 3], 32, nn.ReLU, Adam, {}),
    "4-16-3, batch 2, SGD with momentum": ([4, 16, 3], 2, nn.ReLU, SGD, {"momentum": 0.9}),
    "4-16-3, batch 2, AdamW": ([4, 16, 3], 2, nn.ReLU, AdamW, {}),
    "4-16-3, batch 2, RMSprop": ([4, 16, 3], 2, nn.ReLU, RMSprop, {}),
    "4-16-3, batch 2, tanh": ([4, 16, 3], 2, nn.Tanh, Adam, {}),
    "4-16-3, batch 2, sigmoid": ([4, 16, 3], 2, nn.Sigmoid, Adam, {}),
    "4-16-3, batch 2, GELU": ([4, 16, 3], 2, nn.GELU, Adam, {}),
}


class Trained:
    """A stack whose call trains an epoch: microseconds of processor time for a step of one run."""

    def __init__(self, case: Case, runs: int, *, compiled: bool) -> None:
        sizes, batch, activation, kind, values = case
        torch.manual_seed(0)
        modules = [chain(sizes, activation) for _ in range(runs)]
        part = Part(torch.randn(ROWS, sizes[0]), torch.randint(sizes[-1], (ROWS,)))
        cpu = torch.device("cpu")
        stack = Stack(modules, range(runs), device=cpu, dtype=torch.float32, batch_size=batch)
        optimizer = kind(stack.parameters, **values)
        self.lrs = np.full((-(-ROWS // batch), runs), 0.001)
        self.steps = len(self.lrs) * runs
        self.order = draw_orders(np.arange(runs), ROWS)
        loss = nn.CrossEntropyLoss()
        if compiled:
            epochs = whole_epochs(
                stack, loss, optimizer, part, batch_size=batch, limits=LIMITS, wanted=True, right="largest"
            )
            self.epoch: Callable[[], object] = lambda: epochs(self.order[None], self.lrs[None], LIMITS)
        else:
            streams = Streams(1)
            for seed in range(runs):
                streams.add(seed)
            source = StackedSource(part, streams, batch_size=batch, runs_last=stack.runs_last)
            step = TrainingStep(stack, StackedLoss(loss), optimizer)
            self.epoch = lambda: [
                step(x, y, lr) for (x, y), lr in zip(source.batches(self.order), self.lrs, strict=True)
            ]

    def __call__(self) -> float:
        start = time.process_time()
        self.epoch()
        return (time.process_time() - start) / self.steps * 1e6


def of_jax(bench: Bench, case: Case, runs: int) -> Repeated:
    """Returns JAX's epoch of the same networks: microseconds of processor time for a step of one run."""
    sizes, batch, activation, kind, _ = case
    name = type(activation()).__name__
    return Repeated(bench.peer("jax_step.py", "-".join(map(str, sizes)), batch, name, kind.__name__, runs))


def reference(bench: Bench) -> Callable[[int], float]:
    """Returns the C loop: microseconds of processor time for a step of one run, of that many runs."""
    program, path = bench.folder("fused") / "fused_step", compiler()
    source = ROOT / "tests" / "benchmarks" / "peers" / "fused_step.c"
    flags = [flag for flag in FLAGS if flag != "-fPIC"]
    subprocess.run([str(path), *flags, "-ffast-math", str(source), "-o", str(program), "-lm"], check=True)

    def measure(runs: int) -> float:
        done = subprocess.run([str(program), str(runs // 8), "20"], capture_output=True, text=True, check=True)
        return float(done.stdout)

    return measure


def run(bench: Bench) -> Table:
    torch.set_num_threads(1)
    table = Table(
        "Compiled epochs",
        f"A step of one run in a stack, cross-entropy, {ROWS} rows: microseconds of processor time, one core; medians "
        f"of {TIMES}, in turn. Compiled: with the rows that are right counted. C: the same step, written by hand for "
        "4-16-3. JAX: jit(vmap(scan)) over the steps of an epoch.",
        ["network", "runs", "compiled", "torch", "C", "JAX", "of torch", "of C", "of JAX", "target"],
    )
    jax = bench.has("jax")
    table.notes += [] if jax else [missing("JAX")]
    first: Case = ([4, 16, 3], 2, nn.ReLU, Adam, {})
    in_c = reference(bench)
    cases = [("4-16-3, batch 2, Adam", first, runs) for runs in RUNS]
    cases += [(name, case, 1024) for name, case in OTHERS.items()]
    for name, case, runs in cases:
        contenders: dict[str, Callable[[], float]] = {
            "compiled": Trained(case, runs, compiled=True),
            "torch": Trained(case, runs, compiled=False),
        }
        most = {"C": 2.0, "JAX": 0.2 if case is first else 0.3}
        if case is first:
            contenders["C"] = lambda runs=runs: in_c(runs)
        peer = of_jax(bench, case, runs) if jax else None
        if peer is not None:
            contenders["JAX"] = peer
        middle = medians(interleaved(contenders, times=TIMES))
        if peer is not None:
            peer.close()
        shares = {peer: middle["compiled"] / middle[peer] for peer in PEERS if peer in middle}
        targets = {peer: verdict(shares[peer], target=most[peer]) for peer in most if peer in shares}
        table.add(
            *(name, f"{runs:,}", f"{middle['compiled']:.3f}"),
            *(f"{middle[peer]:.3f}" if peer in middle else "" for peer in PEERS),
            *(f"{shares[peer]:.2f}" if peer in shares else "" for peer in PEERS),
            ", ".join(f"{peer} {words}" for peer, words in targets.items()),
        )
    return table
