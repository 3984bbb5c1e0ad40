"""DynamoDB's condition and update expressions, compiled to Python: the part the jobs table uses.

Whatever is not understood is refused, so that an expression the simulation would read otherwise
than DynamoDB cannot pass unnoticed.
"""

import operator
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

type Value = Mapping[str, str]
type Item = dict[str, Value]
type Values = Mapping[str, Value]
type Condition = Callable[[Mapping[str, Value], Values], bool]
type Update = Callable[[Item, Values], None]
type _Operand = Callable[[Mapping[str, Value], Values], Value | None]

_TOKEN: Final = re.compile(r"\s*([#:]?[A-Za-z_][A-Za-z0-9_]*|<=|>=|<>|[=<>(),])")
_PLACEHOLDER: Final = re.compile(r"[#:][A-Za-z_][A-Za-z0-9_]*")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CLAUSES: Final = frozenset({"SET", "REMOVE", "ADD"})


@cache
def condition(text: str, names: tuple[tuple[str, str], ...]) -> Condition:
    """The condition or filter that `text` says; `names` are the `#placeholders`."""
    parser = _Parser(text, dict(names))
    parsed = parser.either()
    parser.end()
    return parsed


@cache
def update(text: str, names: tuple[tuple[str, str], ...]) -> Update:
    """The changes that `text` says; every operand is read from the item as it was before."""
    parser = _Parser(text, dict(names))
    sets: list[tuple[str, _Operand]] = []
    adds: list[tuple[str, _Operand]] = []
    removes: list[str] = []
    seen: set[str] = set()
    while parser.more():
        clause = parser.take()
        if clause not in _CLAUSES or clause in seen:
            raise SyntaxError(f"{clause!r} in {text!r}")
        seen.add(clause)
        parser.changes(clause, sets, adds, removes)
    touched = [*(name for name, _ in sets), *(name for name, _ in adds), *removes]
    if len(touched) != len(set(touched)):
        raise SyntaxError(f"two changes of one attribute in {text!r}")

    def change(item: Item, values: Values) -> None:
        changed = {name: _there(operand(item, values)) for name, operand in sets}
        for name, operand in adds:
            summand = _there(operand(item, values))
            old = item.get(name, {"N": "0"})
            changed[name] = {"N": str(int(old["N"]) + int(summand["N"]))}
        item.update(changed)
        for name in removes:
            item.pop(name, None)

    return change


@cache
def write(
    condition_text: str,
    update_text: str,
    names: tuple[tuple[str, str], ...],
    values: tuple[str, ...],
) -> tuple[Condition, Update]:
    """The condition and the changes of an UpdateItem with these `#` and `:placeholders`.

    Raises:
        SyntaxError: no expression uses one of them; DynamoDB refuses such a call.
    """
    used = frozenset(_PLACEHOLDER.findall(f"{condition_text} {update_text}"))
    if unused := frozenset((*dict(names), *values)) - used:
        raise SyntaxError(f"{sorted(unused)} not in {update_text!r} if {condition_text!r}")
    return condition(condition_text, names), update(update_text, names)


class _Parser:
    def __init__(self, text: str, names: Mapping[str, str]) -> None:
        self._text = text
        self._names = names
        self._tokens: list[str] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise SyntaxError(f"{text[position:]!r} in {text!r}")
            self._tokens.append(match[1])
            position = match.end()
        self._tokens.reverse()

    def more(self) -> bool:
        return bool(self._tokens)

    def take(self) -> str:
        if not self._tokens:
            raise SyntaxError(f"{self._text!r} ends too early")
        return self._tokens.pop()

    def accept(self, token: str) -> bool:
        if self._tokens and self._tokens[-1] == token:
            self._tokens.pop()
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise SyntaxError(f"{token!r} is missing in {self._text!r}")

    def changes(
        self,
        clause: str,
        sets: list[tuple[str, _Operand]],
        adds: list[tuple[str, _Operand]],
        removes: list[str],
    ) -> None:
        while True:
            name = self.name()
            if clause == "SET":
                self.expect("=")
                sets.append((name, self.operand()))
            elif clause == "ADD":
                adds.append((name, self.operand()))
            else:
                removes.append(name)
            if not self.accept(","):
                return

    def end(self) -> None:
        if self._tokens:
            raise SyntaxError(f"{self._tokens[-1]!r} is too much in {self._text!r}")

    def name(self) -> str:
        token = self.take()
        if token.startswith("#"):
            return self._names[token]
        if not token.isidentifier():
            raise SyntaxError(f"{token!r} is no attribute in {self._text!r}")
        return token

    def operand(self) -> _Operand:
        if self.accept("if_not_exists"):
            self.expect("(")
            first = self.name()
            self.expect(",")
            second = self.operand()
            self.expect(")")
            return lambda item, values: item[first] if first in item else second(item, values)
        if self._tokens and self._tokens[-1].startswith(":"):
            placeholder = self.take()
            return lambda _, values: values[placeholder]
        name = self.name()
        return lambda item, _: item.get(name)

    def either(self) -> Condition:
        left = self.both()
        while self.accept("OR"):
            left = _or(left, self.both())
        return left

    def both(self) -> Condition:
        left = self.one()
        while self.accept("AND"):
            left = _and(left, self.one())
        return left

    def one(self) -> Condition:
        if self.accept("("):
            inner = self.either()
            self.expect(")")
            return inner
        for function, there in (("attribute_exists", True), ("attribute_not_exists", False)):
            if self.accept(function):
                self.expect("(")
                name = self.name()
                self.expect(")")
                return lambda item, _: (name in item) is there
        left = self.operand()
        if self.accept("IN"):
            self.expect("(")
            choices = [self.operand()]
            while self.accept(","):
                choices.append(self.operand())
            self.expect(")")
            return lambda item, values: any(
                _compare("=", left(item, values), choice(item, values)) for choice in choices
            )
        sign = self.take()
        if sign not in _COMPARE:
            raise SyntaxError(f"{sign!r} in {self._text!r}")
        right = self.operand()
        return lambda item, values: _compare(sign, left(item, values), right(item, values))


def _or(left: Condition, right: Condition) -> Condition:
    return lambda item, values: left(item, values) or right(item, values)


def _and(left: Condition, right: Condition) -> Condition:
    return lambda item, values: left(item, values) and right(item, values)


def _compare(sign: str, left: Value | None, right: Value | None) -> bool:
    """DynamoDB compares values of one type only; an attribute that is not there meets nothing.

    What `<>` says of one is not documented, so nobody may ask.
    """
    if sign == "<>" and (left is None or right is None):
        raise SyntaxError("<> of an attribute that is not there")
    if left is None or right is None or left.keys() != right.keys():
        return False
    (kind, one), (_, other) = *left.items(), *right.items()
    if kind == "N":
        return _COMPARE[sign](int(one), int(other))
    return _COMPARE[sign](one, other)


def _there(value: Value | None) -> Value:
    if value is None:
        raise SyntaxError("an operand is an attribute that is not there")
    return value
