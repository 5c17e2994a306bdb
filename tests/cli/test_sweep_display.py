"""The display of a sweep, rendered to consoles of fixed width; live pictures are read from an emulated screen."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ch12cli.catalogue.formatting import format_interval
from ch12cli.catalogue.summary import Folded
from ch12cli.cli.text.plan_view import format_plan
from ch12cli.cli.text.sweep_display import SweepDisplay, format_running
from ch12cli.cli.text.sweep_report import format_folded
from ch12cli.files.plan_json import PlanFile
from ch12cli.files.result_json import Result
from ch12cli.files.sweep_csv import SweepRow
from ch12cli.sweeps.callbacks import SweepCallback
from ch12cli.sweeps.groups import Elsewhere, Group
from ch12cli.sweeps.job_directories import HydraFiles
from ch12cli.sweeps.jobs import Base, SweepJob
from ch12cli.sweeps.launch import SweepOutcome
from ch12cli.sweeps.plan import Plan, write_plan
from ch12cli.sweeps.start import train_many
from ch12cli.sweeps.workers.work_item import Done, Progress, WorkItem, checkpoint_name
from tests.cli.test_display import make_console, screen, written
from tests.sweeps.driver import settings_of

DIRECTORY = Path("/sweeps/one")
SETTINGS = {
    "epochs": 100,
    "monitor": "auto",
    "sweep": settings_of({})["sweep"] | {"processes": 2, "halving": None},
}


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("screen", "sweep_progress", "sweep_display"):
        monkeypatch.setattr(f"ch12cli.cli.text.{module}.perf_counter", clock)
    return clock


def make_job(number: int, lines: str, **settings: Any) -> SweepJob:
    return SweepJob(number, tuple(shlex.split(lines)), Base(None, {}, settings_of({}) | SETTINGS | settings, {}))


def make_plan(
    jobs: Sequence[SweepJob],
    *,
    stacks: Sequence[Sequence[int]] = (),
    done: Sequence[int] = (),
    alone: Sequence[int] = (),
) -> Plan:
    """A plan of one group: these stacks, then these jobs by themselves."""
    items = [WorkItem(tuple(stack), 0, True, Path(f"stack-{stack[0]}.pt")) for stack in stacks]
    items += [WorkItem((number,), 0, False) for number in alone]
    return Plan({job.number: job for job in jobs}, [Group(list(jobs))], items, list(done), [job.number for job in jobs])


def grid(rates: Sequence[float], seeds: int) -> list[SweepJob]:
    """Jobs for each rate and seed."""
    return [
        make_job(place * seeds + seed, f"optimizer.lr={rate} seed={seed}")
        for place, rate in enumerate(rates)
        for seed in range(seeds)
    ]


def make_done(
    number: int, status: str = "finished", objective: float | None = None, monitor: str = "valid_loss", **more: Any
) -> Done:
    return Done(number, Result(status=status, objective=objective, monitor=monitor, **more))


def make_row(job: SweepJob, done: Done | None, **test: float) -> SweepRow:
    """The row of a job in sweep.csv."""
    return SweepRow.of(job.facts, Result(status="interrupted") if done is None else replace(done.result, test=test))


def show_sweep(
    console: Console,
    clock: Clock,
    *,
    jobs: Sequence[SweepJob],
    ends: Sequence[Done],
    errors: Console | None = None,
    verbosity: int = 0,
    plan: Plan | None = None,
    signal: int | None = None,
    before: Sequence[Done] = (),
    directory: Path = DIRECTORY,
) -> str:
    """The whole output of a sweep that ends a job each second. before: how jobs ended that were done before."""
    ended = {done.number: done for done in (*before, *ends)}
    rows = [make_row(job, ended.get(job.number), accuracy=0.9 + job.number / 1000, loss=job.number / 7) for job in jobs]
    with SweepDisplay(verbosity=verbosity, console=console, errors=errors or make_console()) as display:
        display.on_begin(plan or make_plan(jobs, stacks=[[job.number for job in jobs]]), directory=directory)
        for done in ends:
            clock.now += 1
            display.on_job_end(done, jobs[done.number])
        display.end(SweepOutcome(directory, rows=rows, signal=signal), monitor="valid_loss")
    return written(console)


DIVERGED = (
    "the loss was no longer finite in epoch {}, step {}; "
    "try a smaller optimizer.lr, clip_grad_norm=1, or dataset.scaling=standard"
)


def make_ends() -> list[Done]:
    """How the jobs of grid([0.1, 1, 10], 2) end."""
    ends = [make_done(n, objective=value) for n, value in enumerate([0.25, 0.75, 0.5, 0.125])]
    return [
        *ends,
        make_done(4, "diverged", diverged_at=1, diverged_step=7),
        make_done(5, "failed", error="ValueError: no"),
    ]


def test_a_piped_sweep_is_shown_in_plain_lines(clock: Clock):
    errors, console = make_console(), make_console(80, encoding="ascii")
    output = show_sweep(console, clock, errors=errors, jobs=grid([0.1, 1, 10], 2), ends=make_ends()).splitlines()
    assert output == [
        "sweep      6 jobs",
        "varied     optimizer.lr (3 values), seed (2 values)",
        "training   1 stack of 6 runs",
        "directory  /sweeps/one",
        "",
        " 17%  1/6 jobs, 0:05 left, best valid loss 0.2500",
        " 33%  2/6 jobs, 0:04 left, best valid loss 0.2500",
        " 50%  3/6 jobs, 0:03 left, best valid loss 0.2500",
        " 67%  4/6 jobs, 0:02 left, best valid loss 0.1250",
        " 83%  5/6 jobs, 1 diverged, 0:01 left, best valid loss 0.1250",
        "",
        "finished  6 jobs in 6.0 s, 1.0 runs/s",
        "          4 finished, 1 diverged, 1 failed",
        "",
        "mean +- 95 % confidence interval over the seeds",
        # t(1) = 12.706; 0.25 and 0.75: the standard error is 0.25; the accuracies are 0.001 apart, the losses 1/7
        "lr    best valid loss     test accuracy           test loss  runs  best run",
        "1    0.3125 +- 2.3824  0.9025 +- 0.0064    0.3571 +- 0.9076     2         3",
        "0.1  0.5000 +- 3.1766  0.9005 +- 0.0064  0.07143 +- 0.90759     2         0",
        "10                  -                 -                   -   0/2         -",
        "",
        "run 5 (optimizer.lr=10, seed=1) failed: ValueError: no",
        "run 4 (optimizer.lr=10, seed=0) diverged: " + DIVERGED.format(1, 7),
        "",
        "/sweeps/one",
    ]
    assert written(errors) == "1 of 6 jobs failed, 1 diverged\n"  # why is said once


@pytest.mark.parametrize(
    ("dataset", "monitor"),
    [({"folds": 5, "fold": 0}, "valid"), ({"valid": {"_target_": "x.Y"}}, "valid"), ({}, "train")],
)
def test_the_loss_in_training_is_named_as_in_the_metrics(dataset: dict[str, Any], monitor: str, clock: Clock):
    console = make_console(80, terminal=True)
    jobs = [
        make_job(number, f"seed={number}", dataset={**settings_of({})["dataset"], "valid_size": 0, **dataset})
        for number in (0, 1)
    ]
    plan = make_plan(jobs, stacks=[(0, 1)])
    with SweepDisplay(console=console, errors=console) as display:
        display.on_begin(plan, directory=DIRECTORY)
        clock.now += 10
        display.on_progress(plan.items[0], Progress(50, 2, 0.5))
        assert screen(written(console))[-1] == f"best       {monitor} loss 0.5000  in training"


def test_the_live_display_shows_jobs_work_and_the_best_objective(clock: Clock):
    console = make_console(80, terminal=True)
    jobs = grid([0.1, 1, 10], 20)
    plan = make_plan(jobs, stacks=[range(20), range(20, 40), range(40, 58)], alone=[58, 59])
    with SweepDisplay(console=console, errors=console) as display:
        display.on_begin(plan, directory=DIRECTORY)
        assert screen(written(console))[-4:] == [
            "jobs       0/60   ────────────────────────────────",
            "running    40 runs in 2 stacks, epoch 0/100; 1 stack and 2 single runs to come",
            "ended      0 finished",
            "best       -",
        ]
        clock.now += 10
        display.on_progress(plan.items[0], Progress(50, 20, 0.5))
        clock.now += 10
        display.on_progress(plan.items[1], Progress(25, 20, 0.25))
        # 10 and 5 of 60 jobs are done in 20 s: 15/20 a second, and 45 jobs take another 60 s
        assert screen(written(console))[-4:] == [
            "jobs       0/60   ━━━━━━━━────────────────────────  1.3 s/run  1:00 left",
            "running    40 runs in 2 stacks, epoch 50/100, 25/100; 1 stack and 2 single runs…",
            "ended      0 finished",
            "best       valid loss 0.2500  in training",
        ]
        for number in range(20, 40):
            display.on_job_end(make_done(number, objective=0.25 + number % 7), jobs[number])
        display.on_job_end(make_done(3, "failed", error="ValueError: bad\nthing \x1b[2J"), jobs[3])
        display.on_progress(plan.items[0], Progress(75, 19, 0.75))
        clock.now += 1
        display.on_progress(plan.items[2], Progress(75, 19, 0.75))
        # 20 * 100 epochs, 19 * 75 and 100 of the failed one, 18 * 75: 4875 of 6000 in 21 s
        assert screen(written(console))[-5:] == [
            "jobs       21/60  ━━━━━━━━━━━━━━━━━━━━━━━━━━──────  2.3 runs/s  0:05 left",
            "running    37 runs in 2 stacks, epoch 75/100; 2 single runs to come",
            "ended      20 finished, 1 failed",
            "best       valid loss 0.2500  run 21 (optimizer.lr=1, seed=1)",
            "failed     run 3 (optimizer.lr=0.1, seed=3): ValueError: bad\\nthing \\x1b[2J",
        ]


@pytest.mark.sample(4)
@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("terminal", [False, True])
def test_no_line_is_wider_than_the_console_and_a_pipe_gets_no_control_characters(
    clock: Clock, width: int, encoding: str, terminal: bool
):
    lines = "optimizer.weight_decay={} dataset.path=/a/very/long/path/to/données model.hidden=[{}] seed={}"
    jobs = [make_job(n, shlex.quote(lines.format(n, n, n)).strip("'")) for n in range(100)]
    ends = [make_done(n, objective=1 / (n + 1)) for n in range(99)]
    ends.append(make_done(99, "failed", error="ValueError: " + "wrong " * 30))
    output = show_sweep(make_console(width, terminal=terminal, encoding=encoding), clock, jobs=jobs, ends=ends)
    if terminal:
        shown = screen(output)
    else:
        assert all(line.isprintable() for line in output.split("\n"))
        assert sum("% " in line and "jobs" in line for line in output.splitlines()) == 19
        shown = [line for line in output.splitlines() if not line.startswith("run 99")]  # a cause stays one line
    assert "          99 finished, 1 failed" in shown
    assert max(map(len, shown)) <= width


def test_the_batches_of_a_search_are_one_work_within_its_budget_of_time(clock: Clock):
    clock.now = 100.0
    jobs = [make_job(number, f"seed={number}") for number in range(8)]
    display = SweepDisplay(console=make_console(80))
    with display:
        first = replace(make_plan(jobs[:2], stacks=[[0, 1]]), total_jobs=40, ends_at=112.0)
        display.on_begin(first, directory=DIRECTORY)
        clock.now += 2
        for job in jobs[:2]:
            display.on_job_end(make_done(job.number, objective=0.5), job)
        assert (display.sweep.total, display.sweep.ended) == (40, 2)
        assert display.sweep.share == pytest.approx(2 / 12)  # of the time, which is more than 2 of 40 jobs
        assert display.sweep.seconds_left == pytest.approx(10)  # for 38 jobs, 38 s would be needed
        display.on_begin(replace(first, jobs={job.number: job for job in jobs[2:]}, items=[]), directory=DIRECTORY)
        clock.now += 30
        assert (display.sweep.share, display.sweep.seconds_left) == (1.0, 0.0)
    facts = dict(display.facts(first, DIRECTORY))
    assert facts["sweep"] == "40 jobs in batches, the first of 2, for 12 s at most"


@pytest.mark.parametrize(
    ("given", "done", "total", "ends_at", "text"),
    [
        (6, 6, 40, None, "40 jobs, 6 of them done earlier; the search goes on"),
        (6, 4, 40, None, "40 jobs, 4 of them done earlier; the search goes on"),
        (6, 6, 0, 112.0, "6 jobs done earlier; the search goes on, for 12 s at most"),
        (6, 0, 0, 112.0, "jobs in batches, the first of 6, for 12 s at most"),
    ],
)
def test_a_search_that_goes_on_says_so(
    clock: Clock, given: int, done: int, total: int, ends_at: float | None, text: str
):
    clock.now = 100.0
    jobs = [make_job(number, f"seed={number}") for number in range(given)]
    plan = make_plan(jobs, stacks=[] if done == given else [range(done, given)], done=range(done))
    plan = replace(plan, total_jobs=total, ends_at=ends_at, goes_on=True)
    console = make_console(80)
    with SweepDisplay(console=console) as display:
        display.on_begin(plan, directory=DIRECTORY)
        assert display.sweep.share < 0.5  # lines of progress are still to come
    assert written(console).splitlines()[0] == f"sweep      {text}"
    if done:
        assert format_plan(plan, width=80)[0] == text.partition(", for")[0]


def test_a_quiet_sweep_prints_only_its_directory_and_failures_as_errors(clock: Clock):
    console, errors = make_console(), make_console()
    output = show_sweep(console, clock, errors=errors, verbosity=-1, jobs=grid([0.1, 1, 10], 2), ends=make_ends())
    assert output == "/sweeps/one\n"
    assert written(errors).splitlines() == [
        "run 5 (optimizer.lr=10, seed=1) failed: ValueError: no",
        "run 4 (optimizer.lr=10, seed=0) diverged: " + DIVERGED.format(1, 7),
    ]


def test_on_a_terminal_failures_are_printed_once_and_wrapped(clock: Clock):
    console, errors = make_console(60, terminal=True), make_console(60, terminal=True)
    output = screen(show_sweep(console, clock, errors=errors, jobs=grid([0.1, 1, 10], 2), ends=make_ends()))
    assert written(errors) == ""
    assert output[-8:] == [
        "run 5 (optimizer.lr=10, seed=1) failed: ValueError: no",
        "run 4 (optimizer.lr=10, seed=0) diverged: the loss was no",
        "  longer finite in epoch 1, step 7; try a smaller",
        "  optimizer.lr, clip_grad_norm=1, or",
        "  dataset.scaling=standard",
        "",
        "/sweeps/one",
        "",
    ]


def test_a_verbose_sweep_reports_each_job_that_ends(clock: Clock):
    output = show_sweep(make_console(), clock, verbosity=1, jobs=grid([0.1, 1, 10], 2), ends=make_ends())
    assert "run 1 (optimizer.lr=0.1, seed=1) finished: best valid loss 0.7500\n" in output
    assert f"run 4 (optimizer.lr=10, seed=0) diverged: {DIVERGED.format(1, 7)}\n 83%" in output


def test_jobs_finished_earlier_are_reported_as_such(clock: Clock):
    jobs, ends = grid([0.1, 1, 10], 2), make_ends()
    plan = make_plan(jobs, stacks=[[4, 5]], done=[0, 1, 2, 3])
    output = show_sweep(make_console(), clock, jobs=jobs, ends=ends[4:], plan=plan, before=ends[:4]).splitlines()
    assert output[0] == "sweep      6 jobs, 4 of them done earlier"
    assert output[5] == " 83%  5/6 jobs, 1 diverged, 0:01 left"
    assert output[7:9] == [
        "finished  2 jobs in 2.0 s, 1.0 runs/s; 4 jobs done earlier",
        "          4 finished, 1 diverged, 1 failed",
    ]
    plan = make_plan(jobs, done=range(6))
    output = show_sweep(make_console(), clock, jobs=jobs, ends=[], plan=plan, before=ends).splitlines()
    assert output[0] == "sweep      6 jobs, all of them done earlier"
    assert "finished  all 6 jobs done earlier" in output


def test_an_interrupted_sweep_reports_missing_jobs_and_the_command_that_resumes_it(clock: Clock):
    errors = make_console()
    output = show_sweep(make_console(), clock, errors=errors, jobs=grid([0.1, 1], 2), ends=make_ends()[:1], signal=2)
    status = [
        "interrupted  after 1 of 4 jobs in 1.0 s, 1.0 runs/s",
        "             1 finished, 3 interrupted",
        "             ch12 resume /sweeps/one trains the rest",
    ]
    assert "\n".join(["", *status, ""]) in output
    assert written(errors).splitlines() == status[:1]
    output = show_sweep(make_console(), clock, jobs=grid([0.1, 1], 2), ends=make_ends()[:1])
    assert "stopped  after 1 of 4 jobs" in output  # by sweep.fail_fast


def test_the_command_that_resumes_an_interrupted_sweep_is_that_of_show(clock: Clock, tmp_path: Path):
    mine = [make_job(seed, f"seed={seed}", model={"_target_": "models.Mine"}) for seed in range(4)]
    mine = [replace(job, directory=str(job.number), base=replace(job.base, template="{}")) for job in mine]
    write_plan(make_plan(mine), tmp_path, PlanFile(), HydraFiles(tmp_path))
    output = show_sweep(make_console(), clock, jobs=mine, ends=make_ends()[:1], signal=2, directory=tmp_path)
    assert f"ch12 resume {tmp_path} --trust trains the rest" in output


def test_jobs_of_an_earlier_sweep_in_the_directory_are_left_out(clock: Clock):
    console, jobs = make_console(), grid([0.1], 3)
    display = SweepDisplay(console=console)
    display.on_begin(make_plan(jobs[:2], stacks=[[0, 1]]), directory=DIRECTORY)
    rows = [make_row(job, make_done(job.number, objective=job.number)) for job in jobs]
    display.end(SweepOutcome(DIRECTORY, rows=rows), monitor="valid_loss")
    assert "0.5000 ± 6.3531     2         0\n" in written(console)  # of 0 and 1; 2 is the other sweep's


def test_a_sweep_of_another_launcher_is_shown_from_its_table():
    console = make_console()
    rows = [make_row(job, done) for job, done in zip(grid([0.1, 1, 10], 2), make_ends(), strict=True)]
    with SweepDisplay(console=console, errors=make_console()) as display:
        display.end(SweepOutcome(DIRECTORY, rows=rows), monitor="valid_loss")
    output = written(console).splitlines()
    assert output[:2] == ["finished  6 jobs", "          4 finished, 1 diverged, 1 failed"]
    assert output[-1] == "/sweeps/one"


def test_an_interruption_before_the_first_job_leaves_the_directory():
    console = make_console()
    SweepDisplay(console=console).end(SweepOutcome(DIRECTORY, signal=2), monitor="valid_loss")
    assert written(console) == "/sweeps/one\n"


def test_the_table_fits_a_page_and_counts_the_hidden_rows(clock: Clock):
    jobs = [make_job(n, f"model.width={n}") for n in range(40)]
    ends = [make_done(n, objective=(n - 20) ** 2) for n in range(40)]
    output = show_sweep(make_console(), clock, jobs=jobs, ends=ends).splitlines()
    start = output.index("model.width  best valid loss  test accuracy  test loss  run")
    assert output[start + 1].split() == ["20", "0.000", "0.9200", "2.857", "20"]
    assert output[start + 2].split()[0] == "19"
    assert output[start + 16] == "and 25 more runs; sweep.csv has all"


def test_causes_that_do_not_fit_are_counted(clock: Clock):
    jobs = [make_job(n, f"seed={n}") for n in range(40)]
    ends = [make_done(n, "failed", error=f"ValueError: {n % 13}") for n in range(40)]
    output = show_sweep(make_console(), clock, jobs=jobs, ends=ends).splitlines()
    start = output.index("          0 finished, 40 failed") + 2
    assert output[start] == "runs 0, 13, 26, 39 failed: ValueError: 0"
    assert output[start + 10 :] == ["and 9 more jobs with 3 other causes; sweep.csv has all", "", "/sweeps/one"]
    ends = [make_done(n, "diverged", diverged_at=1 + n % 5, diverged_step=3) for n in range(40)]
    output = show_sweep(make_console(), clock, jobs=jobs, ends=ends).splitlines()
    assert output[-3] == "runs 0, 1, 2 and 37 more diverged: " + DIVERGED.format("1 to 5", 3)


def test_keys_are_shortened_before_values():
    values = {"optimizer.lr": "0.001", "model.precision": "bfloat16", "dataset.precision": "float32"}
    folded = [
        Folded(
            values, 1, 1, 0, 0, {"objective": 0.5, "test_loss": 0.25}, dict.fromkeys(("objective", "test_loss"), 0.1), 7
        )
    ]

    def header_and_row(width: int) -> list[str]:
        return format_folded(folded, ["objective", "test_loss"], monitor="train_loss", width=width, ascii_only=True)

    assert header_and_row(86) == [
        "lr     model.precision  dataset.precision   best train loss         test loss  run",
        "0.001  bfloat16         float32            0.5000 +- 0.1000  0.2500 +- 0.1000    7",
    ]
    assert header_and_row(120)[0].startswith("optimizer.lr  model.precision ")
    narrower = header_and_row(78)
    assert narrower[0] == "lr     model.precision  dataset.precision   best train loss  run"
    assert narrower[2:] == ["not shown: test loss"]
    assert header_and_row(48) == [
        "lr     model.p~  dataset~   best train loss  run",
        "0.001  bfloat16  float32   0.5000 +- 0.1000    7",
        "not shown: test loss",
    ]
    assert header_and_row(44)[1] == "0.001  bfloa~  float~  0.5000 +- 0.1000    7"


def test_a_table_that_is_too_wide_leaves_out_keys_and_names_them():
    keys = ["optimizer", "optimizer.lr", "model.width", "model.depth", "batch_size", "activation"]
    folded = [
        Folded(
            dict(zip(keys, ["adam", lr, "64", depth, "32", "tanh"], strict=True)),
            1,
            1,
            0,
            0,
            {"objective": 0.5},
            {"objective": 0.1},
            7,
        )
        for lr, depth in (("0.0123456", "1"), ("0.0234567", "2"))
    ]

    def lines(width: int) -> list[str]:
        return format_folded(folded, ["objective"], monitor="train_loss", width=width, ascii_only=True)

    assert len(lines(120)) == 3
    assert lines(60)[-1] == "all of these: batch_size=32, activation=tanh"
    assert lines(60)[1].startswith("adam       0.0123456  64     1 ")
    rounded = lines(34)
    assert [line.split()[:2] for line in rounded[:3]] == [["lr", "depth"], ["0.01", "1"], ["0.02", "2"]]
    narrow = lines(31)
    assert [line.split()[:2] for line in narrow[:3]] == [["lr", "best"], ["0.012346", "0.5000"], ["0.023457", "0.5000"]]
    assert narrow[-1] == "not shown: model.depth"
    assert max(map(len, [*rounded, *narrow])) <= 34


def test_intervals_have_as_many_decimals_as_their_mean():
    assert format_interval("loss", 0.068331, 0.0082123, ascii_only=False) == "0.06833 ± 0.00821"
    assert format_interval("accuracy", 0.95, 0.01234, ascii_only=False) == "0.9500 ± 0.0123"
    assert format_interval("loss", 11283456.0, 3.13e7, ascii_only=True) == "1.128e+07 +- 3.1e+07"
    assert format_interval("loss", float("nan"), float("nan"), ascii_only=True) == "-"
    assert format_interval("loss", 0.5, float("nan"), ascii_only=True) == "0.5000"


@pytest.mark.parametrize(("attempt", "elsewhere"), [("", None), (".3.1", None), (None, Elsewhere(1))])
def test_epochs_of_an_earlier_session_do_not_count_towards_the_speed(
    clock: Clock, tmp_path: Path, attempt: str | None, elsewhere: Elsewhere | None
):
    """attempt: of an engine's task that wrote the checkpoint; elsewhere: a task may train on without one."""
    jobs = grid([0.1], 10)
    plan = replace(make_plan(jobs, stacks=[tuple(range(10))]), elsewhere=elsewhere)
    checkpoint = tmp_path / checkpoint_name(range(10))
    if attempt is not None:
        checkpoint.with_name(f"{checkpoint.stem}{attempt}.pt").touch()
    plan.items[0] = replace(plan.items[0], checkpoint=checkpoint)
    display = SweepDisplay(console=make_console())
    display.on_begin(plan, directory=DIRECTORY)
    clock.now += 1
    display.on_progress(plan.items[0], Progress(60, 10, 1.0))
    assert display.sweep.seconds_left is None
    clock.now += 9
    display.on_progress(plan.items[0], Progress(70, 10, 1.0))
    assert display.sweep.share == 0.7
    assert display.sweep.seconds_left == pytest.approx(30)  # 10 epochs in 10 s, 30 to go


