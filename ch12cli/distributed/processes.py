"""Starts the processes that train one run, connects them, and ends them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch

from ch12cli.distributed.ranks import POLL, ConnectedRanks, LostRankError, Ranks
from ch12cli.distributed.torchrun import Place, torchrun_place
from ch12cli.errors import InputError, MachineError, describe_error
from ch12cli.training.torch_internals import abort_collectives

CPU, GPU = "gloo", "cpu:gloo,cuda:nccl"  # what connects processes that compute on CPUs, and on GPUs
MESSAGE = "run"  # the store's key of what process 0 sends to the others
PATIENCE = 10.0  # seconds for the other processes to end by themselves after the last step
HANDLED = {signal.SIGINT, signal.SIGTERM}
TIMEOUT = 300.0  # seconds for all processes to appear

Train = Callable[[str, Ranks], None]


@contextmanager
def lead(devices: int, message: str, *, backend: str, train: Train) -> Iterator[Ranks]:
    """Yields all processes of a run, of which this one leads. Starts the others, unless torchrun did.

    The others call train(message, ranks). They end with the block. backend: CPU or GPU.
    """
    place = torchrun_place()
    if place is not None:
        if place.rank > 0:
            raise InputError(f"torchrun: starts `-m ch12cli train` only; in a program, use devices={place.world} alone")
        with connected(place, torchrun_store(place), message, backend=backend) as ranks:
            yield ranks
        return
    if torch.cuda.is_initialized():
        raise InputError(f"devices={devices}: this process has used a GPU and cannot start others; use a new process")
    with tempfile.TemporaryDirectory(prefix="ch12-") as folder:
        places = [Place(rank, devices, rank, devices) for rank in range(devices)]
        followers = [start_follower(place, folder, train) for place in places[1:]]
        try:
            dead = lambda: describe_dead(followers)  # noqa: E731
            with connected(places[0], file_store(folder, devices), message, backend=backend, dead=dead) as ranks:
                yield ranks
            deadline = time.monotonic() + PATIENCE
            for follower in followers:
                follower.join(max(0.0, deadline - time.monotonic()))
        finally:
            for follower in followers:
                follower.kill()
                follower.join()


def start_follower(place: Place, folder: str, train: Train) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(
        target=follow_forked, args=(place, folder, train, os.getpid()), name=f"ch12-{place.rank}"
    )
    # before follow_forked, the new process would handle a signal as the run itself does
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    return process


def follow_forked(place: Place, folder: str, train: Train, parent: int) -> None:
    """Trains in a process that was forked by the one that leads, and ends it. Signals are handled by process 0."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with the process that leads
    if os.getppid() != parent:
        os._exit(MachineError.exit_code)
    raise SystemExit(follow(place, file_store(folder, place.world), train))


def follow_torchrun(place: Place, train: Train) -> int:
    """Trains in a process that torchrun started, and returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until there is a training, which process 0 ends
    return follow(place, torchrun_store(place), train)


def follow(place: Place, store: Any, train: Train) -> int:
    """Waits for process 0 and trains with it, silently. Returns the exit code."""
    silence()
    backend, _, message = wait_for_message(store).partition("\n")
    if not message:
        return 0
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # process 0 writes a checkpoint and leaves; then all end
    try:
        with connected(place, store, message, backend=backend) as ranks:
            try:
                train(message, ranks)
            except LostRankError:
                raise
            except BaseException as error:
                store.set(f"failed/{place.rank}", describe_error(error))
                raise
    except Exception as error:
        return getattr(error, "exit_code", 1)
    return 0


def silence() -> None:
    """Sends what this process prints nowhere, unless HYDRA_FULL_ERROR asks for everything."""
    if os.environ.get("HYDRA_FULL_ERROR") != "1":
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)


def wait_for_message(store: Any) -> str:
    """Returns the message of process 0. Waits for as long as that process needs to read and check its input."""
    while not store.check([MESSAGE]):
        time.sleep(POLL)
    message: bytes = store.get(MESSAGE)
    return message.decode()


def dismiss_followers(place: Place) -> None:
    """Ends the other processes that torchrun started, if this one has sent them nothing to train."""
    store = torchrun_store(place)
    if not store.check([MESSAGE]):
        store.set(MESSAGE, "")


@contextmanager
def connected(
    place: Place, store: Any, message: str, *, backend: str, dead: Callable[[], str] = str
) -> Iterator[ConnectedRanks]:
    """Yields all processes of a run after they have been connected. dead: says how others died, if they did."""
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore

    ranks = ConnectedRanks(place.rank, place.world, place.local_rank, store, dead)
    if ranks.leads:
        store.set(MESSAGE, f"{backend}\n{message}")
    store.set(f"ready/{place.rank}", "1")
    wait_for_all(ranks)
    if backend == GPU:
        torch.cuda.set_device(place.local_rank)
    try:
        with local_interface(place):
            distributed.init_process_group(
                backend, store=PrefixStore("group", store), rank=place.rank, world_size=place.world
            )
    except RuntimeError as error:
        raise MachineError(f"devices={place.world}: cannot connect the processes: {describe_error(error)}") from error
    done = Event()
    watch = Thread(target=abort_after_death, args=(ranks, done), daemon=True)
    if backend == GPU:
        watch.start()
    try:
        yield ranks
    finally:
        done.set()
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def wait_for_all(ranks: ConnectedRanks) -> None:
    """Waits until all processes are there. Raises LostRankError if one has ended, or none comes for long."""
    deadline = time.monotonic() + TIMEOUT
    keys = [f"ready/{rank}" for rank in range(ranks.world)]
    while not ranks.store.check(keys):
        if reason := ranks.reported() or ranks.describe_dead():
            raise LostRankError(f"devices={ranks.world}: {reason}")
        if time.monotonic() > deadline:
            raise LostRankError(f"devices={ranks.world}: not all processes have started within {TIMEOUT:.0f} s")
        time.sleep(0.002)


def abort_after_death(ranks: ConnectedRanks, done: Event) -> None:
    """Aborts what waits for processes that have died. GPUs would wait for ever, connected CPUs do not."""
    while not done.wait(10 * POLL):
        if ranks.describe_dead():
            abort_collectives()
            return


@contextmanager
def local_interface(place: Place) -> Iterator[None]:
    """Within the block, processes of one machine connect without its network."""
    name = "GLOO_SOCKET_IFNAME"
    if name in os.environ or place.local_world < place.world:
        yield
        return
    os.environ[name] = "lo0" if sys.platform == "darwin" else "lo"
    try:
        yield
    finally:
        del os.environ[name]


def describe_dead(followers: Sequence[BaseProcess]) -> str:
    """Returns how the first process that failed has ended; empty if none has."""
    for number, follower in enumerate(followers, 1):
        code = follower.exitcode
        if code:
            return f"process {number} died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
    return ""


def file_store(folder: str, world: int) -> Any:
    """Returns the store of processes on one machine."""
    from torch.distributed import FileStore  # type: ignore[attr-defined]

    return FileStore(str(Path(folder, "store")), world)


def torchrun_store(place: Place) -> Any:
    """Returns the store of the processes that torchrun started. Raises MachineError if it cannot be reached."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(iter(rendezvous("env://", rank=place.rank, world_size=place.world)))
    except (RuntimeError, ValueError) as error:
        raise MachineError(f"torchrun: cannot reach its other processes: {describe_error(error)}") from error
    return PrefixStore("ch12", store)
