"""Odd words, odd files and a machine that refuses: a message of a line or two, and never a traceback."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.cli.verbs.predict import inert
from ch12cli.files import locks
from ch12cli.files.atomic import LARGEST_RECORD, digest_of
from ch12cli.files.result_json import is_intact, seal
from ch12cli.files.tags import update_tags

LONG_NAME = "a" * 300  # bytes; a name has 255 at most
MANY_DIGITS = "9" * 5000  # Python reads 4300
LONGEST = 1300  # characters of a message
TRAIN = ["train", "-q", "device=cpu", "epochs=1"]


def refused(argv: Sequence[str], capsys: pytest.CaptureFixture[str], *, code: int = 2) -> str:
    """What a command says while it refuses; nothing is written."""
    before = sorted(Path().rglob("*"))
    assert main([*argv]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ch12: ")
    assert len(said.err) < LONGEST
    assert sorted(Path().rglob("*")) == before
    return said.err


def test_a_mode_of_hydra_that_refers_to_a_number_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "hydra.mode: " in refused([*TRAIN[:-1], "epochs=100", "hydra.mode=${epochs}"], capsys)


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("word", "says"),
    [
        (f"seed={MANY_DIGITS}", "more digits than can be read"),
        (f"seed={'9' * 400}", "from 0 to 4294967295"),
        (f"optimizer.lr={'9' * 400}", "must be a number"),
        (f"+x={'[' * 3000}{']' * 3000}", "nested more than 40 levels deep"),
        (f"+x={'[' * 100}{']' * 100}", "nested more than 40 levels deep"),
        (f"+x={'{a:' * 100}1{'}' * 100}", "nested more than 40 levels deep"),
        (f"+x={'[' * 100}{']' * 100},2", "nested more than 40 levels deep"),
        (f"+{'a.' * 100}b=1", "nested more than 40 levels deep"),
        pytest.param(f"+x={'y' * 10**6}=", "not understood", marks=pytest.mark.slow),
    ],
    ids=lambda text: text[:30],
)
def test_a_word_beyond_all_bounds_is_refused(
    word: str, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused([*TRAIN, word], capsys)


@pytest.mark.parametrize(
    "bounds", ["0,nan", "nan,1", "0,10,nan", "0,1e400", "0,inf", "-inf,0", f"0,{'9' * 400}", "0,1,1e400"]
)
def test_a_range_without_finite_bounds_is_refused(
    bounds: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused([*TRAIN, "-m", f"seed=range({bounds})"], capsys)
    assert "its bounds and its step must be finite numbers" in said


@pytest.mark.parametrize("bounds", ["0,1e300", "0,1e300,1e-300", "-1e308,1e308", "0,10,1e-9"])
def test_a_range_of_too_many_values_is_refused(bounds: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "a sweep has 1,000,000 at most" in refused([*TRAIN, "-m", f"seed=range({bounds})"], capsys)


@pytest.mark.parametrize(
    "argv",
    [
        ["book", "²"],
        ["book", "٣"],
        ["book", MANY_DIGITS],
        ["show", f"@{MANY_DIGITS}"],
        ["show", "@²"],
        ["show", "@٣"],
        ["show", "x/²"],
        ["show", f"x/{MANY_DIGITS}"],
        ["show", "a\0b"],
        ["show", LONG_NAME],
        ["runs", "--limit", "²"],
        ["runs", "--limit", MANY_DIGITS],
        ["bench", "loader", f"workers={MANY_DIGITS}"],
        ["bench", "loader", "workers=²"],
        ["rm", "--older", "٣d", "--yes"],
        ["explain", "\ud800"],
        ["train", "-m", "--jobs", "a\0b"],
        ["train", "-m", "--jobs", "/dev/zero"],
        ["train", "-m", "seed=1", "--jobs", LONG_NAME],
    ],
    ids=lambda argv: " ".join(argv)[:40],
)
def test_names_and_numbers_that_cannot_be_are_refused(
    argv: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(argv, capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["--config-dir", LONG_NAME],
        ["--config-name", LONG_NAME],
        [f"hydra.run.dir={LONG_NAME}"],
        ["-m", "seed=1,2", f"hydra.sweep.dir={LONG_NAME}"],
        ["-m", "seed=1,2", "--plan", "--write", LONG_NAME],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_name_longer_than_the_file_system_takes_is_refused(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "255 bytes at most" in refused([*TRAIN, *words], capsys, code=4)


def test_a_job_named_by_thirteen_overrides_has_too_long_a_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optimizer.lr=0.01", "batch_size=16", "model.width=8", "model.depth=2", "optimizer.weight_decay=0.000001"]
    words += ["optimizer.eps=0.00000001", "dataset.test_size=0.2", "dataset.valid_size=0.2", "dataset.split_seed=3"]
    words += ["early_stopping.patience=100", "early_stopping.min_delta=0.0001", "checkpoint.every=10", "seed=1,2"]
    subdir = "hydra.sweep.subdir=${hydra.job.override_dirname}"
    said = refused([*TRAIN, "-m", "hydra.sweep.dir=sweep", subdir, *words], capsys)
    assert "bytes for job 0; 255 at most" in said


# Odd files


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and a sweep."""
    place = tmp_path_factory.mktemp("listed")
    assert main([*TRAIN, f"hydra.run.dir={place / 'run'}"]) == 0
    assert main([*TRAIN, "-m", "seed=1,2", f"hydra.sweep.dir={place / 'sweep'}"]) == 0
    return place


