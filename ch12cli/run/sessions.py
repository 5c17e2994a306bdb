"""Records of a run's sessions, written when it resumes from a checkpoint. See files/history.py."""

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
    """Returns the environment of a run on this device: versions, machine, git commit and device name."""
    return {**environment(), "device": device_name(device)}


def plain_of(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns a mapping that a checkpoint stores as JSON, or an empty one if the entry is missing or invalid."""
    try:
        value = json.loads(state[name])
        refuse_oversized(value)
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def session_record(
    state: Mapping[str, Any], device: torch.device, *, changes: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the record of resuming from a checkpoint.

    `changes` are the settings changed for the new session. `before` are their earlier values.
    """
    return {
        "epoch": int(state["epoch"]),
        "changes": dict(changes),
        "before": dict(before),
        "environment": environment_differences(plain_of(state, "environment"), environment_of(device)),
    }
