"""The design's own rules, read from the source: imports go down only, what does not compute does not import torch."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ch12cli"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each layer may import of the others.
VALUES = {"errors", "rules", "suggest", "shell"}  # modules of their own: wrong, allowed, meant, typed
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "suggest": set(),
    "shell": set(),
    "files": {"errors", "shell"},
    "rules": {"files"},
    "data": {*VALUES, "files"},
    "models": {*VALUES, "files"},
    "training": {*VALUES, "files", "data", "models"},
    "distributed": {*VALUES, "files", "data", "models", "training"},
    "fused": {*VALUES, "files", "data", "models", "training"},
    "config": {*VALUES, "files", "data", "models", "training"},
    "search": {*VALUES, "files", "data", "models", "training", "config", "catalogue"},
    "catalogue": {*VALUES, "files"},
    "plots": {*VALUES, "files", "catalogue"},
    "parallel": {*VALUES, "files", "plots"},
    "trackers": {*VALUES, "files"},
    "report": {*VALUES, "files", "catalogue", "plots"},
    "board": {*VALUES, "files", "catalogue", "plots", "report"},
    "book": {*VALUES, "files", "data", "models", "training", "plots"},
    "run": {*VALUES, "files", "data", "models", "training", "distributed", "fused", "config", "trackers"},
    "saved": {
        *VALUES,
        "files",
        "data",
        "models",
        "training",
        "distributed",
        "config",
        "trackers",
        "run",
        "plots",
        "catalogue",
    },
    "sweeps": {
        *VALUES,
        "files",
        "data",
        "models",
        "training",
        "fused",
        "config",
        "trackers",
        "run",
        "saved",
        "catalogue",
        "search",
    },
}
BELOW["tuning"] = {*BELOW["sweeps"], "sweeps"}
BELOW["engines"] = {*BELOW["sweeps"], "sweeps"}
BELOW["api"] = {*BELOW, "sweeps"} - {"api"}
BELOW["cli"] = {*BELOW}
# Modules whose import brings torch: all that compute. Everything else answers without it.
COMPUTES = {
    "training",
    "models",
    "book",
    "sweeps",
    "tuning",
    "engines",
    "saved",
    *(f"fused.{name}" for name in ("epochs", "on_gpu", "program", "source", "stack_training", "twister")),
    *(
        f"run.{name}"
        for name in ("build", "task", "description", "recorder", "sessions", "step_progress", "torch_settings", "train")
    ),
    "run.value_checks",
    "run.predictions",
    *(
        f"distributed.{name}"
        for name in ("independent_rows", "processes", "ranks", "shared_network", "shared_training", "sharing")
    ),
}


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
MOST_MODULES = 16  # of a package; with more it holds two things
MANY_MODULES = {"cli.verbs", "book.items"}  # exempt: a module for each verb, and for each item of the chapter
# Names that several modules define because they are interfaces: a verb's entry points, and what each drawer draws.
INTERFACES = {"run", "parser"}


def module_of(file: Path) -> str:
    """ch12cli/data/table.py: data.table."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def layer_of(file: Path) -> str:
    return module_of(file).partition(".")[0]


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def imports_of(file: Path, *, top_level: bool = False) -> set[str]:
    """The modules that a file imports. top_level: only those imported when it is, none for the sake of types alone."""
    tree = tree_of(file)
    found: set[str] = set()
    nodes = list(statements(tree.body)) if top_level else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """All statements that are carried out when the module is imported."""
    found = []
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        found.append(statement)
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(statement, name, [])
            found += statements(inner if isinstance(inner, list) else [])
    return found


def test_the_source_is_found() -> None:
    assert len(FILES) > 50
    layers = {layer_of(file) for file in FILES if file.parent != PACKAGE}
    assert layers >= {"cli", "config", "data", "models", "training", "sweeps", "files", "catalogue", "run", "saved"}
    assert layers <= set(BELOW)


def test_imports_go_down_only() -> None:
    for file in [file for file in FILES if module_of(file) not in ("__init__", "__main__")]:
        layer = layer_of(file)
        for name in imports_of(file):
            parts = name.split(".")
            if parts[0] == "ch12cli" and len(parts) > 1 and parts[1] in BELOW:
                assert parts[1] == layer or parts[1] in BELOW[layer], f"{module_of(file)} imports {name}"


def test_hydra_stays_in_config_search_and_sweeps_and_rich_in_cli() -> None:
    for file in FILES:
        names = {name.partition(".")[0] for name in imports_of(file)}
        if layer_of(file) not in ("config", "search", "sweeps"):
            assert not names & {"hydra", "omegaconf"}, file
        if layer_of(file) != "cli":
            assert not names & {"rich", "argparse"}, file


# The one module that may use the private names of a library.
INTERNALS = {
    "hydra": "config.hydra_internals",
    "omegaconf": "config.hydra_internals",
    "torch": "training.torch_internals",
}


