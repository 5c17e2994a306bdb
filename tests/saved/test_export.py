"""`ch12 export`: programs that end with the run's bits, and networks that other programs run as torch does."""

import ast
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from ch12cli.cli.main import main
from ch12cli.data import iris

PRESETS = (
    *("book/linear_scratch", "book/linear", "book/iris", "book/xor_logistic", "book/xor_mlp"),
    *("debug/overfit", "debug/fast"),
)
RUNS = {
    **{name: [f"experiment={name}"] for name in PRESETS},
    "dropout, kaiming, AdamW, cosine with warm-up": [
        *("model.dropout=0.3", "model.init=kaiming", "model.depth=2", "optimizer=adamw", "scheduler=cosine"),
        *("scheduler.warmup=1.5", "clip_grad_norm=0.5", "clip_grad_value=0.1", "activation=gelu", "batch_size=16"),
    ],
    "float64, RMSprop, plateau, stopped early": [
        *("precision=float64", "optimizer=rmsprop", "scheduler=reduce_on_plateau", "scheduler.patience=0"),
        *("early_stopping.patience=1", "early_stopping.min_delta=0.3", "clip_grad_value=0.01", "activation=elu"),
    ],
    "bfloat16, nll": ["precision=bfloat16", "loss=nll", "batch_size=32", "activation=leaky_relu", "optimizer=sgd"],
    "huber on a curve": [
        *("dataset=toy_regression", "dataset.kind=curve", "dataset.size=50", "loss=huber", "loss.delta=0.5"),
        *("model.init=normal", "optimizer=sgd", "optimizer.momentum=0.9"),
    ],
    "huber on scaled values": [
        *("dataset=toy_regression", "dataset.kind=curve", "dataset.size=50", "dataset.target_scaling=standard"),
        *("loss=huber", "loss.delta=0.3"),
    ],
    "a convolutional network": ["dataset=image_folder", "model=cnn", "batch_size=16"],
    "convolutions by Glorot": ["dataset=image_folder", "model=cnn", "batch_size=16", "model.init=xavier"],
    "classes that rows weigh by": ["dataset=two_class", "dataset.class_weight=[1,3]", "batch_size=16"],
    "balanced classes": ["dataset.class_weight=balanced", "dataset.split=random", "batch_size=16"],
    "label smoothing, no scaling": ["loss=cross_entropy", "loss.label_smoothing=0.1", "dataset.scaling=none"],
}  # fmt: skip


