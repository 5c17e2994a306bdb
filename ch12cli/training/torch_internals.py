"""Everything of torch that ch12 uses although torch does not document it.

Each entry gives the reason, and what ch12 does without it. `tests/training/test_torch_internals.py` breaks when torch
changes one of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

try:
    from torch.autograd.graph import _engine_run_backward
except ImportError:
    _engine_run_backward = None  # type: ignore[assignment]

# The kernels that torch's engine calls for the derivatives of layers and losses (torch's native_functions.yaml).
# Reason: for small layers the engine's bookkeeping costs more than the arithmetic. Without one of them: the engine.
aten = torch.ops.aten
DERIVATIVES = (
    "_log_softmax_backward_data",
    "_softmax_backward_data",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "elu_backward",
    "gelu_backward",
    "leaky_relu_backward",
    "mish_backward",
    "mse_loss",
    "mse_loss_backward",
    "nll_loss_backward",
    "nll_loss_forward",
    "sigmoid_backward",
    "silu_backward",
    "softplus_backward",
    "tanh_backward",
    "threshold_backward",
)
HAS_DERIVATIVES = all(hasattr(aten, name) for name in DERIVATIVES)

# Of these kernels, the two whose names are private to torch: (gradient, output, axis, dtype) -> gradient of the input.
softmax_backward: Any = aten._softmax_backward_data.default if HAS_DERIVATIVES else None
log_softmax_backward: Any = aten._log_softmax_backward_data.default if HAS_DERIVATIVES else None

# Adam's fused kernel on plain tensors. Reason: one pass over the moments instead of seven. Without it: the formula.
HAS_FUSED_ADAM = hasattr(torch, "_fused_adam_")

# Compiles CUDA source (NVRTC) to a kernel that takes tensors. Reason: torch's public way needs nvcc and a C++ compiler.
# Without it: torch's operations.
compile_cuda: Any = getattr(torch.cuda, "_compile_kernel", None)

# The bytes to which torch's allocator aligns each tensor's memory. Reason: the bits of a matrix product depend on the
# alignment of its factors, so what ch12 keeps within a larger tensor is aligned to it too.
ALIGNMENT = 64


def aligned_size(values: int, dtype: torch.dtype) -> int:
    """Returns the number of values after which the next tensor's memory may begin: `values` or a little more."""
    multiple = ALIGNMENT // dtype.itemsize
    return -(-values // multiple) * multiple


def backward(loss: Tensor, seed: Tensor) -> None:
    """Does `loss.backward(seed)`: adds the gradients to the parameters' `.grad`. seed: shaped like loss.

    Reason: the checks on the way of `Tensor.backward` take a tenth of a small network's step. Without it: that method.
    """
    if _engine_run_backward is None:
        loss.backward(seed)
    else:
        _engine_run_backward((loss,), (seed,), False, False, (), True, accumulate_grad=True)


def fused_adam(
    parameters: Tensor,
    gradient: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    max_exp_avg_sq: Tensor | None,
    *,
    steps: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """Does one step of Adam in place, without weight decay. All tensors are dense and of one shape; steps: ()."""
    torch._fused_adam_(
        [parameters],
        [gradient],
        [exp_avg],
        [exp_avg_sq],
        [] if max_exp_avg_sq is None else [max_exp_avg_sq],
        [steps],
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=eps,
        amsgrad=max_exp_avg_sq is not None,
        maximize=False,
    )


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Returns whether calling the module, or differentiating it, calls hooks of the user's.

    Reason: torch has no public list of hooks. A dictionary that a later torch has not counts as empty.
    """
    hooks = any(getattr(part, name, None) for part in module.modules() for name in HOOKS)
    return hooks or any(getattr(parameter, "_backward_hooks", None) for parameter in module.parameters())


def is_dropout(module: nn.Module) -> bool:
    """Returns whether a module is one of torch's dropouts. Reason: their common class is private."""
    kinds = getattr(nn.modules.dropout, "_DropoutNd", (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d))
    return isinstance(module, kinds)


def is_convolution(module: nn.Module) -> bool:
    """Returns whether a module is one of torch's convolutions. Reason: their common class is private."""
    return isinstance(module, getattr(nn.modules.conv, "_ConvNd", (nn.Conv1d, nn.Conv2d, nn.Conv3d)))


def abort_collectives() -> None:
    """Ends all waiting for other processes, with an error.

    Reason: GPUs wait for a process that has died until a timeout, which kills this one too.
    """
    from torch.distributed import distributed_c10d

    abort = getattr(distributed_c10d, "_abort_process_group", None)
    if abort is not None:
        abort()


def workers_of(loader: DataLoader[Any]) -> Sequence[Any] | None:
    """Returns the processes of a DataLoader with persistent workers; None before it has started them.

    Reason: how a worker ended says why there are no batches. Without it: nothing is known of the workers.
    """
    iterator = getattr(loader, "_iterator", None)
    return None if iterator is None else getattr(iterator, "_workers", ())
