"""What a GPU has to show, in a few minutes: tests, runs and sweeps on it, held against the CPU and against JAX.

    python -m tests.gpu [--device cuda|cpu] [--out FOLDER] [PART ...]

The parts run one after another, each within a time limit, and a part that fails stops no other. The whole output of a
part is FOLDER/PART.log. The table at the end is also FOLDER/table.md. The exit code is 1 if a part failed.
With --device cpu the sizes are small: it shows that the script works before a GPU is at hand.
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 400.0  # seconds of all parts together
BATCH, TRAIN_ROWS = 2, 90  # of Iris as `ch12 train` splits it
NEAR = 1e-6  # largest relative difference of weights in float64 between the devices
NEAR_BFLOAT16 = 0.1  # largest relative difference of the validation loss between bfloat16 and float32
CARD = """
import platform, sys, torch
print("python", platform.python_version(), "torch", torch.__version__, "cuda", torch.version.cuda)
if torch.cuda.is_available():
    card = torch.cuda.get_device_properties(0)
    print("card", card.name, f"{card.total_memory / 2**30:.0f} GiB", "capability", f"{card.major}.{card.minor}")
sys.exit(sys.argv[1] == "cuda" and not torch.cuda.is_available())
"""


class PartError(Exception):
    """A part did not do what it should; its text says why."""


@dataclass
class Part:
    """A part that is running. log: takes its output; deadline: in seconds of time.monotonic()."""

    device: str
    folder: Path
    log: Path
    deadline: float
    found: list[str] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    def start(self, *command: str | Path, **variables: str) -> subprocess.Popen[bytes]:
        """Starts a process group of its own in the part's folder; its output goes to the log."""
        with open(self.log, "ab") as log:
            log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
            log.flush()
            folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
            path = os.pathsep.join([str(ROOT), *map(os.path.abspath, folders)])
            environment = {**os.environ, "PYTHONPATH": path, **variables}
            return subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, *command: str | Path, **variables: str) -> float:
        """Runs a command to its end; returns its seconds. PartError if it fails or takes too long."""
        began = time.monotonic()
        process = self.start(*command, **variables)
        try:
            code = process.wait(max(1.0, self.deadline - began))
        except subprocess.TimeoutExpired:
            kill(process)
            raise PartError(f"took too long: {' '.join(map(str, command[:6]))} …") from None
        if code:
            raise PartError(f"exit code {code}: {' '.join(map(str, command[:6]))} …")
        return time.monotonic() - began

    def ch12(self, *argv: str) -> float:
        return self.run(sys.executable, "-m", "ch12cli", *argv)

    def train(self, directory: str, *overrides: str, device: str | None = None) -> Path:
        """Trains one run; returns its directory."""
        chosen = f"device={device or self.device}"
        self.ch12("train", "-q", chosen, *overrides, f"hydra.run.dir={directory}")
        return self.folder / directory


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a process and all that it started, and waits for it."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def difference(run: Path, other: Path) -> float:
    """Largest difference between the weights of two runs, relative to the largest weight of the other."""
    import torch

    states = [torch.load(path / "model.pt", weights_only=True) for path in (run, other)]
    one, two = (torch.cat([value.double().reshape(-1) for value in state.values()]) for state in states)
    return float((one - two).abs().max() / two.abs().max())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def card(part: Part) -> None:
    """The card, its driver, torch and Python."""
    if part.on_gpu and shutil.which("nvidia-smi"):
        part.run("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    part.run(sys.executable, "-c", CARD, part.device)
    lines = part.log.read_text(encoding="utf-8").splitlines()
    part.found += [line for line in lines if line.startswith(("python", "card")) or "MiB" in line]


def device_tests(part: Part) -> None:
    """tests/test_cuda.py on the device; on the CPU some of it, for its CPU half is slow."""
    chosen = ["-m", "not slow"] if part.on_gpu else ["-k", "cpu and (bfloat16 or pinned or evaluation)"]
    part.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml",
             "-rfE", "--tb=short", ROOT / "tests" / "test_cuda.py", *chosen)  # fmt: skip
    part.found.append(part.log.read_text(encoding="utf-8").strip().splitlines()[-1].strip("= "))