def test_the_tasks_of_an_engine_are_shown_while_they_wait(clock: Clock):
    console, jobs = make_console(80, terminal=True), grid([0.1], 4)
    with SweepDisplay(console=console, errors=console) as display:
        display.on_begin(make_plan(jobs, stacks=[[0, 1, 2, 3]]), directory=DIRECTORY)
        clock.now += 1
        display.on_tasks("1 pending (PartitionConfig)")
        assert screen(written(console))[-4:-1] == [
            "running    4 runs in 1 stack, epoch 0/100",
            "tasks      1 pending (PartitionConfig)",
            "ended      0 finished",
        ]
    plain = make_console()
    with SweepDisplay(console=plain) as display:
        display.on_tasks("1 running")
    assert written(plain) == "tasks: 1 running\n"


def test_best_values_of_different_metrics_are_not_compared(clock: Clock):
    jobs = [make_job(n, f"seed={n}") for n in range(2)]
    jobs += [make_job(n, f"seed={n} monitor=valid_accuracy", monitor="valid_accuracy") for n in (2, 3)]
    plan = make_plan(jobs, stacks=[[0, 1], [2, 3]])
    items = [plan.items[0], replace(plan.items[1], group=1)]
    plan = replace(plan, groups=[Group(jobs[:2]), Group(jobs[2:])], items=items)
    console = make_console(100, terminal=True)
    ends = [make_done(0, objective=0.75), make_done(2, objective=0.5), make_done(3, objective=0.625)]
    ends[1:] = [Done(done.number, replace(done.result, monitor="valid_accuracy")) for done in ends[1:]]
    ends.append(make_done(1, objective=7.0))
    with SweepDisplay(console=console, errors=console) as display:
        display.on_begin(plan, directory=DIRECTORY)
        for done in ends:
            clock.now += 1
            display.on_job_end(done, jobs[done.number])
        assert screen(written(console))[-1] == "best       valid loss 0.7500, valid accuracy 0.6250"
        rows = [make_row(jobs[done.number], done) for done in ends]
        display.end(SweepOutcome(DIRECTORY, rows=rows), monitor="valid_loss")
    output = [line.split() for line in screen(written(console))]
    start = output.index(["monitor", "best", "valid", "loss", "runs", "best", "run"])
    assert output[start + 1] == ["-", "3.875", "±", "39.707", "2", "0"]  # t(1) = 12.706, the standard error 3.125
    start = output.index(["monitor", "best", "valid", "accuracy", "runs", "best", "run"])
    assert output[start + 1] == ["valid_accuracy", "0.5625", "±", "0.7941", "2", "3"]


