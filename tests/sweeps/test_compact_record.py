"""The compact record of a sweep: one file for each stack, from which each job's directory can be written."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import ch12cli
from ch12cli.api import load_run
from ch12cli.cli.main import main
from ch12cli.config.compose import Composer
from ch12cli.config.hydra_internals import hydra_session
from ch12cli.errors import InputError
from ch12cli.files.compact.blocks import Block, block_bytes, read_arrays, scan_blocks
from ch12cli.files.compact.job_record import METRIC, JobRecord, StackFacts
from ch12cli.files.compact.saved_form import SavedForms
from ch12cli.files.compact.stores import StoreWriter, drop_indexes, index_of, record_at, records_in
from ch12cli.files.sweep_csv import read_sweep_csv
from ch12cli.files.tags import read_tags
from ch12cli.run.task import build_task
from ch12cli.saved.job_files import FORMS, saved_states
from ch12cli.saved.unpack import unpack_sweep
from ch12cli.sweeps.job_directories import HydraFiles
from ch12cli.sweeps.jobs import JobComposer, make_jobs
from ch12cli.sweeps.resume import resume_sweep
from ch12cli.sweeps.stack_run import StackRun
from tests.sweeps.driver import Looker, sweep

IRIS = Path(ch12cli.__file__).parent / "data" / "iris.csv"


def stack_of(folder: Path, overrides: Sequence[str], *, store: StoreWriter | None) -> StackRun:
    """A stack of five jobs that differ in their seed and learning rate; the third diverges where it can."""
    rates = (0.1, 0.01, 1e30, 0.05, 0.02)
    batch = [["device=cpu", *overrides, f"seed={seed}", f"optimizer.lr={lr}"] for seed, lr in enumerate(rates)]
    with hydra_session():
        jobs = [replace(job, directory=str(job.number)) for job in make_jobs(JobComposer(Composer(), []), batch)]
        settings = jobs[0].run_settings
        return StackRun(
            jobs,
            build_task(settings),
            torch.device("cpu"),
            sweep_dir=folder,
            hydra=HydraFiles(folder),
            store=store,
        )


def trained(run: StackRun, epochs: int, *, leaving: Sequence[bool] = ()) -> None:
    """Trains a stack to its end. leaving: the jobs that leave after epoch 2, as halving does."""
    assert [*run.run(None, until=2)]
    if leaving:
        assert [*run.end_leaving(2, torch.tensor(leaving).numpy())]
    assert [*run.run(None, until=epochs)]
    assert run.done.all()


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


WAYS = {
    "sgd that diverges": ["optimizer=sgd", "epochs=4"],
    "adam with early stopping": ["optimizer=adam", "epochs=40", "early_stopping.patience=1", "optimizer.amsgrad=true"],
    "dropout and a schedule": ["optimizer=sgd", "model.dropout=0.2", "scheduler=reduce_on_plateau", "epochs=4"],
    "values": ["dataset=toy_regression", "epochs=3", "optimizer=rmsprop", "precision=float64"],
    "compiled epochs, whose metrics.csv is compiled too": ["optimizer=adam", "epochs=12", "sweep.fused=true"],
    "no validation": ["dataset.valid_size=0", "dataset.test_size=0", "epochs=3", "optimizer=sgd"],
}


@pytest.mark.sample(1)
@pytest.mark.parametrize("way", WAYS)
def test_unpacked_directories_are_what_would_have_been_written(
    way: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte. The clock stands still, because the two trainings take different times."""
    overrides = WAYS[way]
    epochs = int(next(word for word in overrides if word.startswith("epochs="))[7:])
    monkeypatch.setattr(time, "perf_counter", lambda: 1.0)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    sweep = folder / "sweep"
    sweep.mkdir()
    leaving = (False, False, False, True, False) if epochs < 5 else ()
    stack = stack_of(sweep, overrides, store=None)
    assert (stack.lines is not None) == (stack.training.whole is not None)
    trained(stack, epochs, leaving=leaving)
    expected = content_of(sweep)
    assert len(expected) >= 5 * 8
    shutil.rmtree(sweep)
    sweep.mkdir()
    trained(stack_of(sweep, overrides, store=StoreWriter(sweep, "stack-0")), epochs, leaving=leaving)
    assert [file.name for file in (sweep / "records").iterdir()] == ["stack-0.runs"]
    assert len([*unpack_sweep(sweep)]) == 5
    shutil.rmtree(sweep / "records")
    assert content_of(sweep) == expected


