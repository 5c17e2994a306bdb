"""From the verb `ch12 train` to the gradient step there are at most twelve frames of ch12's own.

A user's network records the frames below it in its forward pass. Counted are the functions of ch12cli/ from the verb's
`run` to the step, which calls the network; frames of Hydra and torch are not. A stack is trained in a worker process:
from the verb to the start of that process, and in it to the step, each is counted by itself.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = 12
STEP = "training/step.py:__call__"
WORKER = "sweeps/workers/worker_pool.py:work"  # the first function of a worker process

NETWORK = """
import json
import sys
from pathlib import Path

from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        frames, frame = [], sys._getframe(1)
        while frame is not None:
            file = frame.f_code.co_filename
            if "/ch12cli/" in file:
                frames.append(f"{file.rpartition('/ch12cli/')[2]}:{frame.f_code.co_name}")
            frame = frame.f_back
        if "training/step.py:__call__" in frames:
            Path("frames.json").write_text(json.dumps(frames[::-1]))
        return self.layer(x)
"""


def frames_of(folder: Path, *words: str) -> list[str]:
    """The frames of ch12's own below the network, as `module:function`, from the verb to the step."""
    (folder / "counting.py").write_text(NETWORK, encoding="utf-8")
    (folder / "mine" / "model").mkdir(parents=True)
    (folder / "mine" / "model" / "counting.yaml").write_text("_target_: counting.Net\n", encoding="utf-8")
    words = ("--config-dir", "mine", "model=counting", "device=cpu", "epochs=1", *words)
    code = "import sys; from ch12cli.cli.main import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, "train", "-q", *words], cwd=folder, env=environment, check=False)
    assert done.returncode == 0
    found: list[str] = json.loads((folder / "frames.json").read_text(encoding="utf-8"))
    return found[found.index("cli/verbs/train.py:run") : found.index(STEP) + 1]


@pytest.mark.slow
def test_at_most_twelve_frames_lie_between_the_verb_and_the_step_of_a_single_run(tmp_path: Path) -> None:
    frames = frames_of(tmp_path, "hydra.run.dir=run")
    assert "run/train.py:run_epochs" in frames
    assert len(frames) <= MOST, frames


@pytest.mark.slow
def test_at_most_twelve_frames_lie_on_each_side_of_the_start_of_a_worker_that_trains_a_stack(tmp_path: Path) -> None:
    frames = frames_of(tmp_path, "-m", "seed=1,2,3", "hydra.sweep.dir=sweep")
    assert "sweeps/stack_run.py:run" in frames
    start = frames.index(WORKER)
    assert 0 < len(frames[:start]) <= MOST, frames
    assert 0 < len(frames[start:]) <= MOST, frames
