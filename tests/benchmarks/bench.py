"""What every benchmark needs: interleaved repetitions, processes with their cost, the peers, a folder, a table."""

import itertools
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).parent / "peers"
IRIS = ROOT / "ch12cli" / "data" / "iris.csv"
INSTALL = "`make peers`, or name an interpreter that has it with --peers or CH12_PEERS"

# What this workplace may set for the good of old libraries or of nobody, and what a person's shell does not.
LEFT_OUT = ("PYTHONDONTWRITEBYTECODE", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# For peers whose networks are so small that a second thread only makes them slower, on a busy machine fifty times.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Spent(NamedTuple):
    """What a process took, with all it started. wall, cpu: seconds; memory: largest sum of resident sizes, bytes."""

    wall: float
    cpu: float
    memory: int


@dataclass
class Table:
    """A benchmark's result. about: what the peer is and how it was measured; rows: cells as text."""

    title: str
    about: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Adds a row, and prints it at once, for who waits or has no time to wait."""
        self.rows.append(cells)
        print("  ".join(cells), file=sys.stderr, flush=True)

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", self.about, ""]
        lines += [f"| {' | '.join(row)} |" for row in [self.columns, ["---"] * len(self.columns), *self.rows]]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes), ""])


class Bench:
    """Where and with what is measured. peers: the interpreter that has the peers; scratch: an empty folder."""

    def __init__(self, *, peers: Path, scratch: Path) -> None:
        self.peers, self.scratch = peers, scratch
        self.python = Path(sys.executable)
        self.ch12 = (str(self.python.with_name("ch12")),)
        self.numbers = itertools.count()

    def folder(self, name: str) -> Path:
        """A new empty folder. None is removed before the end: making files is slow right after many were removed."""
        folder = self.scratch / f"{name}-{next(self.numbers)}"
        folder.mkdir(parents=True)
        return folder

    def has(self, *modules: str) -> bool:
        """Whether the peers' interpreter has these modules."""
        program = f"import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in {modules!r}))"
        return subprocess.run([self.peers, "-c", program], env=environment()).returncode == 0

    def peer(self, script: str, *words: object) -> list[str]:
        """The command of a peer's script in the peers' interpreter."""
        return [str(self.peers), str(PEERS / script), *map(str, words)]


def missing(name: str) -> str:
    return f"{name} is not installed and was not measured: {INSTALL}."


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in LEFT_OUT}


def process(
    command: Sequence[str], *, folder: Path, fails: bool = False, variables: Mapping[str, str] | None = None
) -> Spent:
    """Runs a command to its end. fails: whether it is to exit with an error; variables: added to its environment."""
    output = folder / f"output-{time.monotonic_ns()}.txt"
    with open(output, "wb") as file:
        start = time.perf_counter()
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with watched_memory(child.pid) as peak:
                _, status, usage = os.wait4(child.pid, 0)
                wall = time.perf_counter() - start
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
    if (child.returncode != 0) != fails:
        raise RuntimeError(
            f"{' '.join(command)}: exit code {child.returncode}\n{output.read_text(encoding='utf-8')[-2000:]}"
        )
    output.unlink()
    return Spent(wall, usage.ru_utime + usage.ru_stime, max(peak))


@contextmanager
def watched_memory(session: int, *, interval: float = 0.1) -> Iterator[list[int]]:
    """The sums of resident memory, in bytes, of a session's processes, looked at now and then."""
    peak, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(interval):
            peak.append(resident(session))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def resident(session: int) -> int:
    """Resident memory of the processes of a session, bytes. What forked processes share is counted in each."""
    pages = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Repeated:
    """A peer that measures itself: each call asks its process for one more repetition. Seconds it says it took."""

    def __init__(self, command: Sequence[str]) -> None:
        self.child = subprocess.Popen(
            command,
            env=environment() | ONE_THREAD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self) -> float:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write("again\n")
        self.child.stdin.flush()
        return float(self.child.stdout.readline())

    def close(self) -> None:
        self.child.communicate()


def interleaved(contenders: Mapping[str, Callable[[], float]], *, times: int, warm: int = 1) -> dict[str, list[float]]:
    """The measurements of each contender, all of them once in each round, every other round backwards."""
    names = list(contenders)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warm + times):
        for name in names if turn % 2 else reversed(names):
            value = contenders[name]()
            if turn >= warm:
                found[name].append(value)
    return found


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items()}


def spread(values: Sequence[float], unit: float = 1.0, digits: int = 2) -> str:
    """`median (lowest to highest)`, in a unit."""
    low, middle, high = (
        f"{value / unit:.{digits}f}" for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})"


def ratio(value: float, peer: float) -> str:
    return f"{value / peer:.2f}"


def verdict(value: float, *, target: float, larger: bool = False) -> str:
    """`≤ target: met`, or missed. larger: whether more is better."""
    met = value >= target if larger else value <= target
    return f"{'≥' if larger else '≤'} {target:g}: {'met' if met else 'missed'}"
