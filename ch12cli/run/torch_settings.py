"""Sets torch up for a run: its device, threads and determinism; restores them afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ch12cli.config.run_settings import MachineSettings
from ch12cli.run.task import choose_device

# Rows x inputs x outputs of a layer up to which torch's matrix products have the same bits on any number of threads
# (from 600 they need not: measured on 2 cores), and where threads only wait for each other, on a busy machine for long.
FEW = 512


@contextmanager
def torch_settings(settings: MachineSettings) -> Iterator[torch.device]:
    """The run's device, with torch's threads and determinism set for it; these and the random stream are restored."""
    device = choose_device(settings.device)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            if settings.threads is not None:
                torch.set_num_threads(settings.threads)
            if settings.deterministic and cuda:  # NVIDIA's matrix products then want to know it from the start
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            if settings.deterministic and not deterministic:  # the call imports torch's compiler, for seconds
                torch.use_deterministic_algorithms(True)
            yield device
    finally:
        torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic)


def is_small(module: nn.Module, batch_size: int) -> bool:
    """True if one thread computes the same bits as many: small linear layers, and layers without parameters."""
    layers = [layer for layer in module.modules() if not list(layer.children())]
    return all(
        batch_size * layer.in_features * layer.out_features <= FEW
        if isinstance(layer, nn.Linear)
        else not list(layer.parameters())
        for layer in layers
    )
