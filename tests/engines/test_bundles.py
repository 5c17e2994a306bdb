"""Bundles of work items and their journals: what is read back, which attempt counts, how items are divided."""

import json
import platform
import time
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ch12cli.engines import visibility
from ch12cli.engines.bundles import divide, report_of
from ch12cli.engines.executor import ExecutorEngine
from ch12cli.engines.remote import RemoteEngine
from ch12cli.engines.slurm import Slurm
from ch12cli.engines.visibility import has_other_machines, local_places
from ch12cli.errors import InputError
from ch12cli.files.cluster.bundle_json import (
    WORK,
    BundledItem,
    Submission,
    bundle_numbers,
    note_submission,
    read_bundle,
    read_submissions,
    write_bundles,
)
from ch12cli.files.cluster.journal import (
    JournalReader,
    JournalWriter,
    bundle_states,
    fruitless_attempts,
    machines_of_jobs,
)
from ch12cli.files.cluster.lease import leased
from ch12cli.files.cluster.progress import bundle_progress
from ch12cli.files.cluster.slurm_queue import states_in
from ch12cli.files.cluster.tasks import TaskFollower, activity, describe_tasks
from ch12cli.run.task import choose_device, devices_elsewhere
from ch12cli.sweeps.groups import Elsewhere, best_stack_size, bytes_of_run, max_stack_size
from ch12cli.sweeps.trials import cut_in_time
from ch12cli.sweeps.workers.work_item import Progress, WorkItem
from ch12cli.sweeps.workers.worker_pool import LocalEngine
from tests.sweeps.test_gpus import group_on

ITEMS = ([BundledItem((0, 1, 2), True), BundledItem((3,), False)], [BundledItem((4, 5), True, 2)])


def test_bundles_are_read_back_and_numbered_on(tmp_path: Path) -> None:
    first = write_bundles(tmp_path, ITEMS, processes=2)
    assert [read_bundle(tmp_path, bundle.number) for bundle in first] == first
    assert first[0].jobs == {0, 1, 2, 3}
    assert write_bundles(tmp_path, ITEMS[1:], processes=1)[0].number == 2
    assert bundle_numbers(tmp_path) == [0, 1, 2]
    submissions = [Submission("slurm", "12", 0, 2), Submission("slurm", "13", 2, 1)]
    for submission in submissions:
        note_submission(tmp_path, submission)
    with open(tmp_path / WORK / "submitted.jsonl", "a") as file:
        file.write('{"engine": "slu')  # a power failure
    assert read_submissions(tmp_path) == submissions


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"format": 1, "processes": 1, "items": []}', b'{"format": 9}', b"\xff", b"null", b"[" * 10**5],
)
def test_a_damaged_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    write_bundles(tmp_path, ITEMS, processes=1)
    (tmp_path / WORK / "0.json").write_bytes(content)
    with pytest.raises(InputError, match=r"0\.json"):
        read_bundle(tmp_path, 0)


def test_the_newest_attempt_counts(tmp_path: Path) -> None:
    (bundle, _) = write_bundles(tmp_path, ITEMS, processes=1)
    first = JournalWriter(tmp_path, 0)
    reader = JournalReader(tmp_path, 0)
    assert [event["event"] for event in reader.read()] == ["begin"]
    first.note("job", job=1)
    first.flush()
    assert [event.get("job") for event in reader.read()] == [1]
    assert not first.is_superseded(bundle.jobs, set())
    second = JournalWriter(tmp_path, 0)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.is_superseded(bundle.jobs, set())
    assert not second.is_superseded(bundle.jobs, set())
    first.note("job", job=2)  # of the attempt that is taken for lost
    first.flush()
    assert [event["event"] for event in reader.read()] == ["begin"]
    assert second.earlier_event()["job"] == 2


