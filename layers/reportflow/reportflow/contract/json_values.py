"""JSON as a JavaScript service reads it, and as every program with a limited stack can read it."""

import json
import unicodedata
from math import isfinite
from typing import Any, Final

import msgspec

_EXACT_DIGITS: Final = 15
"""A double holds each whole number of so many digits."""


def read_json(text: str) -> object:
    """Read JSON as JavaScript does: numbers are doubles, and the last of repeated names counts.

    An infinite number becomes null, because JavaScript writes null for it.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: it nests too deeply.
    """
    return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse_constant)


def nests_deeper(value: object, levels: int) -> bool:
    """Whether a value of JSON nests deeper than so many levels; does not recurse itself."""
    parts: list[Any] = [value]
    for _ in range(levels + 1):
        nested = [part for part in parts if isinstance(part, (dict, list))]
        parts = [
            each for part in nested for each in (part.values() if isinstance(part, dict) else part)
        ]
        if not nested:
            return False
    return True


def members[T: msgspec.Struct](value: object, kind: type[T]) -> T:
    """The members that `kind` has; msgspec cannot read every name that JSON may hold.

    Raises:
        msgspec.ValidationError: one is missing, or of another type.
    """
    if isinstance(value, dict):
        names = kind.__struct_encode_fields__
        value = {name: value[name] for name in names if name in value}
    try:
        return msgspec.convert(value, kind)
    except UnicodeEncodeError as error:
        raise msgspec.ValidationError("half of a surrogate pair is no text") from error


def written(value: object) -> bytes:
    """The value's one JSON text: sorted names, composed Unicode (NFC); may change `value`.

    Raises:
        UnicodeEncodeError: a text has half of a surrogate pair.
    """
    text = msgspec.json.encode(value, order="sorted")
    if text.isascii() or unicodedata.is_normalized("NFC", text.decode()):
        return text
    return msgspec.json.encode(_normalized(value), order="sorted")


def _normalized(part: object) -> object:
    """All texts in NFC, changed in place. The JSON text itself could join an escape to the next."""
    if isinstance(part, str):
        return unicodedata.normalize("NFC", part)
    if isinstance(part, list):
        for index, value in enumerate(part):
            part[index] = _normalized(value)
    elif isinstance(part, dict):
        # Sorted, so that of two names that become one the same one remains.
        for name in sorted(part):
            value = _normalized(part.pop(name, None))
            part[unicodedata.normalize("NFC", name)] = value
    return part


def _number(text: str) -> float | None:
    number = float(text)
    if not isfinite(number):
        return None
    # A whole number has one spelling, whatever its form was. JavaScript writes 0 for -0.
    return int(number) if number.is_integer() and abs(number) < 10**_EXACT_DIGITS else number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
