"""The Makefile, the continuous integration and the pinned environment, as a contributor relies on them."""

import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"run", "test", "test-slow", "coverage", "docs", "bench", "check", "lint", "format", "clean", "help"}


def normalised(name: str) -> str:
    """A distribution's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """The versions in constraints.txt, by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(entry) == 2 for entry in entries)
    return {normalised(name): version for name, version in entries}


def tracked_files() -> list[Path]:
    """The repository's files, without those that git ignores."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    defined = set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))
    listed = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True)
    shown = {line.split()[0] for line in listed.stdout.splitlines() if line and not line.startswith("make")}
    assert defined >= TARGETS
    assert shown == defined


def test_plain_make_shows_the_help() -> None:
    outputs = [
        subprocess.run(["make", "-s", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout
        for words in ([], ["help"])
    ]
    assert outputs[0] == outputs[1] != ""


def test_every_target_is_declared_phony() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))


def test_continuous_integration_calls_check_and_test_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert commands == ["make check", "make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_workflow_calls_targets_of_the_makefile_on_every_python_that_the_metadata_name() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    made = {step for step in steps if not step.startswith("sudo apt-get ")}
    assert made == {"make check PYTHON=python", "make test PYTHON=python", "make docs PYTHON=python"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r"Python :: 3\.\d+$", line)]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == named


def test_running_installs_no_more_than_the_package_itself() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^run: \.venv/runtime ", text, re.MULTILINE)
    (recipe,) = re.findall(r"^\.venv/runtime:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert recipe.splitlines()[2:] == ["\t$(PIP_INSTALL) --no-build-isolation -e .", "\t@touch $@"]


def test_the_version_of_the_metadata_is_the_newest_of_the_changelog() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(versions) >= 2
    assert next(version for version in versions if version != "Unreleased") == project["version"]


def test_every_distribution_of_the_environment_is_pinned_at_its_version() -> None:
    ours = {"ch12", "pip"}  # the latter comes with Python's venv
    cuda = ("nvidia-", "cuda-", "triton")  # torch brings these where it is built for CUDA, at the versions it names
    found = {normalised(d.metadata["Name"]): d.version.split("+")[0] for d in distributions()}
    held = {name: version for name, version in found.items() if name not in ours and not name.startswith(cuda)}
    assert {"torch", "hydra-core", "pytest"} <= set(held)
    versions = pinned()
    assert {name: versions.get(name) for name in held} == held


def test_every_dependency_of_the_project_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *extras["dev"], *extras["docs"]]
    assert all("==" in line for line in extras["bench"])  # an environment of its own
    wanted += project["build-system"]["requires"]
    names = {normalised(re.split(r"[<>=\[ ;]", line)[0]) for line in wanted}
    assert names - {"ch12"} <= set(pinned())  # its own extras, by which `dev` names others


def test_no_file_names_a_package_registry_or_a_path_outside_the_repository() -> None:
    # spelt so that this file does not name them either
    forbidden = [
        *(
            ".".join(parts)
            for parts in (("py" + "pi", "org"), ("python" + "hosted", "org"), ("download", "py" + "torch"))
        ),
        "/" + "work/",
        ".." + "/shared",
        "index" + "-url",
        "find" + "-links",
    ]
    files = tracked_files()
    assert ROOT / "constraints.txt" in files
    found = []
    for file in files:
        content = file.read_bytes()
        found += [f"{file.relative_to(ROOT)}: {word}" for word in forbidden if word.encode() in content]
    assert not found