def test_a_newer_bundle_with_one_of_the_jobs_supersedes(tmp_path: Path) -> None:
    (bundle, _) = write_bundles(tmp_path, ITEMS, processes=1)
    writer, seen = JournalWriter(tmp_path, 0), set[int]()
    assert not writer.is_superseded(bundle.jobs, seen)  # bundle 1 trains others
    write_bundles(tmp_path, [[BundledItem((9,), False)]], processes=1)
    assert not writer.is_superseded(bundle.jobs, seen)
    write_bundles(tmp_path, [[BundledItem((3,), False)]], processes=1)
    assert writer.is_superseded(bundle.jobs, seen)


def test_the_states_of_bundles_are_known_from_their_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without Slurm
    assert activity(tmp_path) == ""
    write_bundles(tmp_path, [*ITEMS, [BundledItem((6,), False)]], processes=1)
    note_submission(tmp_path, Submission("slurm", "12", 0, 3))
    assert activity(tmp_path) == "submitted"
    done, running = JournalWriter(tmp_path, 0), JournalWriter(tmp_path, 1)
    done.note("end", done=True)
    done.flush()
    running.note("progress", of=4, epoch=7)
    running.flush()
    assert [(each.state, each.epoch) for each in bundle_states(tmp_path)] == [
        ("done", 0),
        ("running", 7),
        ("submitted", 0),
    ]
    assert activity(tmp_path) == "running"
    progress = bundle_progress(tmp_path)
    assert progress is not None
    assert [(stack.jobs, stack.first, stack.epoch) for stack in progress.stacks] == [((4, 5), 6, 7)]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert bundle_states(tmp_path)[1].state == "lost"
    running.note("end", done=False, signal=15)
    running.flush()
    assert bundle_states(tmp_path)[1].state == "stopped"
    running.note("end", done=False, signal=10, requeued=True)
    running.flush()
    assert bundle_states(tmp_path)[1].state == "requeued"
    assert activity(tmp_path) == "submitted"
    (tmp_path / WORK / "stop").touch()  # by the process that followed it
    assert [each.state for each in bundle_states(tmp_path)] == ["done", "stopped", "stopped"]
    assert activity(tmp_path) == ""


def test_what_has_no_jobs_left_is_no_task_any_more(tmp_path: Path) -> None:
    write_bundles(tmp_path, [*ITEMS, [BundledItem((3,), False)]], processes=1)
    for number in (0, 1):
        killed = JournalWriter(tmp_path, number)
        killed.note("end", done=False, signal=15)
        killed.flush()
    assert [each.state for each in bundle_states(tmp_path)] == ["superseded", "stopped", "submitted"]
    assert [each.number for each in TaskFollower(tmp_path).read()] == [1, 2]
    assert [each.number for each in TaskFollower(tmp_path).read(ended=[4, 5])] == [2]


@pytest.mark.parametrize("engine", ["executor", ""])
def test_what_only_its_follower_would_have_started_will_not_begin_without_it(tmp_path: Path, engine: str) -> None:
    write_bundles(tmp_path, ITEMS, processes=1)
    if engine:
        note_submission(tmp_path, Submission(engine, "1", 0, 2))
    with leased(tmp_path):
        assert activity(tmp_path) == ""  # this process follows it, and does not wait for itself
    lease = {"host": "n7", "machine": "another", "process": 1, "time": time.time()}
    (tmp_path / WORK / "follower.9.json").write_text(json.dumps(lease))
    assert activity(tmp_path) == "submitted"
    (tmp_path / WORK / "follower.9.json").write_text(json.dumps({**lease, "ended": True}))
    assert [each.state for each in TaskFollower(tmp_path).read()] == ["stopped", "stopped"]


def test_the_tasks_of_a_sweep_are_counted_by_their_states() -> None:
    states = [("pending", "Resources"), ("running", ""), ("pending", "Priority"), ("pending", "Resources")]
    assert describe_tasks([*states, ("stopped", "TIMEOUT")]) == "1 running, 3 pending (Resources, Priority), 1 stopped"
    assert describe_tasks([]) == ""


