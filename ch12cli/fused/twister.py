"""Random numbers of many runs at once: row orders, initial weights and states that torch draws one after another."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.fused.compiler import CannotCompileError, is_cached, library
from ch12cli.fused.on_gpu import WARP, kernel_on_gpu

MOST_ROWS = 2**32 // 20 - 1  # with more, torch.randperm draws otherwise
NUMBERS = 624  # words of a generator's state
# torch.Generator.get_state, in words of 64 bits: the seed; how many numbers of a block are left, plus 1, in the low
# half; how many were drawn from it; the block; numbers of which only torch.normal makes use.
SEED, LEFT, DRAWN, BLOCK = 0, 1, 2, 3
MOST_THREADS = 2**15  # on a GPU; their generators take 2.5 KB each

Drawing = Callable[[NDArray[np.int64], int], Tensor]


def source() -> str:
    return files("ch12cli.fused").joinpath("twister.c").read_text(encoding="utf-8")


@cache
def twister_library() -> Any:
    """Returns the compiled function of a CPU. Raises CannotCompileError."""
    found = library(source())
    for function in (found.orders, found.beginnings, found.states):
        function.restype = None
    return found


def twister_if_cached() -> bool:
    """Returns whether `twister_library` returns at once: nothing has to be compiled."""
    try:
        return is_cached(source()) and bool(twister_library())
    except CannotCompileError:
        return False


def draw_orders(seeds: NDArray[np.int64], rows: int) -> Tensor:
    """Returns torch.randperm(rows) of a generator seeded with each seed, (runs, rows) int64; at most MOST_ROWS rows.

    Raises CannotCompileError where `twister_library` does.
    On an H200's host, torch takes 9 µs for 100 rows, this under 1.
    """
    seeds = np.ascontiguousarray(seeds, np.int64)
    drawn = torch.empty(len(seeds), rows, dtype=torch.int64)
    twister_library().orders(pointer(seeds), size(len(seeds)), size(rows), ctypes.c_void_p(drawn.data_ptr()))
    return drawn


def draw_beginnings(
    seeds: NDArray[np.int64], skipped: int, uniform: Sequence[tuple[int, float]], epochs: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Returns what torch draws before the first epoch of each run: initial weights, and the seeds of its row orders.

    Of a generator seeded with each seed, after `skipped` numbers of 32 bits: for each pair of `uniform` (values, bound)
    torch.empty(values).uniform_(-bound, bound), together (runs, values); then for each epoch two numbers of 64 bits, of
    which the second is kept, (runs, epochs). Raises CannotCompileError where `twister_library` does.
    """
    seeds = np.ascontiguousarray(seeds, np.int64)
    sizes, bounds = (
        np.array([size for size, _ in uniform], np.int64),
        np.array([bound for _, bound in uniform], np.float32),
    )
    weights = np.empty((len(seeds), int(sizes.sum())), np.float32)
    order_seeds = np.empty((len(seeds), epochs), np.int64)
    twister_library().beginnings(
        *(pointer(seeds), size(len(seeds)), size(skipped), size(len(sizes)), pointer(sizes), pointer(bounds)),
        *(size(weights.shape[1]), pointer(weights), size(epochs), pointer(order_seeds)),
    )
    return weights, order_seeds


def drawn_states(seeds: NDArray[np.int64], numbers: int) -> NDArray[np.uint8]:
    """Returns torch.Generator.get_state of a generator seeded with each seed, after so many numbers of 32 bits.

    (runs, bytes). Raises CannotCompileError where `twister_library` does.
    """
    seeds = np.ascontiguousarray(seeds, np.int64)
    like = torch.Generator().get_state().numpy()
    words = np.tile(like.view(np.int64), (len(seeds), 1))
    used = (numbers - 1) % NUMBERS + 1 if numbers else 0
    words[:, SEED], words[:, DRAWN] = seeds, used
    words.view(np.int32)[:, 2 * LEFT] = NUMBERS + 1 - used if numbers else 1
    block = words[:, BLOCK:]
    twister_library().states(pointer(seeds), size(len(seeds)), size(numbers), pointer(block), size(words.shape[1]))
    return words.view(np.uint8)


size = ctypes.c_int64


def pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def drawing_on(device: torch.device) -> Drawing:
    """Returns the function that draws orders on a device, as `draw_orders` does. Raises CannotCompileError."""
    if device.type != "cuda":
        twister_library()
        return draw_orders
    kernel = kernel_on_gpu(source(), "orders", device)

    def draw(seeds: NDArray[np.int64], rows: int) -> Tensor:
        drawn = torch.empty(len(seeds), rows, dtype=torch.int64, device=device)
        threads = -(-min(len(seeds), MOST_THREADS) // WARP) * WARP
        if threads:
            states = torch.empty(NUMBERS, threads, dtype=torch.int32, device=device)
            given = torch.from_numpy(np.ascontiguousarray(seeds, np.int64)).to(device)
            kernel(threads // WARP, [given, len(seeds), rows, drawn, states])
        return drawn

    return draw
