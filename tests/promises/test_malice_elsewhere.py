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
from ch12cli.sweeps.work_item import checkpoint_name
from ch12cli.training.checkpoint import sealed_bytes
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


def test_looking_at_an_honest_run(visit: Visit) -> None:
    """So that what follows says something: each of these commands has something to say of it."""
    assert all(look(visit).values())
    visit.restore()
    assert main(visit.words("onnx")) == 0


@pytest.mark.parametrize("place", ["checkpoints/last.pt", "model.pt", "metrics.csv", "result.json", "tags.txt"])
def test_a_bomb_in_any_file_does_not_go_off_when_it_is_looked_at(visit: Visit, place: str) -> None:
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


def test_hostile_settings_in_the_record_for_people_are_no_more_than_texts(visit: Visit) -> None:
    config = yaml.safe_load((visit.honest / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    assert len(WRITABLE) > 30
    texts = [yaml.dump(written_into(config, *HOSTILE[name]), Dumper=yaml.CSafeDumper) for name in WRITABLE]
    texts += ['!!python/object/apply:os.system ["touch canary"]', "monitor: '${oc.env:CH12_SECRET}'\n", "[" * 50_000]
    for number, text in enumerate(texts):
        visit.restore()
        for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
            (visit.directory / ".hydra" / name).write_text(text)
        look(visit, report=number % 10 == 0)


def test_what_turns_text_around_is_shown_as_an_escape(visit: Visit) -> None:
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
    assert r"goes on from \u202ep after epoch \u202e with \u202ex=\u202ey" in " ".join(look(visit)["show"].split())


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


def test_an_honest_sweep_goes_on(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned(theirs, lambda plan: None)
    assert go_on(theirs, capsys)[0] == 0
    assert (theirs / "1" / "result.json").exists()


# A choice's name is never looked up; and how large a network may be, nobody can say of one that was not begun.
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
def test_a_plan_does_not_lead_out_of_its_directory(
    place: str, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(theirs, lambda plan: plan["jobs"][0].update(directory=place))
    assert go_on(theirs, capsys)[0] == 2


def test_a_bomb_for_the_checkpoint_of_a_stack_does_not_go_off(theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = theirs / STATE / checkpoint_name([0, 1])
    for name, content in {**bombs(theirs.parent / "canary"), **monsters()}.items():
        for job in ("0", "1"):
            shutil.rmtree(theirs / job, ignore_errors=True)
        checkpoint.write_bytes(content)
        code, err = go_on(theirs, capsys)
        assert (code, "begins anew, without a good checkpoint" in err) == (0, True), name
        assert (theirs / "0" / "result.json").exists()


def test_a_checkpoint_of_a_stack_with_parts_that_are_none_is_refused(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = theirs / STATE / checkpoint_name([0, 1])
    for state in ({}, {"epoch": 1}, {"data_digest": "x"}, {"training": {"source": {"members": [5]}}}):
        checkpoint.write_bytes(sealed_bytes(state))
        assert go_on(theirs, capsys)[0] == 2
    os.remove(checkpoint)
    assert go_on(theirs, capsys)[0] == 0
