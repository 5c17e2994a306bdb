"""What the process of the command sets up: closed standard streams, and threads that sleep while they wait."""

import os
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


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--hlep", "; did you mean `--help`?"),
        ("--plan", "; options come after a command: did you mean `ch12 train --plan`?"),
        ("-V", "; options come after a command"),
    ],
)
def test_an_option_in_place_of_a_command_gets_a_hint_that_works(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "epochs=1"]) == 2
    assert capsys.readouterr().err == f"ch12: {word}: no such command{hint}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--plan"], "--plan: only for a sweep, add -m"),
        (["train", "--write", "jobs.csv"], "--write: only with --plan"),
        (["train", "-m", "seed=1,2", "--plan", "--format", "json"], "--format json: not with --plan"),
        (["train", "--cfg", "job", "--format", "json"], "--format json: not with --cfg, which prints YAML"),
        (
            ["train", "-m", "seed=1,2", "--cfg", "job"],
            "seed=1,2: several values; give one value, as --cfg shows one job",
        ),
        (["bench"], "bench: must be loader or parallel"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"ch12: {message}")


@pytest.mark.parametrize(("given", "used"), [(None, "passive"), ("active", "active")])
def test_threads_of_torch_sleep_while_they_wait_unless_the_caller_says_otherwise(given: str | None, used: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    code = (
        "import atexit, os, sys; "
        "atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)); "
        "sys.argv = ['ch12', '--version']; from ch12cli.cli.main import program; program()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{used} False"  # set before torch is imported, which reads it


def test_a_process_that_ends_at_once_waits_for_threads_and_runs_what_is_due_at_its_end() -> None:
    code = (
        "import atexit, threading, time; "
        "from ch12cli.cli.process_end import end_at_once; "
        "atexit.register(print, 'end'); "
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start(); "
        "end_at_once(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "thread\nend\n", "")


def test_a_file_that_code_of_the_users_own_leaves_open_is_written(folder: Path) -> None:
    Path("leaves_open.py").write_text("note = open('note.txt', 'w')\nnote.write('all of it')\n")
    words = shlex.split(f"{CH12} train -q imports=[leaves_open] epochs=1 device=cpu")
    subprocess.run(words, env=os.environ | {"PYTHONPATH": "."}, check=True, capture_output=True)
    assert Path("note.txt").read_text() == "all of it"