def test_attempts_that_get_nowhere_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundles(tmp_path, ITEMS, processes=1)
    for kind in ("alive", "job", "alive", "alive"):
        writer = JournalWriter(tmp_path, 0)
        writer.note(kind)
        writer.flush()
    assert [fruitless_attempts(tmp_path, 0, attempt) for attempt in (1, 2, 3, 4)] == [1, 0, 1, 2]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)  # time enough to train one that reports nothing
    writer.note("alive")
    writer.flush()
    assert fruitless_attempts(tmp_path, 0, 4) == 0


def test_the_machine_of_each_job_is_that_of_the_newest_attempt_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machines_of_jobs(tmp_path) == {}
    write_bundles(tmp_path, ITEMS, processes=1)
    for host, bundle in (("n1", 0), ("n2", 0), ("n3", 1)):
        monkeypatch.setattr(platform, "node", lambda host=host: host)
        JournalWriter(tmp_path, bundle)
    assert machines_of_jobs(tmp_path) == {**dict.fromkeys(range(4), "n2"), **dict.fromkeys((4, 5), "n3")}


def test_events_of_another_form_report_nothing() -> None:
    whole = {"event": "progress", "epoch": 3, "running": 2, "best": 0.5, "minimise": True}
    assert report_of(whole) == Progress(3, 2, 0.5, True)
    wrong: list[dict[str, Any]] = [{"epoch": None}, {"epoch": "x"}, {"best": []}, {"running": float("inf")}]
    for changed in wrong:
        assert report_of(whole | changed) is None
    assert report_of({"event": "progress"}) is None
    assert report_of({"event": "unstacked", "runs": 3}) is None
    assert report_of({"event": "alive"}) is None


def test_foreign_journals_are_harmless(tmp_path: Path) -> None:
    write_bundles(tmp_path, ITEMS, processes=1)
    lines = ["null", "[]", "1", '{"event": 3}', '{"event": "progress", "of": [], "epoch": {}, "time": "x"}', "{" * 9999]
    (tmp_path / WORK / "0.1.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n" + b"no end")
    assert [event["event"] for event in JournalReader(tmp_path, 0).read()] == ["progress"]
    assert bundle_states(tmp_path)[0].state == "lost"
    assert bundle_progress(tmp_path) is None


@pytest.mark.parametrize(("parallel", "cores"), [(1, 1), (3, 1), (3, 2), (16, 1), (2, 8)])
def test_items_are_divided_into_bundles_of_about_equal_size(parallel: int, cores: int) -> None:
    sizes = [32, 32, 7, 1, 1, 1, 64, 16]
    items, first = [], 0
    for size in sizes:
        items.append(WorkItem(tuple(range(first, first + size)), 0, size > 1))
        first += size
    bundles = divide(items, parallel, cores)
    assert sorted(number for bundle in bundles for item in bundle for number in item.jobs) == list(range(first))
    assert len(bundles) == min(parallel, -(-len(items) // cores))
    loads = [sum(len(item.jobs) for item in bundle) for bundle in bundles]
    assert max(loads) <= max(64, first / len(bundles) * 1.5)
    assert divide([], parallel, cores) == []


SHOWN = """\
JobId=7 ArrayJobId=7 ArrayTaskId=3-5,9%2 JobName=ch12 JobState=PENDING Reason=Resources
JobId=8 ArrayJobId=7 ArrayTaskId=2 JobName=ch12 JobState=RUNNING Reason=None
JobId=9 ArrayJobId=7 ArrayTaskId=0 JobName=ch12 JobState=NODE_FAIL Reason=None
JobId=10 ArrayJobId=7 ArrayTaskId=1 JobName=ch12 JobState=PENDING Reason=launch_failed_requeued_held
"""


def test_the_states_of_an_arrays_jobs_are_read_from_scontrol() -> None:
    found = states_in(SHOWN)
    assert {index: state.name for index, state in found.items()} == {
        0: "NODE_FAIL",
        1: "PENDING",
        2: "RUNNING",
        **dict.fromkeys((3, 4, 5, 9), "PENDING"),
    }
    assert found[5].reason == "Resources"
    assert [index for index, state in found.items() if state.has_ended] == [0, 1]  # the latter is held for ever


def test_options_of_a_launcher_become_those_of_sbatch(tmp_path: Path) -> None:
    engine = Slurm.from_options(
        {
            "partition": "gpu",
            "mem_gb": 1.5,
            "gpus_per_node": 1,
            "setup": ["module load x"],
            "additional_parameters": {"nice": 5, "exclusive": True, "hold": False, "mail_user": "x"},
        }
    )
    line = engine.sbatch_line(12, tmp_path)
    assert {"--exclusive", "--mail-user=x"} <= set(line)
    assert not any(word.startswith("--hold") for word in line)
    assert {"--partition=gpu", "--mem=1536M", "--gpus-per-node=1", "--nice=5", "--array=0-11%16", "--requeue"} <= set(
        line
    )
    assert not any(word.startswith("--account") for word in line)
    script = engine.script(["python", "-m", "ch12cli", "work", "a b", "--stack=40"], tmp_path, 40).splitlines()
    assert script[-1] == "exec python -m ch12cli work 'a b' --stack=\"$K\""
    assert script[1] == "K=$((40 + SLURM_ARRAY_TASK_ID))"
    assert script[-2] == "module load x"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("array", "use hydra.launcher.array_parallelism"), ("cpus_per_task", "cpus_per_task"), ("wrap", "leave it out")],
)
def test_options_of_sbatch_that_ch12_needs_are_refused(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"additional_parameters: ch12 sets .* of sbatch itself; .*{hint}"):
        Slurm.from_options({"additional_parameters": {name: 1}})


