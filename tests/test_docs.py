"""The documentation: its reference pages are those of the source, and its pages and links are there."""

import importlib.util
import re
from pathlib import Path

import pytest

import ch12cli
from ch12cli.cli.verbs import VERBS
from ch12cli.config.choices import choices_of_group
from ch12cli.config.schema import GROUPS, KEYS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The reference pages as the source gives them now."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.main_pages()
    return pages


def test_the_reference_pages_are_those_of_the_source(generated: dict[str, str]) -> None:
    committed = {name: (DOCS / "reference" / name).read_text(encoding="utf-8") for name in generated}
    assert committed == generated, "run `make reference`"


def test_the_reference_has_every_verb_key_choice_and_public_name(generated: dict[str, str]) -> None:
    for verb in VERBS:
        assert f"\n## ch12 {verb}\n" in generated["command-line.md"]
    for name in [*(choice.name for group in GROUPS for choice in choices_of_group(group)), *KEYS]:
        assert f"| `{name}` |" in generated["configuration.md"]
    for name in ch12cli.__all__:
        assert f"\n## ch12cli.{name}\n" in generated["python.md"]


def test_every_page_is_in_a_table_of_contents() -> None:
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")}
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.DOTALL | re.MULTILINE)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert len(pages) > 15
    assert sorted(listed) == sorted(pages - {"index"})


def test_every_file_that_the_documents_link_to_exists() -> None:
    documents = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    links = [(document, link) for document in documents for link in links_of(document)]
    assert len(links) > 40
    missing = [f"{document.name}: {link}" for document, link in links if not (document.parent / link).exists()]
    assert not missing


def links_of(document: Path) -> list[str]:
    """The files that a page of Markdown links to."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", text) if "://" not in link]


def test_every_path_of_the_source_that_the_documents_name_exists() -> None:
    documents = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    named = {
        path
        for document in documents
        if document.name != "CHANGELOG.md"
        for path in re.findall(
            r"`((?:ch12cli|conf|tests|docs|hydra_plugins)/[\w./-]*[\w/])`", document.read_text(encoding="utf-8")
        )
    }
    assert len(named) > 30
    assert not {path for path in named if "NAME" not in path and not (ROOT / path).exists()}


def test_every_module_and_test_file_that_a_document_names_exists() -> None:
    """Modules are named from `ch12cli/` on, as in `sweeps/jobs.py`; test files also inside a command."""
    documents = [ROOT / "CONTRIBUTING.md", *(DOCS / "explanation").glob("*.md")]
    texts = [document.read_text(encoding="utf-8") for document in documents]
    modules = {path for text in texts for path in re.findall(r"`(\w+/[\w/]+\.py)`", text)}
    tests = {path for text in texts for path in re.findall(r"tests/[\w/]+\.py", text)}
    assert len(modules) > 10
    assert tests
    roots = (ROOT, ROOT / "ch12cli")
    assert not {path for path in modules | tests if "NAME" not in path and not any((r / path).exists() for r in roots)}
