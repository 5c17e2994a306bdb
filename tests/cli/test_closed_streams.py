"""Standard streams that the caller has closed."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ch12cli.cli.main import main

CH12 = f"{shlex.quote(sys.executable)} -m ch12cli"


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("words", "closed"),
    [("--help", ">&-"), ("runs", "<&-"), ("runs", ">&- 2>&-"), ("train -q epochs=1 device=cpu", ">&-")],
)
def test_closed_streams_are_not_an_error(words: str, closed: str, folder: Path) -> None:
    done = subprocess.run(["sh", "-c", f"{CH12} {words} {closed}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_is_reported_by_the_exit_code_without_standard_error(folder: Path) -> None:
    assert subprocess.run(["sh", "-c", f"{CH12} trian 2>&-"], capture_output=True).returncode == 2


def test_help_of_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "rm"]) == 0
    asked = capsys.readouterr().out
    assert main(["rm", "--help"]) == 0
    assert asked == capsys.readouterr().out != ""
