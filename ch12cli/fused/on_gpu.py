"""Compiles C to a kernel of a GPU (NVRTC): a thread for each run, a warp for each block."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ch12cli.fused.compiler import CannotCompileError
from ch12cli.training.torch_internals import compile_cuda

WARP = 32  # threads of a block

Kernel = Callable[[int, Sequence[Any]], None]


def kernel_on_gpu(source: str, name: str, device: torch.device, *, shared: int = 0) -> Kernel:
    """Returns a function of the number of blocks and the arguments: tensors of the device, or whole numbers of 32 bits.

    shared: bytes of a block's shared memory. Raises CannotCompileError.
    """
    most = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
    if compile_cuda is None:
        raise CannotCompileError("this torch compiles no kernels for a GPU")
    if shared > most:
        raise CannotCompileError("its networks do not fit into the GPU's shared memory")
    with torch.cuda.device(device):
        try:
            kernel = compile_cuda(source, name)
            kernel.set_shared_memory_config(shared)
        except (RuntimeError, OSError, AttributeError) as error:
            raise CannotCompileError(str(error).splitlines()[0]) from error

    def launch(blocks: int, arguments: Sequence[Any]) -> None:
        with torch.cuda.device(device):
            kernel(grid=(blocks, 1, 1), block=(WARP, 1, 1), args=list(arguments), shared_mem=shared)

    return launch
