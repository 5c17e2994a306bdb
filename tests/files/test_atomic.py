"""Files on disks that are full, read-only or gone: what was there stays, and it is said."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ch12cli.errors import InputError, MachineError
from ch12cli.files.atomic import remove_leftovers, write_whole
from ch12cli.files.locks import locked
from ch12cli.training.checkpoint import Checkpoints
from tests.sweeps.killed import exit_code, in_child, metrics, outcome, resume, start

LEVELS = 8  # of a disk's filling
WHOLE = 300  # KiB: more than a run of a few epochs takes


@pytest.fixture
def disk(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts small file systems with the options given; takes them away afterwards."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = folder / f"disk{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.decode().strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Fills a disk but for some KiB."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filling").write_bytes(b"\0" * max(0, free - leave * 1024))


def machine_error(work: Callable[[], None]) -> str | None:
    """What the machine's refusal is said to be; None if it did not refuse."""
    try:
        work()
    except MachineError as error:
        return str(error)
    return None


def test_a_failed_write_keeps_the_old_file(disk: Callable[[str], Path]) -> None:
    place = disk("size=64k")
    write_whole(place / "file", b"old")
    fill(place, 8)
    with pytest.raises(MachineError, match=f"cannot write {place}/file: No space left on device"):
        write_whole(place / "file", b"new" * 10_000)
    assert (place / "file").read_bytes() == b"old"
    assert sorted(path.name for path in place.iterdir()) == ["file", "filling"]


@pytest.mark.sample(1)
@pytest.mark.parametrize("level", range(LEVELS))
def test_a_full_disk_keeps_the_last_checkpoint_intact(level: int, disk: Callable[[str], Path]) -> None:
    place = disk("size=1m")
    fill(place, WHOLE * level // LEVELS // 2)
    said = machine_error(lambda: start(place / "run", "epochs=8", "dataset.valid_size=0.1"))
    if said is None:
        assert (place / "run" / "result.json").exists()
    else:
        assert "No space left on device" in said
        assert str(place) in said
    (place / "filling").unlink()
    if not (place / "run" / ".hydra" / "overrides.yaml").exists():
        return
    if level > 3:
        assert Checkpoints(place / "run" / "checkpoints", every=None).newest()[0]["epoch"] >= 0
    resume(place / "run")
    start(place / "whole", "epochs=8", "dataset.valid_size=0.1")
    assert outcome(place / "run") == outcome(place / "whole")


def test_a_disk_without_inodes_is_reported(disk: Callable[[str], Path]) -> None:
    for inodes in (3, 6, 9, 11):
        place = disk(f"size=1m,nr_inodes={inodes}")
        with pytest.raises(MachineError, match="No space left on device"):
            start(place / "run", "epochs=3")


def test_a_read_only_disk_is_reported_unless_nothing_needs_to_be_written(disk: Callable[[str], Path]) -> None:
    place = disk("size=1m")
    start(place / "run", "epochs=2")
    before = metrics(place / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    with pytest.raises(MachineError, match="Read-only file system"):
        start(place / "other", "epochs=2")
    with pytest.raises(MachineError, match="Read-only file system"):
        resume(place / "run", "epochs=4")
    resume(place / "run")  # nothing to do, nothing to write
    assert metrics(place / "run") == before


def test_a_directory_removed_during_a_run_is_reported(folder: Path) -> None:
    def work() -> None:
        said = machine_error(lambda: start(folder / "run", "epochs=100000"))
        (folder / "said").write_text(said or "nothing")

    child = in_child(work)
    while not (folder / "run" / "metrics.csv").exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    (folder / "run").rename(folder / "away")
    shutil.rmtree(folder / "away", ignore_errors=True)
    assert exit_code(child) == 0
    said = (folder / "said").read_text(encoding="utf-8")
    assert str(folder / "run") in said
    assert "No such file or directory" in said


def test_leftovers_of_killed_processes_are_distinguished_from_user_files(tmp_path: Path) -> None:
    left = [".last.pt.123.new", "..last.pt.123.new.123.tmp", ".metrics.csv.9.tmp"]
    kept = ["last.pt", ".hidden", "notes.9.tmp", ".notes.tmp", ".hydra"]
    for name in left + kept:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    with (
        locked(tmp_path, key="hydra.run.dir"),
        pytest.raises(InputError, match=r"hydra\.run\.dir: another ch12 process"),
        locked(tmp_path, key="hydra.run.dir"),
    ):
        pass
    with locked(tmp_path, key="hydra.run.dir"):
        pass
    with pytest.raises(MachineError, match="cannot open"), locked(tmp_path / "none", key="hydra.run.dir"):
        pass
