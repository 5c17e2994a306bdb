"""What a sweep adds to each job: composing, checking, recording; against Hydra's own launcher."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.files.compact.job_record import JobRecord
from ch12cli.run.build import build_stack
from ch12cli.run.task import build_task
from ch12cli.saved import job_files
from ch12cli.sweeps import job_directories
from ch12cli.sweeps import stack_run as stacked
from ch12cli.sweeps.jobs import JobComposer, make_jobs
from tests.benchmarks.bench import ONE_THREAD, Bench, Spent, Table, process, verdict

JOBS, FEWER = 384, 64
EPOCHS = 100
TIMES = 3
HYDRA_JOBS, HYDRA_FEWER = 20, 4
TARGET = 3.0  # ms a job


class Clocked:
    """Functions of a module under a clock: the processor time of each, in seconds, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.undo: list[tuple[Any, str, Any]] = []

    def watch(self, owner: Any, name: str, part: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.spent[part] = self.spent.get(part, 0.0) + time.process_time() - start

        setattr(owner, name, timed)
        self.undo.append((owner, name, function))

    def close(self) -> None:
        for owner, name, function in self.undo:
            setattr(owner, name, function)


def parts_of(jobs: int, folder: Path) -> Mapping[str, float]:
    """Milliseconds of processor time a job, by what they go into, of a stack trained in this process."""
    clock = Clocked()
    with hydra_session():
        composed = JobComposer(Composer(), [])
        make_jobs(composed, [["seed=0", f"epochs={EPOCHS}"]])  # what all jobs share
        start = time.process_time()
        made = make_jobs(composed, [[f"seed={seed}", f"epochs={EPOCHS}"] for seed in range(1, jobs + 1)])
        made = [replace(job, directory=str(job.number)) for job in made]
        composing = time.process_time() - start
        task = build_task(made[0].run_settings)
        start = time.process_time()
        build_stack([job.run_settings for job in made], task, torch.device("cpu"))
        building = time.process_time() - start
        run = stacked.StackRun(
            made,
            task,
            torch.device("cpu"),
            sweep_dir=folder,
            hydra=job_directories.HydraFiles(folder),
        )
    clock.watch(JobRecord, "texts", "its texts: .hydra and metrics.csv")
    clock.watch(job_files, "saved_states", "its model and checkpoints as bytes")
    clock.watch(stacked, "write_directory", "directory")
    recording = 0.0
    try:
        while not run.done.all():
            before, members = run.training.state_dict(), run.members
            epoch = run.training.one_epoch()
            start = time.process_time()
            for _ in run.record_epoch(epoch, members, before):
                pass
            recording += time.process_time() - start
    finally:
        clock.close()
    inside = ("its model and checkpoints as bytes", "its texts: .hydra and metrics.csv")
    parts = {"composing and checking": composing, "building its network": building}
    parts |= {name: spent for name, spent in clock.spent.items() if name != "directory"}
    parts["making and writing its files"] = clock.spent["directory"] - sum(clock.spent[name] for name in inside)
    parts["taking it out of the stack, the rest"] = recording - clock.spent["directory"]
    return {name: seconds / jobs * 1e3 for name, seconds in parts.items()}


def each(bench: Bench, command: Callable[[int, Path], list[str]], few: int, many: int) -> tuple[float, float]:
    """Milliseconds that each further job takes, of time and of processor time, of whole processes."""
    spent: dict[int, list[Spent]] = {few: [], many: []}
    for _ in range(TIMES):
        for jobs, taken in spent.items():
            folder = bench.folder("overhead")
            taken.append(process(command(jobs, folder), folder=folder, variables=ONE_THREAD))
    wall, cpu = (
        [statistics.median(getattr(one, what) for one in taken) for taken in spent.values()] for what in ("wall", "cpu")
    )
    return (wall[1] - wall[0]) / (many - few) * 1e3, (cpu[1] - cpu[0]) / (many - few) * 1e3


def run(bench: Bench) -> Table:
    script = bench.peer("hydra_plain.py")[1]
    own = each(
        bench,
        lambda jobs, _: [*bench.ch12, "train", "-m", f"seed=range({jobs})", "epochs=1", "hydra.sweep.dir=sweep", "-q"],
        FEWER,
        FEWER + JOBS,
    )
    hydra = each(
        bench,
        lambda jobs, folder: [
            *(str(bench.python), script, "-m", f"seed=range({jobs})", "nothing=true", f"hydra.sweep.dir={folder}/sweep")
        ],
        HYDRA_FEWER,
        HYDRA_JOBS,
    )
    torch.set_num_threads(1)
    parts = parts_of(JOBS, bench.folder("parts"))
    total = sum(parts.values())
    table = Table(
        "What a sweep adds to each job",
        "Hydra's basic launcher on a function that does nothing, against `ch12 train -m` with one epoch of Iris, all "
        f"files written: what each further job takes, from sweeps of {FEWER} and {FEWER + JOBS} jobs "
        f"({HYDRA_FEWER} and {HYDRA_JOBS} for Hydra), medians of {TIMES}. Below, the parts, in a stack of {JOBS} runs "
        f"of {EPOCHS} epochs on one core. Milliseconds a job, from start to end and of processor time.",
        ["what", "ms a job", "processor", "Hydra / it", "target"],
    )
    table.rows += [
        ["Hydra's basic launcher", f"{hydra[0]:.1f}", f"{hydra[1]:.1f}", "1", ""],
        ["`ch12 train -m`, one epoch trained", f"{own[0]:.2f}", f"{own[1]:.2f}", f"{hydra[1] / own[1]:.0f}", ""],
        [
            "composing, checking, recording",
            "",
            f"{total:.2f}",
            f"{hydra[1] / total:.0f}",
            verdict(total, target=TARGET),
        ],
        *([f"… {name}", "", f"{value:.2f}", "", ""] for name, value in parts.items()),
    ]
    return table