def test_states_are_those_of_torch_whatever_states_were_made_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of stacks of several structures, folds and precisions, which end after several numbers of epochs."""
    records: list[JobRecord] = []
    for number, overrides in enumerate(WAYS.values()):
        into = folder / str(number)
        into.mkdir()
        run = stack_of(into, overrides, store=StoreWriter(into, "stack-0"))
        trained(run, run.training.limits.epochs)
        records += records_in(into)
    words = ("dataset.folds=3", "seed=1,2", "early_stopping.patience=1", "epochs=20", "model.width=3,4")
    more = ("precision=float32,float64", "optimizer.lr=0.1", "sweep.record=compact")
    sweep(*words, *more, into=str(folder / "folds"))
    records += records_in(folder / "folds")
    assert len(records) == 5 * len(WAYS) + 24
    FORMS.forms.clear()
    FORMS.met.clear()
    found = [saved_states(record) for record in records]
    assert None not in FORMS.forms.values()
    assert sum(map(len, found)) > 2 * len(FORMS.met)  # most states were of a form that was met before
    monkeypatch.setattr(SavedForms, "_form_of", lambda *_args, **_options: None)
    FORMS.forms.clear()
    assert found == [saved_states(record) for record in records]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of six jobs in one stack, of which two diverge."""
    place = tmp_path_factory.mktemp("recorded") / "sweep"
    words = ("optimizer=sgd", "epochs=3", "seed=1,2", "optimizer.lr=0.1,0.01,1e30", "sweep.record=compact")
    sweep(*words, into=str(place))
    return place


@pytest.fixture
def copy(recorded: Path, folder: Path) -> Path:
    return Path(shutil.copytree(recorded, folder / "sweep"))


def store_of(directory: Path) -> Path:
    (store,) = (directory / "records").iterdir()
    return store


