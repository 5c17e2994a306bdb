"""Damage: checkpoints cut off, bits flipped in any file of a run. Noticed or harmless, and never a wrong result."""

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.training.checkpoint import load

FLIPS = 200  # bits flipped over all files, one a copy of the run
ALL_FLIPS = 500
CUTS = 64  # lengths that a checkpoint is cut to
ROWS = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n"


class Damaged:
    """A copy of a sound run, anew for each damage. clean: what each command says of the sound one."""

    def __init__(self, sound: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.sound, self.directory, self.capsys = sound, place / "run", capsys
        self.rows = place / "rows.csv"
        self.rows.write_text(ROWS)
        self.files = sorted(path.relative_to(sound).as_posix() for path in sound.rglob("*") if path.is_file())
        self.restore()
        self.clean = {verb: self.run(verb) for verb in ("eval", "predict", "repro", "show")}

    @property
    def last(self) -> Path:
        return self.directory / "checkpoints" / "last.pt"

    def restore(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.sound, self.directory)

    def run(self, verb: str) -> tuple[int, str, str]:
        words = {"eval": ["--format", "json"], "predict": [str(self.rows)], "repro": ["-q"], "show": []}[verb]
        self.capsys.readouterr()
        code = main([verb, str(self.directory), *words])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def judge(self, verb: str) -> str:
        """same: the answer of the sound run; refused. Anything else fails."""
        code, out, err = self.run(verb)
        if (code, out, err) == self.clean[verb]:
            return "same"
        assert (code, out) == (2, "")
        assert "last.pt: " in err
        return "refused"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound") / "run"
    words = ["epochs=2", "batch_size=16", "device=cpu", "checkpoint.every=1000", f"hydra.run.dir={directory}"]
    assert main(["train", "-q", *words]) == 0
    epochs = [load(directory / "checkpoints" / name)["epoch"] for name in ("last.pt", "previous.pt")]
    assert epochs == [2, 0]  # so that it shows which of them answers
    return directory


@pytest.fixture
def damaged(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Damaged:
    return Damaged(sound, tmp_path, capsys)


@pytest.mark.slow
def test_a_truncated_checkpoint_is_refused_at_any_length(damaged: Damaged) -> None:
    content = damaged.last.read_bytes()
    lengths = sorted({0, 1, len(content) - 1, *(len(content) * n // CUTS for n in range(CUTS))})
    assert len(lengths) >= CUTS
    for length in lengths:
        damaged.last.write_bytes(content[:length])
        assert damaged.judge("predict" if length % 2 else "eval") == "refused", length
        assert damaged.run("repro")[0] in (0, 3)


@pytest.mark.parametrize("missing", [True, False])
def test_a_finished_run_does_not_answer_from_an_older_checkpoint(
    damaged: Damaged, tmp_path: Path, missing: bool
) -> None:
    damaged.last.unlink() if missing else damaged.last.write_bytes(b"")
    exports = [["export", str(damaged.directory), "-o", str(tmp_path / "x.py"), "--format", "script"]]
    exports.append(["export", str(damaged.directory), "-o", str(tmp_path / "x.onnx"), "--format", "onnx"])
    for words in (["eval", str(damaged.directory)], ["predict", str(damaged.directory), str(damaged.rows)], *exports):
        damaged.capsys.readouterr()
        assert main(words) == 2
        said = damaged.capsys.readouterr()
        assert said.out == ""
        assert f"{damaged.last}: " in said.err
        assert "finished after epoch 2, and its newest valid checkpoint is of epoch 0" in said.err
        assert f"`ch12 resume {damaged.directory}` trains the missing epochs again" in said.err
    assert main(["resume", "-q", str(damaged.directory)]) == 0
    damaged.capsys.readouterr()
    assert damaged.judge("predict") == "same"


def test_a_run_that_did_not_finish_answers_from_an_older_checkpoint(damaged: Damaged) -> None:
    damaged.last.unlink()
    (damaged.directory / "result.json").unlink()
    code, _, err = damaged.run("predict")
    assert code == 0
    assert "warning: skipped: " in err
    assert main(["export", str(damaged.directory), "--format", "script"]) == 2
    assert "has not finished" in damaged.capsys.readouterr().err


def test_a_run_that_stopped_early_is_resumed_from_an_older_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["epochs=9", "batch_size=16", "checkpoint.every=1000", "early_stopping.patience=1", "optimizer.lr=1"]
    assert main(["train", "-q", *words, f"hydra.run.dir={run}"]) == 0
    before = (run / "model.pt").read_bytes()
    assert json.loads((run / "result.json").read_bytes())["stopped_at"] < 9
    (run / "checkpoints" / "last.pt").unlink()
    assert main(["eval", str(run)]) == 2
    assert main(["resume", "-q", str(run)]) == 0
    assert (run / "model.pt").read_bytes() == before
    assert main(["eval", str(run)]) == 0


def test_two_truncated_checkpoints_are_refused(damaged: Damaged) -> None:
    for name in ("last.pt", "previous.pt", "best.pt"):
        path = damaged.directory / "checkpoints" / name
        path.write_bytes(path.read_bytes()[:-100])
    for verb in ("eval", "predict", "repro"):
        code, out, err = damaged.run(verb)
        assert (code, out) == (2, "")
        assert "damaged" in err


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.slow
def test_a_flipped_bit_is_noticed_or_harmless(damaged: Damaged) -> None:
    draw = random.Random(12)
    assert len(damaged.files) >= 9
    judged: dict[str, list[str]] = {}
    for number in range(FLIPS):
        name = damaged.files[number % len(damaged.files)]
        path = damaged.directory / name
        content = path.read_bytes()
        path.write_bytes(flipped(content, draw.randrange(8 * len(content))))
        judged.setdefault(name, []).append(damaged.judge(draw.choice(("eval", "predict"))))
        path.write_bytes(content)
    refused = {name for name, listed in judged.items() if "refused" in listed}
    assert refused == {"checkpoints/last.pt"}  # all others are harmless: these commands do not read them
    # the rest hit what fills torch's zip files up: the seal is over the content
    assert judged["checkpoints/last.pt"].count("refused") > len(judged["checkpoints/last.pt"]) / 2


@pytest.mark.slow
def test_repro_finds_every_flipped_bit_that_matters(damaged: Damaged) -> None:
    """The others are those that nobody vouches for: the log, the older checkpoint, and what zip files do not use."""
    draw = random.Random(13)
    spared = ("train.log", "checkpoints/previous.pt", "checkpoints/last.pt")
    for number in range(FLIPS // 4):
        name = damaged.files[number % len(damaged.files)]
        path = damaged.directory / name
        content = path.read_bytes()
        path.write_bytes(flipped(content, draw.randrange(8 * len(content))))
        code, out, err = damaged.run("repro")
        path.write_bytes(content)
        if name in spared:
            assert code in (0, 3), (name, err)
            assert "bit for bit" in out
        else:
            assert code == 3, name
            assert name in out or (name == "metrics.csv" and "rows" in out)


@pytest.mark.slow
def test_a_run_with_a_flipped_bit_resumes_to_the_same_end(damaged: Damaged, sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path / "other")
    expected = trained_on(tmp_path / "other")
    assert expected is not None
    draw = random.Random(14)
    ends = 0
    for number in range(FLIPS // 6):
        damaged.restore()
        path = damaged.directory / damaged.files[number % len(damaged.files)]
        content = path.read_bytes()
        path.write_bytes(flipped(content, draw.randrange(8 * len(content))))
        found = trained_on(damaged.directory)
        if found is not None:
            assert torch.equal(found, expected), path
            ends += 1
    assert ends > FLIPS // 6 * 0.9


def trained_on(directory: Path) -> torch.Tensor | None:
    """The weights of a run that is trained on to its fourth epoch; None if that is refused."""
    code = main(["resume", "-q", str(directory), "epochs=4"])
    assert code in (0, 2)
    return None if code else torch.cat([value.reshape(-1) for value in torch.load(directory / "model.pt").values()])


@pytest.mark.slow
@pytest.mark.parametrize(
    "flips", [pytest.param(27, id="a sample"), pytest.param(ALL_FLIPS, marks=pytest.mark.slow, id="all of them")]
)
def test_no_command_gives_a_wrong_answer_about_a_run_with_a_flipped_bit(
    flips: int, damaged: Damaged, sound: Path, tmp_path: Path
) -> None:
    """Each of the four commands for each bit. What show prints of a file that nobody vouches for may be the flipped
    letter itself: that is in the texts for people, and never in a figure of the result."""
    shutil.copytree(sound, tmp_path / "other")
    expected, figures = trained_on(tmp_path / "other"), table_of(damaged.clean["show"][1])
    assert expected is not None
    assert figures
    draw, noticed = random.Random(15), 0
    for number in range(flips):
        damaged.restore()
        path = damaged.directory / damaged.files[number % len(damaged.files)]
        content = path.read_bytes()
        path.write_bytes(flipped(content, draw.randrange(8 * len(content))))
        judged = {damaged.judge(verb) for verb in ("eval", "predict")}
        code, shown, said = damaged.run("show")
        assert code in (0, 2), path
        if path.name == "result.json":
            assert "result.json: " in said, path  # damaged, and said so
        elif code == 0:
            assert table_of(shown) == figures, path
        found = trained_on(damaged.directory)
        assert found is None or torch.equal(found, expected), path
        noticed += "older" in judged or bool(said)
    assert noticed > flips / len(damaged.files)


def table_of(shown: str) -> list[str]:
    """The lines of `ch12 show` that hold a run's figures, out of its result."""
    return [line for line in shown.splitlines() if line.startswith(("final", "best", "test"))]