def test_what_slurm_is_asked_for_decides_how_items_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without sbatch
    engine = RemoteEngine(
        Slurm.from_options({"mem_gb": 3, "cpus_per_task": 2, "array_parallelism": 4, "gpus_per_node": 1})
    )
    assert engine.elsewhere == Elsewhere(processes=8, memory=3 * 2**29, gpus=True, seconds=59 * 30)
    limits = "each with 2 cores, 1 GPU, 3 GiB, 60 min at most"

    def described(seconds: float) -> str:
        return engine.describe([WorkItem((number,), 0, False, seconds=seconds) for number in range(5)])

    assert described(9.0) == f"slurm: 3 tasks, 5 work items, 4 at once, {limits}"
    assert described(0.0).endswith("60 min at most, not cut for the time limit, because the time is not known")
    assert described(7200.0).endswith("takes about 2 h 00 min, and goes on where the limit ends it")
    assert engine.describe([]) == ""
    assert Slurm.from_options({"additional_parameters": {"gres": "gpu:a100:1"}}).has_gpus
    assert not Slurm.from_options({"additional_parameters": {"nice": 5}}).has_gpus


def test_the_time_of_a_plan_is_that_of_its_schedule() -> None:
    items = [WorkItem((number,), 0, False, seconds=seconds) for number, seconds in enumerate((14.0, 22.0, 34.0))]
    at_once = [LocalEngine().seconds_for(items, processes=processes) for processes in (1, 2, 3, 9)]
    assert at_once == [70.0, 48.0, 34.0, 34.0]  # on two processes, the third item follows the first
    for options, seconds in (({"array_parallelism": 3}, 34.0), ({"array_parallelism": 1}, 70.0)):
        assert RemoteEngine(Slurm.from_options(options)).seconds_for(items, processes=1) == seconds
    two_cores = RemoteEngine(Slurm.from_options({"array_parallelism": 1, "cpus_per_task": 2}))
    assert two_cores.seconds_for(items, processes=1) == 48.0
    assert two_cores.seconds_for([], processes=1) == 0.0


def test_a_stack_fits_into_the_memory_of_a_task() -> None:
    group = replace(group_on("cpu", batch_size=512), parameters=10_000, values=1_000)
    free = max_stack_size(group)
    little = max_stack_size(group, Elsewhere(1, memory=500 * 2**20))
    assert little < free
    assert little * bytes_of_run(group) <= 100 * 2**20
    assert max_stack_size(group, Elsewhere(1, memory=2**40)) == free
    assert max_stack_size(group, Elsewhere(1, memory=1)) == 2


