"""A run's directory from a stranger: whatever is in it, nothing of it is executed, and nothing outside is touched.

Each case is tried with every command that takes a run. While one works an audit hook looks on: no other program, no
connection, no file written outside of the run, no file called secret opened. A bug would show as a traceback.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ch12cli.cli.main import main
from ch12cli.files.environment import environment
from ch12cli.training.checkpoint import Checkpoints, sealed_bytes
from tests.promises.hostile import HOSTILE, SECRET, Watch, bombs, monsters, written_into

WATCH = Watch()
VERBS = ("eval", "predict", "repro", "resume", "plot", "export")
CHECKPOINTS = ("last.pt", "previous.pt", "best.pt")


class Visit:
    """A copy of an honest run, what a stranger does to it, and what the commands make of it."""

    def __init__(self, honest: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.honest, self.place, self.capsys = honest, place, capsys
        self.directory, self.canary = place / "run", place / "canary"
        self.rows = place / "rows.csv"
        self.rows.write_text("sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n")
        (place / "secret").write_text(SECRET)
        self.restore()

    def restore(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.honest, self.directory)

    def words(self, verb: str) -> list[str]:
        more = {"predict": [str(self.rows)], "resume": ["epochs=4", "-q"], "repro": ["-q"]}
        more |= {"plot": ["--kind", "boundary"], "export": ["-o", str(self.directory / "program.py")]}
        more |= {"compare": [str(self.honest)], "report": ["-o", str(self.directory / "report.html")]}
        more |= {"tag": ["good"]}
        if verb == "onnx":
            return ["export", str(self.directory), "--format", "onnx", "-o", str(self.directory / "network.onnx")]
        return [verb, str(self.directory), *more.get(verb, [])]

    def state(self) -> dict[str, Any]:
        return Checkpoints(self.directory / "checkpoints", every=None).newest()[0]

    def make_hostile(self, name: str) -> None:
        """Puts one of the hostile settings into the checkpoints."""
        key, value = HOSTILE[name]
        state = self.state()
        if key.startswith("group:"):
            state["chosen"] = json.dumps(json.loads(state["chosen"]) | {key.removeprefix("group:"): value})
        else:
            state["settings"] = json.dumps(written_into(json.loads(state["settings"]), key, value))
        self.seal(state)

    def seal(self, state: dict[str, Any]) -> None:
        """Puts a state in the place of every checkpoint, sealed as ch12 seals it."""
        for name in CHECKPOINTS:
            (self.directory / "checkpoints" / name).write_bytes(sealed_bytes(state))

    def run(self, verb: str, *options: str) -> tuple[int, str, str]:
        """Exit code, output, errors; that nothing happened beside is asserted."""
        self.capsys.readouterr()
        with WATCH.over(self.directory) as seen:
            code = main([*self.words(verb), *options])
        said = self.capsys.readouterr()
        assert seen == [], verb
        assert not self.canary.exists(), verb
        assert "malice_of_a_stranger" not in sys.modules
        assert SECRET not in said.out + said.err, verb
        assert all(letter.isprintable() for letter in said.err.replace("\n", "")), verb
        return code, said.out, said.err

    def refused(self, *verbs: str) -> list[str]:
        """What each command says while it refuses."""
        errors = []
        for verb in verbs or VERBS:
            before = {path: path.read_bytes() for path in self.directory.rglob("*.pt") if path.is_file()}
            code, out, err = self.run(verb)
            assert (code, out) == (2, ""), (verb, err)
            assert err.startswith("ch12: ")
            assert all(path.read_bytes() == content for path, content in before.items())
            errors.append(err)
        return errors


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has two good checkpoints."""
    directory = tmp_path_factory.mktemp("honest") / "run"
    words = ["epochs=2", "batch_size=16", "device=cpu", "checkpoint.every=1", f"hydra.run.dir={directory}"]
    assert main(["train", "-q", *words]) == 0
    environment()  # asks git, once in a process
    return directory