def odd_result(**values: object) -> bytes:
    return seal({"format": 2, "status": "finished", "epochs": 1, **values})


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run/result.json", odd_result().replace(b'"epochs": 1', b'"epochs": ' + b"9" * 400)),
        ("run/result.json", odd_result().replace(b'"epochs": 1', b'"epochs": ' + b"9" * 5000)),
        ("run/result.json", odd_result(objective=10**400)),
        ("run/metrics.csv", b"epoch,train_loss\n" + b"9" * 400 + b",1\n"),
        ("run/metrics.csv", b"epoch,train_loss\n\xc2\xb2,1\n"),
        ("run/metrics.csv", b"epoch,train_loss\nnan,inf\n1e400,1\n"),
        ("run/tags.txt", b"\xff\xfe" * 1000),
        ("sweep/sweep.csv", "job,directory,status\n²,²,finished\n".encode()),
        ("sweep/sweep.csv", b"job,directory,status\n" + b"9" * 5000 + b",0,finished\n"),
        ("sweep/sweep.csv", b"job,directory,status,epochs\n1,1,finished," + b"9" * 400 + b"\n"),
        ("sweep/.ch12/plan.json", b'{"format": 2, "job_count": ' + b"9" * 5000 + b', "bases": []}'),
        ("sweep/.ch12/plan.json", b'{"format": ' + b"9" * 400 + b', "job_count": 2, "bases": []}'),
        ("sweep/.ch12/progress.json", b'{"format": 1, "began": ' + b"9" * 400 + b', "stacks": []}'),
        ("sweep/.ch12/progress.json", b'{"format": 1, "began": 1e400, "stacks": [[[1e400], 1, 1]]}'),
        ("sweep/.ch12/search.json", b'{"format": 1, "words": ["rm"], "trials": 3, "repetitions": 1, "others": 0}'),
        (
            "sweep/.ch12/search.json",
            b'{"format": 1, "words": ["train"], "trials": 9, "repetitions": 1, "others": 1e400}',
        ),
        ("sweep/.ch12/search.json", b'[{"words": "train"}]'),
    ],
    ids=lambda part: part if isinstance(part, str) else repr(part[:40]),
)
def test_one_odd_file_does_not_take_the_listing_down(
    name: str, content: bytes, listed: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(listed, "place")
    Path("place", name).write_bytes(content)
    assert main(["runs", "place"]) == 0
    said = capsys.readouterr().out
    assert ("run" in said, "sweep" in said) == (True, True)
    for verb in ("show", "watch", "compare", "report"):
        for words in ([f"place/{name.partition('/')[0]}"], ["place/sweep/0", "place/run"]):
            assert main([verb, *(words if verb == "compare" else words[:1])]) in (0, 2), verb


@pytest.mark.parametrize("name", ["run/result.json", "run/metrics.csv", "sweep/sweep.csv", "sweep/.ch12/plan.json"])
def test_a_sparse_file_of_terabytes_is_not_read(
    name: str, listed: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(listed, "place")
    os.truncate(f"place/{name}", 8 * 2**40)
    assert main(["runs", "place"]) == 0
    assert main(["show", f"place/{name.partition('/')[0]}"]) in (0, 2)


@pytest.mark.slow
def test_a_sparse_table_of_terabytes_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("table.csv").touch()
    os.truncate("table.csv", 8 * 2**40)
    assert "memory" in refused([*TRAIN, "dataset=csv", "dataset.file=table.csv"], capsys, code=4)
    Path("jobs.csv").touch()
    os.truncate("jobs.csv", 8 * 2**40)
    assert "more than" in refused([*TRAIN, "-m", "--jobs", "jobs.csv"], capsys)


@pytest.mark.slow
def test_a_file_above_two_gigabytes_is_digested_whole(folder: Path) -> None:
    """The system reads 2 GiB at most at once: what is behind counts too."""
    Path("a").touch()
    os.truncate("a", 2**31 + 100)
    shutil.copy("a", "b")  # stays sparse
    with open("b", "r+b") as file:
        file.seek(2**31 + 50)
        file.write(b"x")
    assert digest_of("a") != digest_of("b")
    assert LARGEST_RECORD < 2**31 - 4096  # so that one read of a record is whole


def test_a_result_does_not_have_files_outside_of_the_run_read(folder: Path) -> None:
    Path("secret").write_text("x")
    Path("run").mkdir()
    for name in ("../secret", str(Path("secret").resolve()), "checkpoints/../../secret", ".hydra/..", "checkpoints/"):
        Path("run/result.json").write_bytes(odd_result(files={name: digest_of("secret")}))
        assert not is_intact(Path("run"))


# What the machine refuses


def limited(argv: Sequence[str], *, largest: int) -> subprocess.CompletedProcess[str]:
    """The result of a command in a process whose files may have so many bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    command = [sys.executable, "-B", "-m", "ch12cli", *argv]
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "place"), [(["hydra.run.dir=run"], "run"), (["-m", "seed=1,2", "hydra.sweep.dir=sweep"], "sweep")]
)
def test_files_that_may_not_grow_end_a_run_with_a_message(words: list[str], place: str, folder: Path) -> None:
    """While Hydra writes: the first file of both is its own."""
    done = limited([*TRAIN, *words], largest=200)
    assert (done.returncode, done.stdout) == (4, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ch12: cannot write ")
    assert place in line
    assert line.endswith("File too large")


WITHOUT_RIGHTS = """
import encodings.ascii, os, sys
import ch12cli.cli.verbs.runs, ch12cli.cli.verbs.train, ch12cli.run.start, ch12cli.run.train
from ch12cli.cli.main import main
from ch12cli.cli.verbs.predict import inert
from ch12cli.files import locks
from ch12cli.files.tags import write_tags
if os.getuid() == 0:
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["runs", "locked"], ["train", "--config-dir", "locked"]], ids=" ".join)
def test_a_folder_that_may_not_be_entered_is_said(argv: list[str]) -> None:
    """In a process without root's rights, to which no folder is locked."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        Path(place, "locked").mkdir(mode=0)
        command = [sys.executable, "-B", "-c", WITHOUT_RIGHTS, *argv]
        done = subprocess.run(command, capture_output=True, text=True, cwd=place)
        os.chmod(f"{place}/locked", 0o755)
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert ("locked" in done.stderr, len(done.stderr.splitlines())) == (True, 1)


@pytest.mark.parametrize("locked", ["run", "run/result.json", "sweep", "sweep/sweep.csv"])
def test_a_missing_permission_is_said_of_what_cannot_be_read(locked: str, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        for name in ("run/result.json", "run/metrics.csv", "sweep/sweep.csv"):
            Path(place, name).parent.mkdir(exist_ok=True)
            Path(place, name).write_text('{"status": "finished"}' if "result" in name else "x", encoding="utf-8")
        path, user = Path(place, locked), os.geteuid()
        os.chmod(path, 0)
        try:
            if user == 0:
                os.seteuid(65534)  # to root no file is locked
            main(["show", str(path.parent if path.suffix else path)])
        finally:
            os.seteuid(user)
            os.chmod(path, 0o755)
        told = "".join(capsys.readouterr())
    assert "Permission denied" in told
    assert "no such directory" not in told
    assert "damaged" not in told


# Code of the user's own that ends in its own way, and signals while it is tried

OWN = """
import time
from torch import nn


