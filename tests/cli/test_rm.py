"""`ch12 rm` and `ch12 tag`: what goes and what stays."""

import builtins
import os
import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.files import tags
from ch12cli.files.locks import locked
from ch12cli.files.result_json import read_result

DAY = Path("outputs/2026-05-17")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("removed")
    before = Path.cwd()
    os.chdir(folder)
    try:
        words = ["train", "device=cpu", "-q", "epochs=1"]
        for name in ("one", "two"):
            assert main([*words, f"hydra.run.dir={DAY}/{name}"]) == 0
        assert main([*words, "optimizer=sgd", "optimizer.lr=1e30", f"hydra.run.dir={DAY}/bad"]) == 5
        assert main([*words, f"hydra.sweep.dir={DAY}/sweep", "-m", "seed=1,2"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def day(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    (tmp_path / "outputs" / "mine.txt").write_text("notes", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / DAY


def left(day: Path) -> set[str]:
    return {path.name for path in day.iterdir()}


def test_only_the_named_runs_are_removed(day: Path) -> None:
    assert main(["rm", "one", "sweep", "--yes"]) == 0
    assert left(day) == {"two", "bad"}
    assert (day.parent / "mine.txt").exists()


def test_the_target_of_a_link_in_a_run_is_kept(day: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x", encoding="utf-8")
    (day / "one" / "link").symlink_to(tmp_path / "precious")
    assert main(["rm", "one", "--yes"]) == 0
    assert (tmp_path / "precious" / "file").exists()
    assert "one" not in left(day)


def test_runs_are_selected_by_status_and_age(day: Path) -> None:
    assert main(["rm", "--status", "diverged", "--older", "1h", "--yes"]) == 0
    assert left(day) == {"one", "two", "bad", "sweep"}
    os.utime(day / "bad" / ".hydra", (time.time() - 7200,) * 2)
    os.utime(day / "two" / ".hydra", (time.time() - 7200,) * 2)
    assert main(["rm", "--status", "diverged", "--older", "1h", "--yes"]) == 0
    assert left(day) == {"one", "two", "sweep"}
    assert main(["rm", "--older", "60m", "--yes"]) == 0
    assert left(day) == {"one", "sweep"}


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("YES", True), ("n", False), ("", False), (None, False)])
def test_rm_asks_for_confirmation(answer: str | None, gone: bool, day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(question: str) -> str:
        assert "remove it" in question
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr(builtins, "input", ask)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert main(["rm", "one"]) == 0
    assert ("one" not in left(day)) is gone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one"], "add --yes"),  # nobody at a terminal
        (["sweep/0", "--yes"], "is a job of the sweep"),
        (["outputs", "--yes"], "is neither a run nor a sweep"),
        ([".", "--yes"], "is neither a run nor a sweep"),
        (["/", "--yes"], "is neither a run nor a sweep"),
        (["one", "outputs", "--yes"], "is neither a run nor a sweep"),  # then nothing goes
        (["linked", "--yes"], "is a link"),
        (["nothing", "--yes"], "no such directory"),
        ([], "rm: nothing to select"),
        (["one", "--status", "failed"], "rm: nothing to select"),
        (["--status", "faild"], "did you mean `failed`?"),
        (["--older", "30"], "--older 30: must be"),
        (["--older", "x30d"], "--older x30d: must be"),
    ],
)
def test_invalid_requests_remove_nothing(
    words: list[str], message: str, day: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("linked").symlink_to(day / "one")
    assert main(["rm", *words]) == 2
    assert message in capsys.readouterr().err
    assert left(day) == {"one", "two", "bad", "sweep"}


def test_a_run_in_progress_is_not_removed(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(day / "one", key="test"):
        assert main(["rm", "one", "--yes"]) == 2
        assert "a ch12 process is writing there" in capsys.readouterr().err
        assert main(["rm", "--older", "0m", "--yes"]) == 0
    assert left(day) == {"one"}


def test_tags_are_added_found_and_removed(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tag", "one", "good", "base-1", "good"]) == 0
    assert capsys.readouterr().out == "good base-1\n"
    assert main(["runs", "--filter", "tags~base-1", "--format", "csv"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]] == [f"{DAY}/one"]
    assert main(["show", "one"]) == 0
    assert "good base-1" in capsys.readouterr().out
    assert main(["tag", "one", "good", "base-1", "--remove"]) == 0
    assert not (day / "one" / "tags.txt").exists()
    assert read_result(day / "one" / "result.json") is not None
    assert main(["repro", "one", "-q"]) == 0


def test_tags_given_at_the_same_time_are_all_kept(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = tags.write_tags

    def write_slowly(directory: Path, words: Iterable[str]) -> None:
        time.sleep(0.05)
        write(directory, words)

    monkeypatch.setattr(tags, "write_tags", write_slowly)
    for name in ("one", "sweep"):
        with ThreadPoolExecutor(5) as threads:
            list(threads.map(lambda word: tags.update_tags(day / name, add=[word]), "abcde"))  # noqa: B023
        assert sorted(tags.read_tags(day / name)) == list("abcde")
    with locked(day / "one", key="test"):  # by the process that trains it
        assert main(["tag", "one", "good"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one", "two words"], "cannot be a tag"),
        (["one", "a\nb"], "cannot be a tag"),
        (["one", "x" * 65], "cannot be a tag"),
        (["one", "absent", "--remove"], "has no such tag"),
        (["outputs", "x"], "is neither a run nor a sweep"),
        ([], "tag: no run given"),
    ],
)
def test_an_invalid_tag_is_refused(
    words: list[str], message: str, day: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tag", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(day.rglob("tags.txt"))


def test_invalid_tags_in_a_tags_file_are_ignored(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (day / "one" / "tags.txt").write_bytes(b"fine\n\x1b[31mred\n\xff\xfe\n" + b"x" * 1000 + b"\n")
    os.mkfifo(day / "two" / "tags.txt")
    assert main(["runs", "--format", "json"]) == 0
    text = capsys.readouterr().out
    assert '"tags": "fine"' in text
    assert "red" not in text


def test_the_current_directory_is_not_removed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "-q", "epochs=1", "device=cpu", "hydra.run.dir=home"]) == 0
    monkeypatch.chdir(folder / "home")
    assert main(["rm", ".", "--yes"]) == 2
    assert ".: is the current directory; leave it first" in capsys.readouterr().err
    assert (folder / "home" / "result.json").exists()


def test_what_ch12_did_not_write_is_not_removed(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (day / "one" / "precious").mkdir()
    (day / "one" / "thesis.txt").write_text("x", encoding="utf-8")
    assert main(["rm", "two", "one", "--yes"]) == 2
    assert f"{DAY}/one: holds what ch12 did not write there: precious, thesis.txt; move" in capsys.readouterr().err
    assert left(day) == {"one", "two", "bad", "sweep"}
    (day / "two").rename(day / "sweep" / "mine")
    assert main(["rm", "sweep", "--yes"]) == 2
    assert f"{DAY}/sweep: holds what ch12 did not write there: mine; move" in capsys.readouterr().err
    assert (day / "sweep" / "mine" / "result.json").exists()


def test_folders_above_the_jobs_of_a_sweep_may_hold_what_others_wrote(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "-q", "epochs=1", "device=cpu", "-m", "seed=1,2", "hydra.sweep.dir=deep"]
    assert main([*words, "hydra.sweep.subdir=by/${seed}"]) == 0
    (folder / "deep" / "by" / "notes").mkdir()
    assert main(["rm", "deep", "--yes"]) == 2
    assert "deep: holds what ch12 did not write there: by/notes; move" in capsys.readouterr().err
    (folder / "deep" / "by" / "notes").rmdir()
    assert main(["rm", "deep", "--yes"]) == 0
    assert not (folder / "deep").exists()
