"""The source for a GPU, compiled as C++ and performed thread by thread: nothing here needs a GPU."""

import ctypes
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from ch12cli.fused import epochs
from ch12cli.fused.compiler import CannotCompileError
from ch12cli.fused.program import Program
from ch12cli.fused.source import special_source
from ch12cli.training.batches import Part
from tests.fused.test_epochs import require_equal

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]

WARP = 32
BEFORE = """
#include <math.h>
#define __CUDACC__
#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __noinline__
struct Index { int x; } static blockIdx, threadIdx;
"""
AFTER = """
V memory[1 << 20];
extern "C" void all(const Epochs *e, int blocks) {
  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < 32; threadIdx.x++) epochs(e);
}
"""


def launcher(program: Program, part: Part, folder: Path) -> Any:
    """What `launcher_on_gpu` returns, of a processor that performs the threads of all blocks one after another."""
    text = "\n".join([BEFORE, special_source(program, rows=len(part), double=part.x.dtype == torch.float64), AFTER])
    made = folder / f"{len([*folder.iterdir()])}.so"
    words = ["g++", "-O1", "-w", "-ffp-contract=fast", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(made)]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCompileError(done.stderr)
    code = ctypes.CDLL(str(made))
    return lambda arguments: code.all(ctypes.byref(arguments), -(-arguments.runs // WARP))


@pytest.mark.parametrize("number", range(12))
def test_the_source_for_a_gpu_trains_each_run_as_torchs_loop(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "launcher_on_cpu", lambda program, part, special: launcher(program, part, tmp_path))
    draw = random.Random(7000 + number)
    require_equal(draw, draw.choice([torch.float32, torch.float64]), runs=draw.choice([2, 33]))
