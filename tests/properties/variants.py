"""The receiver, each time broken in one small way that somebody could think harmless."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from types import ModuleType
from typing import Annotated, Any, Final
from unittest.mock import patch

import msgspec

from reportflow import webhook
from reportflow.contract import central, workspace
from reportflow.contract import webhook_body as content
from reportflow.contract.document import OpaqueId
from reportflow.contract.files import CompletedFile, Mark, ReportedFiles
from reportflow.observability import logger
from reportflow.queues import Downloads
from reportflow.refusal import Refusal, Refused
from reportflow.webhook import Request

type Break = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Variant:
    """A bug."""

    name: str
    broken: Break


def _replaced(name: str, value: object, owner: object = webhook) -> Break:
    return lambda: patch.object(owner, name, value)


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


def _wrapped(name: str, make: Callable[[Any], Any], owner: object = webhook) -> Break:
    return lambda: patch.object(owner, name, make(getattr(owner, name)))


def _body_first(original: Any) -> Any:
    def check(request: Request) -> None:
        original(request)
        content.read_webhook(request.body or b"-", "acme")

    return check


def _decoding(part: tuple[ModuleType, str], pattern: str) -> Break:
    """Ids of another alphabet in one of `WITH_IDS`."""
    owner, name = part
    wrong = Annotated[str, msgspec.Meta(pattern=pattern)]
    struct = getattr(owner, name)
    fields: list[Any] = [
        (field.name, wrong if field.type == OpaqueId else field.type, *_default(field))
        for field in msgspec.structs.fields(struct)
    ]
    return _replaced(name, msgspec.defstruct(name, fields, rename="camel"), owner)


def _default(field: msgspec.structs.FieldInfo) -> tuple[object, ...]:
    return () if field.default is msgspec.NODEFAULT else (field.default,)


WITH_IDS: Final[Mapping[str, tuple[ModuleType, str]]] = {
    "workspace": (workspace, "_File"),
    "central": (central, "_Entry"),
    "central's request": (central, "_Request"),
}
"""What reads the ids of a webhook."""


def _without_request_id() -> AbstractContextManager[object]:
    """Entries of a central webhook that names no request."""
    stack = ExitStack()
    request = msgspec.defstruct("_Request", [("request_id", OpaqueId, "none")], rename="camel")
    stack.enter_context(patch.object(central, "_Request", request))
    return stack


def _marks(pattern: str) -> Break:
    """Marks of another alphabet."""
    matches = re.compile(pattern, re.DOTALL).fullmatch
    return _replaced("is_opaque_id", lambda text: matches(text) is not None, central)


def _mark_anywhere(original: Any) -> Any:
    def mark(passthrough: object) -> Mark | None:
        parts = passthrough.values() if isinstance(passthrough, dict) else ()
        nested = (original(part) or original({central.OWN_KEY: part}) for part in parts)
        return original(passthrough) or next(filter(None, nested), None)

    return mark


def _quoting_all() -> AbstractContextManager[object]:
    """Entries as they were documented first: with name and parameters."""
    file = msgspec.defstruct(
        "_File",
        [
            ("file_id", OpaqueId),
            ("uuid", OpaqueId),
            ("file_name", str),
            ("params", dict[str, Any]),
        ],
        rename="camel",
    )
    return patch.object(workspace, "_File", file)


def _of_any_workspace(original: Any) -> Any:
    return lambda body, _: original(body, json.loads(body or "{}").get("workspaceId"))


def _whole_or_nothing(original: Any) -> Any:
    def files(body: bytes, workspace_id: str) -> ReportedFiles:
        made: ReportedFiles = original(body, workspace_id)
        if made.wrong_entries:
            raise Refused(Refusal.WRONG_SHAPE)
        return made

    return files


def _of_no_two_names(body: bytes) -> Any:
    def refuse(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Refused(Refusal.WRONG_SHAPE)
        return dict(pairs)

    body = body.removeprefix(b"\xef\xbb\xbf") or b"{}"
    try:
        return json.loads(body, object_pairs_hook=refuse)
    except (ValueError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error


def _of_two_names_the_first(text: str) -> Any:
    return json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def _numbers_of_python(text: str) -> Any:
    return json.loads(text)


def _post_only(request: Request) -> None:
    if request.method != "POST":
        raise Refused(Refusal.WRONG_METHOD)


def _no_token_for_a_try(original: Any) -> Any:
    def check(request: Request, tokens: Iterable[str]) -> None:
        if request.method == "POST":
            original(request, tokens)

    return check


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
    def send(self: Downloads, files: Sequence[CompletedFile]) -> list[bool]:
        original(self, files)
        return [True] * len(files)

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
    Variant("the body is read before the token", _wrapped("check_method", _body_first)),
    Variant("every method is a POST", _replaced("check_method", _nothing)),
    Variant("forms cannot try the URL", _replaced("check_method", _post_only)),
    Variant("a form tries any URL", _wrapped("check_token", _no_token_for_a_try)),
    Variant(
        "of two names the first counts", _replaced("read_json", _of_two_names_the_first, content)
    ),
    Variant("two names are refused", _replaced("_object_in", _of_no_two_names, content)),
    Variant("a byte order mark is no JSON", _replaced("BOM_UTF8", b"never", content)),
    Variant(
        "a wrong entry spoils the others",
        _wrapped("read_webhook", _whole_or_nothing),
    ),
    Variant("entries quote the whole document", _quoting_all),
    Variant("the event is what API Gateway always sends", _replaced("request_of", _trusting)),
    *(
        Variant(f"ids {defect} ({contract})", _decoding(part, pattern))
        for contract, part in WITH_IDS.items()
        for defect, pattern in (
            ("may have any character", ""),
            ("may be dots", r"^[A-Za-z0-9._~-]{1,128}$(?!\n)"),
            ("may end a line", r"^[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}$"),
            ("may be of any script", r"^[\w-][\w.~-]{0,127}$(?!\n)"),
            ("may be of any length", r"^[A-Za-z0-9_-][A-Za-z0-9._~-]*$(?!\n)"),
            ("are letters and digits", r"^[A-Za-z0-9]{1,128}$(?!\n)"),
        )
    ),
    *(
        Variant(f"marks {defect}", _marks(pattern))
        for defect, pattern in (
            ("may have any character", ".*"),
            ("may be empty", r"[A-Za-z0-9._-]{0,128}"),
            ("may be of any length", r"[A-Za-z0-9_-][A-Za-z0-9._-]*"),
            ("may be of any script", r"[\w-][\w.-]{0,127}"),
            ("begin with a letter or digit", r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"),
        )
    ),
    Variant(
        "the mark may stand elsewhere in passthrough", _wrapped("_mark", _mark_anywhere, central)
    ),
    Variant("the mark is not read", _replaced("_mark", _nothing, central)),
    Variant("a central webhook needs no request", _without_request_id),
    Variant(
        "a request makes an entry with a uuid central's",
        _replaced("_Entry", central._File, central),
    ),
    Variant(
        "passthrough travels on",
        _replaced("_mark", lambda part: Mark("job", json.dumps(part)), central),
    ),
    Variant("any workspace is ours", _wrapped("read_webhook", _of_any_workspace)),
    Variant(
        "params travel on",
        _replaced("digest_of", lambda *document: json.dumps(document[3]), workspace),
    ),
    Variant("numbers are what Python reads", _replaced("read_json", _numbers_of_python, content)),
    Variant(
        "an unauthenticated caller gets another status",
        lambda: patch.object(Refusal, "status", HTTPStatus.FORBIDDEN),
    ),
    Variant("it answers before it stores", lambda: patch.object(Downloads, "send", _nothing)),
    Variant(
        "the first file of a batch is stored",
        lambda: patch.object(Downloads, "send", _first_only(Downloads.send)),
    ),
    Variant(
        "what the queue did not take is not missed",
        lambda: patch.object(Downloads, "_send", _all_taken(Downloads._send)),
    ),
    Variant("unsigned requests are taken too", _wrapped("check_signed", _unsigned_too)),
    Variant("signatures are not checked", _replaced("check_signed", _nothing)),
    Variant("a signature may be of next year", _wrapped("check_signature", _in_the_future_too)),
)
