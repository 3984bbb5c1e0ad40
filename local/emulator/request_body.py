"""The checks of a request's body: JSON, and the fields of the two generation calls."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from local.emulator.files import Content
from local.emulator.messages import Refusal, Request

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_FILE_NAME = re.compile(
    "[A-Za-z0-9._"
    "\u3005-\u3007\u3040-\u309f\u30a0-\u30ff"  # 々〆〇, hiragana, katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kanji
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f"  # full-width, half-width
    "-]+"
)

MAX_DEPTH = 600
"""A PDF's layout calls itself once a level, and Python has room for 1,000 calls."""


@dataclass(frozen=True)
class Generation:
    """What a generation call asks for."""

    design_id: str
    version: int
    contents: tuple[Content, ...]


def single(request: Request) -> Generation:
    """Read the body of `/file/async/single`.

    Raises:
        Refusal: 400, with every mistake.
    """
    body = _json_object(request)
    mistakes = list(_head_mistakes(body))
    content = body.get("content")
    mistakes += _content_mistakes(content, "content")
    return _generation(body, [content], mistakes)


def multiple(request: Request, most: int) -> Generation:
    """Read the body of `/file/async/multiple`, of at most `most` contents.

    Raises:
        Refusal: 400, with every mistake.
    """
    body = _json_object(request)
    mistakes = list(_head_mistakes(body))
    contents = body.get("contents")
    if not isinstance(contents, list):
        raise Refusal(400, [*mistakes, "contents must be an array"])
    if not 1 <= len(contents) <= most:
        mistakes.append(f"contents は1件以上{most}件以下で指定してください")
    for index, content in enumerate(contents):
        mistakes += _content_mistakes(content, f"contents.{index}")
    return _generation(body, contents, mistakes)


def _generation(body: dict[str, object], contents: list[object], mistakes: list[str]) -> Generation:
    design_id, version = body.get("designId"), _integer(body.get("version"))
    if mistakes or not isinstance(design_id, str) or version is None:
        raise Refusal(400, mistakes)
    return Generation(
        design_id.lower(),
        version,
        tuple(
            Content(content["fileName"], content["params"])
            for content in contents
            if isinstance(content, dict)
        ),
    )


def _head_mistakes(body: dict[str, object]) -> Iterator[str]:
    design_id = body.get("designId")
    if not isinstance(design_id, str) or not UUID.fullmatch(design_id):
        yield "designId must be a UUID"
    if _integer(body.get("version")) is None:
        yield "version must be an integer number"


def _integer(value: object) -> int | None:
    """A JSON value that JavaScript calls an integer: 1.0 is one, true is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _content_mistakes(content: object, path: str) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"{path} must be an object"
        return
    name = content.get("fileName")
    if not isinstance(name, str) or not name:
        yield f"{path}.fileName should not be empty"
    elif not _FILE_NAME.fullmatch(name):
        yield f"{path}.fileName は英数字、日本語、-、_、. のみ使用できます"
    if not isinstance(content.get("params"), dict):
        yield f"{path}.params must be an object"


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
