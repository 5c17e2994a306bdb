"""The C source of compiled epochs: one text for all structures, or one for each."""

from collections.abc import Mapping
from importlib.resources import files

from ch12cli.fused.program import COUNTS, NUMBERS, OPERATIONS, OPTIMIZERS, SETTINGS, Operation, Program


def general_source(*, double: bool) -> str:
    """Returns the text that performs any program, which it is given as numbers, in double or single precision."""
    numbers = {name: f"(e->numbers[{place}])" for place, name in enumerate(NUMBERS)}
    cases = [f"      case {kind}: op_{name}(pass, o); break;" for kind, name in enumerate(OPERATIONS)]
    calls = [
        "static void perform(Pass *pass, Whole last) {",
        "  for (const Operation *o = pass->e->operations; o < pass->e->operations + last; o++)",
        "    switch (o->kind) {",
        *cases,
        "    }",
        "}",
        "INLINE void forward(Pass *pass) { perform(pass, pass->e->forward); }",
        "INLINE void forward_loss(Pass *pass) { perform(pass, pass->e->forward + 1); }",
        "INLINE void forward_backward(Pass *pass) { perform(pass, pass->e->all); }",
    ]
    return whole_source(numbers | {"LAST_BATCH": "((int)(e->rows % BATCH))"}, calls, special=False, double=double)


def special_source(program: Program, *, rows: int, double: bool) -> str:
    """Returns the text of one program, whose sizes its compiler knows: of a training part of so many rows."""
    numbers = {name: str(number) for name, number in program.numbers.items()}
    lines = [f"  {{ Operation o = {in_c(done)}; op_{done.name}(pass, &o); }}" for done in program.operations]
    calls = [
        *("INLINE void forward(Pass *pass) {", *lines[: program.forward], "}"),
        *("INLINE void forward_loss(Pass *pass) {", *lines[: program.forward + 1], "}"),
        *("INLINE void forward_backward(Pass *pass) {", *lines, "}"),
    ]
    last = str(rows % program.numbers["BATCH"])
    return whole_source(numbers | {"LAST_BATCH": last}, calls, special=True, double=double)


def in_c(operation: Operation) -> str:
    """Returns an operation as a constant of C, exactly."""
    whole, exact = numbers_in_c(operation)
    return f"{{{', '.join([*map(str, whole), *(number.hex() for number in exact)])}}}"


def numbers_in_c(operation: Operation) -> tuple[list[int], list[float]]:
    """Returns the fields of C's Operation: whole numbers, and the two constants."""
    o = operation
    whole = [OPERATIONS.index(o.name), o.at, o.to, o.gradient, o.units, o.outputs, o.weight, o.bias, o.layer]
    return whole, [float(number) for number in (*o.constants, 0.0, 0.0)[:2]]


def whole_source(numbers: dict[str, str], calls: list[str], *, special: bool, double: bool) -> str:
    """Returns the parts of the source as one text. numbers: what NUMBERS stand for; calls: of the operations."""
    package = files("ch12cli.fused")
    kernel, operations, epochs = (
        package.joinpath(f"{name}.c").read_text(encoding="utf-8") for name in ("kernel", "operations", "epochs")
    )
    optimizers = {name: code for code, name in enumerate(OPTIMIZERS.values())}
    settings = {f"{name}_AT": place for place, name in enumerate(SETTINGS)}
    text = [
        *defines({**number_type(double), "SPECIAL": int(special)}),
        kernel,
        *defines({**optimizers, **settings, **COUNTS, **numbers}),
        operations,
        *calls,
        epochs,
    ]
    return "\n".join(text)


def defines(values: Mapping[str, str | int]) -> list[str]:
    return [f"#define {name} {value}" for name, value in values.items()]


def number_type(double: bool) -> dict[str, str]:
    """Returns the definitions for double or single precision."""
    if double:
        return {"DOUBLE": "1", "REAL": "double", "INTEGER": "long long", "SQRT": "sqrt", "LIBRARY(name)": "name"}
    return {"DOUBLE": "0", "REAL": "float", "INTEGER": "int", "SQRT": "sqrtf", "LIBRARY(name)": "name##f"}
