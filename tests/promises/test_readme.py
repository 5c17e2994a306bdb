"""Every command and every program of the README and the documentation works, page by page, in the order of the page.

A page starts in an empty folder that holds the data of Iris where a clone has them. A block of code below the name of a
file is written to that file; other Python code is run.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ch12cli.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
IRIS = "ch12cli/data/iris.csv"
BLOCK = re.compile(r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)

# Commands that take several seconds each: `make test` runs a shorter form, or leaves them to another test.
SHORTER = {
    "ch12 train -m optimizer.lr=0.001,0.01 'seed=range(512)'": "ch12 train -m optimizer.lr=0.001,0.01 'seed=range(32)'",
    "ch12 train -m experiment=book/iris 'seed=range(1000)'": "ch12 train -m experiment=book/iris 'seed=range(30)'",
    "ch12 train experiment=book/iris": "ch12 train experiment=book/iris epochs=5",
    "ch12 book --check": "ch12 book 26 --check",  # all items: tests/book
    "ch12 book 12.1": None,  # measures for seconds: tests/book
    "ch12 book 12.4": None,
}


class Block(NamedTuple):
    """A block of code. file: the file that it stands for, or an empty text."""

    file: str
    language: str
    text: str

    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a page of Markdown."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(match["file"] or "", match["language"], match["text"]) for match in found]


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks."""
    return [line for block in blocks(page) if block.language == "sh" for line in block.lines()]


WITH_CODE = [
    page
    for page in PAGES
    if any(block.language in ("sh", "python") for block in blocks(page))
    and page.parent.name != "reference"  # signatures, not programs
]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


READ_FIRST = {"README.md"}  # the other pages are tested by make test-slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a page's commands run in. Modules that are imported from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / IRIS).parent.mkdir(parents=True)
    shutil.copy(ROOT / IRIS, tmp_path / IRIS)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{tmp_path}{os.sep}"):
            del sys.modules[name]


def test_every_command_in_the_documents_is_of_ch12_or_make() -> None:
    found = [line for page in PAGES for line in commands(page)]
    assert len(found) > 80
    assert all(line.startswith(("ch12 ", "make ")) for line in found)
    assert set(found) >= SHORTER.keys()


def test_every_make_target_of_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    named = {name for text in texts for name in re.findall(r"(?:`|^ *)make ([a-z-]+)", text, re.MULTILINE)}
    assert len(named) > 6
    assert named <= targets


@pytest.mark.parametrize("as_they_stand", [pytest.param(True, marks=pytest.mark.slow), False], ids=["full", "short"])
@pytest.mark.parametrize(
    "page",
    [page if name_of(page) in READ_FIRST else pytest.param(page, marks=pytest.mark.slow) for page in WITH_CODE],
    ids=name_of,
)
def test_the_commands_and_programs_of_a_page_work_in_order(
    page: Path, as_they_stand: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    failed = []
    for block in blocks(page):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, name_of(page), "exec"), names)
        elif block.language == "sh":
            lines = block.lines() if as_they_stand else [SHORTER.get(line, line) for line in block.lines()]
            failed += [problem for line in lines if line and (problem := problem_of(line, capsys))]
    assert not failed, "\n".join(failed)


def problem_of(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with how a command ended; empty if nothing is, and for targets of make, which other tests cover."""
    if line.startswith("make "):
        return ""
    code = main(shlex.split(line)[1:])
    output = capsys.readouterr()
    if code == 0 and (output.out.strip() or " -o " in line):
        return ""
    return f"{line}: exit {code}\n{output.out[-500:]}{output.err[-500:]}"


def test_the_optimizer_of_the_readme_takes_three_lines() -> None:
    (yaml,) = [block for block in blocks(ROOT / "README.md") if block.language == "yaml"]
    assert len(yaml.lines()) == 3


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
