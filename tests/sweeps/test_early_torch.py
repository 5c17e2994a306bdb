"""torch's libraries, loaded before torch is imported."""

import subprocess
import sys
from pathlib import Path

from ch12cli.sweeps.early_torch import load_libraries

PROGRAM = """
import sys, threading
from ch12cli.sweeps.early_torch import load_torch_meanwhile

load_torch_meanwhile()
assert "torch" not in sys.modules
for thread in threading.enumerate():
    if thread.daemon:
        thread.join()
loaded = "libtorch_cpu" in open("/proc/self/maps").read() if sys.platform == "linux" else True
import torch

assert loaded and torch.ones(3).sum() == 3
load_torch_meanwhile()
assert threading.active_count() == 1
"""


def test_torch_is_imported_from_the_libraries_that_were_loaded() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)


def test_libraries_that_lie_elsewhere_are_left_to_torch(tmp_path: Path) -> None:
    load_libraries(tmp_path)
