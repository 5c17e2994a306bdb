"""Every command of the README works as it stands there, in the order in which it stands there."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from ch12cli.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """The lines of the README's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_the_readme_has_commands_and_all_are_ch12s() -> None:
    assert len(commands()) > 25
    assert all(line.startswith("ch12 ") for line in commands())


# Those that take several seconds each: `make test` has fewer seeds of the sweeps, and the chapter's check of all items.
LONG = {
    "ch12 train -m optimizer.lr=0.001,0.01 'seed=range(512)'": "ch12 train -m optimizer.lr=0.001,0.01 'seed=range(32)'",
    "ch12 train -m experiment=book/iris 'seed=range(1000)'": "ch12 train -m experiment=book/iris 'seed=range(30)'",
    "ch12 book": None,
    "ch12 book 12.1": None,
}


@pytest.mark.parametrize("as_they_stand", [pytest.param(True, marks=pytest.mark.slow), False])
def test_every_command_of_the_readme_works_in_turn(
    as_they_stand: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ch12cli/data").mkdir(parents=True)
    shutil.copy(ROOT / "ch12cli/data/iris.csv", tmp_path / "ch12cli/data/iris.csv")
    failed = []
    assert set(commands()) >= LONG.keys()
    lines = commands() if as_they_stand else [LONG.get(line, line) for line in commands()]
    for line in filter(None, lines):
        code = main(shlex.split(line)[1:])
        output = capsys.readouterr()
        if code != 0 or (not output.out.strip() and " -o " not in line):
            failed.append(f"{line}: exit {code}\n{output.out[-500:]}{output.err[-500:]}")
    assert not failed, "\n".join(failed)


def test_the_optimiser_of_the_readme_takes_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [yaml] = re.findall(r"^```yaml\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    assert len(yaml.splitlines()) == 3
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine/optimizer").mkdir(parents=True)
    (tmp_path / "mine/optimizer/nadam.yaml").write_text(yaml)
    assert main(["train", "--config-dir", "mine", "optimizer=nadam", "epochs=1", "-q"]) == 0
    assert main(["train", "--config-dir", "mine", "--help"]) == 0
    assert "Adam with Nesterov momentum" in capsys.readouterr().out


def test_the_notebook_lines_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    run = names["run"]
    assert len(run.metrics) == 20  # type: ignore[attr-defined]
    assert (run.directory / "result.json").exists()  # type: ignore[attr-defined]


def test_every_choice_and_every_file_that_the_readme_names_is_there() -> None:
    for group in ("dataset", "model", "activation", "loss", "optimizer", "scheduler", "experiment"):
        for file in (ROOT / "conf" / group).rglob("*.yaml"):
            name = file.relative_to(ROOT / "conf" / group).with_suffix("").as_posix()
            assert f"`{name}`" in README, f"{group}={name} is not in the README's table"
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (ROOT / target).exists(), target
