"""A training step of one run: ch12's loop against the chapter's, Lightning's and scikit-learn's."""

import time

import torch

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.config.run_settings import RunSettings
from ch12cli.run.build import build_training
from ch12cli.run.start import checked
from ch12cli.run.task import build_task
from tests.benchmarks.bench import IRIS, PEERS, Bench, Repeated, Table, interleaved, medians, missing, spread, verdict

EPOCHS = 10  # a repetition
STEPS = 50 * EPOCHS  # 100 rows, batch 2
TIMES = 11
TARGETS = {"the plain loop": 0.5, "Lightning": 0.2}


class Own:
    """ch12's loop on the chapter's Iris. Seconds of processor time for EPOCHS epochs a call."""

    def __init__(self) -> None:
        with hydra_session():
            composition = checked(Composer(), ["experiment=book/iris", "epochs=100000"])
            settings = RunSettings.from_config(composition.settings, composition.choices)
            self.training, _ = build_training(settings, build_task(settings), torch.device("cpu"))

    def __call__(self) -> float:
        start = time.process_time()
        for _ in range(EPOCHS):
            self.training.one_epoch()
        return time.process_time() - start


def run(bench: Bench) -> Table:
    peers = {"the plain loop": Repeated([str(bench.python), str(PEERS / "plain.py"), str(IRIS), str(EPOCHS)])}
    notes = []
    for name, module, script in (
        ("Lightning", "lightning", "lightning_step.py"),
        ("scikit-learn's MLPClassifier", "sklearn", "sklearn_step.py"),
    ):
        if bench.has("torch", module):
            peers[name] = Repeated(bench.peer(script, IRIS, EPOCHS))
        else:
            notes.append(missing(name))
    torch.set_num_threads(1)  # as ch12 train does for a network this small
    found = interleaved({"ch12": Own(), **peers}, times=TIMES)
    for peer in peers.values():
        peer.close()
    middle = medians(found)
    table = Table(
        "A training step of one run",
        "Iris, 100 rows, batch 2, network 4-16-3, Adam: the chapter's section 12.3. The plain loop is the chapter's "
        "own, with `.item()` and the accuracy in each step; Lightning runs with logging, checkpoints and progress off. "
        "All on one thread, which is fastest for a network this small. "
        "Microseconds of processor time a step: "
        f"median (lowest to highest) of {TIMES} repetitions of {STEPS} steps, in turn.",
        ["loop", "µs a step", "ch12 / it", "target"],
        notes=notes,
    )
    for name, values in found.items():
        share = middle["ch12"] / middle[name]
        target = verdict(share, target=TARGETS[name]) if name in TARGETS else ""
        table.add(name, spread(values, 1e-6 * STEPS, 0), f"{share:.2f}", target)
    return table
