"""`ch12 ensemble`: selects runs of a sweep whose averaged outputs are best, and saves their average as one run."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ch12cli.catalogue.sweep_jobs import read_sweep_rows, sweep_monitor
from ch12cli.config.run_settings import RunSettings
from ch12cli.config.untrusted_settings import ENSEMBLE
from ch12cli.errors import InputError
from ch12cli.files.atomic import last_written, machine_errors
from ch12cli.files.hydra_folder import COMMON_ONLY, flatten, nested, to_yaml
from ch12cli.files.metrics_csv import SEVERAL, minimised
from ch12cli.files.plan_json import is_inside
from ch12cli.files.result_json import Result, digests
from ch12cli.files.run_directory import CHECKPOINTS, HYDRA, LAST, METRICS, MODEL, RESULT
from ch12cli.models.averaging import FORMS, MEMBERS
from ch12cli.run.predictions.of_rows import outputs_of_part
from ch12cli.run.recorder import run_state
from ch12cli.run.sessions import environment_of
from ch12cli.run.task import Task, is_of_torch, tensors
from ch12cli.run.torch_settings import torch_settings
from ch12cli.run.train import Job, prepare_job
from ch12cli.run.users_errors import users_errors
from ch12cli.saved.evaluate import evaluate
from ch12cli.saved.job_files import make_empty, pt_bytes, write_files
from ch12cli.saved.load import Saved, read_saved, require_same_data
from ch12cli.saved.network import on_this_machine, trained_network
from ch12cli.saved.unpack import readable
from ch12cli.training.checkpoint import sealed_bytes
from ch12cli.training.losses import RowWeighted

ROUNDING = 1e-9  # a share of a score by which averages of equal outputs may differ
MOST_CANDIDATES = 200  # runs, the best by their objective
MODELS = "ch12cli.models."
FINAL_MODEL = "model"  # ends the name of the directory in which tuning saves its model
SAME = ("data_digest", "feature_names", "encoding", "shape", "class_names", "target_name", "scaling", "target_scaling")

LossOf = Callable[[Tensor], float]


class Chosen(NamedTuple):
    """The indices of the selected candidates, each as often as it was chosen, and the score of their average."""

    picks: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Combined:
    """An ensemble that was saved.

    counts: how often each job was chosen; tried: the candidates. best: the job that is best alone. metrics: by part,
    those of the ensemble and of the best job.
    """

    directory: Path
    counts: Mapping[int, int]
    tried: int
    best: int
    metrics: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]]


def select_greedily(terms: Sequence[Tensor], loss_of: LossOf, size: int) -> Chosen:
    """Returns a selection of at most `size` candidates whose average is best, chosen greedily, with replacement.

    terms: what is averaged, of each candidate, of one shape; loss_of: the loss of such an average, lower is better.
    Caruana et al. (2004).
    """
    total, picks, best = torch.zeros_like(terms[0]), list[int](), Chosen((), np.inf)
    for count in range(1, size + 1):
        scores = [loss_of((total + each) / count) for each in terms]
        pick = int(np.argmin(scores))
        picks.append(pick)
        total = total + terms[pick]
        if not best.picks or scores[pick] + ROUNDING * abs(scores[pick]) < best.score:
            best = Chosen(tuple(picks), scores[pick])
    return best


def loss_on_valid(job: Job) -> LossOf:
    """Returns the function from outputs for the validation part, (rows, outputs), to their loss; infinite for NaN.

    It is that of `ch12 eval`: with the weights of the rows and classes, and in the units of the data. Losses of torch
    are computed in float64, in which averages that are equal differ less, and moved for it; others as in training.
    """
    valid, loss = job.task.data.valid, job.task.loss
    assert valid is not None
    device, dtype = job.device, job.network.dtype
    target = tensors(valid, job.task, dtype=dtype, device=device).targets(runs=None)
    if is_of_torch(loss.mean if isinstance(loss, RowWeighted) else loss):
        device, dtype = torch.device("cpu"), torch.float64
        loss = loss.to(device, dtype)
        target = target.to(device, dtype if target.is_floating_point() else None)
    target = job.training.in_units(target)

    def loss_of(outputs: Tensor) -> float:
        value = float(loss(job.training.in_units(outputs.to(device, dtype)), target))
        return np.inf if np.isnan(value) else value

    return loss_of


def combine(sweep: Path, *, size: int | None, into: Path, best: bool = False, trust: bool = False) -> Combined:
    """Selects runs of a sweep by its validation part, and saves their average as a run's directory.

    size: at most so many; None for all but those that halving stopped early, each once. best: takes the networks of
    the best epochs in place of the last ones. Raises InputError for runs that cannot be combined.
    """
    rows = [row for row in read_sweep_rows(sweep) if row.status == "finished" and row.objective is not None]
    rows = rows if size is not None else [row for row in rows if row.left_at is None]
    monitor = sweep_monitor(sweep, rows)
    if monitor in (None, SEVERAL) or not rows:
        raise InputError(f"{sweep}: has no finished jobs with one objective, so there is nothing to combine")
    sign = 1.0 if minimised(str(monitor)) else -1.0
    rows = [row for row in rows if is_inside(row.directory)]
    if size is None and len(rows) > MOST_CANDIDATES:
        raise InputError(f"{sweep}: has {len(rows):,} jobs, and --all takes {MOST_CANDIDATES} at most; leave it out")
    rows = sorted(rows, key=lambda row: sign * row.number("objective"))[:MOST_CANDIDATES]
    members = [read_saved(readable(sweep / row.directory), best=best, trust=trust) for row in rows]
    jobs = [row.job for row in rows]
    require_alike(members, jobs, sweep)
    settings, _ = on_this_machine(members[0].settings)
    with torch_settings(settings.machine) as device:
        job = prepare_job(settings, device)
        task = job.task
        require_same_data(members[0], task.data.table.digest)
        with users_errors(settings, "evaluating"):
            picks, alone = selection_of(sweep, members, job, size=size)
    counts = Counter(picks)
    averaged = [members[index] for index in counts]
    state = state_of_ensemble(averaged, list(counts.values()), task)
    files = ensemble_files(state, averaged)
    parts = [part for part in ("valid", "test") if getattr(task.data, part) is not None]
    with new_directory(into) as directory:
        with machine_errors(f"cannot write {into}"):
            write_files(directory, files)
        metrics = {
            part: (
                metrics_on(directory, part, trust=trust),
                metrics_on(members[alone].directory, part, trust=trust, best=best),
            )
            for part in parts
        }
        result = result_of_ensemble(state, task, metrics, device, monitor=str(monitor), files=files)
        with machine_errors(f"cannot write {into}"):
            (directory / RESULT).write_bytes(result.to_json())
    return Combined(into, {jobs[index]: count for index, count in counts.items()}, len(jobs), jobs[alone], metrics)


@torch.no_grad()
def selection_of(sweep: Path, members: Sequence[Saved], job: Job, *, size: int | None) -> tuple[Sequence[int], int]:
    """Returns the indices of the members to average, some repeatedly, and of the one that is best alone.

    members: the best first, by their objectives, which tell the best one only without a validation part: they can be
    of other epochs. job: one of them, with the data. size: as of `combine`. Raises InputError without that part, unless
    all are averaged.
    """
    everyone = range(len(members))
    if job.task.data.valid is None:
        if size is None:
            return everyone, 0
        rule = "its runs have no validation part to select by"
        hint = "average all of them with --all, or add dataset.valid_size=0.2 to the `ch12 train -m` that trains them"
        raise InputError(f"{sweep}: {rule}; {hint}")
    outputs = [outputs_for(member, job) for member in members]
    loss_of, (term, output) = loss_on_valid(job), FORMS[average_of(job.task)]
    alone = int(np.argmin([loss_of(each) for each in outputs]))
    if size is None:
        return everyone, alone
    return select_greedily([term(each) for each in outputs], lambda mean: loss_of(output(mean)), size).picks, alone


def metrics_on(directory: Path, part: str, *, trust: bool, best: bool = False) -> Mapping[str, float]:
    return evaluate(directory, split=part, best=best, trust=trust).parts[part].metrics


def require_alike(members: Sequence[Saved], jobs: Sequence[int], sweep: Path) -> None:
    """Raises InputError unless all networks are ch12's own, of the same data, split, scaling and loss."""
    first = members[0]
    for job, member in zip(jobs, members, strict=True):
        settings = member.settings
        if settings.model.target.path.removeprefix(MODELS) not in MEMBERS:
            raise InputError(f"{sweep / str(job)}: model={settings.choices.get('model')} cannot be part of an ensemble")
        if settings.model.activation.positional or not settings.model.activation.path.startswith("torch.nn."):
            raise InputError(f"{sweep / str(job)}: its activation is no class of torch.nn, so it cannot be combined")
        if settings.data != first.settings.data or any(member.state.get(n) != first.state.get(n) for n in SAME):
            found = data_difference(first, member)
            raise InputError(f"{sweep}: jobs {jobs[0]} and {job} have {found}{final_model(sweep)}")
        if settings.loss != first.settings.loss or output_of_member(settings) != output_of_member(first.settings):
            raise InputError(f"{sweep}: jobs {jobs[0]} and {job} have other losses or outputs, so they have no average")
        if settings.model.precision != first.settings.model.precision:
            raise InputError(f"{sweep}: jobs {jobs[0]} and {job} have other precisions, so they have no average")


