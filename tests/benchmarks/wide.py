"""Wide networks: how much of the machine's matrix-product rate a stack reaches."""

import time
from collections.abc import Callable
from copy import deepcopy
from itertools import islice, pairwise

import torch
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.run_settings import RunSettings
from ch12cli.run.build import build_module, build_stack, build_training
from ch12cli.run.start import checked
from ch12cli.run.task import build_task
from ch12cli.sweeps.groups import Group, divide_into_stacks
from ch12cli.sweeps.jobs import JobComposer, make_jobs
from ch12cli.sweeps.trials import layer_values
from tests.benchmarks.bench import Bench, Table, interleaved, medians, spread, verdict

RUNS, BATCH, WIDTH, DEPTH = 256, 32, 64, 2
ALONE = (1024, 4, 256)  # width, depth and batch of a run alone
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
    cores = torch.get_num_threads()
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
    table = Table(
        f"Wide networks: {RUNS} runs, batch {BATCH}, width {WIDTH}, depth {DEPTH}; and one run",
        f"A whole epoch of training (forward, backward, Adam, batches, metrics), in stacks of {size} as a sweep cuts "
        "them, against this machine's bare matrix products: as in the hidden layers, "
        f"`bmm` of {size} x ({BATCH} x {WIDTH}) · ({WIDTH} x {WIDTH}), and one product of {SQUARE} x {SQUARE}. "
        "Useful operations only, on one core, a second of processor time: "
        f"median (lowest to highest) of {TIMES}, in turn. Below, one run of width {ALONE[0]:,}, depth {ALONE[1]} and "
        f"batch {ALONE[2]} on {cores} threads, and the plain loop with a DataLoader: milliseconds a step.",
        ["what", "GFLOP/s, or ms", "training / it", "target"],
    )
    table.add("training", spread(found["a whole epoch"], 1e9, 1), "1", "")
    for peer, name in {"bmm": "`bmm` of that shape", "square": f"`mm` of {SQUARE} x {SQUARE}"}.items():
        share = middle["a whole epoch"] / middle[peer]
        table.add(name, spread(found[peer], 1e9, 1), f"{share:.2f}", verdict(share, target=0.5, larger=True))
    torch.set_num_threads(cores)
    loops = interleaved(one_run(), times=TIMES)
    share = medians(loops)["ch12"] / medians(loops)["plain"]
    table.add("one run", spread(loops["ch12"], 1e-3, 1), "1", "")
    table.add("the plain loop", spread(loops["plain"], 1e-3, 1), f"{share:.2f}", verdict(share, target=1.0))
    return table


def one_run() -> dict[str, Callable[[], float]]:
    """ch12's loop and the plain one, of the same network: seconds of a step in an epoch."""
    width, depth, batch = ALONE
    lines = ["dataset=two_class", f"dataset.size={16 * batch}", "dataset.valid_size=0", "dataset.test_size=0"]
    lines += [f"model.width={width}", f"model.depth={depth}", f"batch_size={batch}", "epochs=100000"]
    with hydra_session():
        composition = checked(Composer(), lines)
    settings = RunSettings.from_config(composition.settings, composition.choices)
    task = build_task(settings)
    training, network = build_training(settings, task, torch.device("cpu"))
    module = deepcopy(network.module)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.001)
    loader = DataLoader(TensorDataset(training.train.x, training.train.y), batch, shuffle=True)

    def plain() -> None:
        total, right = 0.0, torch.zeros(())
        for x, y in loader:
            prediction = module(x)
            loss = task.loss(prediction, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(y)
            right += ((prediction >= 0.5) == (y >= 0.5)).float().sum()

    def seconds(epoch: Callable[[], object]) -> float:
        start = time.perf_counter()
        epoch()
        return (time.perf_counter() - start) / len(loader)

    return {"ch12": lambda: seconds(training.one_epoch), "plain": lambda: seconds(plain)}