def test_halved_runs_are_counted_separately(clock: Clock):
    console, jobs = make_console(), grid([0.1, 1], 2)
    ends = [make_done(n, objective=value) for n, value in enumerate([0.5, 0.25, 0.125, 1.0])]
    ends[2:] = [Done(done.number, replace(done.result, left_at=done.number)) for done in ends[2:]]
    output = show_sweep(console, clock, jobs=jobs, ends=ends).splitlines()
    assert "          2 left by halving: 1 after epoch 2, 1 after epoch 3" in output
    start = next(place for place, line in enumerate(output) if "left after" in line)
    assert [line.split()[:4] for line in output[start + 1 : start + 4]] == [
        ["0.1", "-", "0.3750", "±"],  # those that went on come first, whatever their loss
        ["1", "epoch", "3", "1.000"],
        ["1", "epoch", "2", "0.1250"],
    ]


def test_lines_about_progress_are_a_second_apart(clock: Clock):
    console, jobs = make_console(), grid([0.1], 100)
    display = SweepDisplay(console=console)
    display.on_begin(make_plan(jobs, stacks=[range(100)]), directory=DIRECTORY)
    for job in jobs:
        clock.now += 0.02
        display.on_job_end(make_done(job.number), job)
    assert 2 <= written(console).count("% ") <= 3


