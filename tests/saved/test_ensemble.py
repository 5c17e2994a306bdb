"""Ensembles: what is selected, what is averaged, and that the saved average is used as one model."""

import json
import re
from collections import Counter
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
from ch12cli.models.averaging import FORMS, Ensemble
from ch12cli.saved.ensemble import combine, select_greedily
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
    target = rng.integers(3, size=40)

    def score(picks: tuple[int, ...]) -> float:
        mean = sum(outputs[pick] for pick in picks) / len(picks)
        return float(-np.log(mean[np.arange(40), target]).mean())

    terms = list(torch.from_numpy(outputs))
    found = select_greedily(terms, lambda mean: float(nn.NLLLoss()(mean.log(), torch.from_numpy(target))), 6)
    best: tuple[int, ...] = ()
    seen = []
    for _ in range(6):
        best = min(((*best, pick) for pick in range(5)), key=score)
        seen.append(best)
    assert found.picks == min(seen, key=score)
    assert found.score == pytest.approx(score(found.picks))
    assert found.score < min(score((pick,)) for pick in range(5))
    values = [torch.tensor([[0.0], [2.0]]), torch.tensor([[2.0], [0.0]]), torch.tensor([[5.0], [5.0]])]
    assert sorted(select_greedily(values, lambda mean: float((mean - 1).square().mean()), 2).picks) == [0, 1]
    assert select_greedily(values, lambda mean: float((mean - 5).square().mean()), 9).picks == (2,)


@pytest.mark.parametrize("average", ["values", "softmax", "sigmoid"])
def test_the_output_of_an_ensemble_is_that_of_the_averaged_probabilities(average: str) -> None:
    outputs = 1 if average == "sigmoid" else 3
    members = [nn.Linear(4, outputs) for _ in range(3)]
    x, weights = torch.randn(7, 4), [0.5, 0.25, 0.25]
    meanings = {"values": lambda z: z, "softmax": lambda z: torch.softmax(z, -1), "sigmoid": torch.sigmoid}
    meaning = meanings[average]
    expected = sum(weight * meaning(member(x)) for weight, member in zip(weights, members, strict=True))
    torch.testing.assert_close(meaning(Ensemble(members, weights, average)(x)), expected)


@pytest.mark.parametrize("average", ["values", "softmax", "sigmoid"])
def test_outputs_are_chosen_by_the_form_in_which_an_ensemble_gives_them(average: str) -> None:
    outputs = 1 if average == "sigmoid" else 3
    members = [nn.Linear(4, outputs, dtype=torch.float64) for _ in range(3)]
    x = torch.randn(7, 4, dtype=torch.float64) * 100  # probabilities that are 1, and differ from 1 only in float64
    term, output = FORMS[average]
    found = output(torch.stack([term(member(x)) for member in members]).mean(0))
    torch.testing.assert_close(found, Ensemble(members, [1 / 3] * 3, average)(x))


ROWS, PART = 120, 24  # of the table below, and of its validation and its test part, which are the last


@pytest.fixture
def weighted_rows(folder: Path) -> dict[str, np.ndarray]:
    """The columns of rows.csv: two features, a value far from 0, two or three classes, a weight and a weight of 1."""
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=(2, ROWS))
    value = 300 + 20 * (2 * x - z + rng.normal(size=ROWS))
    order = np.argsort(np.argsort(x + z + rng.normal(size=ROWS)))
    columns = {
        "x": x,
        "z": z,
        "value": value,
        "two": np.array(["a", "b"])[(order > 0.8 * ROWS).astype(int)],
        "three": np.array(["a", "b", "c"])[np.digitize(order, [0.5 * ROWS, 0.8 * ROWS])],
        "w": np.where(rng.random(ROWS) < 0.5, 0.1, 5.0).round(1),
        "one": np.ones(ROWS),
    }
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return columns


VALUES = ("dataset.target_scaling=standard",)


