"""A stranger's run, looked at: listed, shown, compared, reported, tagged, removed, exported. And a stranger's sweep."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ch12cli.cli.main import main
from ch12cli.files.run_directory import STATE
from ch12cli.files.sealed_json import checksum
from ch12cli.sweeps.workers.work_item import checkpoint_name
from ch12cli.training.checkpoint import load, sealed_bytes
from tests.promises.hostile import HOSTILE, SECRET, bombs, monsters, written_into
from tests.promises.test_malice import CHECKPOINTS, LARGE, WATCH, WRITABLE, Visit
from tests.promises.test_malice import honest as honest
from tests.promises.test_malice import visit as visit

LOOKING = ("show", "compare", "report", "runs", "watch", "tag")
SETTINGS = [name for name in HOSTILE if name not in ("a mapping too deep",)]


@pytest.fixture(autouse=True, scope="module")
def drawn(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A first report, while nobody watches: matplotlib makes folders of its own when it is imported."""
    assert main(["report", str(honest), "-o", str(tmp_path_factory.mktemp("drawn") / "report.html")]) == 0


def look(visit: Visit, *, report: bool = True) -> dict[str, str]:
    """What each command says of the run as it is; then it is removed. None ends in a traceback."""
    said = {}
    for verb in [verb for verb in LOOKING if report or verb != "report"]:
        code, out, err = visit.run(verb)
        assert code in (0, 2), (verb, err)
        assert all(letter.isprintable() for letter in out.replace("\n", "")), verb
        said[verb] = out
    beside = {path for path in visit.place.iterdir() if path != visit.directory}
    with WATCH.over(visit.place) as seen:  # what is removed is named below its folder, wherever that is
        assert main(["rm", str(visit.directory), "--yes"]) == 0
    assert (seen, set(visit.place.iterdir())) == ([], beside)
    return said


