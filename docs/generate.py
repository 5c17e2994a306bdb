"""Writes the reference pages of the documentation from the source: `make reference`.

The pages are committed, so that they can be read without building them. A test compares them with the source.
"""

import ast
import inspect
import io
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import ch12cli
from ch12cli.cli.help.overview import key_entries, top_level_entry
from ch12cli.cli.main import main
from ch12cli.cli.verbs import VERBS
from ch12cli.config.choices import choices_of_group, default_choices, top_level
from ch12cli.config.schema import GROUPS, HYDRA_KEYS, LAUNCHER_KEYS
from ch12cli.search.settings import SEARCH_KEYS

FOLDER = Path(__file__).resolve().parent / "reference"
ROOT = FOLDER.parents[1]
COLUMNS = "100"  # characters in a line of the help pages


def main_pages() -> dict[str, str]:
    """The generated pages, by file name."""
    return {
        "command-line.md": command_line_page(),
        "configuration.md": configuration_page(),
        "python.md": python_page(),
        "modules.md": modules_page(),
    }


def command_line_page() -> str:
    """Every verb with its help page."""
    with patch.dict(os.environ, {"COLUMNS": COLUMNS, "NO_COLOR": "1"}):
        pages = {verb: help_page(verb) for verb in VERBS}
    sections = [f"## ch12 {verb}\n\n```text\n{text}\n```" for verb, text in pages.items() if verb != "train"]
    train = (
        f"## ch12 train\n\n```text\n{pages['train'].partition(chr(10) + 'Keys: ')[0].rstrip()}\n```\n\n"
        "The keys and choices are on the page [Configuration](configuration.md)."
    )
    return page(
        "Command line",
        "`ch12 VERB --help` prints the page of a verb. `python -m ch12cli` is the same program.",
        table(("verb", "what it does"), ((f"[`{verb}`](#ch12-{verb})", text) for verb, text in VERBS.items())),
        train,
        *sections,
    )


def help_page(verb: str) -> str:
    """What `ch12 VERB --help` prints."""
    with redirect_stdout(io.StringIO()) as output:
        code = main([verb, "--help"])
    assert code == 0, verb
    return output.getvalue().strip()


def configuration_page() -> str:
    """Every group with its choices and keys."""
    return page(
        "Configuration",
        "`ch12 train KEY=VALUE` sets a key, `ch12 train GROUP=CHOICE` selects a choice. "
        "`ch12 explain KEY` says where a value comes from. `null` means: not set.",
        "## Keys at the top",
        key_table(map(top_level_entry, top_level().items())),
        *(block for group in GROUPS for block in group_blocks(group)),
        "## Keys of a search",
        "With `-m`; each chooses `hydra/sweeper=search`. See [Search for the best setting](../how-to/search.md).",
        table(
            ("key", "meaning", "values"),
            ((f"`search.{name}`", escaped(key.meaning), escaped(str(key.rule))) for name, key in SEARCH_KEYS.items()),
        ),
        *(block for launcher in LAUNCHER_KEYS for block in launcher_blocks(launcher)),
        "## Keys of Hydra",
        table(("key", "meaning"), ((f"`{key}`", text) for key, text in HYDRA_KEYS.items())),
    )


def launcher_blocks(launcher: str) -> list[str]:
    """The heading and keys of a launcher."""
    keys = LAUNCHER_KEYS[launcher]
    rows = ((f"`hydra.launcher.{name}`", escaped(key.meaning), escaped(str(key.rule))) for name, key in keys.items())
    return [f"## hydra/launcher={launcher}", table(("key", "meaning", "values"), rows)]


def group_blocks(group: str) -> list[str]:
    """The heading, choices and keys of a group."""
    default = default_choices().get(group)
    blocks = [
        f"## {group}",
        f"{GROUPS[group].capitalize()}. Default: {f'`{default}`' if default else 'none'}.",
        table(
            (f"{group}=", "meaning"),
            ((f"`{choice.name}`", escaped(choice.meaning)) for choice in choices_of_group(group)),
        ),
    ]
    keys = [] if group == "experiment" else key_entries(group, ())
    return [*blocks, key_table(keys)] if keys else blocks


def key_table(entries: Iterable[tuple[str, str]]) -> str:
    """Keys with default, meaning and rule. entries: as the help page of `train` has them, the rule in a second line."""
    rows = []
    for label, text in entries:
        key, _, default = shlex.split(label)[0].partition("=")
        meaning, _, rule = text.partition("\n")
        if meaning.startswith("(") and not rule:
            meaning, rule = "", meaning
        rule = rule.removeprefix("(").removesuffix(")")
        rows.append((f"`{key}`", f"`{default}`" if default else "", escaped(meaning), escaped(rule)))
    return table(("key", "default", "meaning", "values"), rows)