def test_jobs_that_ended_without_a_message_are_counted(clock: Clock):
    """Under sweep.fail_fast stacks end jobs of which nothing is told any more; their directories are there."""
    console, jobs = make_console(), grid([0.1], 4)
    display = SweepDisplay(console=console)
    display.on_begin(make_plan(jobs, stacks=[range(4)]), directory=DIRECTORY)
    clock.now += 1
    display.on_job_end(make_done(0, "failed", error="ValueError: no"), jobs[0])
    ends = [make_done(0, "failed", error="ValueError: no"), make_done(1, objective=1.0), None, None]
    rows = [make_row(job, done) for job, done in zip(jobs, ends, strict=True)]
    display.end(SweepOutcome(DIRECTORY, rows=rows, failed=1), monitor="valid_loss")
    assert "stopped  after 2 of 4 jobs" in written(console)
    assert "1 finished, 1 failed, 2 interrupted" in written(console)


def test_two_streams_to_one_file_print_a_message_once(clock: Clock, tmp_path: Path):
    with open(tmp_path / "log", "w") as log:
        console, errors = (Console(file=log, width=120) for _ in range(2))
        jobs = grid([0.1], 2)
        ends = [make_done(0, objective=1.0), make_done(1, "failed", error="ValueError: no")]
        with SweepDisplay(console=console, errors=errors) as display:
            display.on_begin(make_plan(jobs, stacks=[range(2)]), directory=DIRECTORY)
            rows = [make_row(job, done) for job, done in zip(jobs, ends, strict=True)]
            display.end(SweepOutcome(DIRECTORY, rows=rows, failed=1), monitor="valid_loss")
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert text.count("ValueError: no") == 1
    assert "of 2 jobs failed" not in text


