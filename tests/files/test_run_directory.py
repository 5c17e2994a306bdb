"""Claims on run directories, also of many processes at once, and the files that grow in one."""

import csv
import json
import math
import multiprocessing
import threading
from pathlib import Path

import pytest

from ch12cli.errors import InputError, MachineError
from ch12cli.files.atomic import write_whole
from ch12cli.files.metrics_csv import MetricsFile
from ch12cli.files.result_json import Result, write_result
from ch12cli.files.run_directory import claim, claim_new, release
from ch12cli.files.sealed_json import to_json

RUNS = 50


def claim_many(directory: Path, times: int, results: "multiprocessing.Queue[str]", start: object) -> None:
    """Claims one name again and again, as soon as all processes are ready."""
    start.wait()  # type: ignore[attr-defined]
    for _ in range(times):
        results.put(str(claim_new(directory)))


def test_fifty_runs_of_the_same_millisecond_get_fifty_directories(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results, start = context.Queue(), context.Barrier(5)
    name = tmp_path / "2026-01-01" / "12-00-00-iris-mlp"
    processes = [context.Process(target=claim_many, args=(name, RUNS // 5, results, start)) for _ in range(5)]
    for process in processes:
        process.start()
    claimed = [results.get(timeout=60) for _ in range(RUNS)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(set(claimed)) == RUNS
    assert {path.name for path in name.parent.iterdir()} == {Path(path).name for path in claimed}
    assert {Path(path).name for path in claimed} == {name.name, *(f"{name.name}-{n}" for n in range(2, RUNS + 1))}
    for path in claimed:
        assert sorted(held.name for held in Path(path).iterdir()) == [".hydra", "checkpoints"]


def test_of_fifty_claims_on_one_directory_one_succeeds(tmp_path: Path) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(RUNS)

    def try_it() -> None:
        start.wait()
        try:
            claim(tmp_path / "run")
            outcomes.append("claimed")
        except InputError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=try_it) for _ in range(RUNS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("claimed") == 1
    refused = [outcome for outcome in outcomes if outcome != "claimed"]
    assert len(refused) == RUNS - 1
    assert all("holds a run already" in outcome for outcome in refused)


def test_an_existing_empty_directory_may_be_claimed(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    claim(tmp_path)
    assert (tmp_path / ".hydra").is_dir()
    assert (tmp_path / "other.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["metrics.csv", "result.json", "model.pt", "checkpoints", ".hydra"])
def test_a_directory_with_any_part_of_a_run_is_not_claimed(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="holds a run already"):
        claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_path_through_a_file_is_an_input_error_and_an_impossible_directory_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="there is a file of that name in its path"):
            claim(path)
    with pytest.raises(MachineError, match="cannot make the run's directory /proc/nowhere"):
        claim(Path("/proc/nowhere"))
    with pytest.raises(MachineError, match="cannot make the run's directory /proc/nowhere"):
        claim_new(Path("/proc/nowhere"))


def test_a_claim_can_be_released_before_anything_is_written(tmp_path: Path) -> None:
    directory = claim_new(tmp_path / "run")
    release(directory)
    assert not directory.exists()
    claim(directory)
    (directory / "metrics.csv").write_text("epoch\n")
    release(directory)
    assert (directory / "metrics.csv").exists()


def test_metrics_are_read_back_exactly(tmp_path: Path) -> None:
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, math.pi, 1e-7, math.nan]
    metrics = MetricsFile(tmp_path)
    for epoch, value in enumerate(values, start=1):
        metrics.write({"epoch": epoch, "train_loss": value})
    metrics.sync()
    metrics.close()
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, len(values) + 1)]
    for row, value in zip(rows, values, strict=True):
        assert repr(float(row["train_loss"])) == repr(value)


def test_a_row_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path)
    metrics.write({"epoch": 1, "train_loss": 0.5})
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == "epoch,train_loss\n1,0.5\n"
    metrics.close()


def test_a_result_with_non_finite_numbers_is_valid_json(tmp_path: Path) -> None:
    environment = {"listed": [math.inf, 1.5], "name": "é"}
    write_result(tmp_path, Result(status="finished", final={"r2": math.nan}, environment=environment))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert read["final"] == {"r2": None}
    assert read["environment"]["listed"] == [None, 1.5]
    assert read["environment"]["name"] == "é"


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_whole(file, b"old")
    with pytest.raises(TypeError):
        write_whole(file, "no bytes")  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    write_whole(file, b"new")
    assert file.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    with pytest.raises(MachineError, match="cannot write"):
        write_whole(tmp_path / "no" / "folder", b"")


def test_json_is_laid_out_as_the_standard_library_does() -> None:
    value = {
        "a": {"b": [1, 2.5e-300, True, None, 'é"\\\n\u2028\x00'], "c": {}, "d": [], "e": ()},
        "f": [[1], {"g": -0.0}],
        "h\n": 10**30,
        "i": False,
    }
    assert to_json(value) == json.dumps(value, indent=2, ensure_ascii=False)
    assert to_json([math.nan, math.inf, {"x": -math.inf}]) == json.dumps([None, None, {"x": None}], indent=2)