def train(*words: str) -> None:
    assert main(["train", "-q", "device=cpu", *words]) == 0


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", RUNS)
def test_an_exported_program_ends_with_the_runs_weights_bit_for_bit(name: str, folder: Path) -> None:
    train(*RUNS[name], "epochs=6", "hydra.run.dir=run")
    assert main(["export", "run", "-o", "program.py"]) == 0
    assert imports(Path("program.py")) == {"pathlib", "numpy", "torch"}
    threads = torch.get_num_threads()
    try:
        runpy.run_path("program.py")
    finally:
        torch.set_num_threads(threads)
    require_same_weights(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_an_exported_preset_in_plain_python_ends_with_its_weights_bit_for_bit(name: str, folder: Path) -> None:
    train(f"experiment={name}", "hydra.run.dir=run")
    assert main(["export", "run", "-o", "program.py"]) == 0
    subprocess.run([sys.executable, "-I", "program.py"], check=True)
    require_same_weights(folder)


def imports(program: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def require_same_weights(folder: Path) -> None:
    wanted, found = torch.load(folder / "run" / "model.pt"), torch.load(folder / "model.pt")
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "words",
    [
        ["model=linear", "dataset.scaling=none"],
        ["model.output=softmax", "activation=sigmoid", "dataset.scaling=global"],
        ["dataset=two_class", "loss=bce", "model.depth=2", "activation=tanh"],
        ["dataset=two_class", "loss=bce_logits", "model.dropout=0.5", "activation=leaky_relu"],
        ["loss=nll", "activation=silu", "precision=float64"],
        ["dataset=toy_regression", "optimizer=sgd", "activation=elu"],
        *(
            pytest.param(["activation=" + name], marks=pytest.mark.slow)
            for name in ("gelu", "selu", "mish", "softplus", "softmax", "identity")
        ),
    ],
    ids="-".join,
)
@pytest.mark.filterwarnings("ignore")  # torch's exporter's, about torch
def test_onnxruntime_gives_the_predictions_for_raw_rows(words: list[str], folder: Path, capsys: Any) -> None:
    train(*words, "epochs=2", "hydra.run.dir=run")
    assert main(["export", "run", "--format", "onnx", "-o", "a.onnx"]) == 0
    assert "checked: onnxruntime gives the outputs of ch12 predict" in capsys.readouterr().out
    session = onnxruntime.InferenceSession("a.onnx")
    about = session.get_modelmeta().custom_metadata_map
    features, classes = json.loads(about["features"]), json.loads(about["classes"])
    (feature,) = session.get_inputs()
    draw = np.random.default_rng(5)
    rows = draw.uniform(0.1, 3, (7, len(features))).astype(np.float64 if "double" in feature.type else np.float32)
    text = "\n".join([",".join(features), *(",".join(map(repr, row)) for row in rows.astype(float).tolist())])
    Path("rows.csv").write_text(text + "\n", encoding="utf-8")
    assert main(["predict", "run", "rows.csv", "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    given = dict(zip(("output", "probabilities"), session.run(None, {"features": rows}), strict=False))
    if classes is None:
        wanted = [float(row["predicted"]) for row in said]
        np.testing.assert_allclose(given["output"][:, 0], wanted, rtol=1e-5, atol=1e-5)
    else:
        wanted = [[row["probabilities"][name] for name in classes] for row in said]
        np.testing.assert_allclose(given["probabilities"], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.sample(1)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_export_scales_features_of_a_large_offset_as_predict_does(precision: str, folder: Path, capsys: Any) -> None:
    draw = np.random.default_rng(3)
    offset, steps = 1_700_000_000_000, draw.integers(-30_000, 30_000, 200)
    values = (steps / 20_000 + 0.01 * draw.normal(size=200)).tolist()
    lines = [f"{offset + step},{value!r}" for step, value in zip(steps.tolist(), values, strict=True)]
    Path("rows.csv").write_text("when_ms,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    words = ("dataset=csv", "dataset.file=rows.csv", f"precision={precision}", "epochs=5", "batch_size=8")
    train(*words, "hydra.run.dir=run")
    capsys.readouterr()
    capsys.readouterr()
    assert main(["predict", "run", "rows.csv", "--format", "json"]) == 0
    wanted = np.array([float(row["predicted"]) for row in json.loads(capsys.readouterr().out)])
    assert wanted.std() > 0.1
    for form, name in (("onnx", "a.onnx"), ("torch_export", "a.pt2")):
        assert main(["export", "run", "--format", form, "-o", name]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "checked: " in line]
    rows = (offset + steps).astype(np.float64)[:, None]
    (onnx,) = onnxruntime.InferenceSession("a.onnx").run(None, {"features": rows})
    archived = torch.export.load("a.pt2").module()(torch.from_numpy(rows)).detach().numpy()
    for note, given in zip(notes, (onnx, archived), strict=True):
        difference = np.max(np.abs(given[:, 0] - wanted) / (1 + np.abs(wanted)))
        assert difference < (1e-6 if precision == "float32" else 0.05)
        assert float(note.split("within ")[1].split()[0]) == pytest.approx(difference, rel=0.5, abs=1e-6)
        assert ("bfloat16" in note) == (precision == "bfloat16")


@pytest.mark.filterwarnings("ignore")
def test_an_exported_torch_program_takes_any_number_of_rows(folder: Path, capsys: Any) -> None:
    train("epochs=3", "hydra.run.dir=run")
    assert main(["export", "run", "--format", "torch_export", "-o", "a.pt2"]) == 0
    network = torch.export.load("a.pt2").module()
    table = iris()
    for rows in (1, 7, 150):
        output, probabilities = network(torch.tensor(table.features[:rows]))
        assert output.shape == probabilities.shape == (rows, 3)
        assert torch.allclose(torch.softmax(output, 1), probabilities)
    assert main(["eval", "run", "--split", "test", "--format", "json"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "-o", "a.onnx"], "-o a.onnx: must end in .py for --format script"),
        (["run", "-o", "none/a.py"], "-o none/a.py: there is no directory none"),
        (
            ["run", "--format", "onx"],
            "--format onx: must be one of onnx, torch_export, script, optuna; did you mean `onnx`?",
        ),
        (["run", "--checkpoint", "best"], "--checkpoint best: goes with a network"),
        (["nothere"], "nothere: no such directory"),
        ([], "export: no run given"),
        (["interrupted"], "interrupted: has not finished"),
        (["forked"], "forked: continued another run"),
        (["own"], "--format script: writes sequential networks of torch's layers; this one is a Residual"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_an_impossible_export_is_refused_in_one_line(words: list[str], message: str, made: Path, capsys: Any) -> None:
    trust = ["--trust"] if words == ["own"] else []
    assert main(["export", *words, *trust]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not [*made.glob("*.py"), *made.glob("*.onnx"), *made.glob("*.npz")]


@pytest.fixture(scope="module")
def made_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train("epochs=2", "hydra.run.dir=run")
        assert main(["resume", "run", "--fork", "optimizer.lr=0.01", "epochs=3", "-q"]) == 0
        (folder / "run-fork").rename(folder / "forked")
        train("epochs=2", "hydra.run.dir=own", "model._target_=tests.sweeps.networks.Residual", *OWN)
        shutil.copytree(folder / "run", folder / "interrupted")
        (folder / "interrupted" / "result.json").unlink()
    return folder


OWN = ("~model.width", "~model.depth", "~model.dropout", "~model.output", "~model.init")


@pytest.fixture
def made(made_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Path:
    monkeypatch.chdir(made_runs)
    capsys.readouterr()
    return made_runs


@pytest.mark.parametrize(("form", "package"), [("onnx", "onnxscript"), ("onnx", "onnxruntime")])
def test_without_its_packages_onnx_is_refused_with_what_to_install(
    form: str, package: str, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", "run", "--format", form]) == 2
    assert "is not installed: pip install 'ch12[onnx]'" in capsys.readouterr().err
    assert not list(made.glob("*.onnx"))


@pytest.mark.parametrize("text", ["ReLU(inplace=__import__('os').getcwd())", "ReLU(*[1])", "a.b()", "1", "("])
def test_a_layers_text_is_never_executed(text: str) -> None:
    from ch12cli.saved.export_script import made_of

    assert made_of(text) is None


def test_a_file_is_overwritten_only_if_it_is_named(folder: Path, capsys: Any) -> None:
    train("epochs=1", "hydra.run.dir=run")
    Path("run.py").write_text("my own\n", encoding="utf-8")
    assert main(["export", "run"]) == 2
    assert "run.py: exists already; add -o run.py to overwrite it" in capsys.readouterr().err
    assert Path("run.py").read_text(encoding="utf-8") == "my own\n"
    assert main(["export", "run", "-o", "run.py"]) == 0
    assert Path("run.py").read_text(encoding="utf-8") != "my own\n"


def test_a_command_line_with_line_breaks_stays_a_comment(folder: Path) -> None:
    train("epochs=2", "hydra.run.dir=run")
    evil = "- \"epochs=2\\nimport os; os.mkdir('evil')\\r\\n\"\n"
    (folder / "run" / ".hydra" / "overrides.yaml").write_text(evil, encoding="utf-8")
    assert main(["export", "run", "-o", "program.py"]) == 0
    assert imports(Path("program.py")) == {"pathlib", "numpy", "torch"}
