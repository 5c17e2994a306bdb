"""The compiled C under the sanitizers for addresses and undefined behaviour, and for other processors than this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ch12cli.fused import compiler
from ch12cli.fused.epochs import cpu_library
from ch12cli.training.optimizers import Adam
from tests.fused.test_epochs import data, limits, network, train_all

pytestmark = [pytest.mark.slow, pytest.mark.skipif(compiler.compiler() is None, reason="needs a C compiler")]

# Without inlining, which takes the checked program a minute to compile instead of a third of a second.
CHECKED = ("-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Dalways_inline=noinline", "-w")
DRAWS, TOGETHER = 36, 12

PROGRAM = """
import random, sys
import numpy as np, torch
from ch12cli.fused import compiler
from ch12cli.fused.twister import draw_beginnings, draw_orders, drawn_states
from ch12cli.fused.texts import lines_of
from tests.fused.test_epochs import RULES, require_counted, require_equal
compiler.FLAGS = (*(flag for flag in compiler.FLAGS if flag != "-O2"), *{flags!r})
for number in range({first}, {first} + {count}):
    draw = random.Random(number)
    require_equal(draw, draw.choice([torch.float32, torch.float64]), runs=draw.choice([2, 7, 19]))
    draw_orders(np.arange(3), 1 + number)
    draw_beginnings(np.arange(17), number, [(1 + 50 * number, 0.5), (1, 0.1)], number % 5)
    drawn_states(np.arange(17), 60 * number)
    lines_of(np.random.default_rng(number).integers(0, 2**62, (99, 7)).view(float))
    require_counted(RULES[number % len(RULES)], draw.choice([torch.float32, torch.float64]))
print("clean")
"""


def run_checked(program: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program of Python under the sanitizers, which also watch the memory that torch allocates."""
    path = compiler.compiler()
    assert path is not None
    found = [
        subprocess.run([path, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    variables = {
        **os.environ,
        "LD_PRELOAD": ":".join(found),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:detect_odr_violation=0",
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, timeout=1200)


@pytest.mark.parametrize("first", range(0, DRAWS, TOGETHER))
def test_compiled_epochs_of_drawn_structures_read_and_write_only_what_is_theirs(first: int, tmp_path: Path) -> None:
    done = run_checked(PROGRAM.format(flags=CHECKED, first=first, count=TOGETHER), tmp_path)
    assert (done.stdout, done.returncode) == ("clean\n", 0), done.stderr[-4000:]


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("int fault(int n) { int *p = malloc(12); p[n] = 1; return p[n]; }", "heap-buffer-overflow"),
        ("int fault(int n) { return 2147483647 + n; }", "signed integer overflow"),
    ],
)
def test_the_sanitizers_find_a_fault_that_is_there(fault: str, found: str, tmp_path: Path) -> None:
    program = (
        "from ch12cli.fused import compiler\n"
        f"compiler.FLAGS = (*compiler.FLAGS, *{CHECKED!r})\n"
        f"compiler.library({'#include <stdlib.h>' + chr(10) + fault!r}).fault(3)\n"
    )
    done = run_checked(program, tmp_path)
    assert done.returncode != 0
    assert found in done.stderr


@pytest.mark.parametrize("processor", ["-mno-avx512f", "-march=haswell", "-march=x86-64"])
def test_a_processor_without_wide_vectors_trains_the_same_runs(processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, part = nn.CrossEntropyLoss(), data(nn.CrossEntropyLoss(), 4, 3, torch.float32)

    def train() -> torch.Tensor:
        modules = [network([4, 6, 3], nn.Tanh, [], seed=run) for run in range(21)]
        return train_all(modules, (Adam, {"lr": 0.01}), part, loss, batch_size=5, bounds=limits())[0].parameters

    before = train()
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, processor))
    cpu_library.cache_clear()
    torch.testing.assert_close(train(), before, rtol=1e-5, atol=1e-6)  # without fused products, rounding differs
    cpu_library.cache_clear()
