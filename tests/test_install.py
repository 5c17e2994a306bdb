"""ch12 installed from its wheel, and as a checkout that can be edited, each in an environment of its own.

Third-party packages come from the environment that runs the tests, so that nothing is downloaded.
"""

import csv
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet")


class Installed(NamedTuple):
    """An environment that holds ch12. home: the folder that its code and configuration must come from."""

    environment: Path
    home: Path

    def call(self, *words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment in a folder, with nothing of this process's Python settings."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
        program = self.environment / "bin" / str(words[0])
        return subprocess.run(
            [program, *words[1:]], cwd=folder, env=variables, capture_output=True, text=True, timeout=120
        )


def pip(*words: str | Path) -> None:
    done = subprocess.run([*PIP, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def empty_environment(folder: Path) -> Path:
    """A new virtual environment's folder; it sees the packages of the tests' environment, after its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    found = subprocess.run(
        [folder / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    packages = Path(found.stdout.strip())
    # .pth files of a folder that is named in a .pth file are not read: an editable ch12 in there stays unseen
    (packages / "third_party.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", *OFFLINE, "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["wheel", pytest.param("editable", marks=pytest.mark.slow)])
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = empty_environment(tmp_path_factory.mktemp(request.param) / "environment")
    what: Sequence[str | Path] = [wheel] if request.param == "wheel" else ["--editable", ROOT]
    pip("--python", environment / "bin" / "python", "install", *OFFLINE, *what)
    return Installed(environment, environment if request.param == "wheel" else ROOT)


def test_the_wheel_holds_code_configuration_and_the_launcher_as_a_namespace_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    configuration = {f"ch12cli/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "ch12cli").rglob("*") if path.suffix in (".py", ".csv")}
    assert "ch12cli/conf/experiment/book/iris.yaml" in configuration
    assert "ch12cli/data/iris.csv" in code
    assert configuration | code | {"hydra_plugins/ch12_stacked.py", "ch12cli/py.typed"} <= names
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"ch12cli", "hydra_plugins"}
    assert "hydra_plugins/__init__.py" not in names


def test_the_wheel_names_its_licence_and_carries_the_text(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    (text,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert "\nLicense-Expression: MIT\n" in metadata
    assert "\nVersion: 0.2.0\n" in metadata
    assert text.startswith("MIT License")
    assert "the ch12 contributors" in text


def test_code_configuration_and_launcher_come_from_the_install(installed: Installed, tmp_path: Path) -> None:
    program = (
        "import ch12cli, hydra_plugins.ch12_stacked as plugin\n"
        "from ch12cli.config.choices import shipped\n"
        "from hydra.core.plugins import Plugins\n"
        "from hydra.plugins.launcher import Launcher\n"
        "names = [found.__name__ for found in Plugins.instance().discover(Launcher)]\n"
        "print(ch12cli.__file__, plugin.__file__, shipped(), *names, sep='\\n')\n"
    )
    done = installed.call("python", "-c", program, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    package, plugin, configuration, *launchers = done.stdout.splitlines()
    for path in (package, plugin, configuration):
        assert Path(path).resolve().is_relative_to(installed.home.resolve())
    assert (Path(configuration) / "config.yaml").is_file()
    assert "StackedLauncher" in launchers


def test_help_lists_the_commands(installed: Installed, tmp_path: Path) -> None:
    done = installed.call("ch12", "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ch12 train" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_network_is_trained_in_any_current_directory(installed: Installed, tmp_path: Path) -> None:
    done = installed.call("ch12", "train", "experiment=debug/fast", "-q", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob("outputs/*/*/result.json")
    assert '"status": "finished"' in result.read_text(encoding="utf-8")


def test_a_sweep_is_trained_as_a_stack_by_the_launcher(installed: Installed, tmp_path: Path) -> None:
    done = installed.call("ch12", "train", "-m", "seed=1,2", "epochs=1", "hydra.sweep.dir=two", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "two" / "sweep.csv", newline="") as file:
        assert [(row["seed"], row["status"]) for row in csv.DictReader(file)] == [("1", "finished"), ("2", "finished")]
    assert "stack of 2 runs" in (tmp_path / "two" / "1" / "train.log").read_text(encoding="utf-8")
