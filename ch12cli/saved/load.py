"""Reads a run from its directory. The checkpoint and settings are treated as untrusted data and validated."""

import json
import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ch12cli.catalogue.ensembles import takers_in_words
from ch12cli.config.recorded import with_later_keys
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.untrusted_settings import ENSEMBLE, Use
from ch12cli.data.columns import columns_from_plain
from ch12cli.data.scaling import scaling_from_plain, target_scaling_from_plain
from ch12cli.errors import InputError
from ch12cli.files.plain_values import is_integer
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import BEST, CHECKPOINTS, RESULT, refuse_links
from ch12cli.rules import LARGEST
from ch12cli.run.sessions import plain_of
from ch12cli.saved.gate import require_valid_settings
from ch12cli.saved.network import require_fits
from ch12cli.saved.unpack import readable
from ch12cli.shell import shell_word
from ch12cli.training.checkpoint import MISMATCH_ERRORS, Checkpoints, DamagedError, load

TRAINING = ("best_network", "optimizer", "schedule", "best", "stopping", "source", "columns", "rows")
DATA = ("feature_names", "feature_type", "encoding", "shape", "class_names", "target_name", "data_digest", "scaling")
RUN = ("settings", "chosen", "environment", *DATA, "epoch", "network")


@dataclass(frozen=True)
class Saved:
    """A run as read from its checkpoint.

    skipped: why newer checkpoints were skipped as damaged; history: of its sessions (files/history.py).
    """

    directory: Path
    state: dict[str, Any]
    settings: RunSettings
    environment: dict[str, Any]
    skipped: list[str]
    history: dict[str, Any] = field(default_factory=dict)


def read_saved(
    directory: Path,
    *,
    best: bool = False,
    trust: bool = False,
    uses: Use = Use.DATA,
    own: Collection[str] = (),
    older: bool = False,
) -> Saved:
    """Returns the run in a directory, from its newest valid checkpoint.

    best: `network` and `epoch` of the state are those of the best epoch, else of the last one. trust: the run is the
    user's own, so its targets may be any importable object. uses: what the caller does with the settings. own: the keys
    that the user has set, which the caller changes. older: of a finished run whose last checkpoint is damaged or
    missing, an older one is read, as of a run that did not finish.
    Raises InputError if the directory holds no run, the run is damaged, or `ch12 train` would not accept its settings.
    """
    files = readable(directory)
    folder = files / CHECKPOINTS
    if not folder.is_dir():
        raise InputError(f"{directory}: is not the directory of a run (it has no {CHECKPOINTS}/)")
    if not trust:
        refuse_links(files)
    state, skipped = read_state(folder, best=best, older=older)
    settings, choices, environment = (_mapping(state, name, folder) for name in ("settings", "chosen", "environment"))
    settings = with_later_keys(settings)
    require_valid_settings(settings, choices, directory=directory, trust=trust, uses=uses, own=own)
    typed = RunSettings.from_config(settings, choices)
    if not trust:
        require_fits(typed, state, where=str(directory))
    return Saved(directory, state, typed, environment, skipped, plain_of(state, "history"))


def read_state(folder: Path, *, best: bool, older: bool) -> tuple[dict[str, Any], list[str]]:
    """Returns the state of the newest valid checkpoint, and why newer ones were skipped.

    The state includes the best epoch so far. If no other checkpoint is valid and `best` is set, best.pt is read
    instead. older: see read_saved. Raises InputError if a part is missing or has the wrong type, DamagedError if no
    checkpoint is valid.
    """
    try:
        state, skipped = Checkpoints(folder, every=None).newest()
        if skipped and not older:
            require_last_epoch(state, skipped, folder)
    except DamagedError as error:
        if not (best and (folder / BEST).is_file()):
            raise
        try:
            state, skipped = load(folder / BEST), error.messages
        except DamagedError as another:
            raise DamagedError([*error.messages, *another.messages]) from another
        require_parts(state, RUN, folder)
        return state, skipped
    require_parts(state, (*RUN, *TRAINING), folder)
    if best:
        if not state["best"]["epoch"][0]:
            raise InputError(
                f"{folder.parent}: has no best epoch: its monitored metric has had no value; "
                "leave out --checkpoint best for the last epoch"
            )
        state = {**state, "epoch": state["best"]["epoch"][0], "network": state["best_network"]}
    return state, skipped


def require_last_epoch(state: Mapping[str, Any], skipped: list[str], folder: Path) -> None:
    """Raises DamagedError if the run finished, and a state read in place of its last one is of an earlier epoch.

    skipped: why newer checkpoints were skipped; folder: of the checkpoints.
    """
    last, epoch = epochs_if_finished(folder.parent), state.get("epoch")
    if is_integer(epoch) and epoch < last:
        raise DamagedError(
            [
                *skipped,
                f"{folder.parent}: finished after epoch {last}, and its newest valid checkpoint is of epoch {epoch}; "
                f"`ch12 resume {shell_word(str(folder.parent))}` trains the missing epochs again",
            ]
        )


