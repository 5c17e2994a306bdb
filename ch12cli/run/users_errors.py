"""Errors that the user's network, loss or optimizer raises while it computes."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import ch12cli
from ch12cli.config.choices import choices_of_group, keys_of_choice
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.targets import less_memory
from ch12cli.errors import InputError, MachineError, describe_error, location_of

OWN = Path(ch12cli.__file__).parent
COMPUTING = OWN / "training"  # the package that calls networks, losses and optimizers
# The part that is called, by the file that calls it, or by the file of torch that is called.
PARTS = {"optimizers.py": "optimizer", "losses.py": "loss", "loss.py": "loss"}


class UsersError(InputError):
    """Raised if an object of the user's raised an exception. cause: the exception in one line, for result.json."""

    def __init__(self, subject: str, cause: str) -> None:
        super().__init__(f"{subject}: {cause}")
        self.cause = cause


@contextmanager
def users_errors(settings: RunSettings, action: str) -> Iterator[None]:
    """Re-raises exceptions of the user's objects as UsersError, and those about memory as MachineError.

    An exception that torch raises is the user's if an object that ch12 does not ship called torch. action: what the
    run was doing, such as "training".
    """
    try:
        yield
    except (InputError, MachineError):
        raise
    except Exception as error:
        # torch.OutOfMemoryError is of a GPU; torch's allocator on the CPU raises RuntimeError
        if type(error).__name__ in ("OutOfMemoryError", "MemoryError") or "can't allocate memory" in str(error):
            device = settings.machine.device
            data = "" if device.startswith("cuda") else less_memory(settings.data.source.arguments)
            hint = f"{data}; or " if data else ""
            message = f"out of memory on device {device}: {hint}use a smaller batch_size or network"
            message += f" ({describe_error(error)})"
            raise MachineError(message) from error
        location = location_of(error)
        subject = f"code of your own raised while {action}" if location else users_part(error, settings, action)
        if not subject:
            raise
        raise UsersError(subject, f"{describe_error(error)}{location}") from error


def users_part(error: BaseException, settings: RunSettings, action: str) -> str:
    """Returns which object of the user's called what raised; empty if ch12 itself, or an object of its own, did."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    of_ch12 = [number for number, file in enumerate(files) if OWN in file.parents]
    if not of_ch12 or of_ch12[-1] == len(files) - 1 or files[of_ch12[-1]].parent != COMPUTING:
        return ""
    targets = {
        "model": settings.model.target.path,
        "activation": settings.model.activation.path,
        "loss": settings.loss.path,
        "optimizer": settings.optimizer.target.path,
    }
    users = [key for key, path in targets.items() if path not in shipped_targets(key)]
    called = [PARTS[file.name] for file in files[of_ch12[-1] :] if PARTS.get(file.name) in users]
    key = called[-1] if called else users[0] if users else ""
    return f"{key}: {targets[key]} failed while {action}" if key else ""


@cache
def shipped_targets(group: str) -> frozenset[str]:
    """Returns the targets of a group's choices."""
    return frozenset(str(keys_of_choice(choice).get(f"{group}._target_")) for choice in choices_of_group(group))