def test_a_job_counts_once_even_if_it_is_reported_again(clock: Clock):
    jobs = grid([0.1], 4)
    display = SweepDisplay(console=make_console())
    display.on_begin(make_plan(jobs, stacks=[range(4)], done=[3]), directory=DIRECTORY)
    for number in (3, 0, 0):
        display.on_job_end(make_done(number, objective=1.0), jobs[number])
    assert (display.sweep.ended, display.sweep.earlier, display.sweep.counts["finished"]) == (2, 1, 1)
    assert display.sweep.share == 0.5


def test_batches_of_a_sweeper_are_summed(clock: Clock):
    console, jobs = make_console(), grid([0.1], 6)
    display = SweepDisplay(console=console)
    for first in (0, 2, 4):
        display.on_begin(make_plan(jobs[first : first + 2], alone=[first, first + 1]), directory=DIRECTORY)
        for job in jobs[first : first + 2]:
            display.on_job_end(make_done(job.number, objective=1.0), job)
    assert (display.sweep.jobs, display.sweep.ended, display.sweep.share) == (6, 6, 1.0)
    assert written(console).count("directory") == 1


@pytest.mark.slow
def test_running_work_items_are_described_in_words(clock: Clock):
    jobs = grid([0.1], 1200)
    display = SweepDisplay(console=make_console())
    plan = make_plan(jobs, stacks=[range(600), range(600, 1100)], alone=range(1100, 1200))
    display.on_begin(plan, directory=DIRECTORY)
    assert format_running(display.sweep) == "1,100 runs in 2 stacks, epoch 0/100; 100 single runs to come"
    for number in range(600):
        display.on_job_end(make_done(number), jobs[number])
    display.on_progress(replace(plan.items[1], jobs=(700, 701)), Progress(30, 500, 1.0))  # as a worker reports it
    assert format_running(display.sweep) == "501 runs, epoch 30/100; 99 single runs to come"
    for number in range(600, 1199):
        display.on_job_end(make_done(number), jobs[number])
    assert format_running(display.sweep) == "1 run"


