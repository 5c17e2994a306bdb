"""Tables that are larger than memory: the values, and the trained network, of the same table held in memory."""

import gzip
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars
import pytest
import zstandard

from ch12cli.data import csv_file
from ch12cli.data.sheets import large_files
from ch12cli.data.streaming import arranged_rows, row_file, table_cache
from ch12cli.data.streaming.arranged_rows import ArrangedRows
from ch12cli.data.streaming.budget import available_memory, budget_of
from ch12cli.data.streaming.lazy_rows import LazyRows, SelectedRows
from ch12cli.data.streaming.row_file import RowFile, write_rows
from ch12cli.data.table import Table
from ch12cli.errors import InputError, MachineError

Train = Callable[..., Any]
ROWS = 400
TINY = 100  # bytes of memory


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of tables of a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder / "cache" / "ch12" / "tables"


def frame(seed: int = 1, rows: int = ROWS) -> polars.DataFrame:
    rng = np.random.default_rng(seed)
    return polars.DataFrame(
        {
            "size": rng.normal(size=rows) * 1000,
            "gap": [None if n % 9 == 0 else n / 4 for n in range(rows)],
            "town": [None if n % 31 == 0 else ("Oslo", "Rome", "Wien")[n % 3] for n in range(rows)],
            "many": rng.permutation(rows),
            "weight": rng.integers(0, 3, rows),
            "person": [f"p{n // 3}" for n in range(rows)],
            "kind": [("x", "y")[int(n)] for n in rng.integers(0, 2, rows)],
        }
    )