def data_difference(first: Saved, other: Saved) -> str:
    """Returns what two runs of different data, parts or scalings have different."""
    one, two = first.settings.data, other.settings.data
    if replace(one, split=replace(one.split, fold=two.split.fold)) == two and one != two:
        return "other folds, so that no rows are left to combine them by"
    return "other data, parts or scalings"


def final_model(sweep: Path) -> str:
    """Returns a hint on the newest final model that tuning saved beside a sweep; empty if there is none."""
    sweep = sweep.resolve()
    found = [path for path in sweep.parent.iterdir() if path.name.startswith(f"{sweep.name}-{FINAL_MODEL}")]
    found = sorted((path for path in found if (path / RESULT).exists()), key=lambda path: last_written(path / RESULT))
    return f"; tuning trained a final model of it: {found[-1].name}" if found else ""


def output_of_member(settings: RunSettings) -> str:
    return str(settings.model.target.arguments.get("output", "auto"))


def outputs_for(member: Saved, job: Job) -> Tensor:
    """Returns a network's outputs for the validation part, (rows, outputs) float64 on the CPU."""
    settings, _ = on_this_machine(member.settings)
    network = trained_network(settings, member.state, job.device, where=str(member.directory))
    return outputs_of_part(job.task, network, "valid").cpu().double()


