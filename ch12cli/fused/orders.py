"""Row orders of many runs at once: those that torch draws one after another."""

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ch12cli.fused.compiler import library
from ch12cli.fused.on_gpu import WARP, kernel_on_gpu

MOST_ROWS = 2**32 // 20 - 1  # with more, torch.randperm draws otherwise
NUMBERS = 624  # words of a generator's state
MOST_THREADS = 2**15  # on a GPU; their generators take 2.5 KB each

Drawing = Callable[[NDArray[np.int64], int], Tensor]


def source() -> str:
    return files("ch12cli.fused").joinpath("orders.c").read_text(encoding="utf-8")


@cache
def orders_library() -> Any:
    """Returns the compiled function of a CPU. Raises CannotCompileError."""
    found = library(source())
    found.orders.restype = None
    return found


def draw_orders(seeds: NDArray[np.int64], rows: int) -> Tensor:
    """Returns torch.randperm(rows) of a generator seeded with each seed, (runs, rows) int64; at most MOST_ROWS rows.

    Raises CannotCompileError where `orders_library` does.
    On an H200's host, torch takes 9 µs for 100 rows, this under 1.
    """
    seeds = np.ascontiguousarray(seeds, np.int64)
    drawn = torch.empty(len(seeds), rows, dtype=torch.int64)
    size = ctypes.c_int64
    given = ctypes.c_void_p(seeds.ctypes.data), size(len(seeds)), size(rows), ctypes.c_void_p(drawn.data_ptr())
    orders_library().orders(*given)
    return drawn


def drawing_on(device: torch.device) -> Drawing:
    """Returns the function that draws orders on a device, as `draw_orders` does. Raises CannotCompileError."""
    if device.type != "cuda":
        orders_library()
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
