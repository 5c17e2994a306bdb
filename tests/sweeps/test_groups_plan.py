"""Which jobs are stacked, in stacks of which sizes, under which numbers; what is kept of that and taken up again."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.errors import InputError
from ch12cli.files.plan_json import PLAN, read_plan
from ch12cli.run.task import Task
from ch12cli.sweeps import trials
from ch12cli.sweeps.groups import Group, group_jobs, why_single
from ch12cli.sweeps.job_directories import HydraFiles
from ch12cli.sweeps.jobs import JobComposer, SweepJob, make_jobs
from ch12cli.sweeps.plan import Plan, make_plan, write_plan
from ch12cli.sweeps.start import plan_many
from ch12cli.sweeps.trials import TrialResult
from tests.sweeps.driver import settings_of, sweep, typed

# values that the runs of one stack may differ in
FREE = [
    ["seed=1", "seed=2"],
    ["stream_offset=1", "stream_offset=2"],
    ["optimizer.lr=1", "optimizer.lr=0.5"],
    ["optimizer.betas=[0.9,0.99]", "optimizer.betas=[0.8,0.99]"],
    ["optimizer.eps=0", "optimizer.eps=1e-3"],
    ["optimizer=sgd optimizer.momentum=0", "optimizer=sgd optimizer.momentum=0.9"],
    ["clip_grad_norm=1", "clip_grad_norm=2"],
    ["clip_grad_value=1", "clip_grad_value=0.1"],
    ["early_stopping.patience=3", "early_stopping.patience=null"],
    ["early_stopping.min_delta=0.1", "early_stopping.min_delta=0"],
    ["scheduler=step scheduler.gamma=0.1", "scheduler=step scheduler.gamma=0.5"],
    ["scheduler.warmup=1", "scheduler.warmup=2.5"],
    ["workers=0", "workers=2 seed=2"],
    ["checkpoint.every=1", "checkpoint.every=2 seed=2"],
    ["sweep.max_stacked=3", "sweep.max_stacked=4 seed=2"],
]
# values that they may not
STRUCTURAL = [
    ["dataset=iris", "dataset=two_class"],
    ["dataset.split_seed=1", "dataset.split_seed=2"],
    ["model.width=4", "model.width=5"],
    ["model.init=torch", "model.init=xavier"],
    ["activation=relu", "activation=tanh"],
    ["loss=cross_entropy loss.label_smoothing=0.1", "loss=cross_entropy"],
    ["optimizer=adam", "optimizer=adamw"],
    ["optimizer.amsgrad=true", "optimizer.amsgrad=false"],
    ["scheduler=none", "scheduler=cosine"],
    ["scheduler=cosine scheduler.T_max=5", "scheduler=cosine scheduler.T_max=null"],
    ["batch_size=2", "batch_size=3"],
    ["epochs=2", "epochs=3"],
    ["clip_grad_norm=1", "clip_grad_norm=null"],
    ["precision=float32", "precision=float64"],
    ["monitor=train_loss", "monitor=valid_loss"],
    ["device=cpu", "device=auto"],
    ["sweep.halving=null", "sweep.halving={metric:train_loss,min_epochs:1,factor:2}"],
]


@pytest.fixture(scope="module", autouse=True)
def composer() -> Iterator[None]:
    """What many tests compose is composed once."""
    with hydra_session():
        MAKER.append(JobComposer(Composer(), []))
        yield
        MAKER.clear()


MAKER: list[JobComposer] = []


def jobs_of(words: Sequence[str]) -> list[SweepJob]:
    return make_jobs(MAKER[0], [word.split() for word in words])


def groups(lines: Sequence[str]) -> list[Group]:
    return group_jobs(jobs_of(lines))


@pytest.mark.parametrize("lines", FREE, ids=lambda lines: lines[1])
def test_values_that_a_stack_holds_per_run_do_not_divide_jobs(lines: list[str]) -> None:
    (group,) = groups(lines)
    assert len(group.jobs) == 2
    assert group.reason == ""


@pytest.mark.sample(7)
@pytest.mark.parametrize("lines", STRUCTURAL, ids=lambda lines: lines[1])
def test_settings_of_the_structure_divide_jobs_into_groups(lines: list[str]) -> None:
    found = groups([*lines, *(f"{line} seed=7" for line in lines)])
    assert [[job.number for job in group.jobs] for group in found] == [[0, 2], [1, 3]]
    assert [group.reason for group in found] == ["", ""]


def test_the_plan_gives_the_reason_for_single_jobs() -> None:
    assert why_single(typed(settings_of({"precision": "bfloat16"}))) == "precision=bfloat16 has no stacked form"
    assert why_single(typed(settings_of({"compile": True}))) == "compile=true compiles one network"
    settings = settings_of({}) | {"optimizer": {"_target_": "torch.optim.NAdam", "lr": 0.1}}
    assert why_single(typed(settings)) == "torch.optim.NAdam has no stacked form"
    for optimizer in ("sgd", "adam", "adamw", "rmsprop", "adagrad"):
        assert why_single(typed(settings_of({}, optimizer=optimizer))) == ""
    assert [group.reason for group in groups(["seed=1", "seed=2", "epochs=3"])] == ["", "the only job of its structure"]


def planned(words: Sequence[str], directory: Path, *, done: Collection[str] = (), write: bool = True) -> Plan:
    """The plan of jobs, given as words of their overrides. done: those of them that have ended."""
    jobs = jobs_of(words)
    ended = {" ".join(sorted(set(word.split()) - {"sweep.processes=1"})) for word in done}
    known = read_plan(directory)
    plan = make_plan(jobs, directory, known, is_done=lambda job: job.key in ended, examine=lambda groups: (groups, []))
    if write:
        write_plan(plan, directory, known, HydraFiles(directory))
    return plan


def stacks(plan: Plan) -> list[tuple[int, ...]]:
    return [item.jobs for item in plan.items if item.stacked]


SIX = [f"seed={seed} sweep.processes=1" for seed in range(6)]


def test_jobs_keep_their_numbers_when_a_sweep_grows(tmp_path: Path) -> None:
    first = planned(SIX, tmp_path)
    assert {number: job.overrides[0] for number, job in first.jobs.items()} == {n: f"seed={n}" for n in range(6)}
    more = planned(["seed=9", "seed=3", "seed=10", "seed=0"], tmp_path, done=SIX)
    assert [(number, job.overrides[0]) for number, job in more.jobs.items()] == [
        (6, "seed=9"),
        (3, "seed=3"),
        (7, "seed=10"),
        (0, "seed=0"),
    ]
    assert more.done == [3, 0]
    assert stacks(more) == [(6, 7)]
    again = planned(["seed=10", "seed=5"], tmp_path, done=[*SIX, "seed=9", "seed=10"])
    assert sorted(again.jobs) == [5, 7]
    assert again.items == []


def test_equal_jobs_have_one_number(tmp_path: Path) -> None:
    plan = planned(["seed=1", "seed=2", "seed=1 workers=0", "seed=1", "seed=3"], tmp_path)
    assert plan.numbers == [0, 1, 0, 0, 4]
    assert sorted(plan.jobs) == [0, 1, 4]


def test_an_interrupted_stack_keeps_its_jobs_including_the_finished_ones(tmp_path: Path) -> None:
    assert stacks(planned([*SIX, "seed=6"], tmp_path)) == [(0, 1, 2, 3, 4, 5, 6)]
    before = planned([*SIX, "seed=6"], tmp_path, done=SIX[:3])
    assert stacks(before) == [(0, 1, 2, 3, 4, 5, 6)]
    assert before.done == [0, 1, 2]
    # with more processes, or another bound, too
    bounded = [f"{word} sweep.max_stacked=2" for word in [*SIX, "seed=6"]]
    assert stacks(planned(bounded, tmp_path, done=SIX[:3])) == [(0, 1, 2, 3, 4, 5, 6)]


def test_a_part_of_a_stack_is_a_separate_stack(tmp_path: Path) -> None:
    whole = planned(SIX, tmp_path).items
    part = planned(SIX[:4], tmp_path).items
    assert [item.jobs for item in part] == [(0, 1, 2, 3)]
    assert whole[0].checkpoint != part[0].checkpoint
    # both are known now, and no job may be in two stacks at once
    assert stacks(planned(SIX, tmp_path)) == [(0, 1, 2, 3, 4, 5)]
    assert stacks(planned(SIX[:4], tmp_path)) == [(0, 1, 2, 3)]
    assert stacks(planned([*SIX, "seed=8", "seed=9"], tmp_path)) == [(0, 1, 2, 3, 4, 5), (6, 7)]


def test_with_halving_the_runs_of_a_group_stay_together(tmp_path: Path) -> None:
    halving = "sweep.halving={metric:train_loss,min_epochs:1,factor:2}"
    words = [f"seed={seed} sweep.processes=4 {halving}" for seed in range(256)]
    assert [len(stack) for stack in stacks(planned(words, tmp_path / "a", write=False))] == [256]
    words = [f"seed={seed} sweep.processes=4" for seed in range(256)]
    assert [len(stack) for stack in stacks(planned(words, tmp_path / "b", write=False))] == [64] * 4


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"jobs": 3}', "changed"])
def test_a_plan_that_is_damaged_is_refused(tmp_path: Path, damage: str) -> None:
    planned(SIX, tmp_path)
    path = tmp_path / PLAN
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"number": 3', '"number": 4') if damage == "changed" else damage)
    assert path.read_text(encoding="utf-8") != text
    with pytest.raises(InputError, match=r"plan.json: .*remove it, and give the sweep"):
        planned(SIX, tmp_path)


def test_the_plan_file_does_not_grow_when_a_sweep_is_repeated(tmp_path: Path) -> None:
    planned(SIX, tmp_path)
    size = len((tmp_path / PLAN).read_bytes())
    for _ in range(3):
        planned(SIX, tmp_path)
    assert len((tmp_path / PLAN).read_bytes()) == size
    kept = json.loads((tmp_path / PLAN).read_text(encoding="utf-8"))
    assert [job["directory"] for job in kept["jobs"]] == ["0", "1", "2", "3", "4", "5"]


def plan_of(*words: str) -> Plan:
    plan, estimates = plan_many(["device=cpu", *words], folders=[], config_name="config")
    assert len(estimates) == len(plan.groups)
    return plan


def test_a_plan_writes_nothing(folder: Path) -> None:
    words = ("dataset=two_class", "epochs=2", "batch_size=20", "optimizer.lr=0.1,0.1", "seed=1,2", "model=mlp,linear")
    plan = plan_of(*words)
    assert len(plan.jobs) == 4
    assert [len(group.jobs) for group in plan.groups] == [2, 2]
    assert list(folder.iterdir()) == []
    sweep(*words)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    plan = plan_of(*words[:-2], "seed=1,2,3", "model=mlp,linear", "hydra.sweep.dir=sweep")
    assert plan.done == [0, 1, 2, 3]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_plan_refuses_what_training_would_refuse(folder: Path) -> None:
    with pytest.raises(InputError, match=r"dataset.valid_size"):
        plan_of("dataset=iris", "dataset.valid_size=200", "seed=1,2")
    assert list(folder.iterdir()) == []


MINE = {
    "model/unlucky": "_target_: tests.sweeps.networks.Unlucky\nraises: -1\nexits: -1\ndies: -1\n",
    "optimizer/lbfgs": "_target_: torch.optim.LBFGS\n",
    "optimizer/nadam": "_target_: torch.optim.NAdam\nlr: 0.1\nmomentum_decay: 0.004\n",
}


@pytest.fixture
def mine(folder: Path) -> Path:
    """A configuration folder of a user's own."""
    for name, text in MINE.items():
        (folder / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mine" / f"{name}.yaml").write_text(text)
    return folder / "mine"


@pytest.mark.sample(1)
@pytest.mark.parametrize("bad", ["raises", "exits", "dies"])
def test_a_plan_with_failing_networks_lacks_their_estimates(bad: str, mine: Path) -> None:
    causes = {"raises": "no network for seed 2", "exits": "sys.exit('enough of seed 2')", "dies": "(exit code 7)"}
    words = ["device=cpu", "model=unlucky", f"model.{bad}=2", "seed=range(4)", "epochs=2,3"]
    plan, estimates = plan_many(words, folders=[mine], config_name="config")
    assert [len(item.jobs) for item in plan.items] == [4, 4]
    assert len(estimates) == 2
    assert all(isinstance(found, str) and causes[bad] in found for found in estimates)


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["optimizer=adam,lbfgs"], r"LBFGS evaluates the loss several times .* \(job 1\)"),
        (["optimizer=lbfgs"], "LBFGS evaluates the loss several times"),
        (["optimizer=nadam", "optimizer.momentum_decay=0.1,-3"], "Invalid momentum_decay value: -3"),
    ],
)
def test_options_that_only_the_optimizer_refuses_are_found_before_training(
    words: list[str], problem: str, mine: Path
) -> None:
    words = ["device=cpu", "epochs=2", *words]
    with pytest.raises(InputError, match=problem):
        plan_many(words, folders=[mine], config_name="config")
    with pytest.raises(InputError, match=problem):
        sweep(*words, folders=[mine])
    assert not Path("sweep").exists()


def test_of_groups_that_differ_in_their_optimizer_alone_one_network_is_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, try_group = list[int](), trials.try_group

    def counted(group: Group, task: Task) -> TrialResult:
        tried.append(group.jobs[0].number)
        return try_group(group, task)

    monkeypatch.setattr(trials, "try_group", counted)
    plan = plan_of("optimizer=adam,sgd,rmsprop", "model.width=4,8", "batch_size=2,3", "seed=1,2", "epochs=2")
    assert len(plan.groups) == 12
    assert len(tried) == 4
    widths = [int(group.settings.config["model"]["width"]) for group in plan.groups]
    assert [group.parameters for group in plan.groups] == [4 * width + width + width * 3 + 3 for width in widths]
