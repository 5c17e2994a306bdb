"""Runs and sweeps whose data have a relative path, used from another directory than the one in which they began."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ch12cli.cli.main import main

ROWS = "a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 3}\n" for i in range(40))
DATA = ("dataset=table", "dataset.file=t.csv", "epochs=2", "device=cpu")


@pytest.fixture
def began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, a run, a sweep in directories and a compact one; another one is current."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(ROWS)
    assert main(["train", "-q", *DATA, "hydra.run.dir=run"]) == 0
    for name, record in (("sweep", "directories"), ("compact", "compact")):
        words = [*DATA, "seed=1,2", f"sweep.record={record}", f"hydra.sweep.dir={name}"]
        assert main(["train", "-q", "-m", *words]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "../run"),
        ("resume", "../run", "epochs=3"),
        ("repro", "../run", "--trust"),
        ("resume", "../sweep"),
        ("eval", "../sweep/1"),
        ("eval", "../compact/1"),
        ("train", "--best-of", "../sweep"),
    ],
)
def test_the_message_says_where_the_data_are(
    began: Path, words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([*words]) == 2
    rule = f"does not exist here, but in {began}, where this was started; run the command there"
    assert f"dataset.file=t.csv: {rule}\n" in capsys.readouterr().err
    (began / "t.csv").unlink()
    assert main([*words]) == 2
    assert "dataset.file=t.csv: there is no such file\n" in capsys.readouterr().err


def test_data_of_the_same_name_or_named_anew_are_read(began: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-q", "--best-of", "../sweep", "dataset.file=../t.csv"]) == 0
    Path("t.csv").write_text(ROWS)
    capsys.readouterr()
    assert main(["eval", "../run"]) == 0
    assert "test: 8 rows" in capsys.readouterr().out
