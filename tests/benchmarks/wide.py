"""Wide networks: how much of the machine's matrix-product rate a stack reaches."""

import time
from collections.abc import Callable
from itertools import islice, pairwise

import torch

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.run.build import build_module, build_stack
from ch12cli.run.task import build_task
from ch12cli.sweeps.groups import Group, divide_into_stacks
from ch12cli.sweeps.jobs import JobComposer, make_jobs
from ch12cli.sweeps.trials import layer_values
from tests.benchmarks.bench import Bench, Table, interleaved, medians, spread, verdict

RUNS, BATCH, WIDTH, DEPTH = 256, 32, 64, 2
ROWS = 512  # of the training part
TIMES = 9
SQUARE = 1024


def operations() -> int:
    """Multiplications and additions of one step of one run: forward, gradient of the weights, gradient of the input."""
    sizes = [2, *[WIDTH] * DEPTH, 1]
    layers = [a * b for a, b in pairwise(sizes)]
    return 2 * BATCH * (3 * sum(layers) - layers[0])  # nobody needs the gradient of the data


def rate(work: float, function: Callable[[], object]) -> float:
    """Operations a second of processor time, of one call that does `work` of them."""
    start = time.process_time()
    function()
    return work / (time.process_time() - start)


def run(bench: Bench) -> Table:
    torch.set_num_threads(1)
    lines = ["dataset=two_class", f"dataset.size={ROWS}", "dataset.valid_size=0", "dataset.test_size=0", "epochs=1000"]
    lines += [f"batch_size={BATCH}", f"model.width={WIDTH}", f"model.depth={DEPTH}"]
    with hydra_session():
        jobs = make_jobs(JobComposer(Composer(), []), [[*lines, f"seed={seed}"] for seed in range(RUNS)])
    task, device = build_task(jobs[0].run_settings), torch.device("cpu")
    module = build_module(jobs[0].run_settings.model, task)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    values = layer_values(module, torch.zeros(1, task.inputs))
    sizes = divide_into_stacks(Group(jobs, parameters=parameters, values=values), RUNS)
    size, left_over = sizes[0], iter(jobs)
    parts = [list(islice(left_over, runs)) for runs in sizes]
    stacks = [build_stack([job.run_settings for job in part], task, device)[0] for part in parts]
    assert len(stacks[0].train) == ROWS
    left, right = torch.randn(size, BATCH, WIDTH), torch.randn(size, WIDTH, WIDTH)
    batched, square = torch.empty(size, BATCH, WIDTH), torch.randn(SQUARE, SQUARE)
    product = torch.empty(SQUARE, SQUARE)

    def batches() -> None:
        for _ in range(20):
            torch.bmm(left, right, out=batched)

    found = interleaved(
        {
            "a whole epoch": lambda: rate(
                operations() * RUNS * (ROWS // BATCH), lambda: [stack.one_epoch() for stack in stacks]
            ),
            "bmm": lambda: rate(20 * 2 * size * BATCH * WIDTH * WIDTH, batches),
            "square": lambda: rate(
                4 * 2 * SQUARE**3, lambda: [torch.mm(square, square, out=product) for _ in range(4)]
            ),
        },
        times=TIMES,
        warm=2,
    )
    middle = medians(found)
    share = middle["a whole epoch"] / middle["square"]
    return Table(
        f"Wide networks: {RUNS} runs, batch {BATCH}, width {WIDTH}, depth {DEPTH}",
        f"A whole epoch of training (forward, backward, Adam, batches, metrics), in stacks of {size} as a sweep cuts "
        "them, against this machine's bare matrix products: as in the hidden layers, "
        f"`bmm` of {size} x ({BATCH} x {WIDTH}) · ({WIDTH} x {WIDTH}), and one product of {SQUARE} x {SQUARE}. "
        "Useful operations only, on one core, a second of processor time: "
        f"median (lowest to highest) of {TIMES}, in turn.",
        ["what", "GFLOP/s", "training / it", "target"],
        [
            ["training", spread(found["a whole epoch"], 1e9, 1), "1", ""],
            ["`bmm` of that shape", spread(found["bmm"], 1e9, 1), f"{middle['a whole epoch'] / middle['bmm']:.2f}", ""],
            [
                f"`mm` of {SQUARE} x {SQUARE}",
                spread(found["square"], 1e9, 1),
                f"{share:.2f}",
                verdict(share, target=0.25, larger=True),
            ],
        ],
    )
