"""The jobs of a sweep against Hydra's own composition of the same overrides, one by one."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.types import RunMode
from omegaconf import OmegaConf

from ch12cli.config.choices import shipped
from ch12cli.config.compose import COMPOSED, Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.errors import InputError
from ch12cli.files.command import train_command
from ch12cli.sweeps.hydra_sweep import read_sweep
from ch12cli.sweeps.jobs import JobComposer, SweepJob, make_jobs
from ch12cli.sweeps.start import plan_many
from tests.sweeps.driver import jobs_of

BATCH = [
    ["seed=3"],
    ["seed=4", "optimizer.lr=0.1"],
    ["optimizer=sgd", "optimizer.momentum=0.9", "optimizer.lr=1e-3"],
    ["optimizer.betas=[0.8,0.99]", "seed=3"],
    ["monitor=train_loss", "early_stopping.patience=3"],  # which another key refers to
    ["early_stopping={metric:train_loss,patience:5,min_delta:0.1}"],
    ["experiment=book/iris", "epochs=7"],
    ["epochs=7", "experiment=book/xor_mlp", "model.width=5"],
    ["+activation.inplace=true", "seed=9"],
    ["~dataset.scaling"],
    ["dataset=two_class", "dataset.noise=0.25", "model=linear"],
    ["optimizer.lr=${scheduler.warmup}", "scheduler.warmup=0.5"],
    ["seed=1", "seed=2"],  # the last one counts
    ["sweep.halving={metric:valid_loss,min_epochs:2,factor:3}"],
    ["batch_size=4", "model.width=32", "clip_grad_norm=null", "clip_grad_value=0.5"],
    ["early_stopping.patience=3", "early_stopping={metric:train_loss,patience:5,min_delta:0.1}"],
    ["early_stopping={metric:train_loss,patience:5,min_delta:0.1}", "early_stopping.patience=3", "seed=8"],
    ["+loss.ignore_index=null", "loss.ignore_index=-100", "loss=cross_entropy"],
    ["dataset.split_seed=${seed}", "seed=12"],
    ["optimizer.lr=0.5", "optimizer=sgd", "optimizer.lr=0.25"],
]


@pytest.fixture(scope="module")
def composed() -> list[dict[str, Any]]:
    """What Hydra itself makes of each."""
    with initialize_config_dir(str(shipped()), version_base="1.3"):
        return [to_plain(compose("config", lines)) for lines in BATCH]


def to_plain(config: Any) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config, resolve=False)
    return {str(name): value for name, value in plain.items()}


@pytest.fixture(scope="module")
def batch() -> list[SweepJob]:
    """All jobs together: what they share is composed once for all of them."""
    return jobs_of(BATCH)


@pytest.mark.parametrize("number", range(len(BATCH)), ids=lambda number: " ".join(BATCH[number]))
def test_a_job_is_what_hydra_composes(number: int, batch: list[SweepJob], composed: list[dict[str, Any]]) -> None:
    job, expected = batch[number], composed[number]
    assert list(job.overrides) == BATCH[number]
    assert job.written == expected
    assert job.settings == OmegaConf.to_container(OmegaConf.create(expected), resolve=True)


def test_jobs_share_no_mutable_settings() -> None:
    first, second = jobs_of([["optimizer.betas=[0.8,0.99]", "seed=1"], ["optimizer.betas=[0.8,0.99]", "seed=2"]])
    changed = first.settings
    changed["optimizer"]["betas"].append(3)
    changed["dataset"]["noise"] = 4
    assert second.settings["optimizer"]["betas"] == [0.8, 0.99]
    assert "noise" not in second.settings["dataset"]
    assert first.settings["seed"] == 1


class Counting:
    """How often Hydra's loader is asked for a configuration, and for which choices, if none was composed before."""

    def __init__(self, composer: Composer) -> None:
        COMPOSED.clear()
        self.composed: list[tuple[str, ...]] = []
        load = composer.loader.load_configuration

        def counted(config_name: Any, overrides: list[str], **options: Any) -> Any:
            self.composed.append(tuple(overrides))
            return load(config_name, overrides, **options)

        composer.loader.load_configuration = counted  # type: ignore[method-assign, assignment]