@pytest.mark.parametrize(
    ("target", "weight", "by_class", "words"),
    [
        ("value", "w", {}, ("loss=mse",)),
        ("value", "one", {}, (*VALUES, "loss=mse")),
        ("value", "w", {}, (*VALUES, "loss=l1")),
        ("two", "w", {}, ()),
        ("two", "one", {"a": 1.0, "b": 5.0}, ("dataset.class_weight={b:5}", "loss=bce_logits")),
        ("two", "w", {}, ("loss=cross_entropy",)),
        ("three", "one", {"a": 1.0, "b": 1.0, "c": 5.0}, ("dataset.class_weight={c:5}",)),
        ("three", "w", {}, ("loss=nll",)),
    ],
    ids=["weights", "scaled", "scaled_l1_weights", "two_weights", "two_classes", "entropy", "three_classes", "nll"],
)
def test_runs_are_chosen_by_the_loss_that_the_table_shows(
    weighted_rows: dict[str, np.ndarray],
    folder: Path,
    target: str,
    weight: str,
    by_class: dict[str, float],
    words: tuple[str, ...],
) -> None:
    left_out = ",".join({"value", "two", "three", "w", "one"} - {target, weight})
    data = ("dataset=table", "dataset.file=rows.csv", f"dataset.target={target}", f"dataset.exclude=[{left_out}]")
    parts = ("dataset.split=ordered", f"dataset.valid_size={PART}", f"dataset.test_size={PART}")
    lrs = "optimizer.lr=0.002,0.02,0.1"
    training = ("epochs=10", "batch_size=16", "seed=1,2", lrs, f"dataset.weight={weight}")
    swept = sweep(*data, *parts, *training, *words)
    valid = slice(ROWS - 2 * PART, ROWS - PART)
    features = np.column_stack([weighted_rows["x"], weighted_rows["z"]])[valid]
    actual, weights = weighted_rows[target][valid], weighted_rows[weight][valid]
    if by_class:
        weights = weights * np.array([by_class[name] for name in actual])
    predicted = [predict_features(swept.directory / str(job), features.tolist()) for job in swept.rows]
    if target == "value":
        outputs = np.array([each.values for each in predicted]).reshape(len(predicted), PART)
    else:
        number = np.unique(weighted_rows[target], return_inverse=True)[1][valid]
        outputs = np.array([each.probabilities for each in predicted])[:, np.arange(PART), number]

    def loss(picks: tuple[int, ...]) -> float:
        mean = outputs[list(picks)].mean(0)
        if target != "value":
            each = -np.log(mean)
        else:
            each = np.abs(mean - actual) if "loss=l1" in words else (mean - actual) ** 2
        return float(round((weights * each).sum() / weights.sum(), 9))  # one network and itself twice are equal

    chosen: tuple[int, ...] = ()
    seen = []
    for _ in range(5):
        chosen = min(((*chosen, pick) for pick in swept.rows), key=loss)
        seen.append(chosen)
    combined = combine(swept.directory, size=5, into=folder / "combined")
    assert combined.counts == Counter(seen[int(np.argmin([*map(loss, seen)]))])
    assert combined.best == min(swept.rows, key=lambda job: loss((job,)))
    ours, alone = (each["loss"] for each in combined.metrics["valid"])
    assert ours == pytest.approx(min(map(loss, seen)), rel=1e-4)
    assert alone == pytest.approx(loss((combined.best,)), rel=1e-4)


def test_rows_that_all_weigh_one_are_chosen_by_as_rows_without_a_weight(
    weighted_rows: dict[str, np.ndarray], folder: Path
) -> None:
    data = ("dataset=table", "dataset.file=rows.csv", "dataset.target=value", "dataset.target_scaling=standard")
    words = (*data, "dataset.valid_size=0.3", "epochs=10", "batch_size=16", "seed=1,2", "optimizer.lr=0.002,0.02")
    found = []
    for name, own in (
        ("weights", ("dataset.weight=one", "dataset.exclude=[two,three,w]")),
        ("none", ("dataset.exclude=[two,three,w,one]",)),
    ):
        found.append(combine(sweep(*words, *own, into=name).directory, size=8, into=folder / f"{name}-average"))
    assert found[0].counts == found[1].counts
    assert found[0].best == found[1].best


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


def test_the_best_job_beside_the_average_of_all_is_that_of_the_table(folder: Path) -> None:
    swept = sweep("epochs=20", "batch_size=8", "dataset.valid_size=0.3", "optimizer.lr=0.03,0.3", "seed=1,2,3")
    alone = {job: evaluate(swept.directory / str(job), split="valid").parts["valid"].metrics for job in swept.rows}
    best = min(alone, key=lambda job: alone[job]["loss"])
    assert best != min(swept.rows, key=lambda job: float(swept.rows[job]["objective"]))  # of the best epoch
    combined = combine(swept.directory, size=None, into=folder / "combined")
    assert combined.best == best
    assert combined.metrics["valid"][1] == alone[best]


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
    for verb, name in (("eval", "both"), ("show", "both"), ("report", "pictures-ensemble")):
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
