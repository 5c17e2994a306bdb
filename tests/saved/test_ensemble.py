"""Ensembles: what is selected, what is averaged, and that the saved average is used as one model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ch12cli.catalogue.ensembles import TAKEN_BY, takers_in_words
from ch12cli.cli.main import main
from ch12cli.cli.verbs.export import EXPORT_SUFFIXES
from ch12cli.data.synthetic import write_images
from ch12cli.errors import InputError
from ch12cli.files.hydra_folder import read_keys, to_yaml
from ch12cli.models.averaging import Ensemble
from ch12cli.saved.ensemble import combine, scores_of_outputs, select_greedily
from ch12cli.saved.evaluate import evaluate
from ch12cli.saved.predict import predict_features
from tests.sweeps.driver import Swept, sweep

SMALL = ("epochs=3", "batch_size=16", "dataset.valid_size=0.2")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("ensemble"))
        words = ("activation=relu,tanh", "model.width=4,8", "optimizer.lr=0.02", "seed=range(2)")
        return sweep(*SMALL, *words, into=str(Path.cwd() / "flowers"))


def test_a_selection_is_the_best_next_one_each_time_with_replacement() -> None:
    rng = np.random.default_rng(3)
    outputs = rng.dirichlet([1.0, 1.0, 1.0], size=(5, 40))  # (candidates, rows, classes)
    target = rng.integers(3, size=40).astype(float)

    def score(picks: tuple[int, ...]) -> float:
        mean = sum(outputs[pick] for pick in picks) / len(picks)
        return float(-np.log(mean[np.arange(40), target.astype(int)]).mean())

    found = select_greedily(outputs, target, 6)
    best: tuple[int, ...] = ()
    seen = []
    for _ in range(6):
        best = min(((*best, pick) for pick in range(5)), key=score)
        seen.append(best)
    assert found.picks == min(seen, key=score)
    assert found.score == pytest.approx(score(found.picks))
    assert found.score < min(scores_of_outputs(outputs, target))
    values = np.array([[[0.0], [2.0]], [[2.0], [0.0]], [[5.0], [5.0]]])
    assert sorted(select_greedily(values, np.array([1.0, 1.0]), 2).picks) == [0, 1]
    assert select_greedily(values, np.array([5.0, 5.0]), 9).picks == (2,)


@pytest.mark.parametrize("average", ["values", "softmax", "sigmoid"])
def test_the_output_of_an_ensemble_is_that_of_the_averaged_probabilities(average: str) -> None:
    outputs = 1 if average == "sigmoid" else 3
    members = [nn.Linear(4, outputs) for _ in range(3)]
    x, weights = torch.randn(7, 4), [0.5, 0.25, 0.25]
    meanings = {"values": lambda z: z, "softmax": lambda z: torch.softmax(z, -1), "sigmoid": torch.sigmoid}
    meaning = meanings[average]
    expected = sum(weight * meaning(member(x)) for weight, member in zip(weights, members, strict=True))
    torch.testing.assert_close(meaning(Ensemble(members, weights, average)(x)), expected)


def test_the_saved_average_predicts_the_mean_of_its_members(flowers: Swept, folder: Path) -> None:
    combined = combine(flowers.directory, size=5, into=folder / "combined")
    rows = [[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 4.9, 1.7], [6.9, 3.1, 5.1, 2.3]]
    members = {job: predict_features(flowers.directory / str(job), rows).probabilities for job in combined.counts}
    total = sum(combined.counts.values())
    expected = sum(members[job] * count / total for job, count in combined.counts.items())
    np.testing.assert_allclose(predict_features(combined.directory, rows).probabilities, expected, atol=1e-6)
    alone = {job: evaluate(flowers.directory / str(job), split="valid").parts["valid"].metrics for job in flowers.rows}
    assert combined.metrics["valid"][1] == alone[combined.best]
    assert alone[combined.best]["loss"] == min(each["loss"] for each in alone.values())
    assert combined.metrics["valid"][0]["loss"] <= alone[combined.best]["loss"] + 1e-6
    result = json.loads((combined.directory / "result.json").read_text())
    assert result["objective"] == combined.metrics["valid"][0]["loss"]
    assert result["test"] == combined.metrics["test"][0]


def test_all_runs_are_averaged_alike_without_a_validation_part(folder: Path) -> None:
    sweep("epochs=2", "batch_size=16", "dataset.valid_size=0", "model.width=4,8", "seed=range(2)", into="final")
    assert main(["ensemble", "final", "--all", "-o", "model"]) == 0
    rows = [[5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 5.1, 2.3]]
    members = [predict_features(folder / "final" / str(job), rows).probabilities for job in range(4)]
    expected = np.mean(np.array(members, np.float64), axis=0)
    np.testing.assert_allclose(predict_features(folder / "model", rows).probabilities, expected, atol=1e-6)
    assert json.loads((folder / "model" / "result.json").read_text())["objective"] is None
    assert main(["show", "model"]) == 0
    with pytest.raises(InputError, match=r"with --all, or add dataset\.valid_size=0\.2 to the `ch12 train -m`"):
        combine(folder / "final", size=3, into=folder / "other")


def test_networks_of_images_are_averaged_and_the_result_is_used_as_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("dataset=image_folder", "model=cnn", "batch_size=16", "epochs=1", "seed=1,2", "model.channels=2")
    sweep(*words, into="pictures")
    assert main(["ensemble", "pictures", "--size", "2"]) == 0
    assert main(["ensemble", "pictures", "--all", "-o", "both"]) == 0
    (folder / "figures").mkdir()
    write_images(folder / "figures")
    found = []
    for name in ("pictures/0", "pictures/1", "both"):
        capsys.readouterr()
        assert main(["predict", name, "figures", "--format", "json"]) == 0
        found.append([row["probabilities"]["disc"] for row in json.loads(capsys.readouterr().out)])
    assert len(found[0]) > 100
    np.testing.assert_allclose(found[2], np.mean(found[:2], axis=0), atol=1e-6)
    for name in ("pictures-ensemble", "both"):
        for verb in ("eval", "show", "report"):
            assert main([verb, name]) == 0


class RefusingLogProbabilities(nn.CrossEntropyLoss):
    """The loss of the networks of a test, which refuses the outputs of their average alone."""

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if torch.allclose(prediction.logsumexp(-1), torch.zeros(())):
            raise ValueError("these are no logits")
        return super().forward(prediction, target)


def test_an_ensemble_that_cannot_be_evaluated_leaves_no_directory(folder: Path) -> None:
    (folder / "conf" / "loss").mkdir(parents=True)
    target = f"{RefusingLogProbabilities.__module__}.{RefusingLogProbabilities.__name__}"
    (folder / "conf" / "loss" / "mine.yaml").write_text(f"_target_: {target}\n")
    swept = sweep("loss=mine", "epochs=1", "batch_size=50", "seed=1,2", folders=[folder / "conf"])
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match="these are no logits"):
        combine(swept.directory, size=None, into=folder / "combined", trust=True)
    assert sorted(folder.iterdir()) == before


def test_an_ensemble_is_made_shown_and_evaluated_by_commands_and_not_trained(
    flowers: Swept, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ensemble", str(flowers.directory), "--size", "3", "-o", "combined"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"(1 network of 8: job|[23] networks of 8: jobs) \d[\d, x]*", lines[0])
    assert lines[-1] == "combined"
    assert main(["eval", "combined"]) == 0
    assert main(["show", "combined"]) == 0
    shown = capsys.readouterr().out
    assert "model=ensemble" in shown
    assert re.search(r"^final  validation +[\d.]+ +[\d.]+$", shown, re.MULTILINE)  # it has no epochs
    assert "best " not in shown
    for words in (["resume", "combined", "epochs=9"], ["repro", "combined"], ["export", "combined"]):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert "is an ensemble of trained networks; predict, eval, report, plot --kind confusion or residuals" in error
        assert "and export --format onnx or torch_export take it" in error
    for words, message in (
        (["-o", "combined"], "exists already"),
        (["--size", "0"], "must be a whole number from 1"),
    ):
        assert main(["ensemble", str(flowers.directory), *words]) == 2
        assert message in capsys.readouterr().err


def test_a_filter_knows_of_an_ensemble_only_what_all_its_networks_have(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(text: str) -> set[str]:
        capsys.readouterr()
        assert main(["runs", "--filter", text, "--format", "json"]) == 0
        return {Path(row["path"]).name for row in json.loads(capsys.readouterr().out)}

    words = (*SMALL, "optimizer=adam,sgd", "optimizer.lr=0.02", "activation=tanh", "seed=1,2")
    swept = sweep(*words, into="outputs/mixed").directory
    mixed, same = (combine(swept, size=None, into=Path(f"outputs/{name}")).directory for name in ("one", "other"))
    alone = sweep(*words[:3], "optimizer=adam", "seed=1,2", into="outputs/adam").directory
    same = combine(alone, size=None, into=Path("outputs/same")).directory
    assert mixed.name == "one"
    assert found("optimizer=sgd") == set()
    assert found("optimizer=adam") == {"same"}
    assert found("optimizer!=adam") == set()
    assert found("not optimizer=adam and kind=run") == {"one", "other"}
    assert found("optimizer.lr=0.02") == {"one", "other"}
    assert found("optimizer.lr=0.001") == {"same"}
    assert found("seed=1") == set()
    assert found("activation=tanh") == {"one", "other"}
    everything = {"one", "other", "same"}
    assert found("dataset=iris") == found("model=ensemble") == found("dataset.valid_size=0.2") == everything
    # the checkpoint alone says how to predict: nothing was lost with what is not shown
    rows = [[5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 5.1, 2.3]]
    members = [predict_features(swept / str(job), rows).probabilities for job in range(4)]
    expected = np.mean(np.array(members, np.float64), axis=0)
    np.testing.assert_allclose(predict_features(mixed, rows).probabilities, expected, atol=1e-6)
    assert main(["compare", str(mixed), str(same), "--format", "json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["optimizer"] == {"one": None, "same": "adam"}


def test_an_ensemble_of_an_earlier_version_has_only_what_every_one_shares(folder: Path) -> None:
    whole = {
        "dataset": {"_target_": "ch12cli.data.iris", "test_size": 0.2},
        "model": {"_target_": "ch12cli.models.ensemble", "members": [], "weights": []},
        "loss": {"_target_": "auto"},
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
        "precision": "float32",
        "seed": 1,
    }
    choices = {"dataset": "iris", "model": "ensemble", "loss": "auto", "optimizer": "sgd"}
    (folder / "config.yaml").write_text(to_yaml(whole))
    (folder / "hydra.yaml").write_text(to_yaml({"hydra": {"runtime": {"choices": choices}}}))
    keys = read_keys(folder)
    assert {name: keys[name] for name in ("dataset", "model", "loss", "precision", "dataset.test_size")} == {
        **{"dataset": "iris", "model": "ensemble", "loss": "auto", "precision": "float32", "dataset.test_size": 0.2}
    }
    assert not {name for name in keys if name.startswith(("optimizer", "seed"))}


def test_the_commands_that_are_said_to_take_an_ensemble_are_those_that_do(flowers: Swept, folder: Path) -> None:
    of_values = sweep(*SMALL, "dataset=toy_regression", "seed=1,2", into="values")
    for swept, name in ((flowers, "classes"), (of_values, "numbers")):
        assert main(["ensemble", str(swept.directory), "--size", "2", "-o", name]) == 0
    (folder / "rows.csv").write_text("sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n")
    for command, values in TAKEN_BY.items():
        verb, *options = command.split()
        rows = ["rows.csv"] if verb == "predict" else []
        for value in values or [""]:
            name = "numbers" if value == "residuals" else "classes"
            assert main([verb, name, *rows, *options, *([value] if value else [])]) == 0, (command, value)
    formats = set(EXPORT_SUFFIXES) - set(TAKEN_BY["export --format"])
    assert formats
    assert {main(["export", "classes", "--format", each]) for each in formats} == {2}
    page = (Path(__file__).parents[2] / "docs/how-to/search.md").read_text(encoding="utf-8")
    assert takers_in_words(quote="`") in page.replace("\n", " ")


def test_an_ensemble_has_no_epochs_to_show(flowers: Swept, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = sweep(*SMALL, "dataset=toy_regression", "seed=1,2", into="values")
    for swept, kind in ((flowers, "confusion"), (values, "residuals")):
        assert main(["ensemble", str(swept.directory), "--size", "2", "-o", kind]) == 0
        capsys.readouterr()
        for words in ([], ["--kind", "curve"], ["--kind", "norms"]):
            assert main(["plot", kind, *words]) == 2
            said = f"ch12: {kind}: is an ensemble, which has no epochs and so no curve; try --kind {kind}\n"
            assert capsys.readouterr().err == said
        assert main(["plot", kind, "--kind", kind]) == 0
        capsys.readouterr()
        assert main(["eval", kind]) == 0
        assert capsys.readouterr().out.splitlines()[0] == kind
        assert main(["report", kind, "-o", "page.html"]) == 0
        page = re.sub(r"<[^>]+>", " ", (folder / "page.html").read_text(encoding="utf-8"))
        assert not re.search(r"\b0\s+epochs|best epoch", page.partition("Results")[0])
        assert "ch12 repro" not in page
        assert "ch12 eval" in page


@pytest.mark.slow
def test_regressions_are_averaged_from_a_compact_record(folder: Path) -> None:
    words = ("dataset=toy_regression", "model=mlp", "dataset.target_scaling=standard", "sweep.record=compact")
    swept = sweep(*SMALL, *words, "seed=range(4)", "optimizer.lr=0.02", into="values")
    combined = combine(swept.directory, size=4, into=folder / "combined")
    rows = [[0.5], [2.0]]
    total = sum(combined.counts.values())
    members = {job: predict_features(swept.directory / str(job), rows).values for job in combined.counts}
    expected = sum(members[job] * count / total for job, count in combined.counts.items())
    np.testing.assert_allclose(predict_features(combined.directory, rows).values, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dataset.valid_size=0.2", "dataset.split_seed=1,2"), "have other data, parts or scalings"),
        (("seed=1,2", "dataset.valid_size=0"), "have no validation part to select by"),
        (("precision=float32,float64", "dataset.valid_size=0.2"), "have other precisions"),
    ],
)
def test_runs_that_have_no_average_are_refused(folder: Path, words: tuple[str, ...], message: str) -> None:
    swept = sweep("epochs=1", "batch_size=50", *words)
    with pytest.raises(InputError, match=message):
        combine(swept.directory, size=3, into=folder / "combined")
    assert not (folder / "combined").exists()