@pytest.mark.slow
def test_hydra_composes_once_for_all_choices_of_ch12s_own_groups() -> None:
    with hydra_session():
        composer = Composer()
        count = Counting(composer)
        batch = [
            [f"optimizer={optimizer}", f"activation={activation}", f"optimizer.lr={rate}", f"seed={seed}", "epochs=3"]
            for optimizer in ("sgd", "adam")
            for activation in ("relu", "tanh", "elu")
            for rate in (0.1, 0.01)
            for seed in range(50)
        ]
        jobs = make_jobs(JobComposer(composer, []), batch)
    assert len(jobs) == 600
    assert len({id(job.base) for job in jobs}) == 6
    assert len(count.composed) == 1


def test_hydra_composes_once_for_each_choice_of_a_users_group(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    for name in ("mine", "other"):
        (tmp_path / "optimizer" / f"{name}.yaml").write_text("_target_: torch.optim.SGD\nlr: 0.1\n", encoding="utf-8")
    with hydra_session():
        composer = Composer([tmp_path])
        count = Counting(composer)
        batch = [[f"optimizer={name}", f"seed={seed}"] for name in ("mine", "other") for seed in range(3)]
        make_jobs(JobComposer(composer, []), batch)
    assert len(count.composed) == len(set(count.composed)) == 2


def test_overrides_common_to_all_jobs_are_composed_once() -> None:
    halving = "sweep.halving={metric:train_loss,min_epochs:1,factor:2}"
    common = ["monitor=train_loss", halving, "+activation.inplace=true"]
    with hydra_session():
        jobs = make_jobs(
            JobComposer(Composer(), []), [[*common, f"seed={seed}", f"epochs={seed + 1}"] for seed in range(20)]
        )
    assert len({id(job.base) for job in jobs}) == 1
    assert [job.settings["seed"] for job in jobs] == list(range(20))
    assert {job.settings["early_stopping"]["metric"] for job in jobs} == {"train_loss"}


def test_a_whole_sweep_and_hydras_own_part_of_it_are_composed_once() -> None:
    with hydra_session():
        composer = Composer()
        count = Counting(composer)
        sweep = read_sweep(composer, ["optimizer=sgd,adam", "seed=range(40)", "epochs=2"])
        assert len(sweep.jobs) == 80
    assert len(count.composed) == 1


@pytest.mark.parametrize("argv", [(), ("optimizer=sgd",), ("hydra/sweeper=search",), ("experiment=book/iris",)])
def test_hydra_composes_the_same_for_a_run_and_for_a_sweep(argv: tuple[str, ...]) -> None:
    with hydra_session():
        composer = Composer()
        run, sweep = (composer.load_new(argv, mode) for mode in (RunMode.RUN, RunMode.MULTIRUN))
    assert OmegaConf.to_container(run, resolve=False) == OmegaConf.to_container(sweep, resolve=False)


def test_a_job_has_its_command_its_values_and_its_distinguishing_overrides() -> None:
    lines = ["optimizer=sgd", "optimizer.betas=[0.8, 0.9]", "+activation.x=1", "workers=2", "sweep.processes=1"]
    with hydra_session():
        job, _ = JobComposer(Composer(), []).job(3, lines)
    assert shlex.split(train_command(job.facts.overrides, job.facts.options)) == ["ch12", "train", *lines]
    assert job.values["activation.x"] == "1"
    assert job.values["optimizer.betas"] == "[0.8, 0.9]"
    other = jobs_of([["optimizer=sgd", "workers=0", "seed=2"], ["sweep.max_stacked=3", "optimizer=sgd", "seed=2"]])
    assert other[0].key == other[1].key == "optimizer=sgd seed=2"
    halved, whole = jobs_of([["seed=2", "sweep.halving={metric:train_loss,min_epochs:1,factor:2}"], ["seed=2"]])
    assert halved.key != whole.key


def test_the_last_override_of_a_key_distinguishes_a_job() -> None:
    first, second, alone = jobs_of([["seed=1", "seed=2"], ["seed=2", "seed=1"], ["seed=1"]])
    assert [job.settings["seed"] for job in (first, second, alone)] == [2, 1, 1]
    assert first.key != second.key == alone.key
    values = ["early_stopping.patience=3", "early_stopping={metric:train_loss,patience:5,min_delta:0.1}"]
    one, other = jobs_of([values, values[::-1]])
    assert one.settings["early_stopping"]["patience"] != other.settings["early_stopping"]["patience"]
    assert one.key != other.key
    one, other = jobs_of(
        [["optimizer.lr=0.1", "optimizer=sgd", "seed=3"], ["seed=3", "optimizer=sgd", "optimizer.lr=0.1"]]
    )
    assert one.settings == other.settings
    assert one.key == other.key


def test_every_mistake_is_reported_once_with_its_jobs() -> None:
    batch = [["seed=1"], ["seed=-1"], ["seed=2", "epochs=0"], ["seed=-1", "epochs=0"], ["optimizer=sdg", "seed=3"]]
    with pytest.raises(InputError) as error:
        jobs_of(batch)
    assert error.value.messages == [
        "seed=-1: must be a whole number from 0 to 4294967295 (conf/config.yaml) (job 1, 3)",
        "epochs=0: must be a whole number from 1 (conf/config.yaml) (job 2, 3)",
        "optimizer=sdg: no such choice; did you mean `sgd`? It may be adagrad, adam, adamw, rmsprop, sgd (job 4)",
    ]
    with pytest.raises(InputError) as error:
        jobs_of([["optimizer.momentum=0.9", f"seed={seed}"] for seed in range(6)])
    assert len(error.value.messages) == 1
    assert "optimizer.momentum=0.9: optimizer=adam has no momentum" in error.value.messages[0]
    assert "(job" not in error.value.messages[0]  # it is all jobs'


def test_incompatible_choices_are_found_in_the_jobs_that_combine_them() -> None:
    batch = [
        [f"dataset.test_size={test}", f"dataset.valid_size={valid}"] for test in (0.5, 0.2) for valid in (0.6, 0.1)
    ]
    with pytest.raises(InputError, match=r"must be less than 1 together.* \(job 0\)"):
        jobs_of(batch)


GRAMMAR = {
    ("seed=1,2",): [["seed=1"], ["seed=2"]],
    ("seed=range(3)",): [["seed=0"], ["seed=1"], ["seed=2"]],
    ("seed=range(1,8,3)",): [["seed=1"], ["seed=4"], ["seed=7"]],
    ("seed=choice(5,7)",): [["seed=5"], ["seed=7"]],
    ("seed=sort(3,1,2)",): [["seed=1"], ["seed=2"], ["seed=3"]],
    ("optimizer.lr=tag(mine,choice(0.1,1e-2))",): [["optimizer.lr=0.1"], ["optimizer.lr=0.01"]],
    ("seed=1", "epochs=2,3"): [["seed=1", "epochs=2"], ["seed=1", "epochs=3"]],
    ("optimizer.betas=[0.9,0.99],[0.5,0.9]",): [["optimizer.betas=[0.9,0.99]"], ["optimizer.betas=[0.5,0.9]"]],
    ("activation=glob(r*)",): [["activation=relu"]],
    ("optimizer=glob([a*,s*],exclude=*grad)",): [["optimizer=adam"], ["optimizer=adamw"], ["optimizer=sgd"]],
    ("experiment=glob(book/x*)",): [["experiment=book/xor_logistic"], ["experiment=book/xor_mlp"]],
    ("model=linear,mlp", "seed=1,2"): [[f"model={m}", f"seed={s}"] for m in ("linear", "mlp") for s in (1, 2)],
}


@pytest.mark.sample(6)
@pytest.mark.parametrize("words", GRAMMAR, ids=" ".join)
def test_hydras_grammar_of_sweeps(words: tuple[str, ...]) -> None:
    with hydra_session():
        sweep = read_sweep(Composer(), list(words))
    assert [list(lines) for lines in sweep.jobs] == GRAMMAR[words]
    assert [job.number for job in sweep.jobs.values()] == list(range(len(GRAMMAR[words])))


def test_a_glob_over_experiments_finds_those_in_folders() -> None:
    with hydra_session():
        lines = [lines for (lines,) in read_sweep(Composer(), ["experiment=glob(book/*)"]).jobs]
    there = sorted(path.stem for path in (shipped() / "experiment" / "book").glob("*.yaml"))
    assert len(there) == 5
    assert lines == [f"experiment=book/{name}" for name in there]


def test_a_glob_finds_choices_of_the_users_folders(tmp_path: Path) -> None:
    for number, folder in enumerate((tmp_path / "given", tmp_path / "searched")):
        (folder / "experiment" / "mine").mkdir(parents=True)
        (folder / "experiment" / "mine" / f"{folder.name}.yaml").write_text(f"# @package _global_\nseed: {number}\n")
    words = ["experiment=glob(mine/*)", f"hydra.searchpath=[file://{tmp_path / 'searched'}]"]
    with hydra_session():
        sweep = read_sweep(Composer([tmp_path / "given"]), words)
        seeds = {lines[0]: job.settings["seed"] for lines, job in sweep.jobs.items()}
    assert seeds == {"experiment=mine/given": 0, "experiment=mine/searched": 1}


@pytest.mark.parametrize("word", ["experiment=glob(nix*)", "seed=range(0)"])
def test_a_sweep_over_nothing_is_a_mistake(word: str) -> None:
    with hydra_session(), pytest.raises(InputError, match="no job"):
        read_sweep(Composer(), [word])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["hydra.sweep.dir=a,b"], "hydra.sweep.dir=a,b: hydra's own settings cannot be swept"),
        (["hydra.sweep.subdirr=a"], "did you mean `hydra.sweep.subdir`?"),
        (["hydra/sweeper=optuna"], "hydra/sweeper=optuna: no such choice"),
        (["hydra.sweeper.params={seed:1}"], "belongs in a file"),
        (
            ["seed=interval(1,3)"],
            "seed=interval(1,3): has infinitely many values between its bounds; write 'seed=range(1,4)'",
        ),
        (["optimizer.lr=interval(0.1,1)"], "list the values, such as optimizer.lr=0.1,1"),
        (["seed=rang(3)"], "seed=rang(3): not understood; did you mean `'seed=range(3)'`?"),
        (["seed=range(1,2"], "not understood"),
        *(
            (["seed=1,2", f"{line}"], f"{line}: applies to the whole sweep; give one value")
            for line in (
                *("sweep.record=compact,directories", "sweep.max_stacked=2,4", "sweep.verify=0,1"),
                *("sweep.processes=1,2", "sweep.fail_fast=true,false", "sweep.fused=auto,false"),
                "sweep={record:compact},{record:directories}",
            )
        ),
        (
            ["search.n_trials=4", "optimizer.lr=interval(0.1,1)", "sweep.max_stacked=range(2,8)"],
            "sweep.max_stacked=range(2,8): applies to the whole sweep; give one value",
        ),
    ],
)
def test_sweeps_with_wrong_syntax_are_refused(words: list[str], problem: str) -> None:
    with hydra_session(), pytest.raises(InputError) as error:
        read_sweep(Composer(), words)
    assert problem in str(error.value)


