"""Why a run ended before its last epoch, in words."""

from collections.abc import Mapping
from typing import Any


def diverged_message(epoch: int, step: int) -> str:
    return (
        f"the loss was no longer finite in epoch {epoch}, step {step}; "
        "try a smaller optimizer.lr, clip_grad_norm=1, or dataset.scaling=standard"
    )


def cause_of(details: Mapping[str, Any]) -> str:
    """In a line, why a run ended before its last epoch; empty if it did not. details: of a result.json."""
    if "diverged" in details:
        return diverged_message(details["diverged"]["epoch"], details["diverged"]["step"])
    if "stopped_early" in details:
        return f"stopped early in epoch {details['stopped_early']}"
    return f"left by halving after epoch {details['left_at']}" if "left_at" in details else ""