def epochs_if_finished(directory: Path) -> int:
    """Returns the number of epochs of a run that finished according to its result.json, 0 of any other."""
    with suppress(InputError):
        result = read_result(directory / RESULT)
        if result is not None and result.status == "finished":
            return result.epochs or 0
    return 0


def require_parts(state: Mapping[str, Any], names: tuple[str, ...], folder: Path) -> None:
    """Raises InputError unless a state has these parts, each with the expected type."""
    missing = [name for name in names if name not in state]
    if missing:
        raise InputError(f"{folder}: its checkpoint holds no {', '.join(missing)}: not a run of this version of ch12")
    try:
        invalid = wrong_parts(state)
    except MISMATCH_ERRORS as error:
        raise InputError(f"{folder}: its checkpoint was not written by ch12, or is corrupt ({error})") from error
    if invalid:
        raise InputError(
            f"{folder}: its checkpoint was not written by ch12, or is corrupt: look at its {', '.join(invalid)}"
        )
    scaling = scaling_from_plain(state["scaling"], str(folder))
    if len(scaling.mean) != len(state["feature_names"]):
        raise InputError(f"{folder}: its checkpoint has another number of features than of means")
    target_scaling_from_plain(state.get("target_scaling"), str(folder))
    columns_from_plain(state["encoding"], state["feature_names"], str(folder))


def wrong_parts(state: Mapping[str, Any]) -> list[str]:
    """Returns the names of the parts of a state that have an unexpected type or value."""
    checks = {
        "epoch": is_integer(state["epoch"]) and 0 <= state["epoch"] <= LARGEST,
        "network": is_network(state["network"]),
        "feature_names": is_names(state["feature_names"], least=1),
        "feature_type": state["feature_type"] in ("float32", "float64"),
        "class_names": state["class_names"] is None or is_names(state["class_names"], least=2),
        "target_name": isinstance(state["target_name"], str),
        "data_digest": isinstance(state["data_digest"], str),
        "scaling": isinstance(state["scaling"], dict),
        "shape": is_shape(state["shape"], values=len(state["feature_names"])),
    }
    if "rows" in state:
        columns, rows, best = state["columns"], state["rows"], state["best"]
        checks["best_network"] = is_network(state["best_network"])
        checks["columns"] = is_names(columns, least=0) and ("epoch" in columns) == (state["epoch"] > 0)
        checks["rows"] = rows is None or (
            isinstance(rows, Tensor)
            and rows.dtype == torch.float64
            and rows.numel() == state["epoch"] * len(columns)
            and (rows.numel() == 0 or rows.shape == (state["epoch"], len(columns)))
        )
        checks["best"] = isinstance(best, dict) and all(
            isinstance(best.get(name), list) and len(best[name]) == 1 for name in ("epoch", "value")
        )
        checks["best"] = checks["best"] and is_integer(best["epoch"][0]) and 0 <= best["epoch"][0] <= state["epoch"]
        for name in ("optimizer", "schedule", "stopping", "source"):
            checks[name] = isinstance(state[name], dict)
    return [name for name, valid in checks.items() if not valid]


def is_network(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided
        for name, tensor in value.items()
    )


def is_shape(value: Any, *, values: int) -> bool:
    """Returns whether the value is an image shape with this number of values, or None."""
    return value is None or (
        isinstance(value, list)
        and len(value) == 3
        and all(is_integer(side) and side > 0 for side in value)
        and math.prod(value) == values
    )


def is_names(value: Any, *, least: int) -> bool:
    """Returns whether the value is a list of at least `least` distinct names."""
    return (
        isinstance(value, list)
        and len(value) >= least
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )


def _mapping(state: Mapping[str, Any], name: str, folder: Path) -> dict[str, Any]:
    try:
        value = json.loads(state[name]) if isinstance(state[name], str) else None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}: the {name} in its checkpoint cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{folder}: the {name} in its checkpoint are not a mapping")
    return value


def require_same_data(saved: Saved, digest: str) -> None:
    """Raises InputError unless the data set yields the rows that the run was trained on.

    digest: SHA-256 of the data set as it is now.
    """
    if saved.state["data_digest"] != digest:
        raise InputError(
            f"{saved.directory}: its data set gives other data than it was trained on (SHA-256 {digest[:12]}…, then "
            f"{saved.state['data_digest'][:12]}…); bring the data back, or train a new run"
        )


def refuse_ensemble(saved: Saved) -> None:
    """Raises InputError for an ensemble, which was not trained: its members were."""
    if saved.settings.model.target.path == ENSEMBLE:
        hint = f"{takers_in_words()} take it; train, resume and repeat its members"
        raise InputError(f"{saved.directory}: is an ensemble of trained networks; {hint}")