def test_sweeper_params_of_a_file_are_swept_and_the_command_line_overrides_them(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: range(3)\n      epochs: 4,5\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    with hydra_session():
        lines = list(read_sweep(Composer([tmp_path]), ["experiment=mine", "epochs=6"]).jobs)
    assert lines == [(f"seed={seed}", "epochs=6", "experiment=mine") for seed in range(3)]


@pytest.mark.slow
def test_planning_a_hundred_thousand_jobs_takes_linear_time_and_memory(folder: Path) -> None:
    import time
    import tracemalloc

    costs = []
    for runs in (10_000, 100_000):
        tracemalloc.start()
        start = time.process_time()
        plan, _ = plan_many(
            ["device=cpu", f"seed=range({runs // 10})", "optimizer.lr=choice(1,2,3,4,5,6,7,8,9,10)"],
            folders=[],
            config_name="config",
        )
        costs.append((time.process_time() - start, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
        assert len(plan.jobs) == runs
        assert sum(len(item.jobs) for item in plan.items) == runs
        assert max(len(item.jobs) for item in plan.items) <= 4096
        del plan
    assert costs[1][0] < 20 * costs[0][0]
    assert costs[1][1] < 15 * costs[0][1]
    assert costs[1][1] < 1.5e9
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_a_mandatory_key_can_be_given_in_a_sweep() -> None:
    lines = ["dataset=csv", "dataset.file=d.csv"]
    jobs = jobs_of([[*lines, "seed=1"], [*lines, "seed=2"], ["dataset=csv", "dataset.file=e.csv", "seed=1"]])
    assert [job.settings["dataset"]["file"] for job in jobs] == ["d.csv", "d.csv", "e.csv"]
    with pytest.raises(InputError, match=r"dataset.file: must be given"):
        jobs_of([["dataset=csv", "seed=1"]])
