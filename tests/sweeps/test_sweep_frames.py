"""How far it is from the verb to the optimisation step of a stack, in frames of ch12's own."""

import sys
from pathlib import Path

from torch import Tensor, nn

from ch12cli.cli.main import main

OURS = ("/ch12cli/", "/hydra_plugins/")
MOST = 12


class FrameRecorder(nn.Sequential):
    """A linear network that writes the names of ch12's frames, outermost first, when a worker trains it."""

    def __init__(self, inputs: int, outputs: int, file: str) -> None:
        super().__init__(nn.Linear(inputs, outputs))
        self.file = file

    def forward(self, x: Tensor) -> Tensor:
        frame, names = sys._getframe(), []
        while frame is not None:
            if any(folder in frame.f_code.co_filename for folder in OURS):
                names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}")
            frame = frame.f_back
        if "worker_pool.work" in names and "step.Step.__call__" in names:
            Path(self.file).write_text("\n".join(reversed(names)), encoding="utf-8")
        return super().forward(x)


def test_a_stack_is_twelve_frames_from_the_verb_to_the_worker_and_from_the_worker_to_the_step(folder: Path) -> None:
    """Both chains are counted: from `main` to the start of the worker process, and from its own first function to the
    step. The worker is a fork of the sweep, so that its frames hold both."""
    (folder / "mine" / "model").mkdir(parents=True)
    target = "_target_: tests.sweeps.test_sweep_frames.FrameRecorder"
    (folder / "mine" / "model" / "recorder.yaml").write_text(f"{target}\nfile: {folder / 'frames'}\n")
    words = ["model=recorder", "epochs=1", "device=cpu", "seed=1,2", "sweep.processes=1", "hydra.sweep.dir=swept"]
    assert main(["train", "-q", "-m", "--config-dir", "mine", *words]) == 0
    names = (folder / "frames").read_text(encoding="utf-8").splitlines()
    start, step = names.index("worker_pool.work"), names.index("step.Step.__call__")
    assert names[0] == "main.main"
    assert start <= MOST, names[:start]
    assert step + 1 - start <= MOST, names[start : step + 1]
