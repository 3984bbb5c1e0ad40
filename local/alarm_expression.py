"""The part of CloudWatch's metric math that the alarms use.

FILL(m, 0)             a period without data has this value
FILL(m, REPEAT)        … has the last value before it
IF(m > 0, then, else)  one of two, for each period; nothing if the condition has no data
m * 2 + n              the same, period by period

A time series is a list of one value, or None, for each period, the oldest first.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

type Series = Sequence[float | None]
type Expression = Callable[[Mapping[str, Series]], Series]
"""Returns the series of an expression, from the series of its metrics by id."""

_OPERATORS: Final[Mapping[type[ast.cmpop | ast.operator], Callable[[float, float], float]]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Add: operator.add,
    ast.Mult: operator.mul,
}


def parse(expression: str) -> Expression:
    """Read an expression. Raises ValueError if it has anything else than the above."""
    unknown = ValueError(f"unknown metric math: {expression}")
    try:
        tree = ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise unknown from error
    read = _read(tree)
    if read is None:
        raise unknown
    return read


def _read(node: ast.expr) -> Expression | None:
    match node:
        case ast.Name(id=name) if name.islower():
            return lambda series: series[name]
        case ast.Constant(value=int() | float()):
            value = float(cast("float", node.value))
            return lambda series: [value] * len(next(iter(series.values())))
        case ast.Call(func=ast.Name(id="FILL"), args=[filled, ast.Name(id="REPEAT")]):
            return _apply(_repeat, filled)
        case ast.Call(func=ast.Name(id="FILL"), args=[filled, ast.Constant() as value]):
            return _apply(_fill, filled, value)
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            return _apply(_choose, condition, then, otherwise)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _apply(_combined(_OPERATORS[type(op)]), left, right)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _apply(_combined(_OPERATORS[type(op)]), left, right)
    return None


def _apply(function: Callable[..., Series], *nodes: ast.expr) -> Expression | None:
    read = [made for node in nodes if (made := _read(node))]
    if len(read) < len(nodes):
        return None
    return lambda series: function(*(each(series) for each in read))


def _fill(series: Series, values: Series) -> Series:
    return [value if one is None else one for one, value in zip(series, values, strict=True)]


def _repeat(series: Series) -> Series:
    last: float | None = None
    return [last := one if one is not None else last for one in series]


def _choose(condition: Series, then: Series, otherwise: Series) -> Series:
    return [
        None if chosen is None else one if chosen else other
        for chosen, one, other in zip(condition, then, otherwise, strict=True)
    ]


def _combined(combine: Callable[[float, float], float]) -> Callable[[Series, Series], Series]:
    return lambda left, right: [
        None if one is None or other is None else float(combine(one, other))
        for one, other in zip(left, right, strict=True)
    ]
