"""Builds objects from `_target_` and its arguments: imports the target, checks its signature and calls it."""

import ast
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ch12cli.config.schema import INSTANTIATION
from ch12cli.errors import InputError, MachineError, Problem, describe_error, first_line, location_of
from ch12cli.suggest import did_you_mean, suggestion


@dataclass(frozen=True)
class Target:
    """A class or function that the configuration names, and the arguments to call it with.

    path: its import path; convert, recursive: the values of `_convert_` and `_recursive_`.
    """

    path: str
    arguments: Mapping[str, Any]
    positional: Sequence[Any] = ()
    convert: str = "all"
    recursive: bool = True

    @staticmethod
    def from_node(node: Mapping[str, Any]) -> "Target":
        """Returns the target of a configuration node, which must have the key `_target_`."""
        return Target(
            str(node["_target_"]),
            {name: value for name, value in node.items() if name not in INSTANTIATION},
            tuple(node.get("_args_", ())),
            str(node.get("_convert_", "all")),
            bool(node.get("_recursive_", True)),
        )

    @property
    def name(self) -> str:
        """Returns the name of the class or function, without its module."""
        return self.path.rpartition(".")[2]


class RefusedError(InputError):
    """Raised if a target raises an exception when it is called."""


def locate(key: str, target: str) -> Callable[..., Any]:
    """Returns the class or function at an import path. Raises InputError if it does not exist or is not callable."""
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise InputError(f"{key}._target_={target}: must be an import path such as torch.nn.ReLU")
    found = _walk(key, target, parts)
    if not callable(found):
        raise InputError(f"{key}._target_={target}: is not a class or function, so nothing can be built from it")
    return found


def _walk(key: str, target: str, parts: list[str]) -> object:
    """Imports the leading parts that are modules, and returns the attribute named by the rest."""
    found: Any = None
    for end, part in enumerate(parts, start=1):
        name = ".".join(parts[:end])
        if found is not None and hasattr(found, part):
            found = getattr(found, part)
            continue
        try:
            with current_directory_last():
                found = import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise InputError(
                    f"{key}._target_={target}: importing it failed: {error}{location_of(error)}"
                ) from error
            raise InputError(f"{key}._target_={target}: {_not_there(found, parts[:end])}") from None
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{key}._target_={target}: importing it failed: {type(error).__name__}: {error}{location_of(error)}"
            ) from error
    return found


@contextmanager
def current_directory_last() -> Iterator[None]:
    """Adds the current directory to the end of `sys.path`.

    `python -m` adds it at the beginning, where a user's module could shadow an installed one.
    """
    directory = os.getcwd()
    sys.path.append(directory)
    try:
        yield
    finally:
        os.chdir(directory)  # the module may have left it
        if directory in sys.path:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(directory)]


def _not_there(found: Any, parts: list[str]) -> str:
    """Returns a message about the missing part of an import path, with a suggestion.

    found: the object named by all parts but the last, or None.
    """
    if found is None:
        return f"there is no module {parts[0]}; start ch12 in its folder, or add that folder to PYTHONPATH"
    known = [name for name in dir(found) if not name.startswith("_")]
    hint = did_you_mean(parts[-1], known) or "; check the path and that it can be imported"
    return f"{'.'.join(parts[:-1])} has no {parts[-1]}{hint}"


def arguments_of(target: Target) -> dict[str, Any]:
    """Returns the keyword arguments of a target. Nested targets are built as Hydra builds them."""
    return {name: argument(value, target) for name, value in target.arguments.items()}


def positional_of(target: Target) -> list[Any]:
    """Returns the positional arguments of a target. Nested targets are built as Hydra builds them."""
    return [argument(value, target) for value in target.positional]


def argument(value: Any, target: Target) -> Any:
    """Returns an argument converted for its target. Raises RefusedError if a nested target cannot be built.

    Lists and dicts are plain unless `_convert_` is set. Hydra's own default for it is `none`.
    """
    if not isinstance(value, Mapping | list):
        return value
    value = deepcopy(value)  # which the target may change
    from hydra.errors import HydraException
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    convert, container = target.convert, OmegaConf.create({"value": value})
    if not (target.recursive and holds_target(value)):
        return container.value if convert == "none" else value
    try:
        with current_directory_last():
            return instantiate(container.value, _convert_=convert)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        raise RefusedError(f"{target.path}: an argument cannot be built: {describe_error(cause)}") from error


