"""The checks of a request's body: JSON, and the fields of the generation calls."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from local.emulator.files import Content
from local.emulator.messages import Refusal, Request

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

MAX_DEPTH = 600
"""The PDF's layout is recursive, and Python allows 1,000 nested calls."""

MAX_CONTENTS = 100
"""Most files of one request, as `central` documents it. Unknown for `workspace`."""


@dataclass(frozen=True)
class Option:
    """A field that a content may have besides `fileName` and `params`.

    `name` is the attribute of `Content`; `mistake` is the message if `allows` is false.
    """

    name: str
    allows: Callable[[object], bool]
    mistake: str


@dataclass(frozen=True)
class Rules:
    """A contract's rules for a content.

    `file_name` returns the name that the file gets, or raises `ValueError`. `options` are by their
    name in JSON. With None, other fields are ignored. With `unique_names`, the names of one request
    must differ in more than case.
    """

    file_name: Callable[[str], str]
    options: Mapping[str, Option] | None = None
    unique_names: bool = False


@dataclass(frozen=True)
class Generation:
    """What a generation call asks for."""

    design_id: str
    version: int
    contents: Sequence[Content]


def read(request: Request, rules: Rules, *, several: bool) -> Generation:
    """Read the body of a call for one file, or for several.

    Raises:
        Refusal: 400, with every mistake.
    """
    body = _json_object(request)
    mistakes = [*_head_mistakes(body)]
    given = {"content": body.get("content")}
    if several:
        entries = body.get("contents")
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CONTENTS:
            mistakes.append(f"contents は1件以上{MAX_CONTENTS}件以下で指定してください")
            entries = []
        given = {f"contents.{index}": entry for index, entry in enumerate(entries)}
    read = [_content(content, path, rules, mistakes) for path, content in given.items()]
    contents = [content for content in read if content is not None]
    names = {content.file_name.lower() for content in contents}
    if rules.unique_names and len(names) < len(contents):
        mistakes.append("contents.fileName は重複できません")
    design_id, version = body.get("designId"), _integer(body.get("version"))
    if mistakes or not isinstance(design_id, str) or version is None:
        raise Refusal(400, mistakes)
    return Generation(design_id.lower(), version, contents)


def _head_mistakes(body: dict[str, object]) -> Iterator[str]:
    design_id = body.get("designId")
    if not isinstance(design_id, str) or not UUID.fullmatch(design_id):
        yield "designId must be a UUID"
    if _integer(body.get("version")) is None:
        yield "version must be an integer number"


def _integer(value: object) -> int | None:
    """An integer in JavaScript's sense: 1.0 is one, and true is not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _content(content: object, path: str, rules: Rules, mistakes: list[str]) -> Content | None:
    """Read a content; add its mistakes to `mistakes`."""
    if not isinstance(content, dict):
        mistakes.append(f"{path} must be an object")
        return None
    fields = dict(content)
    name, params = fields.pop("fileName", None), fields.pop("params", None)
    options: dict[str, Any] = {}
    if not isinstance(name, str) or not name:
        mistakes.append(f"{path}.fileName should not be empty")
    else:
        try:
            name = rules.file_name(name)
        except ValueError as error:
            mistakes.append(f"{path}.fileName {error}")
    if not isinstance(params, dict):
        mistakes.append(f"{path}.params must be an object")
    for field, value in fields.items() if rules.options is not None else ():
        option = rules.options.get(field) if rules.options else None
        if option is None:
            mistakes.append(f"{path}.property {field} should not exist")
        elif not option.allows(value):
            mistakes.append(f"{path}.{field} {option.mistake}")
        else:
            options[option.name] = value
    return None if mistakes else Content(str(name), params or {}, **options)


def _json_object(request: Request) -> dict[str, object]:
    media_type, *parameters = request.headers.get("content-type", "").lower().split(";")
    if media_type.strip() != "application/json":
        raise Refusal(400, "Content-Type must be application/json")
    charsets = [
        p.split("=", 1)[1].strip(' "') for p in parameters if p.strip().startswith("charset=")
    ]
    if any(charset not in {"utf-8", "utf8"} for charset in charsets):
        raise Refusal(400, "charset must be utf-8")
    try:
        body = json.loads(
            request.body.decode(), parse_constant=_no_constant, parse_float=_finite_float
        )
    except (ValueError, RecursionError):
        raise Refusal(400, "リクエストボディのJSONが不正です") from None
    if not isinstance(body, dict):
        raise Refusal(400, "body must be an object")
    if _nests_deeper(body, MAX_DEPTH):
        raise Refusal(400, "body is nested too deeply")
    return body


def _nests_deeper(body: object, levels: int) -> bool:
    level: list[Any] = [body]
    for _ in range(levels):
        level = [
            part
            for value in level
            for part in (value.values() if isinstance(value, dict) else value)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is too large")
    return value
