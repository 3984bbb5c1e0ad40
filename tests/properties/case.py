"""A request as its sender writes it, and the file that holds it."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.properties.canary import CURRENT

CORPUS: Final = Path(__file__).with_name("corpus")
JSON_TYPE: Final = (("content-type", "application/json"),)


@dataclass(frozen=True)
class Case:
    """One request.

    `path` is what the request line says, percent-encoded or not. `signing` is a recipe for the
    headers of a signature, made when the request is sent (`signing.headers`). `event` is merged
    over API Gateway's event (null takes a member away), for what no client can make it say.
    """

    method: str = "POST"
    path: str = f"/webhooks/{CURRENT}"
    headers: tuple[tuple[str, str], ...] = JSON_TYPE
    signing: str = ""
    body: bytes = b""
    event: Mapping[str, Any] = field(default_factory=dict)


class _File(msgspec.Struct, omit_defaults=True):
    method: str = "POST"
    path: str = f"/webhooks/{CURRENT}"
    headers: tuple[tuple[str, str], ...] = JSON_TYPE
    signing: str = ""
    json: msgspec.Raw = msgspec.Raw()
    text: str | list[str | tuple[str, int]] = ""
    base64: str = ""
    event: str | dict[str, Any] = {}
    raw: list[str | tuple[str, int]] = []
    why: str = ""
    status: int | None = None
    stored: int = 0


@dataclass(frozen=True)
class Known:
    """A request of the corpus and what must become of it.

    `raw` is sent over HTTP as it stands, in place of a request made of `case`.
    """

    name: str
    why: str
    case: Case
    raw: bytes
    status: int
    stored: int


_decoder: Final = msgspec.json.Decoder(_File)


def dump_raw(sent: bytes) -> bytes:
    """The file of bytes that are sent over HTTP as they stand."""
    return msgspec.json.encode(_File(raw=[sent.decode("latin-1")]))


def raw_of(content: bytes) -> bytes:
    """The bytes of a file that holds such; empty of another."""
    return _joined(_decoder.decode(content).raw, "latin-1")


def load(content: bytes) -> Case:
    """Read the file's request.

    Raises:
        msgspec.DecodeError, ValueError: it is not such a file.
    """
    return _case(_decoder.decode(content))


def known(path: Path) -> Known:
    """Read a file of the corpus, which says what is expected too."""
    file = _decoder.decode(path.read_bytes())
    assert file.why, path
    assert file.status is not None, path
    return Known(
        path.stem, file.why, _case(file), _joined(file.raw, "latin-1"), file.status, file.stored
    )


def dump(case: Case) -> bytes:
    """The file of a request; a body that is no text stands there in base64."""
    file = _File(case.method, case.path, case.headers, case.signing)
    try:
        file.text = case.body.decode()
    except UnicodeDecodeError:
        file.base64 = b64encode(case.body).decode()
    if case.event:
        # As text, because it may hold what UTF-8 cannot.
        file.event = json.dumps(case.event)
    return msgspec.json.encode(file)


def _case(file: _File) -> Case:
    if file.base64:
        body = b64decode(file.base64)
    elif isinstance(file.text, list):
        body = _joined(file.text, "utf-8")
    else:
        body = bytes(file.json) or file.text.encode()
    event = json.loads(file.event) if isinstance(file.event, str) else file.event
    return Case(file.method, file.path, file.headers, file.signing, body, event)


def _joined(parts: list[str | tuple[str, int]], encoding: str) -> bytes:
    """Texts, and pairs of a text and how often it comes."""
    return b"".join(
        (part if isinstance(part, str) else part[0] * part[1]).encode(encoding) for part in parts
    )
