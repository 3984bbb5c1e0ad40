"""The faults that the service can have on request.

The method `apply` of each kind handles one request, one generation or one webhook. The server, the
renderer and the webhooks call it in one place each, and do not know the kinds.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Protocol, override

from msgspec import Struct

from local.emulator.messages import Answer


class Exchange(Protocol):
    """One request, and what a fault can do with it."""

    def take(self) -> Answer:
        """Do what is asked, and return the answer."""

    def send(self, answer: Answer) -> None:
        """Answer the client."""

    def cut(self) -> None:
        """Reset the connection without an answer."""

    def wait(self, seconds: float) -> None:
        """Wait."""

    def wait_for_webhook(self, answer: Answer) -> None:
        """Wait until the webhooks of the files that `answer` names were sent."""


class Dispatch(Protocol):
    """One generation or one webhook, and what a fault can do with it."""

    def post(self, after: float = 0) -> None:
        """Do it once, in `after` seconds."""

    def hold(self, seconds: float) -> None:
        """Do it after the next one, or in `seconds` if none comes."""


class HttpFault(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", rename="camel"):
    """A fault of a submission or a download."""

    def apply(self, exchange: Exchange) -> None:
        """Handle the request as the fault does."""
        raise NotImplementedError


class DispatchFault(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", rename="camel"
):
    """A fault of a generation or of a webhook."""

    def apply(self, dispatch: Dispatch) -> None:
        """Handle it as the fault does."""
        raise NotImplementedError


class Slow(HttpFault, frozen=True, tag="slow"):
    """A busy service: it does what is asked, and answers `seconds` later."""

    seconds: float

    @override
    def apply(self, exchange: Exchange) -> None:
        answer = exchange.take()
        exchange.wait(self.seconds)
        exchange.send(answer)


class Status(HttpFault, frozen=True, tag="status"):
    """An error, such as 429, 500 or 503; with `taken`, a proxy's 504 for a request that was done.

    `retry_after` is sent as it is, seconds or a date.
    """

    status: int
    message: str | tuple[str, ...] = "Emulated fault"
    retry_after: int | str | None = None
    taken: bool = False

    @override
    def apply(self, exchange: Exchange) -> None:
        if self.taken:
            exchange.take()
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        exchange.send(Answer.error(self.status, self.message, headers))


class CutBefore(HttpFault, frozen=True, tag="cutBefore"):
    """A broken connection before the service has done anything."""

    @override
    def apply(self, exchange: Exchange) -> None:
        exchange.cut()


class CutAfter(HttpFault, frozen=True, tag="cutAfter"):
    """A lost answer: the service does what is asked, and the connection is reset."""

    @override
    def apply(self, exchange: Exchange) -> None:
        exchange.take()
        exchange.cut()


class PromisedLength(StrEnum):
    """The value of `Content-Length` with a truncated body."""

    WHOLE = "whole"
    TRUNCATED = "truncated"
    NONE = "none"


class Truncated(HttpFault, frozen=True, tag="truncated"):
    """A connection that breaks after `length` bytes of the body."""

    length: int
    promised: PromisedLength = PromisedLength.WHOLE

    @override
    def apply(self, exchange: Exchange) -> None:
        answer = exchange.take()
        promised = {
            PromisedLength.WHOLE: answer.promised_length,
            PromisedLength.TRUNCATED: len(answer.body[: self.length]),
            PromisedLength.NONE: None,
        }[self.promised]
        body = answer.body[: self.length]
        exchange.send(replace(answer, body=body, promised_length=promised))


class Html(HttpFault, frozen=True, tag="html"):
    """A content delivery network's page, with status 200, in place of the answer."""

    text: str = "<!doctype html><html><title>One moment</title><body>Please wait.</body></html>"

    @override
    def apply(self, exchange: Exchange) -> None:
        exchange.send(Answer.of(200, self.text.encode(), "text/html; charset=utf-8"))


class Oversize(HttpFault, frozen=True, tag="oversize"):
    """A PDF of `size` bytes, with or without its `Content-Length`."""

    size: int
    with_length: bool = True

    @override
    def apply(self, exchange: Exchange) -> None:
        answer = exchange.take()
        start, end = answer.body[:-32], answer.body[-32:]
        body = start + b"\n" * (self.size - len(answer.body)) + end
        promised = len(body) if self.with_length else None
        exchange.send(replace(answer, body=body, promised_length=promised))


class EarlyWebhook(HttpFault, frozen=True, tag="earlyWebhook"):
    """A webhook that is sent before the 202."""

    @override
    def apply(self, exchange: Exchange) -> None:
        answer = exchange.take()
        exchange.wait_for_webhook(answer)
        exchange.send(answer)


class Lost(DispatchFault, frozen=True, tag="lost"):
    """A PDF that is never made, or a webhook that is never sent."""

    @override
    def apply(self, dispatch: Dispatch) -> None:
        pass


class Late(DispatchFault, frozen=True, tag="late"):
    """A PDF or a webhook that comes `seconds` late."""

    seconds: float

    @override
    def apply(self, dispatch: Dispatch) -> None:
        dispatch.post(self.seconds)


class Repeated(DispatchFault, frozen=True, tag="repeated"):
    """A webhook that is sent `times` times, `gapSeconds` apart."""

    times: int = 2
    gap_seconds: float = 0

    @override
    def apply(self, dispatch: Dispatch) -> None:
        for number in range(self.times):
            dispatch.post(number * self.gap_seconds)


class Reordered(DispatchFault, frozen=True, tag="reordered"):
    """A webhook that is sent after the next one, or after `seconds` if none comes."""

    seconds: float = 1

    @override
    def apply(self, dispatch: Dispatch) -> None:
        dispatch.hold(self.seconds)


type AnyHttpFault = (
    Slow | Status | CutBefore | CutAfter | Truncated | Html | Oversize | EarlyWebhook
)
type AnyDispatchFault = Lost | Late | Repeated | Reordered