def private_names(file: Path, library: str) -> set[str]:
    """The private modules and names of a library that a file imports, or reads from what it imports from there."""
    imported = {name for name in imports_of(file) if name.partition(".")[0] == library}
    found = {name for name in imported if any(part.startswith("_") for part in name.split("."))}
    known = {library, *(name.rpartition(".")[2] for name in imported)}
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            path = ast.unparse(node.value)
            if path.partition(".")[0] in known:
                found.add(f"{path}.{node.attr}")
    return found


def test_private_names_of_libraries_are_used_in_one_module() -> None:
    for library, module in INTERNALS.items():
        used = {module_of(file): names for file in FILES if (names := private_names(file, library))}
        assert module in used
        assert {name: names for name, names in used.items() if name != module} == {}


# Names that begin with an underscore and are public, or have no public substitute.
UNDERSCORED = {
    "_replace",  # NamedTuple's
    "_exit",  # os's
    "_repr_html_",  # IPython's protocol
    "_actions",  # argparse has no public list of a parser's options
}


def foreign_private_names(file: Path) -> set[str]:
    """The private attributes, read directly or by getattr, of objects that the file itself does not define."""
    nodes = list(ast.walk(tree_of(file)))
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)} | UNDERSCORED
    read: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            (own if ast.unparse(node.value) in ("self", "cls") else read).add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            read |= {node.value for node in node.args[1:2] if isinstance(node, ast.Constant)}
    return {name for name in read - own if re.match("_[^_]", name)}


def test_private_attributes_of_others_are_read_in_three_modules() -> None:
    used = {module_of(file): names for file in FILES if (names := foreign_private_names(file))}
    assert "_fused_adam_" in used.pop("training.torch_internals")
    assert "_resolvers" in used.pop("config.hydra_internals")
    assert "_run_exitfuncs" in used.pop("cli.process_end")
    assert used == {}


# The chapter's items are what `ch12 book` shows and runs: programs of their own, which print.
SHOWN = PACKAGE / "book" / "items"


def test_only_the_command_line_prints() -> None:
    for file in [file for file in FILES if layer_of(file) != "cli" and file.parent != SHOWN]:
        calls = [node for node in ast.walk(tree_of(file)) if isinstance(node, ast.Call)]
        lines = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        assert lines == [], file


def is_torch_free(file: Path) -> bool:
    module = module_of(file)
    return not any(module == name or module.startswith(f"{name}.") for name in COMPUTES)


def test_what_does_not_compute_does_not_import_torch_when_imported() -> None:
    computing = {f"ch12cli.{name}" for name in COMPUTES}
    for file in [file for file in FILES if is_torch_free(file)]:
        names = imports_of(file, top_level=True)
        assert not {name for name in names if name.partition(".")[0] == "torch"}, file
        assert not {name for name in names if any(name == c or name.startswith(f"{c}.") for c in computing)}, file


def test_importing_the_torch_free_modules_imports_no_torch() -> None:
    """The same, shown by importing them all in one fresh process."""
    modules = [f"ch12cli.{module_of(file)}" for file in FILES if is_torch_free(file) and file.parent != PACKAGE]
    assert len(modules) > 30
    modules = [name.removesuffix(".__init__") for name in modules]
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_importing_ch12_takes_little_time() -> None:
    code = "import ch12cli, sys\nprint([name for name in ('torch', 'hydra', 'rich', 'numpy') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"


def test_every_module_has_a_specific_name_and_a_docstring() -> None:
    vague = {"utils", "helpers", "helper", "util", "common", "misc", "base", "manager"}
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert not set(file.relative_to(PACKAGE).with_suffix("").parts) & vague, file
        if text.strip():
            docstring = ast.get_docstring(tree_of(file))
            assert docstring, f"{file}: no docstring"
            assert docstring.splitlines()[0].endswith((".", ":", "?")), file


def test_no_file_names_a_path_on_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    files = [ROOT / name for name in listed.split("\n") if name.endswith((".py", ".yaml", ".md", ".toml", "Makefile"))]
    assert len(files) > 100
    places = ["/" + "work/main", "/" + "root/", "../" + "shared"]
    for file in files:
        if file.exists():
            text = file.read_text(encoding="utf-8")
            assert not [place for place in places if place in text], file


# Below config, settings are frozen objects. The dictionary that they were made from is only read by functions of
# config, or written to a file.
SETTINGS = {"config", "settings", "resolved"}  # names of dictionaries of settings
WITHOUT_DICTIONARIES = {"training", "models", "data", "trackers", "run", "saved", "sweeps"}
TAKES_SETTINGS = re.compile(r"combinations\.\w+|flatten|with_changes|to_yaml|json\.dumps")
UNTRUSTED = "saved.gate"  # checks settings that were read from a file, before objects are made from them


def last_name(node: ast.expr) -> str:
    """job.base.resolved["sweep"]: resolved."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return ast.unparse(node).rpartition(".")[2]


def reads_of_settings(tree: ast.AST) -> list[str]:
    """The expressions that read a setting from a dictionary by its literal key."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            holder, keys = node.value, [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            holder, keys = node.func.value, node.args[:1]
        else:
            continue
        literal = any(isinstance(key, ast.Constant) and isinstance(key.value, str) for key in keys)
        if literal and last_name(holder) in SETTINGS:
            found.append(ast.unparse(node))
    return found


