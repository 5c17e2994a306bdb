"""`ch12 export`: writes a saved run's network, including its scaling, for other programs, or the run as a script."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ch12cli.data.scaling import TargetScaling
from ch12cli.data.streaming.lazy_rows import LazyRows
from ch12cli.errors import InputError, MachineError
from ch12cli.files.history import ancestry_of, changes_in, sessions_of
from ch12cli.files.result_json import read_result
from ch12cli.files.run_directory import RESULT
from ch12cli.run.predictions.of_rows import predictions
from ch12cli.run.recorder import checkpoint_rows
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import Job, prepare_job
from ch12cli.run.users_errors import users_errors
from ch12cli.saved.export_script import script_of
from ch12cli.saved.load import Saved, read_saved, refuse_ensemble, require_same_data
from ch12cli.saved.network import on_this_machine
from ch12cli.saved.reproduce import recorded_environment, with_threads
from ch12cli.saved.resume import result_so_far, spans_all_epochs
from ch12cli.training.checkpoint import checkpoint_must_fit
from ch12cli.training.metrics import probabilities

TOLERANCE = 1e-5  # largest accepted output difference, absolute and relative
HALF_TOLERANCE = 0.05  # the same for a network in bfloat16, which is written in float32
CHECKED = 1000  # maximum number of rows to check


class Exported(NamedTuple):
    """Files by name, the result of checking them, and warnings for the user."""

    files: dict[str, bytes]
    checked: str
    messages: list[str]


class Scaled(nn.Module):
    """A network that scales its inputs first, in the precision of the data, as `ch12 predict` does.

    Input: unscaled features, (rows, features), in that precision, NaN for a missing value. Output: (rows, outputs). If
    the target was scaled, the output is in its own units, in the precision of the data. A classifier also returns the
    probabilities, (rows, classes).
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        scaling = job.task.data.scaling
        dtype = torch.from_numpy(job.task.data.table.features[:0].copy()).dtype
        self.network, self.dtype = job.network.module, job.network.dtype
        self.output, self.classes = job.task.output, job.task.classes
        self.target_scaling = job.task.data.target_scaling
        self.mean = nn.Buffer(torch.tensor(scaling.mean, dtype=dtype))
        self.deviation = nn.Buffer(torch.tensor(scaling.deviation, dtype=dtype))
        self.fill = None if scaling.fill is None else nn.Buffer(torch.tensor(scaling.fill, dtype=dtype))

    def forward(self, features: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.fill is not None:
            features = torch.where(torch.isnan(features), self.fill, features)
        prediction: Tensor = self.network(((features - self.mean) / self.deviation).to(self.dtype))
        if not self.classes:
            return in_units(prediction, self.target_scaling, self.mean.dtype)
        return prediction, probabilities(prediction, output=self.output).to(prediction.dtype)


def in_units(prediction: Tensor, scaling: TargetScaling | None, dtype: torch.dtype) -> Tensor:
    """Returns values in the units of the data, (rows, 1), in the precision of the data if they were scaled."""
    if scaling is None:
        return prediction
    restored: Tensor = scaling.restore(prediction.to(dtype))
    return restored


def export(directory: Path, form: str, *, name: str, command: str | None, best: bool, trust: bool) -> Exported:
    """Returns the files of one export format.

    name: file name without suffix; command: the command that trained the run, or None if unknown; best: export the
    weights of the best epoch. Raises InputError if the run cannot be exported in this format.
    """
    saved = read_saved(directory, best=best, trust=trust)
    if form == "script":
        refuse_ensemble(saved)
    result = result_so_far(directory)
    settings, messages = on_this_machine(with_threads(saved.settings, result))
    messages = [*(f"skipped: {message}" for message in saved.skipped), *messages]
    if form != "script":
        settings = settings.with_changes({"device": "cpu"})
    with torch_settings(settings.machine) as device:
        job = prepare_job(settings, device)
        require_same_data(saved, job.task.data.table.digest)
        if form == "script":
            if isinstance(job.task.data.table.features, LazyRows):
                rule = "is written with all rows beside it, and those of this run are read as they are needed"
                raise InputError(f"{directory}: --format script {rule}; export the network, or use ch12 repro")
            messages += require_repeatable(directory, saved, best=best)
            threads = recorded_environment(result).get("threads")
            files = script_of(
                job,
                checkpoint_rows(saved.state),
                name=name,
                command=command or "ch12 train …",
                threads=threads if isinstance(threads, int) else None,
            )
            return Exported(files, "", messages)
        with checkpoint_must_fit(str(directory)):
            job.network.restore(saved.state["network"])
        with users_errors(settings, "exporting"):
            content, note = (as_onnx if form == "onnx" else as_torch_export)(job)
    return Exported({f"{name}.{'onnx' if form == 'onnx' else 'pt2'}": content}, note, messages)


def require_repeatable(directory: Path, saved: Saved, *, best: bool) -> list[str]:
    """Returns warnings about the exported script. Raises InputError if no script can repeat the run.

    A script trains from one set of settings, so it cannot repeat a run whose settings changed between sessions.
    """
    result = read_result(directory / RESULT)
    if best:
        raise InputError("--checkpoint best: goes with a network, not with --format script, which trains to the end")
    if result is None or result.status != "finished":
        raise InputError(f"{directory}: has not finished, so a program cannot reproduce its end; resume it first")
    if "parent" in result.history:
        raise InputError(f"{directory}: continued another run with changes, which one program cannot repeat")
    if ancestry_of(result.history):
        raise InputError(f"{directory}: went on from other runs of its population, which one program cannot repeat")
    if spans_all_epochs(saved.settings.schedule) and any(map(changes_in, sessions_of(saved.history))):
        raise InputError(f"{directory}: its schedule was extended in a resume, which one program cannot repeat")
    if saved.settings.model.compile:
        return ["trained with compile=true: the program is not compiled, and may round differently"]
    if saved.state.get("stacked"):
        return [
            "trained in a stack: the program trains it unstacked, which rounds differently (with dropout: other masks)"
        ]
    return []


def example(job: Job) -> Tensor:
    """Returns rows of the data for checking a network, unscaled, (rows, features)."""
    return torch.from_numpy(job.task.data.table.features[:CHECKED].copy())


@torch.no_grad()
def predicted(job: Job, x: Tensor) -> list[Tensor]:
    """Returns the outputs that `ch12 predict` computes for unscaled rows, (rows, features), on the CPU."""
    prediction = predictions(
        job.network, torch.from_numpy(job.task.data.scaling.apply(x.numpy())).to(job.network.dtype)
    )
    if not job.task.classes:
        return [in_units(prediction, job.task.data.target_scaling, x.dtype)]
    return [prediction, probabilities(prediction, output=job.task.output).to(prediction.dtype)]


def as_onnx(job: Job) -> tuple[bytes, str]:
    """Returns the network as ONNX, and a note on how closely onnxruntime reproduces its outputs."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - required by torch.onnx
    except ImportError as error:
        raise InputError(f"--format onnx: {error.name} is not installed: pip install 'ch12[onnx]'") from error
    module, x = Scaled(job).eval(), example(job)
    outputs = ["output", "probabilities"] if job.task.classes else ["output"]
    program = written("onnx", lambda: torch.onnx.export(
        module, (x[:2],), dynamo=True, verbose=False, input_names=["features"], output_names=outputs,
        dynamic_shapes={"features": {0: torch.export.Dim("rows")}},
    ))  # fmt: skip
    model = program.model_proto
    table = job.task.data.table
    onnx.helper.set_model_props(
        model,
        {"features": json.dumps(table.feature_names), "shape": json.dumps(table.shape), "target": table.target_name,
         "classes": json.dumps(table.class_names), "activation": job.task.output},
    )  # fmt: skip
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(outputs, {"features": x.numpy()})
    return content, compared(job, x, [torch.from_numpy(values) for values in found], "onnxruntime")


def as_torch_export(job: Job) -> tuple[bytes, str]:
    """Returns the network as a torch.export archive, and a note on how closely the loaded archive reproduces it."""
    module, x = Scaled(job).eval(), example(job)
    shapes = {"features": {0: torch.export.Dim("rows")}}
    program = written("torch_export", lambda: torch.export.export(module, (x[:2],), dynamic_shapes=shapes))
    content = io.BytesIO()
    with quiet():
        torch.export.save(program, content)
        content.seek(0)
        with torch.no_grad():
            found = torch.export.load(content).module()(x)
    found = [found] if isinstance(found, Tensor) else list(found)
    return content.getvalue(), compared(job, x, found, "torch.export.load")


def written(form: str, write: Callable[[], Any]) -> Any:
    """Returns the result of torch's exporter. Raises InputError if the exporter fails. Suppresses its warnings."""
    try:
        with quiet():
            return write()
    except Exception as error:  # torch raises many types if it cannot trace a network
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"--format {form}: torch cannot write this network: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses the warnings and the log of torch's exporters, which concern torch's own code."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def compared(job: Job, x: Tensor, found: list[Tensor], reader: str) -> str:
    """Returns a note on the largest difference from what `ch12 predict` gives for unscaled rows, (rows, features).

    Raises MachineError if it is larger than the network's precision explains.
    """
    half = job.settings.model.precision == "bfloat16"
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    differences = [(a - b).abs() / (1 + a.abs()) for a, b in zip(predicted(job, x), found, strict=True)]
    difference = max(float(each.max()) for each in differences)
    if not difference <= tolerance:
        raise MachineError(
            f"the output of {reader} differs by {difference:.2g} from ch12 predict, more than {tolerance:g}"
        )
    reason = " (the network computes in bfloat16, the file in float32)" if half else ""
    return f"checked: {reader} gives the outputs of ch12 predict for {len(x)} rows within {difference:.1g}{reason}"
