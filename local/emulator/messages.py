"""HTTP requests and answers as values, apart from sockets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self


@dataclass(frozen=True)
class Request:
    """A request read in full; the names in `headers` are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer.

    `promised_length` is the `Content-Length`. None is an answer without one, which ends with the
    connection. `file_ids` are the files that the request asked for; they are not sent.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    promised_length: int | None
    file_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        status: int,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """An answer with its true length."""
        return cls(status, body, {"Content-Type": content_type, **(headers or {})}, len(body))

    @classmethod
    def json(cls, status: int, value: object, headers: Mapping[str, str] | None = None) -> Self:
        """An answer with a JSON body."""
        # JSON may have a lone surrogate, which has no UTF-8. Then all but ASCII is escaped.
        try:
            body = json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            body = json.dumps(value).encode()
        return cls.of(status, body, "application/json; charset=utf-8", headers)

    @classmethod
    def error(
        cls, status: int, message: str | Sequence[str], headers: Mapping[str, str] | None = None
    ) -> Self:
        """An error in the service's form."""
        body = {"statusCode": status, "message": message, "error": _phrase(status)}
        return cls.json(status, body, headers)


class Refusal(Exception):
    """The request is answered with an error."""

    def __init__(
        self, status: int, message: str | Sequence[str], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {message}")
        self.answer = Answer.error(status, message, headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
