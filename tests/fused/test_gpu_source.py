"""The source for a GPU, compiled as C++ and performed thread by thread: nothing here needs a GPU."""

import ctypes
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ch12cli.fused import epochs
from ch12cli.fused.compiler import CannotCompileError
from ch12cli.fused.on_gpu import WARP
from ch12cli.fused.program import Program
from ch12cli.fused.source import special_source
from ch12cli.fused.twister import NUMBERS, source
from ch12cli.training.batches import Part
from tests.fused.test_epochs import RULES, Rule, require_counted, require_equal

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]

BEFORE = """
#include <math.h>
#define __CUDACC__
#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __noinline__
struct Index { int x; } static blockIdx, threadIdx, gridDim;
"""
AFTER = """
V memory[1 << 20];
extern "C" void all(const Epochs *e, int blocks) {
  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < 32; threadIdx.x++) epochs(e);
}
"""
DRAW_ALL = """
extern "C" void all(const Whole *seeds, int runs, int rows, Whole *orders_, Word *states, int blocks) {
  gridDim.x = blocks;
  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < 32; threadIdx.x++) orders(seeds, runs, rows, orders_, states);
}
"""


def launcher(program: Program, part: Part, folder: Path) -> Any:
    """What `launcher_on_gpu` returns, of a processor that performs the threads of all blocks one after another."""
    text = special_source(program, rows=len(part), double=part.x.dtype == torch.float64)
    code = compiled(text + AFTER, folder)
    return lambda arguments: code.all(ctypes.byref(arguments), -(-arguments.runs // WARP))


def compiled(text: str, folder: Path) -> Any:
    made = folder / f"{len([*folder.iterdir()])}.so"
    words = ["g++", "-O1", "-w", "-ffp-contract=fast", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(made)]
    done = subprocess.run(words, input=BEFORE + text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCompileError(done.stderr)
    return ctypes.CDLL(str(made))


@pytest.mark.parametrize("number", range(12))
def test_the_source_for_a_gpu_trains_each_run_as_torchs_loop(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "launcher_on_cpu", lambda program, part, special: launcher(program, part, tmp_path))
    draw = random.Random(7000 + number)
    require_equal(draw, draw.choice([torch.float32, torch.float64]), runs=draw.choice([2, 33]))


@pytest.mark.parametrize("case", RULES)
def test_the_source_for_a_gpu_counts_right_rows(case: Rule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "launcher_on_cpu", lambda program, part, special: launcher(program, part, tmp_path))
    require_counted(case, torch.float32)


@pytest.mark.parametrize("rows", [1, 2, 100, 626])
def test_the_source_for_a_gpu_draws_the_orders_of_torch(rows: int, tmp_path: Path) -> None:
    code = compiled(source() + DRAW_ALL, tmp_path)
    seeds = np.random.default_rng(rows).integers(0, 2**63 - 1, 70)
    drawn, states = torch.empty(70, rows, dtype=torch.int64), torch.empty(NUMBERS, 2 * WARP, dtype=torch.int32)
    code.all(ctypes.c_void_p(seeds.ctypes.data), 70, rows, *(ctypes.c_void_p(t.data_ptr()) for t in (drawn, states)), 2)
    for seed, order in zip(seeds.tolist(), drawn, strict=True):
        assert torch.equal(order, torch.randperm(rows, generator=torch.Generator().manual_seed(seed)))