def write(path: Path, table: polars.DataFrame) -> str:
    """Writes a table in the format that the name says."""
    if path.suffix in (".parquet", ".ipc"):
        getattr(table, f"write_{path.suffix[1:]}")(path)
    elif path.suffix == ".npy":
        np.save(path, table.select("size", "gap", "weight", "many").fill_null(0).to_numpy())
    else:
        text = table.write_csv().encode()
        halves = [text[: len(text) // 2], text[len(text) // 2 :]]
        packers: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
        packed = packers.get(path.suffix, bytes)
        path.write_bytes(b"".join(packed(half) for half in halves))
    return path.name


def require_same(found: Table, wanted: Table) -> None:
    assert isinstance(found.features, LazyRows)
    np.testing.assert_array_equal(found.features[:], wanted.features)
    np.testing.assert_array_equal(found.target, wanted.target)
    for name in ("weights", "groups"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for name in ("digest", "columns", "notes", "feature_names", "target_name", "class_names", "missing", "source"):
        assert getattr(found, name) == getattr(wanted, name), name
    every = np.arange(wanted.rows)
    np.testing.assert_array_equal(found.numbers_of(every), wanted.numbers_of(every))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.zst", "t.parquet", "t.ipc", "t.npy"])
@pytest.mark.parametrize("missing", ["mean", "drop"])
def test_a_table_on_disk_has_the_values_of_one_in_memory(folder: Path, name: str, missing: Any) -> None:
    file = write(folder / name, frame())
    further: Any = (
        {"missing": missing} if name == "t.npy" else {"missing": missing, "weight": "weight", "group": "person"}
    )
    wanted = csv_file(file, **further)
    require_same(csv_file(file, memory=TINY, **further), wanted)
    require_same(csv_file(file, memory=TINY, **further), wanted)  # from the cache


def test_several_files_on_disk_have_the_values_of_those_in_memory(folder: Path) -> None:
    write(folder / "1.csv", frame())
    write(folder / "2.csv", frame(seed=2, rows=70))
    further: Any = {"missing": "mean", "exclude": ["person"]}
    require_same(csv_file("?.csv", memory=TINY, **further), csv_file("?.csv", **further))


@pytest.mark.parametrize("values", [1, 50, 10**6])
def test_an_array_is_read_in_blocks_of_any_size(folder: Path, values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_files, "VALUES_AT_ONCE", values)
    array = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    np.save(folder / "t.npy", np.ascontiguousarray(array))
    found = csv_file("t.npy", memory=TINY).features
    assert isinstance(found, RowFile)
    assert found.stored == np.float32
    np.testing.assert_array_equal(found[:], array[:, :3].astype(np.float64))


def test_the_table_is_made_once_for_the_same_file_and_settings(folder: Path, cache: Path) -> None:
    file = write(folder / "t.parquet", frame())
    options: Any = {"missing": "mean", "exclude": ["person"], "memory": TINY}

    def entries() -> set[int]:
        return {path.stat().st_ino for path in cache.glob("*/rows")}

    csv_file(file, **options)
    first = entries()
    csv_file(file, **{**options, "memory": 2 * TINY})
    os.utime(file)  # the same content
    csv_file(file, **options)
    assert len(first) == 1
    assert entries() == first
    csv_file(file, **{**options, "categories": ["weight"]})
    assert len(entries()) == 2


def test_a_file_that_was_changed_is_read_again(folder: Path) -> None:
    options: Any = {"missing": "mean", "exclude": ["person"]}
    for seed in (1, 2, 3):
        file = write(folder / "t.csv", frame(seed))
        require_same(csv_file(file, memory=TINY, **options), csv_file(file, **options))


def flip(path: Path, at: int = 100) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the rows": lambda entry: flip(entry / "rows"),
    "fewer rows": lambda entry: os.truncate(entry / "rows", 800),
    "no rows": lambda entry: (entry / "rows").unlink(),
    "a bit of the targets": lambda entry: flip(entry / "arrays.npz", -200),
    "a bit of the names": lambda entry: flip(entry / "table.json"),
    "no names": lambda entry: (entry / "table.json").write_bytes(b""),
    "rows of another table": lambda entry: (entry / "rows").write_bytes(bytes((entry / "rows").stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_again(folder: Path, cache: Path, damage: Callable[[Path], object]) -> None:
    file = write(folder / "t.npy", frame())
    wanted = csv_file(file)
    csv_file(file, memory=TINY)
    (rows,) = cache.glob("*/rows")
    damage(rows.parent)
    require_same(csv_file(file, memory=TINY), wanted)


def test_what_a_killed_process_left_is_removed(folder: Path, cache: Path) -> None:
    file = write(folder / "t.npy", frame())
    left = cache / ".abc.x1y2.tmp"
    left.mkdir(parents=True)
    (left / "rows").write_bytes(b"some rows")
    csv_file(file, memory=TINY)
    assert not left.exists()
    assert [path.name for path in cache.glob("*/*") if path.parent.name != "files" and path.is_dir()] == []


def test_entries_that_are_not_used_for_long_are_removed(folder: Path, cache: Path) -> None:
    file = write(folder / "t.npy", frame())
    csv_file(file, memory=TINY)
    (old,) = cache.glob("*/used")
    os.utime(old, (0, time.time() - (table_cache.UNUSED_DAYS + 1) * 86400))
    csv_file(file, memory=TINY, missing="mean")
    assert not old.parent.exists()
    assert len(list(cache.glob("*/rows"))) == 1


def in_child(act: Callable[[], object]) -> int:
    """Runs a function in a forked process. Returns 0 if it gives a true value."""
    child = os.fork()
    if not child:
        try:
            os._exit(0 if act() else 1)
        except BaseException:
            os._exit(2)
    return child


def test_processes_make_the_same_table_at_once(folder: Path, cache: Path) -> None:
    file = write(folder / "t.csv", frame())
    options: Any = {"missing": "mean", "exclude": ["person"]}
    digest = csv_file(file, **options).digest
    children = [in_child(lambda: csv_file(file, memory=TINY, **options).digest == digest) for _ in range(3)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert len(list(cache.glob("*/rows"))) == 1


def test_a_process_that_is_killed_while_it_makes_a_table_leaves_nothing_that_is_used(folder: Path, cache: Path) -> None:
    file = write(folder / "t.csv", frame())
    options: Any = {"missing": "mean", "exclude": ["person"]}
    wanted = csv_file(file, **options)
    start = time.perf_counter()
    csv_file(file, memory=TINY, **options)
    seconds = time.perf_counter() - start
    for part in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        shutil.rmtree(cache)
        child = in_child(lambda: csv_file(file, memory=TINY, **options))
        time.sleep(part * seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        require_same(csv_file(file, memory=TINY, **options), wanted)
        assert list(cache.glob(".*")) == []


def test_a_full_disk_is_said_and_leaves_nothing(folder: Path, cache: Path) -> None:
    file = write(folder / "t.npy", frame())

    def refused() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # bytes of a file
        with pytest.raises(MachineError, match=r"larger than dataset\.memory.*XDG_CACHE_HOME"):
            csv_file(file, memory=TINY)
        return True

    assert os.waitpid(in_child(refused), 0)[1] == 0
    assert list(cache.glob("*/rows")) == list(cache.glob(".*")) == []
    require_same(csv_file(file, memory=TINY), csv_file(file))


@pytest.mark.parametrize("window", [1, 4096 * 3, 2**24])
@pytest.mark.parametrize("features", [1, 3, 1500])
def test_rows_of_a_file_come_in_the_order_asked(
    folder: Path, features: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "WINDOW", window)
    rng = np.random.default_rng(4)
    values = rng.normal(size=(301, features)).astype(np.float32)
    write_rows(folder / "rows", np.array_split(values, 7), np.float32)
    rows = RowFile(folder / "rows", values.shape, stored=np.float32, dtype=np.float64)
    for asked in (rng.permutation(301), rng.integers(0, 301, 50), np.arange(20, 40), np.array([7]), np.arange(0)):
        np.testing.assert_array_equal(rows.take(asked), values[asked].astype(np.float64))
    np.testing.assert_array_equal(np.concatenate(list(rows.blocks())), values)


@pytest.mark.parametrize("fits", [True, False])  # into memory, as a file
@pytest.mark.parametrize("workers", [0, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 2))])
def test_a_run_is_the_same_with_its_rows_in_memory_and_on_disk(
    folder: Path, train: Train, silent: Any, workers: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fits:
        monkeypatch.setattr(table_cache, "memory_for_files", lambda: 0)
        monkeypatch.setattr(table_cache, "LEAST_AT_ONCE", 300)  # values: several buckets
        monkeypatch.setattr(arranged_rows, "READ_AT_ONCE", 200)
    write(folder / "t.csv", frame())
    words = ["dataset=table", "dataset.file=t.csv", "dataset.missing=mean", "dataset.exclude=[person]", "epochs=2"]
    held = train(*words, "batch_size=7", "hydra.run.dir=held")
    assert "memory" not in dict(silent.facts)
    found = train(*words, "batch_size=7", "hydra.run.dir=disk", "dataset.memory=1kB", f"workers={workers}")
    assert "are read from disk" in dict(silent.facts)["memory"]
    assert ("order of each epoch" in dict(silent.facts)["memory"]) != fits
    assert (folder / "disk/model.pt").read_bytes() == (folder / "held/model.pt").read_bytes()
    assert (found.result.test, found.result.data) == (held.result.test, held.result.data)


@pytest.fixture
def arranged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ArrangedRows:
    """70 of 100 rows, in small buckets. Taken from the file itself, they are all 0."""
    monkeypatch.setattr(arranged_rows, "READ_AT_ONCE", 3 * 11)
    values = np.arange(300, dtype=np.float32).reshape(100, 3)
    write_rows(folder / "rows", [values], np.float32)
    file = RowFile(folder / "rows", values.shape, stored=np.float32, dtype=np.float64)
    file.at_once = 3 * 8
    return ArrangedRows(SelectedRows(file, np.random.default_rng(1).permutation(100)[:70], lambda rows: rows + 1))


ORDERS = {
    "all": lambda rng: rng.permutation(70),
    "some": lambda rng: rng.permutation(70)[:33],
    "some of them twice": lambda rng: rng.integers(0, 70, 90),
    "one": lambda rng: np.array([3]),
}


@pytest.mark.parametrize("draw", ORDERS.values(), ids=ORDERS)
def test_arranged_rows_are_those_that_were_selected(arranged: ArrangedRows, draw: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(2)
    file = arranged.selected.source
    for epoch in (0, 1, None, 2):
        order = np.arange(70) if epoch is None else draw(rng)
        arranged.arrange(order, epoch)
        for asked in (order, order[5:20], np.arange(70)):
            wanted = file.take(arranged.selected.rows[asked]) + 1
            np.testing.assert_array_equal(arranged.take(asked, epoch), wanted)


def test_arranged_rows_are_read_from_places_near_each_other(arranged: ArrangedRows) -> None:
    order = np.random.default_rng(3).permutation(70)
    arranged.arrange(order, 0)
    assert arranged.copy is not None
    places = arranged.copy.places[order]
    assert sorted(places) == list(range(70))
    assert all(np.ptp(places[start : start + 8]) < 8 for start in range(0, 70, 8))


def test_a_disk_without_space_for_an_epoch_is_said_before_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(folder / "t.npy", frame())
    csv_file(file, memory=TINY)
    monkeypatch.setattr(table_cache, "memory_for_files", lambda: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(MachineError, match=r"each epoch takes 9\.6 kB of disk, and 1 kB are free; .*XDG_CACHE_HOME"):
        csv_file(file, memory=TINY)


def test_a_full_disk_ends_an_epoch_with_a_message(arranged: ArrangedRows, cache: Path) -> None:
    def refused() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))  # bytes of a file
        with pytest.raises(MachineError, match=r"rows of an epoch cannot be written.*XDG_CACHE_HOME"):
            arranged.arrange(np.arange(70), 0)
        return True

    assert os.waitpid(in_child(refused), 0)[1] == 0


def test_nothing_is_left_of_arranged_rows(arranged: ArrangedRows, cache: Path) -> None:
    arranged.arrange(np.arange(70), 0)
    assert list((cache.parent / "epochs").iterdir()) == []


PROGRAM = """
import sys
from ch12cli.cli.main import main
from ch12cli.data.streaming import table_cache
if sys.argv.pop(1) == "False":
    table_cache.memory_for_files = lambda: 0
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("fits", [True, False])  # into memory, as a file
def test_a_table_four_times_its_budget_trains_within_a_limit_of_memory(folder: Path, fits: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((500_000, 101), np.float32)  # 200 MB, as float64 400 MB
    values[:, -1] = values[:, 0] > values[:, 1]
    np.save(folder / "t.npy", values)
    words = ["train", "-q", "dataset=table", "dataset.file=t.npy", "dataset.target_type=classes", "batch_size=1000"]
    words += ["epochs=2", "device=cpu", "threads=1"]

    def program(run: str, memory: str, limit: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, str(fits), *words, f"dataset.memory={memory}", f"hydra.run.dir={run}"],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )

    start, unlimited = 800 * 10**6, 2**40  # bytes of addresses: what the program takes without data, and enough
    assert program("held", "4GB", unlimited).returncode == 0
    refused = program("refused", "4GB", start + 350 * 10**6)
    assert refused.returncode == 4
    assert "not enough memory" in refused.stderr or "out of memory" in refused.stderr
    assert "use a smaller dataset.memory than 4GB" in refused.stderr
    found = program("disk", "50MB", start + 350 * 10**6)
    assert (found.returncode, found.stderr) == (0, "")
    assert (folder / "disk/model.pt").read_bytes() == (folder / "held/model.pt").read_bytes()


def test_memory_is_a_size_or_auto() -> None:
    assert [budget_of(text) for text in ("500MB", "2GB", "1.5GiB", "64 k", 123)] == [
        500 * 10**6, 2 * 10**9, 3 * 2**29, 64_000, 123,
    ]  # fmt: skip
    assert 0 < budget_of("auto") <= available_memory()
    for wrong in ("", "0", "-1GB", "2 XB", "lots", 1.5, True, None):
        with pytest.raises(InputError, match=r"dataset\.memory"):
            budget_of(wrong)


def test_the_cache_can_be_removed_at_any_time(folder: Path, cache: Path) -> None:
    file = write(folder / "t.npy", frame())
    held = csv_file(file, memory=TINY)
    shutil.rmtree(cache)
    require_same(held, csv_file(file))  # an open file stays
    require_same(csv_file(file, memory=TINY), csv_file(file))
