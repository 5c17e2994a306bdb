"""The long batteries of durability: kills in their hundreds, at every system call, on disks of every size."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from ch12cli.errors import InputError, MachineError
from tests.sweeps.killed import STATEFUL, kill_after, outcome, resume, start

pytestmark = pytest.mark.slow
KILLS = 200
EPOCHS = 60
SECONDS = 3.0  # that a run lasts which is killed
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


def test_two_hundred_runs_killed_at_random_moments_equal_the_uninterrupted_run(folder: Path) -> None:
    start(folder / "first", f"epochs={EPOCHS}")
    begun = time.monotonic()
    start(folder / "second", f"epochs={EPOCHS}")
    words = f"epochs={round(EPOCHS * SECONDS / (time.monotonic() - begun))}"
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


STARTED = re.compile(r"^(?P<call>\w+)\(")
OPENED = re.compile(
    r'^openat\(.*checkpoints/\.last\.pt\.\d+\.new", O_WRONLY'
)  # here the writing of a checkpoint begins
FLUSHED = re.compile(r"^fsync\(")
RENAMED = re.compile(r'^rename\(.*\.new".*checkpoints/last\.pt"')  # and after this and an fsync it has ended


def calls_of_a_checkpoint(trace: str) -> list[tuple[str, int]]:
    """Each system call of the writing of a run's second checkpoint: its name, and how many of that name there were."""
    found: list[tuple[str, int]] = []
    counts: Counter[str] = Counter()
    begun, renamed = 0, False
    for line in trace.splitlines():
        if (started := STARTED.match(line)) is None:
            continue
        counts[started["call"]] += 1
        begun += OPENED.match(line) is not None
        if begun == 2:
            found.append((started["call"], counts[started["call"]]))
            if renamed and FLUSHED.match(line):
                return found
            renamed = renamed or RENAMED.match(line) is not None
    raise AssertionError("no second checkpoint was written")


def test_a_run_killed_at_each_system_call_of_a_checkpoint_is_recovered(folder: Path) -> None:
    """The whole command, killed by strace at its n-th call of a name, for each that it makes to write a checkpoint."""
    words = ("epochs=4", "batch_size=30")
    assert shutil.which("strace"), "this test needs strace"
    start(folder / "whole", *words)
    wanted, killed = outcome(folder / "whole"), 0

    def traced(directory: Path, *options: str) -> int:
        command = [sys.executable, "-m", "ch12cli", "train", "-q", *STATEFUL, *words, f"hydra.run.dir={directory}"]
        return subprocess.run(["strace", *options, *command], capture_output=True).returncode

    assert traced(folder / "traced", "-o", "trace") == 0
    calls = calls_of_a_checkpoint((folder / "trace").read_text(encoding="utf-8", errors="replace"))
    assert {"openat", "write", "fsync", "rename"} <= {call for call, _ in calls}
    assert len(calls) > 40
    for call, number in calls:
        directory = folder / f"{call}-{number}"
        options = ("-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
        code = traced(directory, *options)
        assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL), f"{call} {number}"
        killed += code != 0
        recover(directory, *words)
        assert outcome(directory) == wanted, f"{call} {number}"
        shutil.rmtree(directory)
    assert killed > 0.8 * len(calls)  # how often memory is asked for is not the same each time


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
def test_at_fifty_fill_levels_of_a_disk_the_last_intact_checkpoint_is_kept(folder: Path) -> None:
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


def test_a_run_is_killed_and_resumed_by_the_command_line(folder: Path) -> None:
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
