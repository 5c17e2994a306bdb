"""Runs the benchmarks that are named, or all, and prints their tables."""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

from tests.benchmarks.bench import ROOT, Bench

NAMES = {
    "start": "commands that compute nothing, against `import torch`",
    "step": "a training step, against the plain loop, Lightning and scikit-learn",
    "process": "a whole run, against the chapter's script",
    "overhead": "what a sweep adds to each job, against Hydra's own launcher",
    "sweep": "whole sweeps, against JAX and Hydra's launchers",
    "record": "a sweep's record in directories and in few files, and 100,000 runs, against JAX",
    "search": "searches, against a grid and Optuna, and what their trials are worth",
    "repeats": "settings chosen with five seeds each, against one, at equal time",
    "tune": "ch12 tune on real tables, against scikit-learn's networks under a random search",
    "wide": "wide networks, against the machine's matrix products",
    "fused": "compiled epochs of a stack, against torch's operations and a loop in C",
    "layouts": "the two layouts of a stack, against each other",
    "data": "a table of a million rows read, trained on and predicted, against pandas and polars with a plain loop",
    "listing": "ten thousand runs listed and compared, against reading their files",
    "pictures": "pictures decoded in workers, against a plain Dataset with PIL in a DataLoader",
    "cluster": "a sweep through Slurm, against processes of this machine (needs Slurm and root)",
    "durability": "checkpoints and fsync, against a run without them",
}
MODULES = {"process": "whole"}  # where the name is taken


def default_peers() -> Path:
    """The interpreter that `make peers` sets up, if it is there."""
    named = os.environ.get("CH12_PEERS")
    made = ROOT / ".venv-peers" / "bin" / "python"
    return Path(named) if named else made if made.exists() else Path(sys.executable)


def options() -> argparse.Namespace:
    listed = "\n".join(f"  {name:12}{meaning}" for name, meaning in NAMES.items())
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks",
        description=f"Measures speed against peers.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all, unless some are named")
    parser.add_argument("--peers", type=Path, default=default_peers(), help="a Python interpreter that has the peers")
    parser.add_argument("--scratch", type=Path, help="a folder to work in, on the disk to be measured (outputs/)")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such benchmark; there are {', '.join(NAMES)}")
    return chosen


def machine() -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; load {load}"


def main() -> None:
    chosen = options()
    parent = chosen.scratch or ROOT / "outputs"
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    bench = Bench(peers=chosen.peers.absolute(), scratch=scratch)
    try:
        for name in chosen.names or NAMES:
            start, before = time.perf_counter(), machine()
            module = import_module(f"tests.benchmarks.{MODULES.get(name, name)}")
            print(module.run(bench).markdown())
            after = machine().rpartition("; ")[2]
            print(f"`{name}`: {time.perf_counter() - start:.0f} s; {before} before, {after} after\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


main()
