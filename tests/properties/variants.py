"""The receiver, each time broken in one small way that somebody could think harmless."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any
from unittest.mock import patch

import msgspec

from reportflow import messages, webhook
from reportflow.messages import CompletedFile
from reportflow.observability import logger
from reportflow.queues import Downloads
from reportflow.webhook import Refusal, Refused, Request

type Break = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Variant:
    """A defect."""

    name: str
    broken: Break


def _replaced(name: str, value: object) -> Break:
    return lambda: patch.object(webhook, name, value)


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _token_if(matches: Callable[[str, str], bool]) -> Break:
    def check(request: Request, tokens: Iterable[str]) -> None:
        if not any(matches(request.token, token) for token in tokens):
            raise Refused(Refusal.UNKNOWN_CALLER)

    return _replaced("check_token", check)


def _current_only(original: Any) -> Any:
    return lambda request, tokens: original(request, tuple(tokens)[:1])


def _telling(original: Any) -> Any:
    def check(request: Request, tokens: Iterable[str]) -> None:
        logger().info("webhook", extra={"token": request.token})
        original(request, tokens)

    return check


def _wrapped(name: str, make: Callable[[Any], Any]) -> Break:
    return lambda: patch.object(webhook, name, make(getattr(webhook, name)))


def _body_first(original: Any) -> Any:
    def check(request: Request) -> None:
        original(request)
        webhook.json_of(request)

    return check


def _decoding(pattern: str) -> Break:
    """Ids of another alphabet."""
    name = Annotated[str, msgspec.Meta(pattern=pattern)]
    file = msgspec.defstruct(
        "_File",
        [
            ("file_id", name),
            ("uuid", name),
            ("file_name", str, ""),
            ("params", msgspec.Raw, msgspec.Raw(b"{}")),
        ],
        rename="camel",
    )
    completed = msgspec.defstruct(
        "_Completed",
        [
            ("workspace_id", str),
            ("design_id", messages.DesignId),
            ("version", messages.Version),
            ("files", list[file]),  # type: ignore[valid-type]
        ],
        rename="camel",
    )
    return _replaced("_completed_decoder", msgspec.json.Decoder(completed))


def _of_any_workspace(original: Any) -> Any:
    def files(body: bytes, _: str) -> list[CompletedFile]:
        said = webhook._decode(body, webhook._completed_decoder).workspace_id
        made: list[CompletedFile] = original(body, said)
        return made

    return files


def _trusting(event: Mapping[str, Any]) -> Request:
    return Request(
        event["requestContext"]["http"]["method"],
        event["pathParameters"]["token"],
        event["headers"],
        event["body"].encode(),
    )


def _unsigned_too(original: Any) -> Any:
    def check(request: Request, *rest: Any) -> None:
        if "webhook-signature" in request.headers:
            original(request, *rest)

    return check


def _in_the_future_too(original: Any) -> Any:
    def check(headers: Mapping[str, str], body: bytes, keys: Any, now: float) -> None:
        told = headers.get("webhook-timestamp", "")
        ahead = told.isascii() and told.isdecimal() and len(told) <= 12
        original(headers, body, keys, max(now, float(told)) if ahead else now)

    return check


def _all_taken(original: Any) -> Any:
    def send(self: Downloads, files: Iterable[CompletedFile]) -> int:
        original(self, files)
        return 0

    return send


def _first_only(original: Any) -> Any:
    def send(self: Downloads, files: Sequence[CompletedFile]) -> None:
        original(self, files[:1])

    return send


VARIANTS = (
    Variant(
        "the start of the token is enough", _token_if(lambda given, token: token[:-1] in given)
    ),
    Variant("capitals do not matter", _token_if(lambda g, token: g.lower() == token.lower())),
    Variant("white space does not matter", _token_if(lambda g, token: g.strip() == token)),
    Variant("no token is a token", _token_if(lambda g, token: not g or g == token)),
    Variant("the previous token is refused", _wrapped("check_token", _current_only)),
    Variant("the token is logged", _wrapped("check_token", _telling)),
    Variant("the body is read before the token", _wrapped("check_size", _body_first)),
    Variant("every method is a POST", _replaced("check_method", _nothing)),
    Variant("no body is too long", _replaced("check_size", _nothing)),
    Variant("two of a name are taken", _replaced("json_of", lambda request: request.body or b"")),
    Variant("the event is what API Gateway always sends", _replaced("request_of", _trusting)),
    Variant("ids may have any character", _decoding("")),
    Variant("ids may have dots", _decoding(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)")),
    Variant("ids may end a line", _decoding(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")),
    Variant("ids may be of any script", _decoding(r"^[^\W_][\w-]{0,127}$(?!\n)")),
    Variant("ids may be of any length", _decoding(r"^[A-Za-z0-9][A-Za-z0-9_-]*$(?!\n)")),
    Variant("any workspace is ours", _wrapped("completed_files", _of_any_workspace)),
    Variant(
        "params travel on",
        _replaced("document_digest", lambda *document: bytes(document[3]).decode()),
    ),
    Variant(
        "numbers are what a decimal holds",
        lambda: patch.object(messages, "_params_decoder", msgspec.json.Decoder(float_hook=Decimal)),
    ),
    Variant("a stranger is told so", lambda: patch.object(Refusal, "status", HTTPStatus.FORBIDDEN)),
    Variant("it answers before it stores", lambda: patch.object(Downloads, "send", _nothing)),
    Variant(
        "the first file of a batch is stored",
        lambda: patch.object(Downloads, "send", _first_only(Downloads.send)),
    ),
    Variant(
        "what the queue did not take is not missed",
        lambda: patch.object(Downloads, "_send_batch", _all_taken(Downloads._send_batch)),
    ),
    Variant("unsigned requests are taken too", _wrapped("check_signed", _unsigned_too)),
    Variant("signatures are not checked", _replaced("check_signed", _nothing)),
    Variant("a signature may be of next year", _wrapped("check_signature", _in_the_future_too)),
)
