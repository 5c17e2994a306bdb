"""Tables of jobs in a file, there and back again."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from ch12cli.cli.main import main
from ch12cli.cli.verbs.train import run
from ch12cli.errors import InputError, Problem
from ch12cli.sweeps.jobs import JobComposer, SweepJob
from ch12cli.sweeps.jobs_file import jobs_to_yaml, read_jobs, write_jobs
from ch12cli.sweeps.start import plan_many
from tests.sweeps.driver import jobs_of, sweep

TINY = ("dataset=toy_regression", "epochs=2", "batch_size=5")


def read(folder: Path, content: str | bytes, name: str = "jobs.csv") -> list[list[str]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_jobs(path)


def test_a_csv_file_has_a_column_for_each_key_and_a_row_for_each_job(folder: Path) -> None:
    text = 'seed,optimizer.lr,optimizer.betas\n1,0.1,\n2,,"[0.8,0.9]"\n\n , 0.3 ,\n'
    assert read(folder, text) == [
        ["seed=1", "optimizer.lr=0.1"],
        ["seed=2", "optimizer.betas=[0.8,0.9]"],
        ["optimizer.lr=0.3"],
    ]
    windows = "\ufeffseed , optimizer\r\n1,sgd\r\n"
    assert read(folder, windows) == [["seed=1", "optimizer=sgd"]]
    assert read(folder, "seed\n1") == [["seed=1"]]
    odd = read(folder, 'dataset.file\n"a (1), b=2.csv"\nit\'s #1.csv\n')
    assert [OverridesParser.create().parse_override(line).value() for (line,) in odd] == [
        "a (1), b=2.csv",
        "it's #1.csv",
    ]
    assert read(folder, 'optimizer.betas\n"[0.8,"\n') == [["optimizer.betas=[0.8,"]]


def test_a_yaml_file_is_a_list_of_mappings(folder: Path) -> None:
    text = """
- {seed: 1, optimizer.lr: 1.0e-3, optimizer.nesterov: true}
- optimizer: sgd
  optimizer.betas: [0.8, 0.9]
  clip_grad_norm: null
  sweep.halving: {metric: valid_loss, min_epochs: 2, factor: 3}
