"""What is noted when a run goes on from a checkpoint: see runs/history.py."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from ch12cli.files.environment import environment
from ch12cli.files.history import environment_differences
from ch12cli.training.checkpoint import refuse_oversized


def device_name(device: torch.device) -> str:
    return f"{device}: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def environment_of(device: torch.device) -> dict[str, Any]:
    """What a run on this device runs on."""
    return {**environment(), "device": device_name(device)}


def plain_of(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A mapping that a checkpoint holds as JSON; empty where it is not such as ch12 writes it."""
    try:
        value = json.loads(state[name])
        refuse_oversized(value)
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def session_record(
    state: Mapping[str, Any], device: torch.device, *, changes: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """What is noted of going on from a checkpoint. changes: settings from then on; before: what they were."""
    return {
        "epoch": int(state["epoch"]),
        "changes": dict(changes),
        "before": dict(before),
        "environment": environment_differences(plain_of(state, "environment"), environment_of(device)),
    }
