"""Settings as a run's files have them: keys that came later, keys that name others."""

from pathlib import Path

import pytest

from ch12cli.cli.main import main
from ch12cli.config.recorded import with_later_keys
from ch12cli.files.hydra_folder import read_keys
from ch12cli.files.run_directory import HYDRA
from tests.sweeps.driver import settings_of


def test_settings_of_an_earlier_version_get_the_keys_of_this_version() -> None:
    settings = settings_of({})
    earlier = {name: value for name, value in settings.items() if name != "logger"}
    earlier["sweep"] = {**settings["sweep"], "compile": True}  # withdrawn since
    assert with_later_keys(earlier) == settings
    assert with_later_keys(settings) == settings


def test_an_interpolation_has_the_value_of_the_key_it_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["train", "epochs=2", "hydra.run.dir=whole"], ["train", "epochs=1", "hydra.run.dir=longer"]):
        assert main([*words, "-q", "device=cpu", "monitor=train_loss"]) == 0
    assert main(["resume", "-q", "longer", "epochs=2"]) == 0
    assert "${monitor}" in Path("whole", HYDRA, "config.yaml").read_text(encoding="utf-8")
    assert read_keys(Path("whole", HYDRA))["early_stopping.metric"] == "train_loss"
    capsys.readouterr()
    assert main(["compare", "whole", "longer"]) == 0
    assert "early_stopping" not in capsys.readouterr().out


def test_sweep_max_stacked_has_an_upper_limit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", "seed=1,2", "sweep.max_stacked=65537"]) == 2
    assert "sweep.max_stacked=65537: must be" in capsys.readouterr().err