def test_the_best_objective_is_the_highest_for_a_maximised_metric(clock: Clock):
    jobs = [make_job(n, f"seed={n}", monitor="valid_accuracy") for n in range(3)]
    display = SweepDisplay(console=make_console())
    display.on_begin(make_plan(jobs, stacks=[range(3)]), directory=DIRECTORY)
    for number, value in enumerate([0.5, 0.9, 0.7]):
        display.on_job_end(make_done(number, objective=value), jobs[number])
    assert display.sweep.best == {"valid_accuracy": (0.9, jobs[1])}


def test_notes_go_to_standard_output_and_warnings_to_standard_error(clock: Clock):
    console, errors = make_console(), make_console()
    display = SweepDisplay(console=console, errors=errors)
    display.on_message("20 jobs are trained one by one", warning=True)
    display.on_message("verified")
    assert (written(console), written(errors)) == ("verified\n", "warning: 20 jobs are trained one by one\n")


@pytest.mark.slow  # it measures time
@pytest.mark.parametrize("terminal", [False, True])
def test_ten_thousand_job_endings_take_little_time(terminal: bool):
    jobs = grid([0.1, 1, 10, 100], 2500)
    display = SweepDisplay(console=make_console(terminal=terminal), errors=make_console())
    plan = make_plan(jobs, stacks=[range(start, start + 1000) for start in range(0, 10_000, 1000)])
    display.on_begin(plan, directory=DIRECTORY)
    ends = [make_done(n, objective=1 / (n + 1)) for n in range(10_000)]
    start = time.process_time()
    for done in ends:
        display.on_job_end(done, jobs[done.number])
    assert time.process_time() - start < 0.3
    display.close()