def holds_target(value: Any) -> bool:
    """Returns True if a value contains `_target_` at any depth."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(holds_target, value.values()))
    return isinstance(value, list) and any(map(holds_target, value))


@lru_cache(maxsize=256)  # a sweep calls it for each network, and inspection takes a third of the time to build one
def parameters_of(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Returns the parameters of a function or class by name, or None if it has no readable signature."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


def signature_problems(
    key: str, target: Callable[..., Any], given: Mapping[str, Any], offered: Mapping[str, Any], *, positional: int = 0
) -> list[Problem]:
    """Returns a problem for each unknown argument in `given`, and for each required argument that is missing.

    offered: arguments that ch12 supplies itself; positional: the number of positional arguments.
    """
    parameters = parameters_of(target)
    if parameters is None:
        return []
    kinds = inspect.Parameter
    takes_any = any(parameter.kind is kinds.VAR_KEYWORD for parameter in parameters.values())
    names = [name for name, p in parameters.items() if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)]
    listing = ", ".join(name for name in names if name not in offered) or "none"
    problems = [
        Problem(
            f"{key}.{name}",
            None,
            f"{_name(target)} has no such argument",
            suggestion(name, names) or f"it has {listing}",
        )
        for name in given
        if name not in names and not takes_any
    ]
    return problems + [
        Problem(f"{key}.{name}", None, f"{_name(target)} needs it", f"set it in the YAML file or with +{key}.{name}=…")
        for name, parameter in parameters.items()
        if name in names[positional:] and parameter.default is kinds.empty and name not in {**given, **offered}
    ]


def accepted(target: Callable[..., Any], offered: Mapping[str, Any], *, positional: int = 0) -> dict[str, Any]:
    """Returns the offered arguments that the target accepts by name and that are not given by position.

    Returns all of them if the target has a `**kwargs` parameter.
    """
    parameters = parameters_of(target)
    if parameters is None:
        return {}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(offered)
    return {name: value for name, value in offered.items() if name in list(parameters)[positional:]}


@contextmanager
def directory_kept() -> Iterator[None]:
    """Returns to the current directory at the end of the block, if code of the user's own has left it."""
    before = os.getcwd()
    try:
        yield
    finally:
        os.chdir(before)


@directory_kept()
def build(key: str, target: Target, *, offered: Mapping[str, Any] | None = None) -> Any:
    """Builds and returns the object that a target describes.

    offered: arguments that are passed if the target accepts them and the configuration does not set them.
    Raises InputError if the arguments are wrong or the target raises; MachineError if memory runs out.
    """
    kind = locate(key, target.path)
    given, positional = arguments_of(target), positional_of(target)
    problems = signature_problems(key, kind, given, offered or {}, positional=len(positional))
    if problems:
        raise InputError(problems)
    found = accepted(kind, offered or {}, positional=len(positional))
    return call(key, kind, {**found, **given}, *positional)


def call(key: str, target: Callable[..., Any], arguments: Mapping[str, Any], *positional: Any) -> Any:
    """Returns target(*positional, **arguments).

    Re-raises its exceptions as RefusedError with the key; as MachineError if memory runs out.
    """
    try:
        return target(*positional, **arguments)
    except (InputError, MachineError):
        raise
    except MemoryError as error:
        raise MachineError(memory_problem(key, target, arguments)) from error
    except Exception as error:
        if "can't allocate memory" in str(error):  # torch's CPU allocator raises RuntimeError
            raise MachineError(memory_problem(key, target, arguments)) from error
        reason = str(error) if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: {error}"
        raise RefusedError(f"{key}: {_name(target)} refused: {first_line(reason)}{location_of(error)}") from error


def memory_problem(key: str, target: Any, arguments: Mapping[str, Any]) -> str:
    """Returns the message where a target runs out of memory."""
    hint = less_memory(arguments) if key == "dataset" else ""
    return f"{key}: not enough memory for {_name(target)}; {hint or 'make it smaller'}"


def less_memory(arguments: Mapping[str, Any]) -> str:
    """Returns what to set if a data set does not fit into memory; empty if it has no such setting."""
    if "memory" not in arguments:
        return ""
    return f"use a smaller dataset.memory than {arguments['memory']}, so that its rows stay on disk"


def _name(target: Any) -> str:
    """Returns the import path of a class or function, or of an object's class."""
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}.{named.__qualname__}"


# Source files, below torch's folder, of the torch classes that shipped choices use, by package.
FILES = {"torch.optim": "optim/{}.py", "torch.nn": "nn/modules/activation.py"}


@cache
def arguments_in_source(target: str) -> tuple[str, ...] | None:
    """Returns the argument names of a target by parsing its source, without importing it.

    target: an import path. Returns None if the source is not found or does not give them.
    """
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
    """Yields the source files that may define a name of a package."""
    root = package.partition(".")[0]
    spec = find_spec(root) if package in FILES or root == "ch12cli" else None
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent
    if package in FILES:
        yield folder / FILES[package].format(name.lower())
    else:
        yield from sorted(folder.joinpath(*package.split(".")[1:]).rglob("*.py"))


def arguments_of_definition(node: ast.stmt) -> tuple[str, ...] | None:
    if isinstance(node, ast.ClassDef):
        methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"]
        return arguments_of_definition(methods[0]) if methods else None
    if not isinstance(node, ast.FunctionDef) or node.args.kwarg is not None:
        return None
    names = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    return tuple(name for name in names if name not in ("self", "params"))
