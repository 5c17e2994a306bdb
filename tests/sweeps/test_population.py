"""Population-based training in a stack, against a loop by hand; its record and repetition; what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ch12cli.catalogue.best_setting import best_setting, describe_best
from ch12cli.cli.main import main
from ch12cli.config.run_settings import PopulationSettings
from ch12cli.data import iris
from ch12cli.data.prepared import prepare
from ch12cli.errors import InputError
from ch12cli.saved.reproduce import reproduce
from ch12cli.search.population import Population
from tests.conftest import Silent
from tests.sweeps.driver import Looker, Swept, apart, one_thread, sweep, without_times
from tests.sweeps.killed import kill_after
from tests.sweeps.test_search import read

LR, DECAY, MOMENTUM = "optimizer.lr", "optimizer.weight_decay", "optimizer.momentum"
EPOCHS, SEEDS = 7, (4, 5)
RATES = (0.0005, 0.002, 0.01, 0.05)
NODE: dict[str, Any] = {
    "metric": "valid_loss",
    "every": 2,
    "quantile": 0.3,
    "numbers": {LR: [1e-4, 0.1, "log"], DECAY: [1e-5, 0.1, "log"], MOMENTUM: [0.1, 0.95]},
}
PBT = (
    "sweep.pbt={metric:valid_loss,every:2,quantile:0.3,"
    f"numbers:{{{LR}:[1e-4,0.1,log],{DECAY}:[1e-5,0.1,log],{MOMENTUM}:[0.1,0.95]}}}}"
)
WORDS = (
    *("dataset=iris", "dataset.valid_size=0.3", "dataset.test_size=0", "dataset.scaling=standard", "model.width=5"),
    *("activation=tanh", "precision=float64", "batch_size=16", f"epochs={EPOCHS}", "optimizer=sgd"),
    *(f"{LR}={','.join(map(str, RATES))}", f"seed={','.join(map(str, SEEDS))}", f"{DECAY}=0.001", f"{MOMENTUM}=0.5"),
)


class Member:
    """A run of the loop by hand, with a random stream of its own."""

    def __init__(self, lr: float, seed: int, x: torch.Tensor, y: torch.Tensor) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        self.stream = torch.get_rng_state()
        self.loader = DataLoader(TensorDataset(x, y), 16, shuffle=True)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, weight_decay=0.001, momentum=0.5)

    def train(self) -> None:
        torch.set_rng_state(self.stream)
        for x, y in self.loader:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
        self.stream = torch.get_rng_state()

    def go_on_from(self, other: "Member", *, lr: float, decay: float, momentum: float) -> None:
        self.model.load_state_dict(other.model.state_dict())
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))
        for group in self.optimizer.param_groups:
            group |= {"lr": lr, "weight_decay": decay, "momentum": momentum}

    @torch.no_grad()
    def valid_loss(self, x: torch.Tensor, y: torch.Tensor) -> float:
        return nn.functional.cross_entropy(self.model(x), y).item()


def population_by_hand() -> tuple[list[Member], list[list[float]], int]:
    """The runs after the last epoch, their validation losses along their lines, and the number of copies."""
    parts = prepare(iris(), valid_size=0.3, split="stratified", scaling="standard")
    x, y = torch.tensor(parts.train.x, dtype=torch.float64), torch.tensor(parts.train.y)
    assert parts.valid is not None
    valid = torch.tensor(parts.valid.x, dtype=torch.float64), torch.tensor(parts.valid.y)
    deciding = Population(PopulationSettings.from_node(NODE))
    drawn = [(lr, seed) for lr in RATES for seed in SEEDS]
    members = [Member(lr, seed, x, y) for lr, seed in drawn]
    numbers = {LR: np.array([lr for lr, _ in drawn]), DECAY: np.full(8, 0.001), MOMENTUM: np.full(8, 0.5)}
    losses: list[list[float]] = [[] for _ in members]
    copied = 0
    for epoch in range(1, EPOCHS + 1):
        for member, own in zip(members, losses, strict=True):
            member.train()
            own.append(member.valid_loss(*valid))
        if epoch in (2, 4, 6):
            copies = deciding.copies(epoch, np.array([own[-1] for own in losses]), np.ones(8, bool), numbers)
            numbers = dict(copies.numbers)
            for source, target in zip(copies.source.tolist(), copies.target.tolist(), strict=True):
                lr, decay, momentum = (float(numbers[key][target]) for key in (LR, DECAY, MOMENTUM))
                members[target].go_on_from(members[source], lr=lr, decay=decay, momentum=momentum)
                losses[target] = list(losses[source])
                copied += 1
    return members, losses, copied


def result_of(swept: Swept, job: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((swept.directory / str(job) / "result.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("fused", ["false", pytest.param("true", marks=pytest.mark.slow)])
def test_a_population_equals_the_loop_by_hand_and_each_job_is_repeated_from_its_record(
    folder: Path, fused: str
) -> None:
    with one_thread():
        members, losses, copied = population_by_hand()
    swept = sweep(*WORDS, PBT, f"sweep.fused={fused}")
    assert copied == 9
    ancestries = {job: result_of(swept, job).get("ancestry", []) for job in swept.rows}
    assert 3 <= sum(map(bool, ancestries.values())) < 8
    for job, member in enumerate(members):
        expected = torch.cat([parameter.detach().reshape(-1) for parameter in member.model.parameters()])
        assert apart(swept.weights(job), expected) < 1e-10
        lines = (swept.directory / str(job) / "metrics.csv").read_text(encoding="utf-8").splitlines()
        column = lines[0].split(",").index("valid_loss")
        assert [float(line.split(",")[column]) for line in lines[1:]] == pytest.approx(losses[job], rel=1e-10)
        assert float(swept.rows[job]["objective"]) == pytest.approx(min(losses[job]), rel=1e-10)
        short = " ".join(f"{step['job']}@{step['epoch']}" for step in ancestries[job])
        assert swept.rows[job]["ancestry"] == short
    longest = max(ancestries, key=lambda job: len(ancestries[job]))
    found = reproduce(swept.directory / str(longest), callback=Silent())
    assert found.agrees
    assert found.weights == 0 if fused == "true" else found.weights < 1e-10


def test_a_resumed_run_of_a_population_goes_on_with_its_last_numbers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept = sweep(*WORDS, PBT, "sweep.record=compact")
    job = next(int(job) for job, row in swept.rows.items() if row["ancestry"])
    name = f"{swept.directory}/{job}"
    assert main(["show", name]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    giver, _, epoch = swept.rows[job]["ancestry"].split()[0].partition("@")
    assert f"until epoch {epoch} it was job {giver}, with optimizer.lr=" in shown
    assert f"repeat ch12 repro {name}" in shown
    assert main(["show", str(swept.directory)]) == 0
    assert "of 8 runs went on from others" in capsys.readouterr().out
    assert main(["resume", name, "epochs=8", "-q"]) == 0
    rows = (Path(name) / "metrics.csv").read_text(encoding="utf-8").splitlines()
    rate = rows[0].split(",").index("lr")
    assert rows[8].split(",")[rate] == rows[7].split(",")[rate]
    assert main(["repro", name]) == 2
    assert "was trained in a population, and then continued alone" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cosine", "step", "reduce_on_plateau scheduler.patience=0", "one_cycle"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_jobs_are_repeated_from_their_record_with_schedules_and_dropout(
    folder: Path, schedule: str, optimizer: str
) -> None:
    numbers = f"numbers:{{{LR}:[1e-4,0.1,log],clip_grad_norm:[0.1,10,log]}}"
    swept = sweep(
        *("dataset=iris", "dataset.valid_size=0.2", "model.dropout=0.2", f"optimizer={optimizer}", "epochs=9"),
        *(
            *f"scheduler={schedule}".split(),
            f"{LR}=0.001,0.003,0.01,0.03",
            "clip_grad_norm=1,3",
            "seed=1,2",
            "sweep.fused=true",
        ),
        f"sweep.pbt={{metric:valid_loss,every:2,quantile:0.4,{numbers}}}",
    )
    jobs = [job for job, row in swept.rows.items() if row["ancestry"]]
    assert len(jobs) > 4
    for job in jobs:
        assert reproduce(swept.directory / str(job), callback=Silent()).agrees


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.6, 0.9])
def test_a_killed_population_ends_as_one_that_was_not(folder: Path, seconds: float) -> None:
    words = (*WORDS, PBT, "epochs=400", "checkpoint.every=7", "sweep.fused=false")
    whole = sweep(*words, into="whole")
    for _ in range(5):
        kill_after(seconds, lambda: sweep(*words))
    killed = sweep(*words)
    assert without_times(killed.rows) == without_times(whole.rows)
    for job in whole.rows:
        assert torch.equal(killed.weights(job), whole.weights(job))
        assert result_of(killed, job).get("ancestry") == result_of(whole, job).get("ancestry")


SPACE = ("optimizer.lr=tag(log,interval(1e-4,0.1))", "optimizer.momentum=interval(0.1,0.9)")
SEARCH = ("dataset=iris", "dataset.valid_size=0.2", "optimizer=sgd", "epochs=4", "search.n_trials=8")


def test_a_search_trains_all_its_settings_as_one_population_within_the_space(folder: Path) -> None:
    looker = Looker()
    swept = sweep(*SEARCH, *SPACE, "search.pbt={every:1,quantile:0.25}", looker=looker)
    assert [[len(item.jobs) for item in plan.items] for plan in looker.plans] == [[8]]
    steps = [step for job in swept.rows for step in result_of(swept, job).get("ancestry", [])]
    assert steps
    assert all(1e-4 <= step["changes"][LR] <= 0.1 and 0.1 <= step["changes"][MOMENTUM] <= 0.9 for step in steps)
    best = best_setting(swept.finished.outcome.rows, swept.finished.monitor)
    assert best is not None
    assert describe_best(best)[0].startswith("best of a population of 8 runs: job ")
    assert sweep(*SEARCH, *SPACE, "search.pbt={every:1,quantile:0.25}").looker.ended == []


REFUSED = [
    (["search.pbt={every:1}", "model.width=int(interval(4,8))"], "model.width cannot change while runs train"),
    (["search.pbt={every:1}", "activation=relu,tanh"], "activation cannot change while runs train"),
    (["search.pbt={every:1}", "optimizer.dampening=0,0.1"], "optimizer.dampening must be an interval above 0"),
    (["search.pbt={every:1}", "optimizer.weight_decay=interval(0,0.1)"], "optimizer.weight_decay must be an interval"),
    (["search.pbt={every:1}", "search.repeats=2"], "search.repeats asks for another way"),
    (["search.pbt={every:1}", "search.pruner=median"], "search.pruner asks for another way"),
    (["search.pbt={every:1}", "search.n_jobs=4"], "search.n_jobs asks for another way"),
    (["search.pbt={every:1}", "dataset.folds=3"], "dataset.folds asks for another way"),
    (["search.pbt={every:4}"], "must be below epochs=4"),
    (["search.pbt={quantile:0.2}"], "must be null, or 'search.pbt={every: 5}'"),
    (["search.pbt={every:1,quantile:0.6}"], "must be null, or 'search.pbt={every: 5}'"),
    (["search.pbt={every:1,factors:[0,2]}"], "must be null, or 'search.pbt={every: 5}'"),
    (["search.pbt=5"], "must be null, or 'search.pbt={every: 5}'"),
]


@pytest.mark.sample(4)
@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda each: str(each)[:40])
def test_a_search_that_cannot_be_a_population_is_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(InputError) as refused:
        read(*SEARCH, *SPACE, *words)
    assert len(refused.value.messages) == 1
    assert message in refused.value.messages[0]


NUMBER = "numbers:{optimizer.lr:[1e-4,0.1]}"
BAD = [
    (f"sweep.pbt={{metric:valid_loss,every:1,{NUMBER}}} model.width=4,5", "job 0 would be trained alone"),
    (f"sweep.pbt={{metric:valid_loss,every:1,{NUMBER}}} optimizer.eps=1e-8,1e-7", "the jobs differ in optimizer.eps"),
    (f"sweep.pbt={{metric:valid_loss,every:1,{NUMBER}}} sweep.max_stacked=2 seed=range(4)", "4 runs do not fit into"),
    (f"sweep.pbt={{metric:valid_loss,every:9,{NUMBER}}} seed=1,2", "every=9 is not before the last of 4 epochs"),
    (f"sweep.pbt={{metric:valid_loss,every:1,{NUMBER}}} optimizer.lr=0.5,0.6", "within the bounds of sweep.pbt"),
    ("sweep.pbt={metric:valid_loss,every:1,numbers:{model.width:[1,9]}} seed=1,2", "model.width is no number that"),
    ("sweep.pbt={metric:valid_loss,every:1,numbers:{clip_grad_norm:[1,9]}} seed=1,2", "clip_grad_norm is no number"),
    (f"sweep.pbt={{metric:valid_loss,every:1,{NUMBER}}} seed=1,2 hydra.sweeper.max_batch_size=1", "max_batch_size"),
    (f"sweep.pbt={{metric:valid_loss,every:1,{NUMBER}}} dataset.folds=2 seed=1,2", "leave out dataset.folds"),
    (f"sweep.pbt={{every:1,{NUMBER}}} seed=1,2", "sweep.pbt"),
]


@pytest.mark.sample(4)
@pytest.mark.parametrize(("words", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_a_sweep_that_cannot_be_a_population_is_refused(folder: Path, words: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        sweep("dataset=iris", "epochs=4", *words.split())
    assert message in str(refused.value)
    assert not (folder / "sweep").exists()
