"""The GPUs of one machine: each worker process sees one. Rehearsed without a GPU, by the number that torch counts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch

from ch12cli.files.result_json import Result
from ch12cli.sweeps.groups import Group, gpus_to_share, processes_for, visible_gpus
from ch12cli.sweeps.workers.work_item import Done, WorkItem
from ch12cli.sweeps.workers.worker_pool import run_items
from tests.sweeps.driver import settings_of, typed


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which torch counts three GPUs, or as many as CUDA_VISIBLE_DEVICES leaves of them."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    named = lambda: os.environ.get("CUDA_VISIBLE_DEVICES")  # noqa: E731
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3 if named() is None else len(str(named()).split(",")))


def group_on(device: str, **values: Any) -> Group:
    class Job:
        run_settings = typed(settings_of({"device": "cpu", **values})).with_changes({"device": device})

    return Group(cast(Any, [Job()]))


@pytest.mark.parametrize(
    ("devices", "gpus"),
    [
        (["cuda"], ["0", "1", "2"]),
        (["auto"], ["0", "1", "2"]),
        (["cuda", "cpu"], ["0", "1", "2"]),
        (["cuda:1"], []),
        (["cuda", "cuda:1"], []),
        (["cpu"], []),
    ],
)
def test_workers_share_out_the_gpus_unless_a_job_names_its_own(
    three_gpus: None, devices: list[str], gpus: list[str]
) -> None:
    assert gpus_to_share([group_on(device) for device in devices]) == gpus


@pytest.mark.parametrize(
    ("device", "values", "processes"),
    [("cuda", {}, 3), ("auto", {}, 3), ("cuda:1", {}, 1), ("cuda", {"sweep.processes": 5}, 5)],
)
def test_each_gpu_has_a_process(three_gpus: None, device: str, values: dict[str, Any], processes: int) -> None:
    assert processes_for(group_on(device, **values).settings) == processes


def test_gpus_keep_the_names_by_which_the_machine_gave_them(three_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8932f937")
    assert visible_gpus() == ["3", "GPU-8932f937"]


class SaysItsGpu:
    """A worker that reports which GPU it sees, in place of an error of the job."""

    def run(self, item: WorkItem) -> Iterator[Done]:
        yield Done(item.jobs[0], Result(status="failed", epochs=0, error=os.environ.get("CUDA_VISIBLE_DEVICES")))


def seen_by(processes: int, *, items: int, gpus: list[str]) -> list[str | None]:
    """What the workers that train so many items say of their GPUs."""
    work = [WorkItem((number,), group=0, stacked=False) for number in range(items)]
    unsaved: list[WorkItem] = []
    events = run_items(work, cast(Any, SaysItsGpu()), processes=processes, unsaved=unsaved, gpus=gpus)
    return [event.result.error for _, event in events if isinstance(event, Done)]


def test_each_worker_sees_one_gpu_and_all_are_used() -> None:
    assert set(seen_by(3, items=30, gpus=["0", "1", "GPU-8932f937"])) == {"0", "1", "GPU-8932f937"}
    assert set(seen_by(2, items=2, gpus=[])) == {os.environ.get("CUDA_VISIBLE_DEVICES")}


@pytest.mark.slow
def test_counting_gpus_does_not_initialise_cuda() -> None:
    count = "torch.cuda.device_count(), torch.cuda.is_available()"
    code = f"import torch; {count}; print(torch.cuda.is_initialized())"
    environment = {**os.environ, "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