def python_page() -> str:
    """Every public name of the package with its signature and docstring."""
    names = {name: getattr(ch12cli, name) for name in ch12cli.__all__}
    functions = [entry(f"ch12cli.{name}", item) for name, item in names.items() if inspect.isroutine(item)]
    classes = [class_entry(name, item) for name, item in names.items() if inspect.isclass(item)]
    return page("Python", cleaned(ch12cli), *functions, *classes)


def entry(name: str, function: Callable[..., object], *, level: str = "##") -> str:
    """A function's heading, signature and docstring."""
    return f"{level} {name}\n\n```python\n{signature(name, function)}\n```\n\n{cleaned(function)}"


def class_entry(name: str, item: type) -> str:
    """A class's heading, docstring, fields, and public methods."""
    fields: Mapping[str, object] = inspect.get_annotations(item)
    listed = table(
        ("field", "type"),
        (
            (f"`{field}`", f"`{spelled(kind)}`".replace("|", "\\|"))
            for field, kind in fields.items()
            if not field.startswith("_")
        ),
    )
    methods = [
        property_entry(name, method, member)
        if isinstance(member, property | cached_property)
        else entry(f"{name}.{method}", member, level="###")
        for method, member in vars(item).items()
        if not method.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
    ]
    return "\n\n".join([f"## ch12cli.{name}", cleaned(item), *([listed] if fields else []), *methods])


def property_entry(name: str, attribute: str, member: "property | cached_property[object]") -> str:
    """A property's heading and docstring."""
    return f"### {name}.{attribute}\n\n{cleaned(member)}"


def signature(name: str, function: Callable[..., object]) -> str:
    """A function as it is called: a line, or a line for each parameter where one line would be too long."""
    found = inspect.signature(function)
    parameters = list(found.parameters.values())
    texts = [parameter_text(parameter) for parameter in parameters]
    named = next((i for i, parameter in enumerate(parameters) if parameter.kind is parameter.KEYWORD_ONLY), None)
    if named is not None and not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        texts.insert(named, "*")
    result = "" if found.return_annotation is found.empty else f" -> {spelled(found.return_annotation)}"
    line = f"{name}({', '.join(texts)}){result}"
    return (
        line if len(line) <= int(COLUMNS) else f"{name}(\n" + "".join(f"    {text},\n" for text in texts) + f"){result}"
    )


def parameter_text(parameter: inspect.Parameter) -> str:
    """A parameter as it is written in the source."""
    stars = (
        "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    )
    kind = "" if parameter.annotation is parameter.empty else f": {spelled(parameter.annotation)}"
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}{kind}{default}"


def spelled(annotation: object) -> str:
    """An annotation as it is written in the source, without the modules of the standard library."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    for module in ("collections.abc.", "pathlib.", "typing.", "ch12cli.api."):
        text = text.replace(module, "")
    return text.replace("'", "")


def cleaned(item: object) -> str:
    """A docstring without its indentation."""
    return inspect.getdoc(item) or ""


def modules_page() -> str:
    """Every module with the first line of its docstring, package by package."""
    files = sorted((ROOT / "ch12cli").rglob("*.py"), key=lambda file: (file.parent, file.name))
    packages: dict[Path, list[Path]] = {}
    for file in files:
        if file.parent.name != "items":  # the chapter's programs, by number
            packages.setdefault(file.parent, []).append(file)
    sections = [
        f"## {package.relative_to(ROOT)}\n\n"
        + table(
            ("module", "what it holds"), ((f"`{file.name}`", first_line(file)) for file in found if first_line(file))
        )
        for package, found in packages.items()
    ]
    return page("Modules", "The first line of each module's docstring.", *sections)


def first_line(file: Path) -> str:
    """The first line of a module's docstring; empty if it has none."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|").replace("<", "&lt;")


def page(title: str, *blocks: str) -> str:
    """A page of Markdown."""
    note = "<!-- Written from the source by docs/generate.py: `make reference`. Do not edit. -->"
    return "\n\n".join([note, f"# {title}", *filter(None, blocks)]) + "\n"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def escaped(text: str) -> str:
    """Plain text as Markdown shows it."""
    for letter in "\\|*_<>[]`$":
        text = text.replace(letter, f"\\{letter}")
    return text


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in main_pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