def test_a_stack_and_a_bundle_are_trained_within_the_time_limit_of_a_task() -> None:
    group = replace(group_on("cpu"), parameters=10, values=10)
    free = best_stack_size(group)
    assert [best_stack_size(replace(group, runs_in_time=runs)) for runs in (None, 2, 64)] == [free, 2, 64]
    fixed = replace(group_on("cpu", **{"sweep.max_stacked": 99}), parameters=10, values=10, runs_in_time=2)
    assert best_stack_size(fixed) == 99
    linear = [cut_in_time(300, limit, lambda _runs: 1.0) for limit in (None, 300, 80, 0.5)]
    assert linear == [(1.0, 300), (1.0, 300), (1.0, 75), (1.0, 2)]
    assert cut_in_time(300, 80, lambda runs: 100 / runs) == (100 / 300, 300)  # smaller stacks would take as long
    assert cut_in_time(300, 80, lambda runs: 1.0 if runs > 100 else None) == (1.0, 150)
    assert cut_in_time(0, 80, lambda _runs: None) == (0.0, 0)
    items = [WorkItem((number,), 0, False, seconds=10.0) for number in range(12)]
    assert [len(divide(items, 2, 1, seconds=limit)) for limit in (1000, 60, 30, 0.1)] == [2, 2, 4, 12]


def test_the_gpus_of_other_machines_are_not_asked_of_this_one() -> None:
    with devices_elsewhere("cuda"):
        assert [choose_device(name).type for name in ("auto", "cuda", "cuda:3", "cpu")] == ["cuda"] * 3 + ["cpu"]
        with pytest.raises(InputError, match="device=tpu"):
            choose_device("tpu")
    with devices_elsewhere("cpu"):
        assert choose_device("auto").type == "cpu"


MOUNTED = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
10.0.0.1@tcp:/data /data\\040sets lustre rw 0 0
"""


def test_places_on_disks_of_this_machine_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(MOUNTED)
    monkeypatch.setattr(visibility, "MOUNTS", tmp_path / "mounts")
    places = {"Python": Path("/usr"), "dataset.path": Path("/data sets/a.csv"), "hydra.sweep.dir": Path("/tmp/s")}
    found = local_places({**places, "ch12": Path("/opt/ch12"), "the current directory": Path("/home/project")})
    assert [text.partition(",")[0] for text in found] == ["Python (/usr)", "hydra.sweep.dir (/tmp/s): on /tmp"]
    assert "ch12 (/opt/ch12): on /, a disk of this machine (ext4)" in found[0]
    nodes = "NodeName=n{0} Arch=x86_64 NodeAddr=127.0.0.1 NodeHostName={1} Version=22.05.8\n"
    assert not has_other_machines(nodes.format(1, platform.node()))
    assert has_other_machines(nodes.format(1, platform.node()) + nodes.format(2, "far"))


def test_wrong_options_of_launchers_are_refused() -> None:
    with pytest.raises(InputError) as refused:
        Slurm.from_options({"timeout_min": 0, "cpus_per_task": "2", "partitions": "gpu"})
    assert [message.partition("=")[0].partition(":")[0] for message in refused.value.messages] == [
        "hydra.launcher.timeout_min",
        "hydra.launcher.cpus_per_task",
        "hydra.launcher.partitions",
    ]
    with pytest.raises(InputError, match=r"signal_delay_s=60: must be less than the 60 seconds of timeout_min=1"):
        Slurm.from_options({"timeout_min": 1})
    with pytest.raises(InputError, match=r"hydra\.launcher\.executor"):
        ExecutorEngine.from_options({"executor": 3}, make=OrderedDict)
    engine = ExecutorEngine.from_options({"executor": {}}, make=OrderedDict)
    with pytest.raises(InputError, match="OrderedDict has no method submit"):
        engine.require_ready()
