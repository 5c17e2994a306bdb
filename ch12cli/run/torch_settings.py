"""Sets torch's device, threads and determinism for a run, and restores them afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from ch12cli.config.run_settings import MachineSettings
from ch12cli.distributed.ranks import Ranks
from ch12cli.distributed.torchrun import torchrun_place
from ch12cli.errors import InputError, Problem
from ch12cli.run.task import choose_device

# Largest rows x inputs x outputs of a layer whose matrix product has the same bits on any number of threads.
# Measured on 2 cores: bits may differ from 600 on. Below, threads only wait for each other, long on a busy machine.
FEW = 512


def machine_of_rank(settings: MachineSettings, ranks: Ranks) -> MachineSettings:
    """Returns the settings of one of a run's processes: its GPU, and one thread, whose bits no number changes."""
    if ranks.world > 1 and choose_device(settings.device).type == "cuda":
        settings = replace(settings, device=f"cuda:{ranks.local_rank}")
    if ranks.world > 1 or settings.shards is not None:
        settings = replace(settings, threads=settings.threads or 1)
    return settings


def require_gpus(settings: MachineSettings) -> bool:
    """Returns whether the processes of a run use GPUs. Raises InputError if there are too few on this machine."""
    if choose_device(settings.device).type != "cuda":
        return False
    place, found = torchrun_place(), torch.cuda.device_count()
    wanted = settings.devices if place is None else place.local_world
    if wanted > found:
        plural = "" if found == 1 else "s"
        hint = f"use devices={found}, or device=cpu"
        raise InputError(Problem("devices", str(wanted), f"this machine has {found} GPU{plural}", hint))
    return True


@contextmanager
def torch_settings(settings: MachineSettings) -> Iterator[torch.device]:
    """Yields the run's device, with torch's threads and determinism set for it.

    Restores these settings and the random state at the end.
    """
    device = choose_device(settings.device)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            if settings.threads is not None:
                torch.set_num_threads(settings.threads)
            if settings.deterministic and cuda:  # cuBLAS reads this variable when it starts
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            if settings.deterministic and not deterministic:  # the call imports torch's compiler, which takes seconds
                torch.use_deterministic_algorithms(True)
            yield device
    finally:
        torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != deterministic:
            torch.use_deterministic_algorithms(deterministic)


def is_small(module: nn.Module, batch_size: int) -> bool:
    """Returns True if one thread computes the same bits as several.

    This holds for small linear layers and for layers without parameters.
    """
    layers = [layer for layer in module.modules() if not list(layer.children())]
    return all(
        batch_size * layer.in_features * layer.out_features <= FEW
        if isinstance(layer, nn.Linear)
        else not list(layer.parameters())
        for layer in layers
    )