def test_every_verb_works_on_a_recorded_job_and_reading_writes_nothing(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content_of(copy)
    assert main(["predict", "sweep/0", str(IRIS), "-o", "predicted.csv"]) == 0
    assert main(["export", "sweep/0", "-o", "program.py"]) == 0
    capsys.readouterr()
    said = {}
    looks = ("show sweep", "show sweep/1", "compare sweep", "compare sweep/0 sweep/1", "runs sweep", "eval sweep/3")
    more = ("plot sweep/0", "plot sweep --kind curve", "repro sweep/0 -q", "runs --filter optimizer.lr=0.1 sweep")
    for line in (*looks, *more):
        assert main(line.split()) == 0, line
        said[line] = capsys.readouterr().out
    assert main(["show", "sweep/2"]) == 0
    assert "no longer finite" in capsys.readouterr().out
    assert content_of(copy) == before
    assert load_run("sweep/4").metrics[-1]["epoch"] == 3
    assert [*unpack_sweep(copy)]
    for line, text in said.items():
        assert main(line.split()) == 0
        assert capsys.readouterr().out == text, line


def test_what_changes_a_recorded_job_writes_its_directory(copy: Path) -> None:
    assert main(["tag", "sweep/1", "good"]) == 0
    assert main(["resume", "sweep/0", "epochs=4", "-q"]) == 0
    assert sorted(path.name for path in copy.iterdir() if path.is_dir() and path.name.isdigit()) == ["0", "1"]
    assert (read_sweep_csv(copy / "sweep.csv")[0].epochs, read_tags(copy / "1")) == (4, ["good"])
    again = sweep("optimizer=sgd", "epochs=3", "seed=1,2", "optimizer.lr=0.1,0.01,1e30", "sweep.record=compact")
    assert again.looker.ended == []


def test_an_incomplete_block_at_the_end_is_dropped_and_its_jobs_are_trained_again(copy: Path) -> None:
    (copy / "sweep.csv").unlink()
    store = store_of(copy)
    content = store.read_bytes()
    blocks = scan_blocks(store).blocks
    wanted = {name: record_at(place).result for name, place in index_of(copy).places.items()}
    assert len(blocks) == 3  # what they share, those that diverged, those that finished
    for end in [*range(0, blocks[0].start + 40, 7), *range(blocks[1].start, len(content), 997), len(content) - 1]:
        store.write_bytes(content[:end])
        found = index_of(copy)
        whole = [block for block in blocks if block.end <= end and block.fields["kind"] == "jobs"]
        assert found.problems == []
        assert len(found.places) == sum(len(block.fields["jobs"]) for block in whole)
        assert {name: record_at(place).result for name, place in found.places.items()}.items() <= wanted.items()
    sweep("optimizer=sgd", "epochs=3", "seed=1,2", "optimizer.lr=0.1,0.01,1e30", "sweep.record=compact")
    assert index_of(copy).places.keys() == wanted.keys()


def test_a_damaged_block_is_told_and_costs_only_its_jobs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(copy)
    content, (_, diverged, finished) = store.read_bytes(), scan_blocks(store).blocks
    for at in (diverged.start + 3, diverged.start + 40):  # its head, its JSON
        store.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert len(index_of(copy).places) == 4
        assert main(["show", "sweep/0"]) == 0
        assert main(["unpack", "sweep"]) == 2
        assert "records/" in (err := capsys.readouterr().err)
        assert "damaged" in err
        for name in "0134":
            shutil.rmtree(copy / name)
    at = finished.arrays_at + 9
    store.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    for line in ("show sweep/0", "eval sweep/0", "unpack sweep/0", "unpack sweep"):
        assert main(line.split()) in (0, 2), line
        out = capsys.readouterr()
        assert "damaged" in out.out + out.err, line
        assert not (copy / "0").exists()


def test_jobs_whose_records_are_gone_are_told(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(copy)
    store.write_bytes(store.read_bytes()[:-1])
    assert main(["unpack", "sweep"]) == 2  # writes the two that diverged, which are in an earlier block
    assert "sweep: the records of jobs 0, 1, 3, 4 are gone; to train again: ch12 resume" in capsys.readouterr().err
    shutil.rmtree(copy / "records")
    shutil.rmtree(copy / "2")
    assert main(["unpack", "sweep"]) == 2
    assert "sweep: the records of jobs 0, 1, 2, 3, 4 are gone; to train" in capsys.readouterr().err


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def kept_in(directory: Path) -> dict[str, tuple[str, Any, dict[str, bytes]]]:
    """What a sweep's record says of each job, but for times and sessions."""
    drop_indexes()
    found = {record.directory: record for record in records_in(directory)}
    return {
        name: (
            record.result.status,
            json.loads(record.settings_json),
            {name: bytes(rows.tobytes()) for name, rows in record.arrays.items() if name != f"{METRIC}seconds"},
        )
        for name, record in found.items()
    }


DAMAGES: dict[str, Callable[[bytes, Sequence[Block]], bytes]] = {
    "of what the jobs share": lambda content, blocks: damaged(content, blocks[0].start + 60),
    "of the jobs in front": lambda content, blocks: damaged(content, blocks[1].start + 60),
    "of the arrays in front": lambda content, blocks: damaged(content, blocks[1].end - 1),
    "of the last arrays": lambda content, blocks: damaged(content, blocks[2].end - 1),
    "of the end": lambda content, blocks: content[: blocks[2].start] + bytes(len(content) - blocks[2].start),
    "of everything": lambda content, blocks: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_resume_records_again_what_was_damaged(damage: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, store = kept_in(copy), store_of(copy)
    assert len(whole) == 6
    store.write_bytes(DAMAGES[damage](store.read_bytes(), scan_blocks(store).blocks))
    drop_indexes()
    assert main(["unpack", "sweep"]) == 2
    said = capsys.readouterr()
    assert "damaged: " in said.err
    assert "ch12 resume sweep" in said.err
    unpacked = [path.name for path in copy.iterdir() if path.name.isdigit()]
    assert said.out == (f"sweep: wrote the files of {len(unpacked)} jobs\n" if unpacked else "")
    lost = 6 - len(unpacked)
    assert 0 < lost <= 6
    for name in unpacked:
        shutil.rmtree(copy / name)
    looker = Looker()
    resume_sweep(copy, callback=looker)
    assert [text for text in looker.messages if "damaged: " in text and text.endswith("its jobs are trained again")]
    assert len(looker.ended) == lost
    assert kept_in(copy) == whole
    assert main(["show", "sweep/3"]) == 0
    written = store.read_bytes()
    again = Looker()
    resume_sweep(copy, callback=again)
    assert (again.ended, again.messages, store.read_bytes()) == ([], [], written)
    assert main(["unpack", "sweep"]) == 0
    assert len([path for path in copy.iterdir() if path.name.isdigit()]) == 6


def write_in_two_sessions(store: Path) -> None:
    """Writes a store anew: the jobs that diverged, then in a resume those that finished."""
    stack, *parts = scan_blocks(store).blocks
    jobs = [(part.fields, read_arrays(store, part)) for part in parts]
    store.unlink()
    for history, (fields, arrays) in zip(({}, {"resumed": [{"epoch": 1}]}), jobs, strict=True):
        facts = StackFacts.from_fields({**stack.fields, "history": history})
        together = {name: value for name, value in fields.items() if name not in ("kind", "stack", "arrays")}
        StoreWriter(store.parent.parent, store.stem).append(facts, together, arrays)


def without_references(store: Path) -> None:
    """Writes a store anew as ch12 did before blocks of jobs named the block of what they share."""
    blocks = scan_blocks(store).blocks
    parts = []
    for block in blocks:
        fields = {name: value for name, value in block.fields.items() if name != "stack"}
        parts += block_bytes(fields, read_arrays(store, block))
    store.write_bytes(b"".join(parts))


@pytest.mark.parametrize("is_old", [False, True])
def test_jobs_are_read_with_what_they_share_or_not_at_all(is_old: bool, copy: Path) -> None:
    store = store_of(copy)
    write_in_two_sessions(store)
    if is_old:
        without_references(store)
    stacks = [block for block in scan_blocks(store).blocks if block.fields["kind"] == "stack"]
    histories = {place.own["number"]: place.stack.fields["history"] for place in index_of(copy).places.values()}
    diverged: dict[int, Any] = {number: {} for number in (2, 5)}
    finished: dict[int, Any] = {number: {"resumed": [{"epoch": 1}]} for number in (0, 1, 3, 4)}
    assert histories == diverged | finished
    content = store.read_bytes()
    for lost, left in zip(stacks, (finished, diverged), strict=True):
        store.write_bytes(damaged(content, lost.start + 60))
        drop_indexes()
        found = {place.own["number"]: place.stack.fields["history"] for place in index_of(copy).places.values()}
        assert found == left


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", ".hidden", "a/../../outside"])
def test_a_record_cannot_name_a_directory_outside_its_sweep(copy: Path, name: str) -> None:
    store = store_of(copy)
    stack, diverged, _ = scan_blocks(store).blocks
    arrays = read_arrays(store, diverged)
    jobs = [own | {"directory": name} for own in diverged.fields["jobs"]]
    parts = [*block_bytes(stack.fields, {}), *block_bytes({**diverged.fields, "jobs": jobs}, arrays)]
    store.write_bytes(b"".join(parts))
    with pytest.raises(InputError, match="not below the sweep"):
        list(unpack_sweep(copy))
    assert sorted(path.name for path in copy.parent.iterdir()) == ["sweep"]


def test_a_store_is_not_read_through_a_link_and_is_checked_like_a_directory(copy: Path) -> None:
    store = store_of(copy)
    stack, *_, finished = scan_blocks(store).blocks
    base = stack.fields["bases"][0]
    hostile = base | {"settings": base["settings"] | {"model": {"_target_": "os.system"}}}
    written = [*block_bytes({**stack.fields, "bases": [hostile]}, {})]
    written += block_bytes(finished.fields, read_arrays(store, finished))
    store.write_bytes(b"".join(written))
    with pytest.raises(InputError, match=r"os\.system"):
        load_run(copy / "0").evaluate()
    shutil.move(store, copy.parent / "elsewhere")
    store.symlink_to(copy.parent / "elsewhere")
    assert index_of(copy).places == {}
    assert "cannot be read" in index_of(copy).problems[0]
