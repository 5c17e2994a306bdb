"""A machine without a C compiler trains the same sweep by torch's operations."""

from pathlib import Path

import pytest
import torch

from ch12cli.fused import compiler
from ch12cli.fused.epochs import cpu_library
from ch12cli.fused.twister import twister_library
from tests.sweeps.driver import sweep

WORDS = ("seed=range(3)", "epochs=4", "optimizer=adam", "sweep.fused=true", "device=cpu", "sweep.processes=1")


def forget() -> None:
    """Lets the next sweep look for a compiler again."""
    compiler.compiler.cache_clear()
    twister_library.cache_clear()
    cpu_library.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("named", [None, "no-such-compiler"])
def test_a_sweep_without_a_compiler_trains_the_same_runs(
    named: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(*WORDS, into="with")
    with monkeypatch.context() as changed:
        changed.setenv("PATH", "/nowhere")
        changed.setenv("XDG_CACHE_HOME", str(folder / "cache"))  # an empty one
        changed.delenv("CC", raising=False)
        if named:
            changed.setenv("CC", named)
        forget()
        assert compiler.compiler() is None
        sweep(*WORDS, into="without")
    forget()
    for number in range(3):
        alike, found = (torch.load(folder / name / str(number) / "model.pt") for name in ("with", "without"))
        for key, value in alike.items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)
    assert not [*(folder / "cache").rglob("*.so")]