def against_cpu(part: Part) -> None:
    """A multilayer perceptron, a convolutional network and a bfloat16 run, against the same on the CPU."""
    networks = {
        "mlp": ("model=mlp", "activation=relu"),
        "cnn": ("model=cnn", "dataset=image_folder", "batch_size=20"),
    }
    for name, overrides in networks.items():
        words = (*overrides, "epochs=3", "precision=float64")
        apart = difference(part.train(name, *words), part.train(f"{name}-cpu", *words, device="cpu"))
        part.found.append(f"{name}: weights differ by {apart:.1e}")
        if not apart < NEAR:
            raise PartError(f"{name}: weights differ by {apart:.1e} from the CPU, more than {NEAR:g}")
    words = ("epochs=10", "batch_size=16", "optimizer.lr=0.01")
    runs = part.train("bfloat16", *words, "precision=bfloat16"), part.train("float32", *words, device="cpu")
    found, wanted = (float(rows_of(run / "metrics.csv")[-1]["valid_loss"]) for run in runs)
    part.found.append(f"bfloat16: validation loss {found:.4f}, float32 on the CPU {wanted:.4f}")
    if not abs(found - wanted) <= NEAR_BFLOAT16 * wanted:
        raise PartError(part.found[-1])


def sweep(part: Part, runs: int, epochs: int) -> None:
    """A stacked sweep of Iris runs, trained by compiled epochs, and the same in JAX on the same device."""
    steps = runs * epochs * -(-TRAIN_ROWS // BATCH)
    seconds = part.ch12(*sweep_words(part.device, runs, epochs))
    require_finished(part.folder / "sweep", runs)
    training = training_seconds(part.folder / "sweep")
    part.found.append(
        f"ch12: {seconds:.1f} s, {steps / seconds:,.0f} model-steps a second; "
        f"{steps / training:,.0f} while training, {1 - training / seconds:.0%} of the time is not training"
    )
    part.found.append(jax_sweep(part, runs, epochs, steps))


def sweep_words(device: str, runs: int, epochs: int) -> list[str]:
    """A sweep in one process, so that the seconds of its stacks add up."""
    words = ["train", "-m", "-q", f"device={device}", f"seed=range({runs})", f"epochs={epochs}"]
    return [*words, f"batch_size={BATCH}", "sweep.processes=1", "sweep.fused=true", "hydra.sweep.dir=sweep"]


def require_finished(directory: Path, runs: int) -> None:
    """PartError unless all jobs of a sweep have finished."""
    finished = sum(row["status"] == "finished" for row in rows_of(directory / "sweep.csv"))
    if finished != runs:
        raise PartError(f"{finished} of {runs} jobs finished")


def training_seconds(directory: Path) -> float:
    """Seconds that a sweep's stacks trained. The runs of a stack have the same seconds in each epoch."""
    jobs = [directory / row["directory"] / "metrics.csv" for row in rows_of(directory / "sweep.csv")]
    return sum(map(sum, {tuple(float(row["seconds"]) for row in rows_of(job)) for job in jobs}))


def jax_sweep(part: Part, runs: int, epochs: int, steps: int) -> str:
    """JAX's figures for the same training, or why there are none."""
    import numpy as np

    from ch12cli.data import iris, prepare

    if subprocess.run([sys.executable, "-c", "import jax"], capture_output=True).returncode:
        return "JAX: is not installed"
    train = prepare(iris(), test_size=0.2, valid_size=0.2, scaling="standard").train
    np.savez(part.folder / "rows.npz", x=train.x.astype(np.float32), y=train.y)
    script = ROOT / "tests" / "benchmarks" / "peers" / "jax_sweep.py"
    variables = {"JAX_PLATFORMS": "cuda" if part.on_gpu else "cpu", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        seconds = part.run(sys.executable, script, "rows.npz", str(runs), str(epochs), str(BATCH), **variables)
    except PartError as error:  # of the peer, not of ch12
        return f"JAX: {error}"
    return f"JAX: {seconds:.1f} s, {steps / seconds:,.0f} model-steps a second"


def killed_sweep(part: Part, runs: int, epochs: int) -> None:
    """A sweep that is killed half-way and resumed, against the same sweep uninterrupted."""
    whole = part.folder.parent / f"sweep-{runs}"
    if not (whole / "sweep" / "sweep.csv").exists():
        raise PartError(f"needs the part sweep-{runs}, which did not succeed")
    process = part.start(sys.executable, "-m", "ch12cli", *sweep_words(part.device, runs, epochs))
    table = part.folder / "sweep" / "sweep.csv"
    while process.poll() is None and not table.exists() and time.monotonic() < part.deadline:
        time.sleep(0.01)
    time.sleep(training_seconds(whole / "sweep") / 2)
    ended = process.poll() is not None
    if not ended:
        kill(process)
    done = sum(row["status"] == "finished" for row in rows_of(table)) if table.exists() else 0
    seconds = part.ch12("resume", "-q", "sweep")
    require_finished(part.folder / "sweep", runs)
    pairs = zip(rows_of(table), rows_of(whole / "sweep" / "sweep.csv"), strict=True)
    apart = max(abs(float(a["test_loss"]) / float(b["test_loss"]) - 1) for a, b in pairs)
    state = "it ended before it was killed" if ended else f"killed with {done} of {runs} jobs done"
    part.found.append(f"{state}; resumed in {seconds:.1f} s; test losses differ by {apart:.1e}")
    if not apart < 1e-3:
        raise PartError(part.found[-1])


def loader(part: Part) -> None:
    """Batches that two processes load into pinned memory, against batches without them."""
    words = ("epochs=2", "batch_size=16")
    apart = difference(part.train("loaded", *words, "workers=2", "pin_memory=true"), part.train("plain", *words))
    part.found.append(f"weights differ by {apart:.1e}")
    if apart:
        raise PartError(part.found[-1])


def parts_for(device: str) -> dict[str, tuple[float, Callable[[Part], None]]]:
    """name -> (seconds at most, function)."""
    small, large, epochs = (32, 128, 5) if device == "cpu" else (1024, 16384, 100)
    return {
        "card": (60, card),
        "tests": (170, device_tests),
        "against-cpu": (120, against_cpu),
        f"sweep-{small}": (90, lambda part: sweep(part, small, epochs)),
        f"sweep-{large}": (150, lambda part: sweep(part, large, epochs)),
        "killed-sweep": (90, lambda part: killed_sweep(part, small, epochs)),
        "loader": (60, loader),
    }


def carry_out(name: str, limit: float, function: Callable[[Part], None], *, device: str, out: Path, end: float) -> bool:
    """Runs a part and adds its lines to the table; whether it succeeded."""
    folder, log = out / name, out / f"{name}.log"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log.write_bytes(b"")
    began = time.monotonic()
    part = Part(device, folder, log, min(began + limit, end))
    try:
        if began >= end:
            raise PartError("no time was left for it")
        function(part)
        problem = ""
    except PartError as error:
        problem = str(error)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    seconds = f"{time.monotonic() - began:.0f}"
    lines = [*part.found, *([f"FAILED: {problem}; see {log}"] if problem else [])]
    rows = [
        f"| {name if not index else ''} | {seconds if not index else ''} | {line} |" for index, line in enumerate(lines)
    ]
    with (out / "table.md").open("a", encoding="utf-8") as table:
        table.write("\n".join(rows) + "\n")
    print(f"{name}: {'failed' if problem else 'passed'} in {seconds} s", flush=True)
    return not problem


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda unless given")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"), help="folder of the details; outputs/gpu")
    parser.add_argument("parts", nargs="*", metavar="PART", help="only these parts")
    options = parser.parse_args()
    parts = parts_for(options.device)
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text("| part | seconds | result |\n|---|---|---|\n", encoding="utf-8")
    end = time.monotonic() + (LONGEST if options.device != "cpu" else 2 * LONGEST)
    passed = [
        carry_out(
            name, limit if options.device != "cpu" else 3 * limit, function, device=options.device, out=out, end=end
        )
        for name, (limit, function) in parts.items()
        if name in (options.parts or parts)
    ]
    print((out / "table.md").read_text(encoding="utf-8"), end="")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
