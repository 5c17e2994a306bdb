"""Whatever a single run accepts, a sweep over its seed accepts, with the same settings."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.config_store import ConfigStore

from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.errors import InputError
from ch12cli.run.start import checked
from ch12cli.sweeps.hydra_sweep import read_sweep
from tests.sweeps.driver import sweep

# Overrides of which some fit each other. Those of one line are often given together.
POOL = (
    *(f"dataset={name}" for name in ("iris", "two_class", "toy_regression", "image_folder", "csv")),
    *("dataset.kind=line", "dataset.size=50", "dataset.shape=moons", "dataset.noise=0.5", "dataset.height=8"),
    *("dataset.valid_size=0.3", "dataset.valid_size=0", "dataset.test_size=10", "dataset.test_size=0.8"),
    *(
        "dataset.file=a.csv",
        "dataset.file='a (b), c=d.csv'",
        'dataset.file="it\'s.csv"',
        r"dataset.file='back\slash\\'",
    ),
    *("dataset.file=über/%_#@:.csv", "dataset.folder=null", "dataset.split=stratified", "dataset.split=ordered"),
    *(
        "dataset.features=[a,b]",
        "dataset.exclude=['a, b', 'c=(d)', \"#\"]",
        "dataset.target='1'",
        "dataset.seed=${seed}",
    ),
    *("monitor=valid_loss", "monitor=train_loss", "monitor=train_r2", "monitor=valid_accuracy"),
    *("early_stopping.metric=train_loss", "early_stopping.metric=valid_loss", "early_stopping.patience=3"),
    *(
        "early_stopping={patience:5}",
        "early_stopping={metric:train_loss,min_delta:0.5}",
        "early_stopping.patience=null",
    ),
    *("model=mlp", "model=linear", "model=cnn", "model.width=8", "model.depth=3", "model.depth=1", "+model.width=8"),
    *(
        "model.output=log_softmax",
        "model.output=softmax",
        "model.output=none",
        "model.output=auto",
        "model.output=sigmoid",
    ),
    *(
        "model.depth=${batch_size}",
        "batch_size=${model.width}",
        "batch_size=${.epochs}",
        "batch_size=4",
        "batch_size=2",
    ),
    *("epochs=${oc.env:EPOCHS}", "epochs=${oc.decode:${oc.env:EPOCHS}}", "epochs=${seed}", "++epochs=2", "epochs=3"),
    *(f"loss={name}" for name in ("mse", "l1", "huber", "bce", "bce_logits", "cross_entropy", "nll", "auto")),
    *("loss.delta=2", "loss.label_smoothing=0.1", "loss.weight=null", "loss.weight=[1,2]", "loss.weight=[1.0,2,3]"),
    *(f"optimizer={name}" for name in ("sgd", "adam", "adamw", "rmsprop", "adagrad")),
    *("optimizer.momentum=0.9", "optimizer.momentum=0", "optimizer.nesterov=true", "optimizer.dampening=0.5"),
    *("optimizer.lr=1e-3", "optimizer.lr=1", "optimizer.lr=${scheduler.warmup}", "optimizer.betas=[0.8,0.99]"),
    *(
        "optimizer={lr:0.3}",
        "~optimizer.amsgrad",
        "~optimizer.momentum",
        "+optimizer.momentum=0.5",
        "++optimizer.lr=0.2",
    ),
    *("optimizer._target_=torch.optim.SGD", "optimizer._target_=torch.optim.Adam", "optimizer.eps=1e-8"),
    *(f"scheduler={name}" for name in ("none", "step", "cosine", "one_cycle", "reduce_on_plateau")),
    *("scheduler.warmup=0.5", "scheduler.T_max=7", "scheduler.step_size=${epochs}", "scheduler.gamma=0.5"),
    *("activation=relu", "activation=leaky_relu", "activation.negative_slope=0.2", "activation=tanh", "~activation.x"),
    *("experiment=book/iris", "experiment=book/xor_mlp", "experiment=mine", "experiment=whole", "experiment=null"),
    *("+mine.x=1", "mine.x=2", "+mine.x=${model.width}", "+mine={x:3,y:[1,{z:2}]}", "mine.y=[]", "~mine", "~mine.x"),
    *("+note='a,b: {c}'", "+note=", "note=null", "++note=on", "+note='${seed} of ${epochs}'", "+note=\\${seed}"),
    *("logger=[csv]", "logger=csv", "imports=[]", "threads=1", "precision=float64", "clip_grad_norm=1", "workers=0"),
    *("sweep.halving={metric:valid_loss,min_epochs:1,factor:2}", "sweep.halving.metric=train_loss", "sweep.verify=0"),
    *("hydra.job.name=mine", "hydra.verbose=false", "seed=7", "seed=${batch_size}", "seed=1e3", "compile=false"),
)


@dataclass
class Typed:
    _target_: str = "torch.optim.SGD"
    lr: float = 0.1


FILES = {
    "experiment/mine.yaml": "# @package _global_\nearly_stopping:\n  metric: ${monitor}\nmine: ${optimizer}\n",
    "experiment/whole.yaml": (
        "# @package _global_\ndefaults:\n  - override /optimizer: sgd\n  - override /dataset: two_class\n"
        "monitor: valid_loss\nmodel:\n  depth: ${early_stopping.patience}\n"
    ),
}


@pytest.fixture(scope="module")
def composer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composer]:
    """A composer with files whose interpolations read what a line may change."""
    folder = tmp_path_factory.mktemp("conf")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch, hydra_session():
        patch.setenv("EPOCHS", "4")
        ConfigStore.instance().store(group="optimizer", name="typed", node=Typed)
        yield Composer([folder])
    del ConfigStore.instance().repo["optimizer"]["typed.yaml"]


def settings_of(composer: Composer, line: Sequence[str]) -> dict[str, Any] | None:
    """The settings of the single run, or None if it is refused."""
    try:
        return checked(composer, line).settings
    except InputError:
        return None


def settings_of_jobs(composer: Composer, line: Sequence[str]) -> list[dict[str, Any]] | None:
    """The settings of the jobs of a sweep, or None if it is refused."""
    try:
        return [job.settings for job in read_sweep(composer, line).jobs.values()]
    except InputError:
        return None


def require_same(composer: Composer, line: Sequence[str], *, at: int) -> bool:
    """Compares a sweep over the seed, which stands `at` a position, with single runs. Returns False if these fail."""
    runs = [settings_of(composer, [*line[:at], f"seed={seed}", *line[at:]]) for seed in (1, 2)]
    jobs = settings_of_jobs(composer, [*line[:at], "seed=1,2", *line[at:]])
    if None in runs:
        assert jobs is None, line
        return False
    assert jobs in (runs, runs[:1] if runs[0] == runs[1] else runs), line  # a later seed=… leaves one job
    return True


REFUSED_BEFORE = (
    "optimizer=sgd optimizer.momentum=0.9",
    "dataset=toy_regression dataset.kind=line dataset.size=50 dataset.valid_size=0.3 monitor=valid_loss",
    "experiment=book/iris loss=nll model.output=log_softmax",
    "model.width=8 batch_size=${model.width}",
    "early_stopping.patience=3 early_stopping={metric:train_loss} early_stopping.patience=5",  # the last one counts
    "+mine.x=${model.width} model.width=5 mine.x=2",
    "experiment=mine optimizer.lr=0.5",  # its file reads the whole group
    "experiment=whole early_stopping.patience=2 dataset.valid_size=0.3",  # its file alone is refused
    "model.depth=2 batch_size=${oc.select:model.depth,3}",
    "optimizer._target_=torch.optim.SGD optimizer={lr:0.1} ~optimizer.betas ~optimizer.eps ~optimizer.amsgrad",
)


@pytest.mark.sample(2)
@pytest.mark.parametrize("line", REFUSED_BEFORE)
def test_a_sweep_over_the_seed_is_what_single_runs_are(line: str, composer: Composer) -> None:
    assert require_same(composer, line.split(), at=0)


@pytest.mark.parametrize(
    "line", ["optimizer=sgd,rmsprop optimizer.momentum=0.9", "model.width=8,16 batch_size=${model.width}"]
)
def test_each_job_is_judged_as_a_run_alone_is_judged(line: str, composer: Composer) -> None:
    swept, fixed = line.split()
    key, _, values = swept.partition("=")
    runs = [settings_of(composer, [f"{key}={value}", fixed]) for value in values.split(",")]
    assert None not in runs
    assert settings_of_jobs(composer, [swept, fixed]) == runs
    assert settings_of_jobs(composer, [fixed, swept]) == runs


def test_an_interpolation_among_swept_values_is_resolved_in_each_job(composer: Composer) -> None:
    jobs = settings_of_jobs(composer, ["model.width=8,16", "batch_size=${model.width},4"])
    assert jobs is not None
    assert [(job["model"]["width"], job["batch_size"]) for job in jobs] == [(8, 8), (8, 4), (16, 16), (16, 4)]


def test_an_interpolation_is_recorded_as_it_was_typed_and_trained_with(folder: Path) -> None:
    line = ["model.width=8,16", "batch_size=${model.width}", "dataset.seed=${..epochs}", "dataset=two_class"]
    swept = sweep(*line, "epochs=1", "dataset.size=40", "sweep.processes=1")
    assert [row["status"] for row in swept.rows.values()] == ["finished"] * 2
    assert [row["batch_size"] for row in swept.rows.values()] == ["${model.width}"] * 2
    assert [yaml.safe_load((folder / f"sweep/{job}/.hydra/overrides.yaml").read_text())[2] for job in (0, 1)] == [
        "batch_size=${model.width}"
    ] * 2


def test_a_dataclass_converts_the_values_of_each_job(composer: Composer) -> None:
    jobs = settings_of_jobs(composer, ["optimizer=typed", "optimizer.lr=1,2"])
    assert jobs is not None
    assert [repr(job["optimizer"]["lr"]) for job in jobs] == ["1.0", "2.0"]
    assert require_same(composer, ["optimizer=typed", "optimizer.lr=3"], at=1)


def compare_drawn_lines(composer: Composer, lines: int, *, seed: int) -> int:
    """Compares random lines, and returns how many of them single runs accept."""
    drawn = random.Random(seed)
    samples = (drawn.sample(POOL, drawn.choice((1, 2, 2, 3, 3, 4, 5))) for _ in range(lines))
    return sum(require_same(composer, line, at=drawn.randrange(len(line) + 1)) for line in samples)


@pytest.mark.slow
def test_random_lines_are_accepted_by_both_or_by_neither(composer: Composer) -> None:
    assert compare_drawn_lines(composer, 4, seed=3) >= 1


@pytest.mark.slow
def test_many_random_lines_are_accepted_by_both_or_by_neither(composer: Composer) -> None:
    assert compare_drawn_lines(composer, 500, seed=2) > 100
