"""The arguments of torch's and ch12's own classes and functions, read from their source: importing torch takes long."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# Where the classes of a package of torch's lie that choices name.
FILES = {"torch.optim": "optim/{}.py", "torch.nn": "nn/modules/activation.py"}


@cache
def arguments_in_source(target: str) -> tuple[str, ...] | None:
    """The names of a target's arguments; None if its source does not tell them. target: an import path."""
    package, _, name = target.rpartition(".")
    for file in files_of(package, name):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in tree.body:
            if getattr(node, "name", None) == name:
                return arguments_of_definition(node)
    return None


def files_of(package: str, name: str) -> Iterator[Path]:
    """The files in which a package's name may be defined."""
    root = package.partition(".")[0]
    spec = find_spec(root) if package in FILES or root == "ch12cli" else None
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    if package in FILES:
        yield folder / FILES[package].format(name.lower())
    else:
        yield from sorted(folder.joinpath(*package.split(".")[1:]).glob("*.py"))


def arguments_of_definition(node: ast.stmt) -> tuple[str, ...] | None:
    if isinstance(node, ast.ClassDef):
        methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"]
        return arguments_of_definition(methods[0]) if methods else None
    if not isinstance(node, ast.FunctionDef) or node.args.kwarg is not None:
        return None
    names = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    return tuple(name for name in names if name not in ("self", "params"))