- {}
"""
    for name in ("jobs.yaml", "jobs.yml"):
        assert read(folder, text, name) == [
            ["seed=1", "optimizer.lr=0.001", "optimizer.nesterov=true"],
            [
                "optimizer=sgd",
                "optimizer.betas=[0.8,0.9]",
                "clip_grad_norm=null",
                "sweep.halving={metric:valid_loss,min_epochs:2,factor:3}",
            ],
            [],
        ]


def test_a_table_of_data_in_place_of_jobs_is_refused_in_a_few_lines(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{20 + number % 30},{number}.5,{'yes' if number % 2 else 'no'},0" for number in range(60)]
    (folder / "data.csv").write_text("\n".join(["age,income,label,epochs", *rows]) + "\n")
    assert main(["train", "-m", "--jobs", "data.csv"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines[:4]] == ["age=20", "income=0.5", "label=no", "epochs=0"]
    assert lines[0].endswith("(job 0, 30)")
    assert lines[3] == "ch12: epochs=0: must be a whole number from 1 (conf/config.yaml)"  # of all jobs
    wrong = 30 + 60 + 2 + 1  # different values of each column
    assert lines[4:] == [f"ch12: and {wrong - 4} more like these"]


def test_of_a_long_table_of_data_only_the_first_rows_are_looked_at(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{number},{number}.5" for number in range(2000)]
    (folder / "data.csv").write_text("\n".join(["income,tax", *rows]) + "\n")
    composed, job = list[int](), JobComposer.job

    def counted(self: JobComposer, number: int, overrides: Sequence[str]) -> tuple[SweepJob, list[Problem]]:
        composed.append(number)
        return job(self, number, overrides)

    monkeypatch.setattr(JobComposer, "job", counted)
    assert main(["train", "-m", "--jobs", "data.csv"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 5
    assert len(composed) < 100


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "holds no job"),
        ("seed\n", "holds no job"),
        ("seed,seed\n1,2\n", "the header must name each key once: seed,seed"),
        ("seed,\n1,2\n", "the header must name each key once: seed,"),
        ("seed,epochs\n1,2\n3\n", "line 3 has 1 cells, the header 2"),
        ("seed\n1,2\n", "line 2 has 2 cells, the header 1"),
        (b"seed\n\xff\n", "is not UTF-8 text (byte 5); save it as UTF-8"),
        ("seed\n" + "1" * 200_000 + "\n", "is not CSV: field larger than field limit"),
        ("seed,hydra.sweep.dir\n1,x\n", "hydra.sweep.dir: applies to the whole sweep; give it on the command line"),
        ("hydra/launcher\nbasic\n", "hydra/launcher: applies to the whole sweep"),
        ("seed,sweep.record\n1,compact\n2,directories\n", "sweep.record: applies to the whole sweep; give it on the"),
        ("seed,sweep.verify\n1,1\n2,\n", "sweep.verify: applies to the whole sweep"),
    ],
)
def test_a_csv_file_that_is_not_a_table_of_jobs_is_refused(folder: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(InputError) as error:
        read(folder, content)
    assert str(error.value).startswith("--jobs ")
    assert problem in str(error.value)


def test_a_key_of_the_whole_sweep_may_have_one_value_in_all_rows(folder: Path) -> None:
    assert read(folder, "seed,sweep.record\n1,compact\n2,compact\n") == [
        ["seed=1", "sweep.record=compact"],
        ["seed=2", "sweep.record=compact"],
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "must be a list of mappings"),
        ("seed: 1\n", "must be a list of mappings"),
        ("- seed=1\n", "must be a list of mappings"),
        ("[]\n", "holds no job"),
        ("- {seed: 1\n", "is not YAML: "),
        ("- {hydra.job.name: x}\n", "hydra.job.name: applies to the whole sweep"),
        ("- {seed: 1}\n- {seed: 2, +sweep.fail_fast: true}\n", "sweep.fail_fast: applies to the whole sweep"),
    ],
)
def test_a_yaml_file_that_is_not_a_list_of_jobs_is_refused(folder: Path, content: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        read(folder, content, "jobs.yaml")
    assert problem in str(error.value)


def test_a_missing_file_is_refused(folder: Path) -> None:
    for path in (folder / "none.csv", folder):
        with pytest.raises(InputError, match=r"--jobs .*; give a CSV or YAML file"):
            read_jobs(path)


def test_mistakes_in_the_jobs_of_a_file_are_reported_with_job_numbers(folder: Path) -> None:
    (folder / "jobs.csv").write_text("seed,optimizer.lr\n1,0.1\n-2,0.1\n3,high\n")
    with pytest.raises(InputError) as error:
        sweep(*TINY, jobs_file=folder / "jobs.csv")
    assert [text.rpartition(" (job ")[2] for text in error.value.messages] == ["1)", "2)"]
    assert not (folder / "sweep").exists()


@pytest.mark.slow
def test_overrides_of_the_command_line_apply_to_all_jobs_of_a_file(folder: Path) -> None:
    (folder / "jobs.csv").write_text("seed,optimizer.lr\n1,0.1\n2,0.2\n")
    swept = sweep(*TINY, "optimizer=sgd,adam", jobs_file=folder / "jobs.csv")
    found = [(row["optimizer"], row["seed"], row["optimizer.lr"], row["epochs"]) for row in swept.rows.values()]
    assert found == [
        ("sgd", "1", "0.1", "2"),
        ("sgd", "2", "0.2", "2"),
        ("adam", "1", "0.1", "2"),
        ("adam", "2", "0.2", "2"),
    ]
    assert {row["status"] for row in swept.rows.values()} == {"finished"}
    again = sweep(*TINY, "optimizer=sgd,adam", "seed=1,2", "optimizer.lr=0.1")
    assert len(again.looker.ended) == 2  # of these four two are in the file


def test_written_jobs_are_read_back_unchanged(folder: Path) -> None:
    batch = [
        ["seed=1", "optimizer.lr=0.1", "optimizer=sgd"],
        ["seed=2", "optimizer.betas=[0.8,0.9]", "+activation.inplace=true"],
        ["sweep.halving={metric:train_loss,min_epochs:1,factor:2}", "clip_grad_norm=null"],
    ]
    write_jobs(folder / "jobs.csv", jobs_of(batch))
    read_back = read_jobs(folder / "jobs.csv")
    assert [sorted(lines) for lines in read_back] == [sorted(lines) for lines in batch]
    assert [job.settings for job in jobs_of(read_back)] == [job.settings for job in jobs_of(batch)]


def test_the_suffix_of_the_file_selects_yaml(folder: Path) -> None:
    batch = [
        ["seed=1", "optimizer.lr=1e-3", "optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0.90"],
        ["clip_grad_norm=null", "optimizer.betas=[0.8,0.9]"],
    ]
    jobs = jobs_of(batch)
    write_jobs(folder / "jobs.yml", jobs)
    assert (folder / "jobs.yml").read_text(encoding="utf-8").splitlines() == [
        "- {seed: 1, optimizer.lr: 1e-3, optimizer: sgd, optimizer.nesterov: true, optimizer.momentum: '0.90'}",
        "- {clip_grad_norm: null, optimizer.betas: [0.8, 0.9]}",
    ]
    assert read_jobs(folder / "jobs.yml") == batch


def test_an_existing_table_is_not_overwritten(folder: Path) -> None:
    (folder / "jobs.csv").write_text("seed\n7\n")
    with pytest.raises(InputError, match=r"--write jobs.csv: exists already; give another name, or remove it"):
        run(["-m", *TINY, "seed=1,2", "--plan", "--write", "jobs.csv"])
    assert (folder / "jobs.csv").read_text(encoding="utf-8") == "seed\n7\n"


def test_a_key_of_the_command_line_that_the_table_has_too_is_refused(folder: Path) -> None:
    (folder / "jobs.csv").write_text("seed,optimizer.lr\n1,0.1\n2,\n")
    with pytest.raises(InputError) as error:
        sweep(*TINY, "seed=1,2", "optimizer.lr=3", jobs_file=folder / "jobs.csv")
    assert [problem.removesuffix(f"{folder}/jobs.csv; leave one out") for problem in error.value.messages] == [
        "seed: set on the command line and in the column seed of ",
        "optimizer.lr: set on the command line and in the column optimizer.lr of ",
    ]
    assert not (folder / "sweep").exists()


@pytest.mark.slow
def test_the_command_for_written_jobs_holds_the_options_that_the_table_lacks(folder: Path, capsys: Any) -> None:
    (folder / "mine").mkdir()
    words = ["-m", *TINY, "--config-dir", "mine", "seed=1,2", "~optimizer.weight_decay", "hydra.sweep.dir=a b"]
    assert run([*words, "--plan", "--write", "jobs.csv"]) == 0
    line = capsys.readouterr().out.splitlines()[-1].partition("train them with: ")[2]
    assert line == f"ch12 train -m --config-dir {folder}/mine --jobs jobs.csv 'hydra.sweep.dir=a b'"
    assert run([*shlex.split(line)[2:], "-q"]) == 0
    assert "weight_decay" not in (folder / "a b" / "1" / ".hydra" / "config.yaml").read_text()


def test_a_plan_that_is_written_plans_the_same_jobs(folder: Path) -> None:
    words = ["device=cpu", *TINY, "optimizer=sgd,adam", "seed=1,2", "optimizer.lr=0.1,0.01"]
    assert run(["-m", *words, "--plan", "--write", "jobs.csv"]) == 0
    assert [path.name for path in folder.iterdir()] == ["jobs.csv"]
    plan, _ = plan_many(words, folders=[], config_name="config")
    again, _ = plan_many([], folders=[], config_name="config", jobs_file=folder / "jobs.csv")
    assert len(again.jobs) == 8
    assert [job.key for job in again.jobs.values()] == [job.key for job in plan.jobs.values()]
    assert [item.jobs for item in again.items] == [item.jobs for item in plan.items]
    with pytest.raises(InputError, match="--plan: only for a sweep"):
        run(["--plan", *words])
    with pytest.raises(InputError, match="--write: only with --plan"):
        run(["-m", "--write", "other.csv", *words])


def test_several_values_in_a_cell_are_refused(folder: Path) -> None:
    Path("jobs.csv").write_text('seed,optimizer.lr\n"1,2",0.1\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"seed=1,2: several values; give each a row of its own in jobs.csv"):
        plan_many(["device=cpu", *TINY], folders=[], config_name="config", jobs_file=Path("jobs.csv"))


TEXTS: tuple[str, ...] = (
    "2",
    "0.90",
    "1e3",
    "true",
    "null",
    "a=b",
    "(1)",
    "a, b",
    "x(y",
    "[z]",
    "{q: 1}",
    "it's",
    'say "hi"',
    "",
    " ",
)
TEXTS += ("choice(1,2)", "range(3)", "a\\", "\\'", "50 %", "ä ö", "nan", "C:\\data", "sub dir/t(1),=.csv", "2021-01-01")


def test_texts_of_a_yaml_file_stay_texts_whatever_they_hold(folder: Path) -> None:
    rows: list[dict[str, Any]] = [{"dataset.target": text, "+own.list": [text, 1, {"name": text}]} for text in TEXTS]
    (folder / "jobs.yaml").write_text(yaml.safe_dump(rows, allow_unicode=True), encoding="utf-8")
    parser = OverridesParser.create()
    jobs = read_jobs(folder / "jobs.yaml")
    for text, lines in zip(TEXTS, jobs, strict=True):
        values = [parser.parse_override(line).value() for line in sorted(lines, reverse=True)]  # as Hydra reads them
        plain = json.loads(json.dumps(values, default=lambda quoted: quoted.text))
        assert plain == [text, [text, 1, {"name": text}]], text
    (folder / "again.yaml").write_text(
        jobs_to_yaml([dict(line.split("=", 1) for line in job) for job in jobs]), encoding="utf-8"
    )
    assert read_jobs(folder / "again.yaml") == jobs


def test_a_date_of_a_yaml_file_is_a_text(folder: Path) -> None:
    assert read(folder, "- {dataset.target: 2021-01-01}", "jobs.yaml") == [["dataset.target=2021-01-01"]]


@pytest.mark.slow
def test_a_job_of_a_yaml_file_trains_with_a_column_named_by_a_number(folder: Path) -> None:
    (folder / "t (1),=.csv").write_text("x,2\n" + "".join(f"{n},{n % 2}\n" for n in range(40)))
    (folder / "jobs.yaml").write_text(
        '- {dataset: csv, dataset.file: "t (1),=.csv", dataset.target: "2", epochs: 1}\n', encoding="utf-8"
    )
    swept = sweep(jobs_file=folder / "jobs.yaml")
    assert [row["status"] for row in swept.rows.values()] == ["finished"]