class Stop(BaseException):
    pass


class Raises(nn.Linear):
    def __init__(self, inputs, outputs, kind=0):
        super().__init__(inputs, outputs)
        if kind == 1:
            raise Stop("enough")
        if kind == 2:
            raise ValueError("\\ud800")
        if kind == 3:
            print("trying", flush=True)
            time.sleep(60)
"""


def own_model(folder: Path, kind: int) -> list[str]:
    """The command line that trains a network of one's own."""
    (folder / "own_module.py").write_text(OWN)
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "own.yaml").write_text(f"_target_: own_module.Raises\nkind: {kind}\n")
    return [sys.executable, "-B", "-m", "ch12cli", *TRAIN, "--config-dir", "conf", "model=own"]


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [[], ["-m", "seed=1,2"]], ids=["run", "sweep"])
@pytest.mark.parametrize(("kind", "says"), [(1, "Stop: enough"), (2, "\\ud800")])
def test_errors_of_ones_own_code_of_any_kind_are_messages(kind: int, says: str, sweep: list[str], folder: Path) -> None:
    done = subprocess.run([*own_model(folder, kind), *sweep], capture_output=True, text=True)
    assert done.returncode in (2, 3)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_sigterm_while_networks_are_tried_ends_with_its_own_code(folder: Path) -> None:
    command = [*own_model(folder, 3), "-m", "seed=1,2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "trying\n"
        process.terminate()
        assert process.wait(20) == 143
        assert "Traceback" not in process.stdout.read()


def test_a_lock_on_another_disk_with_the_same_inode_number_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inode = os.stat(".").st_ino
    (folder / "locks").write_text(f"1: FLOCK  ADVISORY  WRITE 1 fe:fe:{inode} 0 EOF\n")
    monkeypatch.setattr(locks, "LOCKS", folder / "locks")
    assert not locks.is_locked(Path())
    with locks.locked(Path(), key="folder"):
        assert locks.is_locked(Path())


def test_what_a_killed_tag_left_is_removed_by_the_next(folder: Path) -> None:
    (folder / ".hydra").mkdir()
    (folder / ".tags.txt.123.tmp").write_text("go")
    update_tags(folder, add=["good"])
    assert sorted(path.name for path in folder.iterdir()) == [".hydra", "tags.txt"]


@pytest.mark.parametrize(
    ("name", "cell"), [("=cmd", "'=cmd"), ("@x", "'@x"), ("+x", "'+x"), ("-x", "'-x"), ("-1", "-1"), ("+1", "+1")]
)
def test_the_name_of_a_class_is_no_formula_of_a_spreadsheet(name: str, cell: str) -> None:
    assert inert(name) == cell
