"""Commands that make a run: Hydra's own parser reads back every value, and shlex every word."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from ch12cli.catalogue.sweep_jobs import read_sweep_rows
from ch12cli.cli.main import main
from ch12cli.files.command import commands_of, split_command, train_command
from ch12cli.shell import override_value

VALUES: list[Any] = [
    None, True, False, 3, -0.5, 1e-30, "relu", "null", "1e3", "a b", "a=b", "it's", "(x), [y]", "ü#%@", "${seed}x",
    "back\\slash", "ends in \\", "a\\'b", "", [1, 2.5, "x y"], {"metric": "valid_loss", "factor": 3},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_an_override_is_read_back_as_its_value(value: Any) -> None:
    override = OverridesParser.create().parse_override(f"key={override_value(value)}")
    found = override.value()
    plain = {str(name): inner for name, inner in found.items()} if isinstance(found, dict) else found
    assert plain == value
    assert type(plain) is type(value)


@pytest.mark.parametrize("value", VALUES, ids=map(repr, VALUES))
def test_a_resume_with_changes_is_one_correctly_quoted_command(value: Any, tmp_path: Path) -> None:
    history = {
        "parent": {"directory": "/runs/my run", "changes": {"epochs": 9}},
        "resumed": [{"changes": {"key": value}}],
    }
    first, second = commands_of(tmp_path, history)
    assert shlex.split(first) == ["ch12", "resume", "/runs/my run", "epochs=9", "--fork"]
    assert shlex.split(second) == ["ch12", "resume", str(tmp_path), f"key={override_value(value)}"]


def config_file(folder: Path) -> list[str]:
    """Options of a configuration file of the user's, whose folder needs quotes."""
    conf = folder / "my conf (1)"
    conf.mkdir()
    (conf / "mine.yaml").write_text("defaults:\n  - config\n  - _self_\nepochs: 1\nbatch_size: 45\ndevice: cpu\n")
    return ["--config-dir", str(conf), "--config-name", "mine"]


def run_command(command: str, directory: str) -> None:
    """Runs a printed command into another directory, and checks that the user's file set the values."""
    words = shlex.split(command)
    assert words[:2] == ["ch12", "train"]
    assert main([*words[1:], f"hydra.run.dir={directory}", "-q"]) in (0, 5)
    config = yaml.safe_load((Path(directory) / ".hydra/config.yaml").read_text())
    assert (config["epochs"], config["batch_size"]) == (1, 45)


@pytest.mark.slow
def test_each_printed_command_trains_with_the_files_of_the_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = config_file(folder)
    assert main(["train", *options, "-q", "hydra.run.dir=r"]) == 0
    assert main(["train", *options, "-q", "optimizer=sgd", "optimizer.lr=1e30", "hydra.run.dir=diverged"]) == 5
    assert main(["train", *options, "-q", "-m", "seed=1,2", "hydra.sweep.dir=s"]) == 0
    Path("s/sweep.csv").unlink()  # as a killed sweep leaves it: the rows are read from the directories
    capsys.readouterr()
    commands = [row.command for row in read_sweep_rows(Path("s"))]
    assert [row.overrides for row in read_sweep_rows(Path("s"))] == [{"seed": "1"}, {"seed": "2"}]
    for argv in (["show", "r"], ["show", "s/1"], ["resume", "diverged"]):
        assert main(argv) == 0
        told = capsys.readouterr()
        commands += re.findall(r"ch12 train .*", told.out + told.err)
    assert main(["export", "r", "-o", "r.py"]) == 0
    commands += re.findall(r"ch12 train .*", Path("r.py").read_text())
    assert len(commands) == 6
    for number, command in enumerate(commands):
        run_command(command, f"again{number}")


def test_a_stopped_run_and_a_stopped_sweep_say_how_to_go_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = config_file(folder)
    assert main(["train", *options, "-q", "hydra.run.dir=my run"]) == 0
    assert main(["train", *options, "-q", "-m", "seed=1,2", "hydra.sweep.dir=my sweep"]) == 0
    Path("my run/result.json").unlink()  # as a kill leaves it
    Path("my sweep/1/result.json").unlink()
    Path("my sweep/sweep.csv").unlink()
    for name in ("my run", "my sweep"):
        capsys.readouterr()
        assert main(["show", name]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "ch12 resume" in line]
        assert shlex.split(line)[-3:] == ["ch12", "resume", str(Path(name))] or line.endswith(f"{name}'")
        assert main([*shlex.split(line[line.index("ch12 ") :])[1:], "-q"]) == 0
    assert [row.status for row in read_sweep_rows(Path("my sweep"))] == ["finished"] * 2


@pytest.mark.slow
def test_a_sweep_with_diverged_runs_says_what_its_exit_code_means(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["optimizer=sgd", "optimizer.lr=0.01,1e30", "epochs=1", "device=cpu", "hydra.sweep.dir=s"]
    assert main(["train", "-m", *line]) == 0
    assert "exit code 0: diverged runs count as results" in capsys.readouterr().out


@pytest.mark.slow
def test_a_fork_of_a_job_lies_beside_its_sweep_where_it_is_listed(folder: Path) -> None:
    options = config_file(folder)
    assert main(["train", *options, "-q", "-m", "seed=1,2", "hydra.sweep.dir=outputs/s"]) == 0
    assert main(["resume", "outputs/s/1", "--fork", "-q", "epochs=2"]) == 0
    assert (folder / "outputs/s-1-fork/result.json").exists()
    assert not (folder / "outputs/s/1-fork").exists()


@pytest.mark.parametrize("options", [[], ["--config-dir", "/my conf", "--config-name", "it's"], ["--config-name", "x"]])
@pytest.mark.parametrize(
    "overrides", [[], ["seed=1"], ["+project.name='a b'", 'dataset.file=o\'k "x".csv', "~scheduler", "x=--config-dir"]]
)
def test_a_command_is_split_into_what_it_was_made_of(options: list[str], overrides: list[str]) -> None:
    assert split_command(train_command(overrides, options)) == (options, overrides)