def handed_on(tree: ast.AST) -> list[str]:
    """The uses of the dictionary of a RunSettings other than as an argument of a function that may take it."""
    every = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "config"]
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and any(given in every for given in node.args)
    ]
    allowed = {id(given) for call in calls if TAKES_SETTINGS.fullmatch(ast.unparse(call.func)) for given in call.args}
    return [
        ast.unparse(node) for node in every if last_name(node.value).endswith("settings") and id(node) not in allowed
    ]


def settings_parameters(tree: ast.AST) -> list[str]:
    """The functions that take settings as a mapping."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [
        f"{function.name}({ast.unparse(argument)})"
        for function in functions
        for argument in [*function.args.args, *function.args.kwonlyargs]
        if argument.arg in SETTINGS and re.match(r"Mapping|dict", ast.unparse(argument.annotation or argument))
    ]


def test_below_config_nobody_indexes_a_dictionary_of_settings_nor_hands_it_on() -> None:
    example = ast.parse("job.resolved['sweep']['verify'], settings.get('seed'), train(job.settings.config)")
    assert reads_of_settings(example) == [
        "job.resolved['sweep']['verify']",
        "settings.get('seed')",
        "job.resolved['sweep']",
    ]
    assert handed_on(example) == ["job.settings.config"]
    found = {
        module_of(file): reads_of_settings(tree) + handed_on(tree) + settings_parameters(tree)
        for file in FILES
        if layer_of(file) in WITHOUT_DICTIONARIES and module_of(file) != UNTRUSTED
        for tree in [tree_of(file)]
    }
    assert len(found) > 50
    assert {name: uses for name, uses in found.items() if uses} == {}


MODULES = {module_of(file): file for file in FILES}
NAMED = re.compile(r"ch12cli((?:\.[a-z_]\w*)+)(?![\w.])")


@cache
def strings_of(file: Path) -> set[str]:
    """The modules of ch12 that a file names in strings, which it may import by them."""
    texts = [node.value for node in ast.walk(tree_of(file)) if isinstance(node, ast.Constant)]
    docstrings = {
        ast.get_docstring(node, clean=False) for node in ast.walk(tree_of(file)) if isinstance(node, DOCUMENTED)
    }
    found = set()
    for text in texts:
        if isinstance(text, str) and text not in docstrings:
            found |= {name.strip(".") for name in NAMED.findall(text)}
    return found


def dependencies_of(file: Path) -> set[str]:
    """The modules of ch12 that a file imports, by statement (lazily and for types too) or by string."""
    names = {name.partition(".")[2] for name in imports_of(file) if name.startswith("ch12cli.")} | strings_of(file)
    return {name for name in names if name in MODULES and name != module_of(file)}


def test_strings_name_modules_of_lower_layers_only() -> None:
    for file in [file for file in FILES if module_of(file) not in ("__init__", "__main__")]:
        layer = layer_of(file)
        for name in strings_of(file):
            below = name.partition(".")[0]
            assert below not in BELOW or below == layer or below in BELOW[layer], f"{module_of(file)} names {name}"


def test_no_modules_import_each_other() -> None:
    graph = {name: dependencies_of(file) for name, file in MODULES.items()}
    assert sum(map(len, graph.values())) > 300
    while leaves := {name for name, below in graph.items() if not below & graph.keys()}:
        graph = {name: below for name, below in graph.items() if name not in leaves}
    while roots := graph.keys() - {name for below in graph.values() for name in below}:
        graph = {name: below for name, below in graph.items() if name not in roots}
    assert {name: below & graph.keys() for name, below in graph.items()} == {}


def test_a_package_has_few_modules() -> None:
    counted = Counter(module_of(file).rpartition(".")[0] for file in FILES if file.name != "__init__.py")
    assert counted["training"] > 5
    assert {name: n for name, n in counted.items() if n > MOST_MODULES and name not in MANY_MODULES} == {}


def definitions_of(file: Path) -> set[str]:
    """The public functions and classes at the top of a module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree_of(file).body if isinstance(node, kinds) and not node.name.startswith("_")}


def test_a_public_name_means_one_thing() -> None:
    where: dict[str, list[str]] = {}
    for name, file in MODULES.items():
        if file.parent != SHOWN:
            for defined in definitions_of(file):
                where.setdefault(defined, []).append(name)
    assert len(where) > 500
    shared = {name: modules for name, modules in where.items() if len(modules) > 1}
    drawers = {name for name, modules in shared.items() if all(module.startswith("plots.") for module in modules)}
    unexpected = {
        name: modules
        for name, modules in shared.items()
        if not (name in INTERFACES and all(module.startswith("cli.verbs.") for module in modules))
        and not (name in drawers and name.startswith("draw"))
    }
    assert unexpected == {}