@pytest.mark.slow
def test_the_display_is_redrawn_at_most_ten_times_a_second(clock: Clock):
    console, jobs = make_console(terminal=True), grid([0.1], 1000)
    display = SweepDisplay(console=console, errors=console)
    display.on_begin(make_plan(jobs, stacks=[range(1000)]), directory=DIRECTORY)
    for job in jobs:
        clock.now += 0.01
        display.on_job_end(make_done(job.number), job)
    display.close()
    assert 90 <= written(console).count("running") <= 103  # in ten seconds


def test_a_real_sweep_ends_in_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    console = make_console(80)
    words = [
        "optimizer.lr=0.001,0.1",
        "seed=1,2,3",
        "epochs=3",
        "dataset=toy_regression",
        "device=cpu",
        "sweep.processes=1",
    ]
    with SweepDisplay(console=console, errors=make_console()) as display:
        callback: SweepCallback = display
        finished = train_many([*words, "hydra.sweep.dir=S"], folders=[], config_name="config", callback=callback)
        display.end(finished.outcome, monitor=finished.monitor)
    output = written(console).splitlines()
    assert output[:3] == [
        "sweep      6 jobs",
        "varied     optimizer.lr (2 values), seed (3 values)",
        "training   1 stack of 6 runs",
    ]
    assert any(line.startswith("finished  6 jobs in") for line in output)
    best, worst = (line.split() for line in output[-4:-2])
    assert (best[0], worst[0]) == ("0.1", "0.001")
    values = [row.number("objective") for row in finished.outcome.rows if row.overrides["optimizer.lr"] == "0.1"]
    assert float(best[1]) == pytest.approx(sum(values) / 3, rel=1e-3)
    assert output[-1] == "S"