@pytest.fixture
def visit(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Visit:
    monkeypatch.setenv("CH12_SECRET", SECRET)
    monkeypatch.delitem(sys.modules, "malice_of_a_stranger", raising=False)  # of the test that trusts it
    (tmp_path / "malice_of_a_stranger.py").write_text("from torch import nn\nclass Net(nn.Linear): pass\n")
    monkeypatch.chdir(tmp_path)
    return Visit(honest, tmp_path, capsys)


def test_every_command_accepts_an_unmodified_run(visit: Visit) -> None:
    """So that a refusal below is for the hostile part alone."""
    for verb in VERBS:
        code, out, err = visit.run(verb)
        assert (code, err) == (0, ""), verb
        assert out


def test_the_audit_hook_sees_file_accesses_and_processes(tmp_path: Path) -> None:
    with WATCH.over(tmp_path / "inside") as seen:
        os.system("true")
        (tmp_path / "outside").write_text("x")
        (tmp_path / "outside").rename(tmp_path / "secret")
        (tmp_path / "secret").read_text(encoding="utf-8")
        os.listdir(tmp_path)
    assert [entry.partition(" ")[0] for entry in seen] == ["os.system", "open", "os.rename", "os.rename", "open"]


# Files read as code


def test_the_bombs_go_off_when_unpickled_without_protection(tmp_path: Path) -> None:
    """So that their silence elsewhere says something."""
    canary, gone_off = tmp_path / "canary", []
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hubconf.py").write_text(f"def go(*_, **__): open({str(canary)!r}, 'w').close()\n")
    for name, content in bombs(canary).items():
        (tmp_path / "bomb.pt").write_bytes(content)
        try:
            torch.load(tmp_path / "bomb.pt", weights_only=False)
        except Exception:
            continue
        finally:
            if canary.exists():
                gone_off.append(name)
                canary.unlink()
    assert len(gone_off) >= 8, gone_off


def test_a_bomb_for_a_checkpoint_is_a_damaged_file(visit: Visit) -> None:
    listed = bombs(visit.canary)
    assert len(listed) >= 12
    for name, content in listed.items():
        for checkpoint in CHECKPOINTS:
            (visit.directory / "checkpoints" / checkpoint).write_bytes(content)
        for error in visit.refused():
            assert "damaged, or no checkpoint" in error, name
        assert visit.run("eval", "--checkpoint", "best")[0] == 2, name


@pytest.mark.sample(1)
@pytest.mark.parametrize("place", ["checkpoints/last.pt", "checkpoints/previous.pt", "checkpoints/best.pt", "model.pt"])
def test_a_bomb_in_one_checkpoint_is_skipped_without_changing_the_answer(visit: Visit, place: str) -> None:
    clean = {verb: visit.run(verb)[1] for verb in ("eval", "predict")}
    visit.restore()
    for name, content in bombs(visit.canary).items():
        (visit.directory / place).write_bytes(content)
        code, out, err = visit.run("eval", "--checkpoint", "best")
        assert code == 0, name
        code, out, err = visit.run("predict")
        if place == "checkpoints/last.pt":  # then the one before it answers
            assert (code, "skipped" in err) == (0, True), name
        else:
            assert (code, out, err) == (0, clean["predict"], ""), name
        code, out, err = visit.run("repro")
        assert (code, "model.pt" in out) == ((3, True) if place == "model.pt" else (code, False)), name


def test_endless_files_count_as_damaged(visit: Visit) -> None:
    for content in monsters().values():
        for checkpoint in CHECKPOINTS:
            (visit.directory / "checkpoints" / checkpoint).write_bytes(content)
        for error in visit.refused():
            assert "damaged" in error


# Settings that would be built


def test_at_least_forty_hostile_settings_are_tested() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_settings_in_a_sealed_checkpoint_are_refused(visit: Visit, name: str) -> None:
    visit.make_hostile(name)
    visit.refused()


def test_a_target_below_a_key_of_the_users_own_is_never_built(visit: Visit) -> None:
    state = visit.state()
    call = {"_target_": "os.system", "command": f"touch {visit.canary}"}
    state["settings"] = json.dumps(json.loads(state["settings"]) | {"project": call})
    visit.seal(state)
    for verb in VERBS:
        visit.run(verb)  # which asserts that nothing was called


@pytest.mark.slow
def test_settings_of_the_wrong_form_are_refused(visit: Visit) -> None:
    state = visit.state()
    for settings in (
        *("", "null", "[]", '"os.system"', "{}", "{", "[" * 100_000, '{"a":' * 50_000, "1" * 5000, "\ud800", "NaN"),
        *(7, None, b"{}", ["x"], {"model": {"_target_": "os.system"}}, torch.zeros(3), float("nan")),
    ):
        for part in ("settings", "chosen", "environment"):
            if part == "environment" and settings == "{}":
                continue
            visit.seal(state | {part: settings})
            visit.refused("eval", "resume")


# Those that can be written as YAML at all.
WRITABLE = [name for name, (key, _) in HOSTILE.items() if not key.startswith("group:") and name != "a mapping too deep"]


@pytest.mark.slow
def test_hostile_settings_in_the_configurations_file_change_nothing(visit: Visit) -> None:
    """It is a record for people: what a run is, stands in its checkpoint."""
    clean = {verb: visit.run(verb) for verb in VERBS}
    folder = visit.honest / ".hydra"
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    texts = [yaml.dump(written_into(config, *HOSTILE[name]), Dumper=yaml.CSafeDumper) for name in WRITABLE[::3]]
    texts += [
        '!!python/object/apply:os.system ["touch canary"]',
        "a: !!python/name:os.system",
        "a: &a [x, x]\nb: &b [*a, *a]\n",
        "\0",
    ]
    assert len(texts) >= 20
    for text in texts:
        visit.restore()
        for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
            (visit.directory / ".hydra" / name).write_text(text)
        assert visit.run("eval") == clean["eval"]
    assert visit.run("predict") == clean["predict"]
    assert visit.run("repro")[0] == 3  # which says that they were changed
    assert visit.run("resume") == clean["resume"]


def begun_anew(visit: Visit, **texts: str) -> tuple[int, str, str]:
    """`ch12 resume` of a run that was killed before its first checkpoint: all there is, is its configuration."""
    visit.restore()
    for path in visit.directory.rglob("*"):
        if path.is_file() and path.parent.name != ".hydra":
            path.unlink()
    for name, text in texts.items():
        (visit.directory / ".hydra" / f"{name}.yaml").write_text(text)
    return visit.run("resume")


def test_a_run_without_a_checkpoint_restarts_from_its_configuration(visit: Visit) -> None:
    assert begun_anew(visit)[0] == 0


# Without a checkpoint nobody can say that a network is larger than it was.
LARGE = ("a width beyond memory", "a depth beyond memory", "sizes as arguments")


@pytest.mark.sample(16)
@pytest.mark.parametrize("name", [name for name in WRITABLE if name not in LARGE])
def test_hostile_settings_of_a_run_without_a_checkpoint_are_refused(visit: Visit, name: str) -> None:
    config = yaml.safe_load((visit.honest / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
    code, out, err = begun_anew(visit, config=yaml.dump(written_into(config, *HOSTILE[name]), Dumper=yaml.CSafeDumper))
    assert (code, out) == (2, ""), err
    assert not (visit.directory / "metrics.csv").exists()


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'ha'}]\n" for n in range(12))


@pytest.mark.parametrize(
    "text",
    [
        '!!python/object/apply:os.system ["touch canary"]\n',
        "model: !!python/object/new:os.system [touch canary]\n",
        'optimizer:\n  lr: "\\x24{oc.env:CH12_SECRET}"\n',
        "name: oc.env\nmonitor: ${${name}:CH12_SECRET}\n",
        "monitor: '${oc.env:CH12_SECRET}'\n",
        "monitor: '${oc.env:CH12_SECRET,x} and more'\n",
        "'${oc.env:CH12_SECRET}': 1\n",
        LAUGHS,
        "".join(f"b{n}: [{', '.join([f'${{b{n - 1}}}'] * 9) if n else 'ha'}]\n" for n in range(12)),
        "a: ${a}\n",
        "a: ${b}\nb: ${a}\n",
        "[" * 50_000,
        "- a\n- b\n",
        "\0\1\2",
        "x" * 2**21,
        "? [a, b]\n: 1\n",
        "epochs: !!binary aGFoYQ==\n",
        "epochs: 2026-05-17\n",
        "",
    ],
    ids=lambda text: text[:20],
)
def test_a_configuration_that_is_more_than_values_is_refused(visit: Visit, text: str) -> None:
    config = (visit.honest / ".hydra" / "config.yaml").read_text(encoding="utf-8")
    for content in (text, config + text):
        if content != config:
            code, out, err = begun_anew(visit, config=content)
            assert (code, out) == (2, ""), err


def test_instructions_in_hydras_own_file_are_not_executed(visit: Visit) -> None:
    hydra = yaml.safe_load((visit.honest / ".hydra" / "hydra.yaml").read_text(encoding="utf-8"))
    call = {"_target_": "os.system", "command": f"touch {visit.canary}"}
    hydra["hydra"]["callbacks"] = {"x": call}
    hydra["hydra"]["job_logging"] = {"version": 1, "handlers": {"x": {"()": "os.system", "command": "touch canary"}}}
    hydra["hydra"]["launcher"], hydra["hydra"]["sweeper"] = dict(call), dict(call)
    hydra["hydra"]["run"] = {"dir": "../../outside"}
    hydra["hydra"]["searchpath"] = ["pkg://malice_of_a_stranger"]
    assert begun_anew(visit, hydra=yaml.dump(hydra))[0] == 0
    for text in ("hydra: {runtime: {choices: [a]}}", LAUGHS, "{}", "hydra: {runtime: {choices: {dataset: [a]}}}"):
        assert begun_anew(visit, hydra=text)[0] == 2


# The rest of a checkpoint


def parts_of(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Parts of a checkpoint that ch12 does not write."""
    network, rows = state["network"], state["rows"]
    wide = {name: torch.zeros(10**4, *value.shape[1:]) for name, value in network.items()}
    return {
        "no part": dict.fromkeys(["network", "rows", "scaling"]),
        "epoch": {"epoch": "2"},
        "an epoch before the first": {"epoch": -1},
        "an epoch far away": {"epoch": 10**15},
        "an epoch without rows": {"epoch": 1},
        "no weights": {"network": {}},
        "weights under other names": {"network": {f"x{name}": value for name, value in network.items()}},
        "one weight more": {"network": network | {"more": torch.zeros(1)}},
        "wider weights": {"network": wide, "best_network": wide},
        "weights of another type": {"network": {name: value.double() for name, value in network.items()}},
        "weights that are numbers": {"network": dict.fromkeys(network, 1.0)},
        "names that are none": {"feature_names": ["a", "a", "b", "c"]},
        "more features": {"feature_names": [f"x{n}" for n in range(10**4)]},
        "names that are numbers": {"feature_names": [1, 2, 3, 4]},
        "one class": {"class_names": ["a"]},
        "many classes": {"class_names": [str(n) for n in range(10**4)]},
        "classes for values": {"class_names": None},
        "no digest": {"data_digest": 7},
        "another digest": {"data_digest": "0" * 64},
        "no scaling": {"scaling": {}},
        "a deviation of 0": {"scaling": state["scaling"] | {"deviation": [0.0, 1.0, 1.0, 1.0]}},
        "a mean that is none": {"scaling": state["scaling"] | {"mean": [float("nan")] * 4}},
        "fewer means": {"scaling": {"method": "standard", "mean": [0.0], "deviation": [1.0]}},
        "an odd type": {"feature_type": "object"},
        "rows of text": {"rows": [["a"]]},
        "fewer rows": {"rows": rows[:1]},
        "fewer columns": {"columns": state["columns"][:2]},
        "columns without epochs": {"columns": [f"x{n}" for n in range(len(state["columns"]))]},
        "no best epoch": {"best": {}},
        "a best epoch to come": {"best": {"epoch": [7], "value": [0.1]}},
        "an environment of text": {"environment": '"x"'},
    }


RESUMED_ONLY = {
    "no random state": {"source": {}},
    "a random state cut off": {"source": {"cpu": torch.zeros(7, dtype=torch.uint8)}},
    "a random state of zeros": {"source": {"cpu": torch.zeros(5056, dtype=torch.uint8)}},
    "another optimiser's state": {"optimizer": {"steps": 3}},
    "no optimiser's state": {"optimizer": {}},
    "steps that are none": {"optimizer": {"steps": "x"}},
    "no stopping": {"stopping": {}},
    "another schedule's state": {"schedule": {"lr": [1.0, 2.0]}},
}


@pytest.mark.slow
def test_parts_of_a_checkpoint_with_a_wrong_form_are_refused(visit: Visit) -> None:
    state = visit.state()
    for name, changes in parts_of(state).items():
        changed = {key: value for key, value in (state | changes).items() if value is not None or key == "class_names"}
        visit.seal(changed)
        for verb in VERBS:
            if name == "another digest" and verb == "predict":  # which reads no data
                continue
            code, _, err = visit.run(verb)
            assert code == 2, (name, verb)
            assert str(visit.directory) in err, (name, verb)


def test_parts_that_only_a_resume_reads_are_refused_by_resume(visit: Visit) -> None:
    state = visit.state()
    for name, changes in RESUMED_ONLY.items():
        visit.seal(state | changes)  # type: ignore[operator]
        assert visit.run("resume")[0] == 2, name
        assert visit.run("eval")[0] == 0, name


def test_control_characters_in_names_from_a_run_are_escaped(visit: Visit) -> None:
    state = visit.state()
    classes = ["\x1b[2J\x1b]0;title\x07", "two\nlines\r", "\ud800\u202e"]
    features = ["\x1b[31mred", "a\x00b", "c\x9bd", "e\nf"]
    visit.seal(state | {"class_names": classes, "feature_names": features})
    visit.rows.write_bytes(b'"\x1b[31mred",a,c\n1,2,3\n')
    for form in ("table", "json", "csv"):
        code, out, _ = visit.run("eval", "--format", form)
        assert code == 0
        assert all(letter.isprintable() or letter == "\n" for letter in out)
    code, _, err = visit.run("predict")
    assert code == 2
    assert "has no column a\\x00b" in err
    visit.seal(state | {"class_names": classes})
    visit.rows.write_bytes(b"sepal_length,sepal_width,petal_length,petal_width\n1,2,3,4\n")
    for form in ("table", "json", "csv"):
        code, out, _ = visit.run("predict", "--format", form)
        assert code == 0
        assert all(letter.isprintable() or letter == "\n" for letter in out)
    strange = json.loads(state["environment"]) | {"torch": "\x1b[31m", "python": {"a": ["\n"]}}
    visit.seal(state | {"environment": json.dumps(strange)})
    for verb in ("repro", "resume"):
        code, out, err = visit.run(verb)
        assert code == (3 if verb == "repro" else 0)  # for best.pt was changed
        assert all(letter.isprintable() or letter == "\n" for letter in out + err)


# The directory itself


@pytest.mark.parametrize(
    "place",
    [
        *("checkpoints", "checkpoints/last.pt", "checkpoints/more.pt", ".hydra", ".hydra/x.yaml"),
        *("metrics.csv", "result.json", "model.pt", "train.log"),
    ],
)
def test_a_link_out_of_the_directory_is_refused(visit: Visit, place: str) -> None:
    path = visit.directory / place
    outside = visit.place / "secret-place"
    if path.is_dir():
        path.rename(outside)
    else:
        path.unlink(missing_ok=True)
        outside.write_text(SECRET)
    path.symlink_to(outside)
    for error in visit.refused():
        assert "not a link" in error


@pytest.mark.parametrize(
    "place", ["checkpoints/last.pt", "metrics.csv", "result.json", "model.pt", ".hydra/config.yaml"]
)
def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(visit: Visit, place: str) -> None:
    (visit.directory / place).unlink()
    os.mkfifo(visit.directory / place)
    visit.refused()


def hostile_results(result: dict[str, Any]) -> dict[str, str]:
    """Contents of result.json that ch12 does not write."""
    from ch12cli.files.result_json import seal

    def summed(content: dict[str, Any]) -> str:
        return seal({name: value for name, value in content.items() if name != "checksum"}).decode()

    outside = {"../secret": "0" * 64, "/etc/passwd": "0" * 64, "metrics.csv": ["x"], "model.pt": {"a": 1}}
    return {
        "nothing": "",
        "a list": "[]",
        "deep": "[" * 100_000,
        "deep within": '{"status":' * 50_000,
        "no text": "\udcff",
        "files outside": summed(result | {"files": outside}),
        "files that are none": summed(result | {"files": [1]}),
        "an odd status": summed(result | {"status": {"a": 1}}),
        "odd epochs": summed(result | {"epochs": "many"}),
        "an odd environment": summed(result | {"environment": ["x"]}),
        "many threads": summed(result | {"environment": {"threads": 10**9}}),
        "odd sittings": summed(result | {"resumed": [1, "x", {"epoch": [], "changes": "\x1b[31m"}], "parent": 7}),
    }


@pytest.mark.slow
def test_a_hostile_result_is_harmless(visit: Visit) -> None:
    result = json.loads((visit.honest / "result.json").read_text(encoding="utf-8"))
    for name, content in hostile_results(result).items():
        visit.restore()
        (visit.directory / "result.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        for verb in ("eval", "predict"):
            assert visit.run(verb)[0] == 0, (name, verb)
        assert visit.run("repro")[0] in (0, 3), name
        assert visit.run("resume")[0] in (0, 2), name


# Data of the reader's own


def trained_on_images(visit: Visit) -> dict[str, Any]:
    """Puts a run on images in the place of the honest one; gives its settings."""
    draw = np.random.default_rng(1)
    for number in range(20):
        path = visit.place / "images" / f"{'ab'[number % 2]}{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (4, 4), dtype=np.uint8)).save(path)
    shutil.rmtree(visit.directory)
    words = ["dataset=image_folder", "dataset.folder=images", "dataset.height=4", "dataset.width=4", "epochs=2"]
    words += ["batch_size=16", "device=cpu", f"hydra.run.dir={visit.directory}"]
    assert main(["train", "-q", *words]) == 0
    return dict(json.loads(visit.state()["settings"]))


@pytest.mark.sample(2)
@pytest.mark.parametrize("place", ["ABSOLUTE", "../secret", "images/../../secret", "way-out", "way-out/deeper", "a\0b"])
def test_a_saved_run_reads_no_images_outside_of_the_current_directory(
    visit: Visit, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = trained_on_images(visit)
    outside = tmp_path_factory.mktemp("secret")
    (visit.place / "way-out").symlink_to(outside)
    place = str(outside) if place == "ABSOLUTE" else place
    visit.seal(visit.state() | {"settings": json.dumps(written_into(settings, "dataset.folder", place))})
    for error in visit.refused("eval", "repro", "resume", "plot", "export"):  # a prediction reads none of them
        said = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in place)
        assert error == (
            f"ch12: {visit.directory}: dataset.folder={said}: lies outside of the current directory, and a saved run "
            "may not say what is read there; if the run is your own, add --trust\n"
        )


def test_a_link_among_a_saved_runs_images_is_not_followed_out_of_their_folder(visit: Visit) -> None:
    trained_on_images(visit)
    assert visit.run("eval")[0] == 0
    (visit.place / "images" / "a00.png").rename(visit.place / "secret.png")
    (visit.place / "images" / "a00.png").symlink_to(visit.place / "secret.png")
    for error in visit.refused("eval", "repro", "resume", "plot", "export"):
        assert error == ("ch12: images/a00.png: is a link that leads out of images; put the image itself there\n")


# A run of one's own


def test_a_user_class_is_imported_only_for_a_trusted_run(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "import torch\nfrom torch import nn\nclass Net(nn.Linear):\n    def __init__(self, inputs, outputs):\n"
    own += "        super().__init__(inputs, outputs)\n"
    (visit.place / "malice_of_a_stranger.py").write_text(own)
    (visit.place / "conf" / "model").mkdir(parents=True)
    (visit.place / "conf" / "model" / "own.yaml").write_text("_target_: malice_of_a_stranger.Net\n")
    shutil.rmtree(visit.directory)
    words = ["epochs=2", "batch_size=16", "device=cpu", f"hydra.run.dir={visit.directory}", "--config-dir", "conf"]
    assert main(["train", "-q", "model=own", *words]) == 0
    del sys.modules["malice_of_a_stranger"]  # for good: other tests look whether it is there
    visit.refused(*(verb for verb in VERBS if verb != "plot"))
    code, out, err = visit.run("plot")  # of the recorded predictions, which call no network
    assert (code, err) == (0, "")
    assert "boundary" in out
    for verb in VERBS:
        if verb == "export":  # whose program could not make it without its module
            continue
        code = main([*visit.words(verb), "--trust"])
        assert (code, visit.capsys.readouterr().err) == (0, ""), verb
    del sys.modules["malice_of_a_stranger"]  # for good: other tests look whether it is there
