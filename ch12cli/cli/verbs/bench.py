"""`ch12 bench`: measures how fast batches load, and what ways of training in parallel bring, on this machine."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ch12cli.catalogue.formatting import count_of
from ch12cli.cli.help.arguments import Arguments
from ch12cli.cli.text.tables import format_table
from ch12cli.cli.verbs.plot import FORMS, require_target
from ch12cli.errors import InputError
from ch12cli.files.environment import usable_cores
from ch12cli.files.plain_values import whole_number_in
from ch12cli.rules import Number
from ch12cli.shell import shell_line
from ch12cli.suggest import did_you_mean

TIME_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
COST = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)")
SUBJECTS = {"loader": 0.6, "parallel": 2.0}  # and the seconds of each of their measurements
SECONDS = Number(low=0.05, high=60)
WORKER_COUNTS = (0, 1, 2, 4)


def parser() -> Arguments:
    arguments = Arguments("bench")
    arguments.add_argument(
        "--item-cost", metavar="TIME", default="0ms", help="work added to each item, such as 2ms or 50us"
    )
    arguments.add_argument(
        "--step-cost", metavar="TIME", default="0ms", help="work added to each training step, such as 5ms"
    )
    arguments.add_argument(
        "--fetch",
        choices=["item", "batch", "both"],
        default="batch",
        help="load item by item or a batch at once (default: batch)",
    )
    arguments.add_number("--seconds", SECONDS, help="measuring time for each setting (default: loader 0.6, parallel 2)")
    arguments.add_argument("--runs", metavar="N", default="32", help="parallel: runs of the sweep (default: 32)")
    arguments.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="parallel: write the chart as .pdf, .png or .svg"
    )
    return arguments


def run(argv: Sequence[str]) -> int:
    options = parser().read(argv)
    subject = options.operands[0] if options.operands else ""
    if subject not in SUBJECTS:
        raise InputError(f"{f'bench {subject}'.rstrip()}: must be loader or parallel{did_you_mean(subject, SUBJECTS)}")
    if options.seconds is None:
        options.seconds = SUBJECTS[subject]
    return bench_loader(options) if subject == "loader" else bench_parallel(options)


def bench_loader(options: Any) -> int:
    item, step = seconds_of_cost("--item-cost", options.item_cost), seconds_of_cost("--step-cost", options.step_cost)
    overrides, workers = without_workers(options.operands[1:])
    from ch12cli.config.compose import Composer, working_directory
    from ch12cli.config.hydra_internals import hydra_session
    from ch12cli.config.run_settings import RunSettings
    from ch12cli.run.start import checked

    working_directory()
    with hydra_session():
        composition = checked(Composer(), overrides)
    import torch

    from ch12cli.run.task import build_task, choose_device, tensors
    from ch12cli.training.loader_bench import FETCHES, Costs, advise, measure

    settings = RunSettings.from_config(composition.settings, composition.choices)
    device = choose_device(settings.machine.device)
    torch.set_num_threads(settings.machine.threads or 1)  # the work is only copying of rows
    task = build_task(settings)
    part = tensors(task.data.train, task, dtype=torch.float32, device=torch.device("cpu"))
    costs = Costs(item, step, waits=device.type != "cpu")
    pinned = settings.machine.pin_memory and device.type == "cuda"
    batch_size = settings.loop.batch_size
    fetches = FETCHES if options.fetch == "both" else (options.fetch,)
    found = []
    for fetch in fetches:
        for count in workers:
            found.append(
                measure(
                    part, batch_size=batch_size, workers=count, fetch=fetch, pinned=pinned, costs=costs,
                    device=device, lasting=options.seconds,
                )
            )  # fmt: skip
    size, cores = count_of(len(part), "row"), count_of(os.cpu_count() or 1, "core")
    print(f"{task.data.table.source}: {size}, batches of {batch_size}{', pinned' if pinned else ''}")
    print(f"added work: {options.item_cost} an item, {options.step_cost} a step; {cores}\n")
    base = found[0].seconds
    rows = [["workers", "fetch", "batches/s", "items/s", "times as fast"]]
    for each in found:
        rate = 1 / each.seconds
        rows.append(
            [str(each.workers), each.fetch, f"{rate:,.0f}", f"{rate * batch_size:,.0f}", f"{base / each.seconds:.2f}"]
        )
    print("\n".join(format_table(rows, left=2)))
    print(f"\n{advise(found, cores=os.cpu_count() or 1).text}")
    return 0


def bench_parallel(options: Any) -> int:
    from ch12cli.parallel import advise_ways, measure_ways, plot_of_ways, require_free, times_as_fast

    runs = whole_number_in(options.runs)
    if runs is None or not 2 <= runs <= 10_000:
        raise InputError(f"--runs {options.runs}: must be a whole number from 2 to 10000")
    if options.output is not None:
        require_target("-o", options.output, FORMS)
    overrides = options.operands[1:]
    require_free(overrides)
    found = measure_ways(overrides, seconds=options.seconds, runs=runs, cores=usable_cores(), tell=tell_progress)
    on = f"{count_of(found.epochs, 'epoch')}, {count_of(usable_cores(), 'core')}"
    print(f"{shell_line(['ch12', 'train', *overrides])}: {on}\n")
    for head, timings in (
        (["one run", "ms an epoch", "times as fast"], found.one),
        ([f"{found.runs} runs", "seconds", "times as fast"], found.many),
    ):
        unit = 1e3 if timings is found.one else 1.0
        rows = [head]
        for timing, gain in zip(timings, times_as_fast(timings), strict=True):
            seconds = "refused" if timing.seconds is None else f"{timing.seconds * unit:,.1f}"
            rows.append([timing.way.name, seconds, "" if gain is None else f"{gain:.2f}"])
        print("\n".join(format_table(rows, left=1)) + "\n")
    for timing in [*found.one, *found.many]:
        if timing.seconds is None:
            print(f"{timing.way.name}: {timing.text}")
    print("\n".join(advise_ways(found)))
    if options.output is not None:
        from ch12cli.files.atomic import write_whole
        from ch12cli.plots.matplotlib_drawer import render

        chart = plot_of_ways(found, " ".join(overrides) or "ch12 train")
        write_whole(options.output, render(chart, options.output.suffix.lower()[1:]))
        print(options.output)
    return 0


def tell_progress(what: str) -> None:
    """Says on a terminal what is being measured."""
    if sys.stderr.isatty():
        print(f"measuring: {what}", file=sys.stderr)


def seconds_of_cost(option: str, text: str) -> float:
    """The seconds of a time such as 2ms. InputError for anything else."""
    found = COST.fullmatch(text)
    if not found or float(found[1]) * TIME_UNITS[found[2]] > 10:
        raise InputError(f"{option} {text}: must be a time up to 10s, such as 50us, 2ms or 0.1s")
    return float(found[1]) * TIME_UNITS[found[2]]


def without_workers(argv: Sequence[str]) -> tuple[list[str], list[int]]:
    """The overrides without `workers`, and the numbers of workers to measure, among them 0 as the baseline."""
    overrides = [word for word in argv if not word.startswith("workers=")]
    given = [word.partition("=")[2] for word in argv if word.startswith("workers=")]
    if not given:
        return overrides, [count for count in WORKER_COUNTS if count <= max(2, 2 * (os.cpu_count() or 1))]
    counts = [whole_number_in(count.strip()) for count in given[-1].strip("[]").split(",")]
    if not all(count is not None and count <= 64 for count in counts):
        raise InputError(f"workers={given[-1]}: must be whole numbers from 0 to 64, such as workers=0,1,2,4")
    return overrides, sorted({0, *(count for count in counts if count is not None)})