@pytest.mark.slow
def test_every_reading_command_shows_an_unmodified_run(visit: Visit) -> None:
    """So that what follows says something: each of these commands has something to say of it."""
    assert all(look(visit).values())
    visit.restore()
    assert main(visit.words("onnx")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("place", ["checkpoints/last.pt", "model.pt", "metrics.csv", "result.json", "tags.txt"])
def test_no_reading_command_sets_off_a_bomb_in_any_file(visit: Visit, place: str) -> None:
    listed = {**bombs(visit.canary), **monsters()}
    assert len(listed) >= 18
    for number, content in enumerate(listed.values()):
        visit.restore()
        (visit.directory / place).write_bytes(content)
        look(visit, report=number % 10 == 0)  # which takes a second


def test_a_bomb_for_a_checkpoint_does_not_go_off_in_an_export(visit: Visit) -> None:
    for content in bombs(visit.canary).values():
        for name in CHECKPOINTS:
            (visit.directory / "checkpoints" / name).write_bytes(content)
        assert visit.run("onnx")[0] == 2


@pytest.mark.parametrize("name", SETTINGS[::4])
def test_hostile_settings_in_a_checkpoint_are_not_exported(visit: Visit, name: str) -> None:
    visit.make_hostile(name)
    visit.refused("onnx")


@pytest.mark.slow
def test_hostile_settings_in_the_record_are_shown_as_text(visit: Visit) -> None:
    config = yaml.safe_load((visit.honest / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    assert len(WRITABLE) > 30
    texts = [yaml.dump(written_into(config, *HOSTILE[name]), Dumper=yaml.CSafeDumper) for name in WRITABLE]
    texts += ['!!python/object/apply:os.system ["touch canary"]', "monitor: '${oc.env:CH12_SECRET}'\n", "[" * 50_000]
    for number, text in enumerate(texts):
        visit.restore()
        for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
            (visit.directory / ".hydra" / name).write_text(text)
        look(visit, report=number % 10 == 0)


@pytest.mark.slow
def test_bidirectional_control_characters_are_escaped(visit: Visit) -> None:
    evil = "seed=\u202e1\u2066\x1b[31m\u200f"
    (visit.directory / ".hydra" / "overrides.yaml").write_text(json.dumps([evil]), encoding="utf-8")
    result = json.loads((visit.directory / "result.json").read_text(encoding="utf-8"))
    parent = {"directory": "\u202ep", "epoch": "\u202e", "changes": {"\u202ex": "\u202ey"}}
    from ch12cli.files.result_json import seal

    del result["checksum"]
    said = look(visit)
    assert r"\u202e1\u2066" in said["show"]
    visit.restore()
    (visit.directory / "result.json").write_bytes(seal({**result, "parent": parent, "error": "\u202e"}))
    assert r"continues from \u202ep after epoch \u202e with \u202ex=\u202ey" in " ".join(look(visit)["show"].split())


# A sweep


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a sweep of two jobs, of which none has ended."""
    directory = tmp_path_factory.mktemp("begun") / "sweep"
    words = ["-m", "device=cpu", "epochs=2", "batch_size=16", "seed=1,2", f"hydra.sweep.dir={directory}"]
    assert main(["train", "-q", *words]) == 0
    for job in ("0", "1"):
        shutil.rmtree(directory / job)
    return directory


@pytest.fixture
def theirs(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's copy of it."""
    monkeypatch.setenv("CH12_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(begun, tmp_path / "theirs")


def go_on(theirs: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    with WATCH.over(theirs) as seen:
        code = main(["resume", "-q", str(theirs)])
    assert [event for event in seen if not event.startswith("os.fork")] == []
    assert not (theirs.parent / "canary").exists()
    return code, capsys.readouterr().err


def planned(theirs: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a sweep's plan and seals it anew, as somebody would who knows how."""
    path = theirs / ".ch12" / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    del plan["checksum"]
    change(plan)
    path.write_text(json.dumps({**plan, "checksum": checksum(plan)}), encoding="utf-8")


def test_an_unmodified_sweep_resumes(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned(theirs, lambda plan: None)
    assert go_on(theirs, capsys)[0] == 0
    assert (theirs / "1" / "result.json").exists()


# A choice's name is never looked up; and how large a network may be, nobody can say of one that was not begun.
@pytest.mark.sample(30)
@pytest.mark.parametrize("name", [n for n in SETTINGS if not HOSTILE[n][0].startswith("group:") and n not in LARGE])
def test_hostile_settings_in_a_plan_are_refused(name: str, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(plan: dict[str, Any]) -> None:
        for base in plan["bases"]:
            for part in ("settings", "written"):
                base[part] = written_into(base[part], *HOSTILE[name])

    planned(theirs, change)
    code, err = go_on(theirs, capsys)
    assert (code, err.startswith("ch12: ")) == (2, True), err
    assert not (theirs / "0").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"model._target_": "os.system"},
        {"optimizer": {"_target_": "os.system"}},
        {"epochs": "x"},
        {"sweep.halving": {"_target_": "os.system"}},
        {"hydra.run.dir": "/tmp"},
        {"seed": {"_target_": "os.system"}},
    ],
    ids=str,
)
def test_hostile_changes_of_a_job_are_refused(
    changes: dict[str, Any], theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(theirs, lambda plan: plan["jobs"][0].update(changes=changes))
    assert go_on(theirs, capsys)[0] == 2


@pytest.mark.parametrize("place", ["../outside", "/tmp/outside", "a/../../b", "\0", ".ch12", ".", ""])
def test_directories_of_a_plan_outside_of_the_sweep_are_refused(
    place: str, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(theirs, lambda plan: plan["jobs"][0].update(directory=place))
    assert go_on(theirs, capsys)[0] == 2


@pytest.mark.slow
def test_a_bomb_for_the_checkpoint_of_a_stack_does_not_go_off(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = theirs / STATE / checkpoint_name([0, 1])
    for name, content in {**bombs(theirs.parent / "canary"), **monsters()}.items():
        for job in ("0", "1"):
            shutil.rmtree(theirs / job, ignore_errors=True)
        checkpoint.write_bytes(content)
        code, err = go_on(theirs, capsys)
        assert (code, "restarts, without an intact checkpoint" in err) == (0, True), name
        assert (theirs / "0" / "result.json").exists()


def test_a_checkpoint_of_a_stack_with_parts_of_a_wrong_form_is_refused(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = theirs / STATE / checkpoint_name([0, 1])
    for state in ({}, {"epoch": 1}, {"data_digest": "x"}, {"training": {"source": {"members": [5]}}}):
        checkpoint.write_bytes(sealed_bytes(state))
        assert go_on(theirs, capsys)[0] == 2
    os.remove(checkpoint)
    assert go_on(theirs, capsys)[0] == 0


# What reaches outside: the user's own word, or --trust

REACHING = {
    "an absolute path": ("dataset.file", "OUTSIDE/secret.csv"),
    "a path that climbs out": ("dataset.file", "../outside/secret.csv"),
    "a path that climbs out and in": ("dataset.file", "deep/../../outside/secret.csv"),
    "a link that leads out": ("dataset.file", "way-out.csv"),
    "a file in a folder that leads out": ("dataset.file", "way-out/secret.csv"),
    "a tracker": ("logger", "mlflow"),
    "a tracker among others": ("logger", ["csv", "tensorboard", "mlflow"]),
    "a compiler": ("compile", True),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a run on it that was interrupted, a sweep on it that has not begun, and ways out."""
    place = tmp_path_factory.mktemp("tables") / "inside"
    outside = place.parent / "outside"
    for folder in (place, outside, place / "deep"):
        folder.mkdir()
    table = "a,b,y\n" + "".join(f"{n},{n % 3},{n / 2}\n" for n in range(12))
    (place / "rows.csv").write_text(table)
    (outside / "secret.csv").write_text(table)
    (place / "way-out.csv").symlink_to(outside / "secret.csv")
    (place / "way-out").symlink_to(outside)
    words = ["train", "-q", "dataset=csv", "dataset.file=rows.csv", "device=cpu", "epochs=2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main([*words, "hydra.run.dir=run"]) == 0
        assert main([*words, "-m", "seed=1,2", "hydra.sweep.dir=sweep"]) == 0
    for job in ("0", "1"):
        shutil.rmtree(place / "sweep" / job)
    return place


@pytest.fixture
def place(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the current directory."""
    shutil.copytree(tables.parent, tmp_path / "copy", symlinks=True)
    for link in ("way-out.csv", "way-out"):
        (tmp_path / "copy" / "inside" / link).unlink()
    (tmp_path / "copy" / "inside" / "way-out.csv").symlink_to("../outside/secret.csv")
    (tmp_path / "copy" / "inside" / "way-out").symlink_to("../outside")
    monkeypatch.chdir(tmp_path / "copy" / "inside")
    return tmp_path / "copy" / "inside"


def reaching(name: str, place: Path) -> tuple[str, Any]:
    key, value = REACHING[name]
    return key, value.replace("OUTSIDE", str(place.parent / "outside")) if isinstance(value, str) else value


def refused_outside(argv: list[str], key: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asserts that a command refuses a saved setting, and touches nothing outside of the directory."""
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    capsys.readouterr()
    with WATCH.over() as seen:
        code = main(argv)
    said = capsys.readouterr()
    assert (code, said.out, seen) == (2, "", []), said.err
    assert all(f"{key}=" in line and "add --trust" in line for line in said.err.splitlines()), said.err
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("where", ["base", "job"])
@pytest.mark.parametrize("name", REACHING)
def test_settings_of_a_plan_that_reach_outside_are_refused_in_every_field(
    name: str, where: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value = reaching(name, place)

    def change(plan: dict[str, Any]) -> None:
        if where == "job":
            plan["jobs"][1]["changes"][key] = value
        else:
            plan["bases"][0]["settings"] = written_into(plan["bases"][0]["settings"], key, value)

    planned(place / "sweep", change)
    refused_outside(["resume", "-q", "sweep"], key, place / "sweep", capsys)


@pytest.mark.parametrize("name", REACHING)
def test_a_run_that_reaches_outside_is_refused_by_every_command_that_would_follow_it(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value = reaching(name, place)
    for checkpoint in CHECKPOINTS:
        path = place / "run" / "checkpoints" / checkpoint
        if path.exists():
            state = load(path)
            path.write_bytes(
                sealed_bytes(state | {"settings": json.dumps(written_into(json.loads(state["settings"]), key, value))})
            )
    verbs = {"logger": ["resume"], "compile": ["resume", "repro"], "dataset.file": ["resume", "repro", "eval"]}[key]
    for verb in verbs:
        refused_outside([verb, "run", *(["epochs=3"] if verb == "resume" else [])], key, place / "run", capsys)
    if key != "dataset.file":  # neither sends metrics nor compiles
        assert main(["eval", "run"]) == 0
    (place / "new.csv").write_text("a,b\n1,2\n")
    assert main(["predict", "run", "new.csv"]) == 0


@pytest.mark.parametrize("name", REACHING)
def test_a_run_that_was_killed_at_its_start_and_reaches_outside_is_refused(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value = reaching(name, place)
    config = place / "run" / ".hydra" / "config.yaml"
    config.write_text(yaml.safe_dump(written_into(yaml.safe_load(config.read_text()), key, value)))
    shutil.rmtree(place / "run" / "checkpoints")
    for name in ("metrics.csv", "result.json", "model.pt", "train.log"):
        (place / "run" / name).unlink(missing_ok=True)
    (place / "run" / "checkpoints").mkdir()
    refused_outside(["resume", "run"], key, place / "run", capsys)


def test_overrides_of_the_user_and_trust_let_a_run_reach_outside(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = place.parent / "outside" / "secret.csv"
    words = ["train", "-q", "dataset=csv", f"dataset.file={outside}", "device=cpu", "epochs=2"]
    assert main([*words, "hydra.run.dir=own"]) == 0
    assert main(["resume", "-q", "own", "epochs=3"]) == 2
    assert main(["resume", "-q", "own", "epochs=3", f"dataset.file={outside}"]) == 0  # though it changes nothing
    assert main(["resume", "-q", "own", "epochs=4", "--trust"]) == 0
    assert main(["resume", "-q", "own", "epochs=5", "dataset.file=rows.csv"]) == 0  # the same rows, inside
    assert main(["resume", "-q", "own", "epochs=6"]) == 0
    assert capsys.readouterr().err.count("lies outside") == 1


def test_two_jobs_of_a_plan_do_not_share_a_directory(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change in ({"directory": "0"}, {"directory": "0/below"}, {"number": 0}, {"directory": "sweep.csv"}):
        planned(theirs, lambda plan, change=change: plan["jobs"][1].update(change))
        assert go_on(theirs, capsys)[0] == 2, change


def test_only_loggers_that_write_into_the_run_are_accepted() -> None:
    from ch12cli.config.untrusted_settings import INSIDE_LOGGERS, logger_problems
    from ch12cli.trackers.registry import TRACKERS

    assert set(TRACKERS) - set(INSIDE_LOGGERS) == {"mlflow", "wandb"}
    assert [name for name in ("csv", *TRACKERS) if not logger_problems(name)] == list(INSIDE_LOGGERS)


def test_a_linked_directory_of_a_job_is_not_written_through(
    theirs: Path, honest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = shutil.copytree(honest, theirs.parent / "elsewhere")
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    (theirs / "0").symlink_to(elsewhere)
    for argv in (["tag", "theirs/0", "x"], ["resume", "theirs/0", "epochs=3"], ["show", "theirs/0"]):
        assert main(argv) == 2
        assert "theirs/0: is a link in the directory of a sweep" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before
    (theirs.parent / "latest").symlink_to(elsewhere)  # a link of one's own, outside of any sweep
    assert main(["tag", "latest", "x"]) == 0
