"""The long batteries of durability: kills in their hundreds, at every system call, on disks of every size."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from ch12cli.errors import InputError, MachineError
from ch12cli.training.checkpoint import Checkpoints
from tests.sweep.killed import STATEFUL, kill_after, outcome, resume, start

pytestmark = pytest.mark.slow
KILLS = 200
EPOCHS = 60
LEVELS = 50
SIZE = 1024  # KiB of the disk that fills up
NEEDED = 160  # KiB: more than a run of few epochs takes


def recover(directory: Path, *words: str) -> None:
    """Resumes a run; starts anew one that was killed before its configuration was written."""
    if (directory / ".hydra" / "overrides.yaml").exists():
        resume(directory)
        return
    if directory.is_dir():
        with pytest.raises(InputError):
            resume(directory)
        shutil.rmtree(directory)
    start(directory, *words)


def test_two_hundred_runs_killed_at_random_moments_equal_the_one_that_was_not(folder: Path) -> None:
    words = f"epochs={EPOCHS}"
    start(folder / "first", words)
    begun = time.monotonic()
    start(folder / "whole", words)
    seconds, wanted = time.monotonic() - begun, outcome(folder / "whole")
    for number in range(KILLS):
        directory = folder / str(number)
        for _ in range(random.choice((1, 1, 2, 3))):  # some are killed again while they are resumed
            kill_after(random.uniform(0, seconds), lambda directory=directory: recover(directory, words))
        recover(directory, words)
        assert outcome(directory) == wanted, f"kill {number}"
        shutil.rmtree(directory)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
def test_a_run_killed_at_each_system_call_of_a_checkpoint_is_recovered(call: str, folder: Path) -> None:
    """The same script writes checkpoint after checkpoint; strace kills it at its n-th call, from the first on."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    place, number, killed = folder / "checkpoints", 0, True
    while killed:
        number += 1
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        Checkpoints(place, every=1).write({"epoch": 0, "weights": torch.zeros(1000)})
        (folder / "checkpoints.acknowledged").write_text("0")
        inject = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}"]
        inject += ["-e", f"inject={call}:signal=KILL:when={number}"]
        done = subprocess.run([*inject, sys.executable, str(script), str(place)], capture_output=True)
        killed = done.returncode != 0
        if killed:
            assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr.decode()
        acknowledged = int((folder / "checkpoints.acknowledged").read_text(encoding="utf-8"))
        found = Checkpoints(place, every=None).newest()[0]["epoch"]
        assert acknowledged <= found <= acknowledged + 1, f"{call} {number}"
    assert number > 2, "nothing was killed"


SCRIPT = """
import sys
from pathlib import Path
import torch
from ch12cli.training.checkpoint import Checkpoints
place = Path(sys.argv[1])
checkpoints = Checkpoints(place, every=1)
for epoch in (1, 2):
    checkpoints.write({"epoch": epoch, "weights": torch.full((1000,), float(epoch))})
    beside = Path(f"{place}.beside")
    beside.write_text(str(epoch))
    beside.replace(f"{place}.acknowledged")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_at_fifty_fill_levels_of_a_disk_the_last_good_checkpoint_stays(folder: Path) -> None:
    words = ("epochs=8", "batch_size=30")
    start(folder / "whole", *words)
    wanted, full = outcome(folder / "whole"), 0
    for level in range(LEVELS):
        place = folder / str(level)
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}k", "tmpfs", str(place)], check=True)
        try:
            free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
            (place / "filling").write_bytes(b"\0" * (free - NEEDED * 1024 * level // LEVELS))
            with suppress(MachineError):
                start(place / "run", *words)
            full += not (place / "run" / "result.json").exists()
            (place / "filling").unlink()
            recover(place / "run", *words)
            assert outcome(place / "run") == wanted, f"level {level}"
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
    assert 10 < full < LEVELS


def test_the_whole_command_is_killed_and_resumed_as_a_command(folder: Path) -> None:
    """Ten processes as a person starts them, killed between a second and the end."""
    words = (*STATEFUL, "epochs=80", "batch_size=4")
    start(folder / "whole", *words)
    wanted = outcome(folder / "whole")
    for number in range(10):
        directory = folder / str(number)
        command = [sys.executable, "-m", "ch12cli", "train", *words, "-q", f"hydra.run.dir={directory}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            time.sleep(random.uniform(1.0, 6.0))
            process.kill()
        if not directory.exists():
            continue
        done = subprocess.run([sys.executable, "-m", "ch12cli", "resume", "-q", str(directory)], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        assert outcome(directory) == wanted
