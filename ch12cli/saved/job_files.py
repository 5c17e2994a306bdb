"""The directory of a job that a stack trained: its files as bytes, from its record, and how they are written."""

import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors, sync_files, sync_folder
from ch12cli.files.compact.job_record import OPTIMIZER, JobRecord, LinesOf
from ch12cli.files.compact.saved_form import SavedForms
from ch12cli.files.result_json import Result, digests, is_done, is_intact
from ch12cli.files.run_directory import BEST, CHECKPOINTS, HYDRA, LAST, MODEL, RESULT
from ch12cli.files.sealed_json import FORMAT_KEY
from ch12cli.training.checkpoint import FORMAT, SEAL, fingerprinted
from ch12cli.training.streams import advanced, checksum_of, drawn_state


def job_files(record: JobRecord, lines: LinesOf | None = None) -> tuple[dict[str, bytes], Result]:
    """Returns the files of a job's directory, by name, and its result with their digests.

    lines: makes the lines of metrics.csv; None: as Python does. Raises InputError if the record does not fit itself.
    """
    files = {**record.texts(lines), **saved_states(record)}
    result = replace(record.result, files=digests(files))
    return {**files, RESULT: result.to_json()}, result


def saved_states(record: JobRecord) -> dict[str, bytes]:
    """Returns the checkpoints of a job, and its network if it finished, in torch's format."""
    own, together, arrays = record.own, record.together, record.arrays
    metadata = record.stack.metadata[own["fold"]]
    shared = {"settings": record.settings_json, "chosen": record.base.chosen_json, **metadata, FORMAT_KEY: FORMAT}
    network, best = state_of(record, arrays["network"]), state_of(record, arrays["best_network"])
    moments = {name[len(OPTIMIZER) :]: value for name, value in arrays.items() if name.startswith(OPTIMIZER)}
    last = {
        "epoch": together["epochs"],
        "network": network,
        "best_network": best,
        "optimizer": {**together["optimizer"], **moments},
        **{name: {key: [value] for key, value in own[name].items()} for name in ("schedule", "best", "stopping")},
        "source": {"cpu": stream_state(own, arrays, epochs=together["epochs"])},
        "stacked": record.stack.stacked,
        "compiled": record.stack.compiled,
        "history": record.history_json,
        "columns": record.columns,
        "rows": record.rows,
        **shared,
    }
    like = record.stack.forms[own["fold"]], arrays["network"].dtype.str
    names = tuple(map(tuple, (together["columns"], last["optimizer"], own["schedule"], own["best"], own["stopping"])))
    jobs = len(together["jobs"])
    files = {f"{CHECKPOINTS}/{LAST}": FORMS.sealed(last, like=(LAST, like, names, together["epochs"]), states=jobs)}
    if own["best_epoch"]:
        state = {"epoch": own["best_epoch"], "network": best, **shared}
        files[f"{CHECKPOINTS}/{BEST}"] = FORMS.sealed(state, like=(BEST, like), states=jobs)
    if own["status"] == "finished":
        files[MODEL] = FORMS.plain(network, like=(MODEL, like), states=jobs)
    return files


def state_of(record: JobRecord, parameters: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Returns a network's state_dict from its parameters in a row, (values,), with arrays in place of tensors."""
    found, at = {}, 0
    for name, shape in record.stack.network:
        size = prod(shape)
        found[name] = parameters[at : at + size].reshape(shape)
        at += size
    return found


def with_tensors(value: Any) -> Any:
    """Returns a state with a tensor, whose storage is its values alone, in place of each array."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    if isinstance(value, Mapping):
        return {key: with_tensors(inner) for key, inner in value.items()}
    return [with_tensors(inner) for inner in value] if isinstance(value, list) else value


def pt_bytes(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


FORMS = SavedForms(
    lambda state: pt_bytes(with_tensors(state)),
    texts=["settings", "chosen", "history"],
    sealed_parts=lambda state: fingerprinted(with_tensors(state)),
    seal=SEAL,
)


def stream_state(own: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, epochs: int) -> NDArray[np.uint8]:
    """Returns the state of a job's random stream: recorded, or drawn again from its seed.

    Raises InputError if this version of torch draws other numbers.
    """
    if own["stream"] is None:
        return arrays["stream"]
    seed, draws, checksum = own["stream"]
    state = drawn_state(seed, draws)
    if checksum_of(state.numpy()) != checksum:
        raise InputError("this version of torch draws other random numbers than the one that trained the run")
    return advanced(state, epochs).numpy()


def write_directory(directory: Path, record: JobRecord, *, attempt: str = "", lines: LinesOf | None = None) -> Result:
    """Writes the complete directory of an ended job atomically, and returns its result with the file digests.

    `attempt`: part of the temporary name, because another attempt may be writing the same directory. With one, the
    files are flushed to disk, because the caller tells another machine of them. `lines`: as in `job_files`.
    """
    files, result = job_files(record, lines)
    parent, name = os.path.split(directory)
    partial = f"{parent}/.{name}.partial{attempt and f'-{attempt}'}"
    with machine_errors(f"cannot write {directory}"):
        make_empty(partial)
        try:
            write_files(partial, files)
            if attempt:
                for folder in (HYDRA, CHECKPOINTS, "."):
                    sync_files(Path(partial, folder))
            put_in_place(partial, directory)
            if attempt:
                sync_folder(directory.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)  # frees space on a full disk for the records of the other jobs
            raise
    return result


def make_empty(folder: str) -> None:
    """Makes a new folder, in place of one that a killed process left. Raises OSError."""
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        os.makedirs(folder)
    except FileExistsError:
        shutil.rmtree(folder)
        os.mkdir(folder)


def put_in_place(partial: str, directory: Path) -> None:
    """Renames a job's complete folder, unless the job finished before the sweep was killed. Raises OSError."""
    try:
        os.rename(partial, directory)
        return
    except OSError:
        if not os.path.lexists(directory):
            raise
    if is_done(directory) and is_intact(directory):
        shutil.rmtree(partial)
        return
    shutil.rmtree(directory)
    os.rename(partial, directory)


def write_files(directory: Path | str, files: Mapping[str, bytes]) -> None:
    """Writes the files of a run into an empty directory. Raises OSError."""
    for folder in (HYDRA, CHECKPOINTS):
        os.mkdir(f"{directory}/{folder}")
    for name, content in files.items():
        handle = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            remaining = memoryview(content)
            while remaining:  # a full disk accepts a part, and fails at the next write
                remaining = remaining[os.write(handle, remaining) :]
        finally:
            os.close(handle)
