"""Constraints of a search: arithmetic comparisons of keys, such as `model.width * model.depth <= 256`."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from ch12cli.config.values import read_as
from ch12cli.errors import InputError, Problem

ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
RULE = "must compare keys and numbers, such as model.width * model.depth <= 256"


class Constraint:
    """A condition on settings. A setting that lacks one of its keys satisfies it.

    A setting for which it cannot be computed does not. fault: the reason, such as a division by zero; empty once it was
    computed for any setting. Raises InputError for a text that is not one.
    """

    def __init__(self, text: str) -> None:
        self.text, self.fault, self.is_sound = text, "", False
        try:
            self.tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise InputError(Problem("search.constraints", text, RULE)) from error
        self.keys: set[str] = set()
        if not self._check(self.tree) or not isinstance(self.tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise InputError(Problem("search.constraints", text, RULE))

    def __call__(self, values: Mapping[str, str]) -> bool:
        """Returns whether it holds. values: texts by key."""
        if not self.keys <= values.keys():
            return True
        try:
            holds = bool(self._value(self.tree, {key: read_as(values[key]) for key in self.keys}))
        except (TypeError, ArithmeticError) as error:
            self.fault = "" if self.is_sound else str(error)
            return False
        self.fault, self.is_sound = "", True
        return holds

    def _check(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name | ast.Attribute):
            self.keys.add(ast.unparse(node))
            return isinstance(node, ast.Name) or isinstance(node.value, ast.Name | ast.Attribute)
        match node:
            case ast.Constant(value=int() | float() | str()):
                return True
            case ast.BinOp(left=left, op=op, right=right):
                return type(op) in ARITHMETIC and self._check(left) and self._check(right)
            case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
                return self._check(operand)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return all(type(op) in COMPARISONS for op in ops) and all(map(self._check, [left, *others]))
            case ast.BoolOp(values=values):
                return all(map(self._check, values))
        return False

    def _value(self, node: ast.AST, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.BinOp(left=left, op=op, right=right):
                return ARITHMETIC[type(op)](self._value(left, values), self._value(right, values))
            case ast.UnaryOp(op=op, operand=operand):
                value = self._value(operand, values)
                return -value if isinstance(op, ast.USub) else not value
            case ast.Compare(left=left, ops=ops, comparators=others):
                found = [self._value(each, values) for each in (left, *others)]
                return all(COMPARISONS[type(op)](a, b) for op, a, b in zip(ops, found, found[1:], strict=False))
            case ast.BoolOp(op=op, values=parts):
                truths = (self._value(part, values) for part in parts)
                return all(truths) if isinstance(op, ast.And) else any(truths)
        return values[ast.unparse(node)]