def average_of(task: Task) -> str:
    """Returns what an ensemble averages, one of `FORMS`."""
    if not task.classes or task.output not in ("none", "log_softmax"):
        return "values"
    return "sigmoid" if task.outputs == 1 else "softmax"


def state_of_ensemble(members: Sequence[Saved], counts: Sequence[int], task: Task) -> dict[str, Any]:
    """Returns the checkpoint of an ensemble: that of its first member, with the networks and settings of all."""
    first = members[0]
    network = {
        f"members.{number}.{name}": value
        for number, member in enumerate(members)
        for name, value in member.state["network"].items()
    }
    model = {
        "_target_": ENSEMBLE,
        "members": [member_of(member.settings) for member in members],
        "weights": [count / sum(counts) for count in counts],
        "average": average_of(task),
        "output": output_of_member(first.settings),
    }
    settings = first.settings.with_changes({"model": model})
    settings = replace(settings, choices={**first.settings.choices, "model": "ensemble"})
    return {
        **first.state,
        **run_state(settings, {}),
        "network": network,
        "best_network": network,
        "epoch": 0,
        "best": {"epoch": [0], "value": [float("nan")]},
        "columns": [],
        "rows": torch.zeros((0, 0), dtype=torch.float64),
        "history": json.dumps({}),
        "stacked": 0,
    }


def member_of(settings: RunSettings) -> dict[str, Any]:
    """Returns a member's network in the form of `ch12cli.models.ensemble`."""
    model, activation = settings.model.target, settings.model.activation
    arguments = {name: value for name, value in model.arguments.items() if name != "output"}
    named = {"name": activation.path.rpartition(".")[2], "arguments": dict(activation.arguments)}
    return {"network": model.path.removeprefix(MODELS), **arguments, "activation": named}


@contextmanager
def new_directory(into: Path) -> Iterator[Path]:
    """Yields an empty directory, which gets the name `into` when the block ends, and is removed if the block fails.

    Raises InputError if there is something of that name already.
    """
    if os.path.lexists(into):
        raise InputError(f"{into}: exists already; name another directory with -o")
    partial = into.with_name(f".{into.name}.partial")
    try:
        with machine_errors(f"cannot write {into}"):
            make_empty(str(partial))
        yield partial
        with machine_errors(f"cannot write {into}"):
            os.rename(partial, into)
    except BaseException:  # of a part of a run, commands would say that it was killed, and can be resumed
        shutil.rmtree(partial, ignore_errors=True)
        raise


def ensemble_files(state: Mapping[str, Any], members: Sequence[Saved]) -> dict[str, bytes]:
    """Returns the files of an ensemble's directory by name, without its result.

    What is shown of it, and found by filters, is what all of its networks have. The checkpoint has the settings of the
    first one, of which only those of the data, the loss and the networks matter.
    """
    config = common(json.loads(state["settings"]), [dict(flatten(member.settings.config)) for member in members])
    choices = common(json.loads(state["chosen"]), [member.settings.choices for member in members])
    return {
        f"{HYDRA}/config.yaml": (COMMON_ONLY + to_yaml(nested(config))).encode(),
        f"{HYDRA}/hydra.yaml": to_yaml({"hydra": {"runtime": {"choices": choices}}}).encode(),
        f"{CHECKPOINTS}/{LAST}": sealed_bytes(state),
        METRICS: b"",
        MODEL: pt_bytes(state["network"]),
    }


def common(own: Mapping[str, Any], of_members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the values of an ensemble that are its own, those of `model`, or equal in all members, by dotted key."""
    return {
        key: value
        for key, value in flatten(own)
        if key.partition(".")[0] == "model"
        or all(key in each and repr(each[key]) == repr(value) for each in of_members)
    }


def result_of_ensemble(
    state: Mapping[str, Any],
    task: Task,
    metrics: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]],
    device: torch.device,
    *,
    monitor: str,
    files: Mapping[str, bytes],
) -> Result:
    """Returns the result of an ensemble. Its objective is that of the validation part, if the monitor is of it.

    files: those of its directory, by name.
    """
    valid = {f"valid_{name}": value for name, value in metrics["valid"][0].items()} if "valid" in metrics else {}
    row = {"epoch": 0, **valid}
    return Result(
        status="finished",
        epochs=0,
        final=row,
        best=row,
        test=dict(metrics["test"][0]) if "test" in metrics else None,
        monitor=monitor,
        objective=valid.get(monitor),
        parameters=sum(value.numel() for value in state["network"].values()),
        data={"source": task.data.table.source, "digest": task.data.table.digest},
        environment=environment_of(device),
        files=digests(files),
    )
