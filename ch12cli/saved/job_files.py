"""The directory of a job that a stack trained: its files as bytes, from its record, and how they are written."""

import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ch12cli.errors import InputError
from ch12cli.files.atomic import machine_errors
from ch12cli.files.compact.job_record import OPTIMIZER, JobRecord
from ch12cli.files.compact.stores import write_all
from ch12cli.files.result_json import Result, digests, is_done, is_intact
from ch12cli.files.run_directory import BEST, CHECKPOINTS, HYDRA, LAST, MODEL, RESULT
from ch12cli.training.checkpoint import sealed_bytes
from ch12cli.training.streams import advanced, checksum_of, drawn_state


def job_files(record: JobRecord) -> tuple[dict[str, bytes], Result]:
    """Returns the files of a job's directory, by name, and its result with their digests.

    Raises InputError if the record does not fit itself.
    """
    files = {**record.texts(), **saved_states(record)}
    result = replace(record.result, files=digests(files))
    return {**files, RESULT: result.to_json()}, result


def saved_states(record: JobRecord) -> dict[str, bytes]:
    """Returns the checkpoints of a job, and its network if it finished, in torch's format."""
    own, together, arrays = record.own, record.together, record.arrays
    metadata = record.stack.metadata[own["fold"]]
    shared = {"settings": record.settings_json, "chosen": record.base.chosen_json, **metadata}
    network, best = state_of(record, arrays["network"]), state_of(record, arrays["best_network"])
    tensors = {name[len(OPTIMIZER) :]: tensor_of(value) for name, value in arrays.items() if name.startswith(OPTIMIZER)}
    last = {
        "epoch": together["epochs"],
        "network": network,
        "best_network": best,
        "optimizer": {**together["optimizer"], **tensors},
        **{name: {key: [value] for key, value in own[name].items()} for name in ("schedule", "best", "stopping")},
        "source": {"cpu": stream_state(own, arrays, epochs=together["epochs"])},
        "stacked": record.stack.stacked,
        "history": json.dumps(record.stack.history),
        "columns": record.columns,
        "rows": torch.from_numpy(record.rows),
        **shared,
    }
    files = {f"{CHECKPOINTS}/{LAST}": sealed_bytes(last)}
    if own["best_epoch"]:
        files[f"{CHECKPOINTS}/{BEST}"] = sealed_bytes({"epoch": own["best_epoch"], "network": best, **shared})
    if own["status"] == "finished":
        files[MODEL] = pt_bytes(network)
    return files


def tensor_of(values: NDArray[Any]) -> torch.Tensor:
    """Returns a tensor whose storage is these values alone."""
    return torch.from_numpy(np.array(values))


def state_of(record: JobRecord, parameters: NDArray[Any]) -> dict[str, torch.Tensor]:
    """Returns a network's state_dict from its parameters in a row, (values,)."""
    found, at = {}, 0
    for name, shape in record.stack.network:
        size = int(np.prod(shape, dtype=np.int64))
        found[name] = tensor_of(parameters[at : at + size].reshape(shape))
        at += size
    return found


def pt_bytes(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def stream_state(own: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, epochs: int) -> torch.Tensor:
    """Returns the state of a job's random stream: recorded, or drawn again from its seed.

    Raises InputError if this version of torch draws other numbers.
    """
    if own["stream"] is None:
        return tensor_of(arrays["stream"])
    seed, draws, checksum = own["stream"]
    state = drawn_state(seed, draws)
    if checksum_of(state) != checksum:
        raise InputError("this version of torch draws other random numbers than the one that trained the run")
    return advanced(state, epochs)


def write_directory(directory: Path, record: JobRecord, *, attempt: str = "") -> Result:
    """Writes the complete directory of an ended job atomically, and returns its result with the file digests.

    `attempt`: part of the temporary name, because another attempt may be writing the same directory.
    """
    files, result = job_files(record)
    partial = directory.with_name(f".{directory.name}.partial{attempt and f'-{attempt}'}")
    with machine_errors(f"cannot write {directory}"):
        if partial.exists():  # left by a killed process
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
    try:
        fill(partial, directory, files)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # frees space on a full disk for the records of the other jobs
        raise
    return result


def fill(partial: Path, directory: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files into the temporary directory `partial`, then renames it to `directory`."""
    with machine_errors(f"cannot write {directory}"):
        write_files(partial, files)
        # the job finished before the sweep was killed, and its directory is complete
        if is_done(directory) and is_intact(directory):
            shutil.rmtree(partial)
            return
        if directory.exists():
            shutil.rmtree(directory)
        partial.rename(directory)


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files of a run into an empty directory. Raises OSError."""
    for folder in (HYDRA, CHECKPOINTS):
        os.mkdir(f"{directory}/{folder}")
    for name, content in files.items():
        with open(f"{directory}/{name}", "xb", buffering=0) as file:
            write_all(file, [content])
