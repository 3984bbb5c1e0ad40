"""Why the webhook refuses a request: one vocabulary for the log, the metric and the answer."""

from enum import StrEnum
from http import HTTPStatus
from typing import Final


class Refusal(StrEnum):
    """Why a request is not believed; each is a dimension of the metric `WebhooksRefused`."""

    WRONG_METHOD = "WrongMethod"
    UNKNOWN_CALLER = "UnknownCaller"
    SIGNATURE_MISSING = "SignatureMissing"
    SIGNATURE_MALFORMED = "SignatureMalformed"
    SIGNATURE_EXPIRED = "SignatureExpired"
    SIGNATURE_WRONG = "SignatureWrong"
    NOT_JSON = "NotJson"
    WRONG_SHAPE = "WrongShape"
    WRONG_ENTRY = "WrongEntry"
    WRONG_WORKSPACE = "WrongWorkspace"

    @property
    def status(self) -> HTTPStatus:
        """The status of the answer.

        Unauthenticated callers get the same 404 as for an unknown route.
        """
        return HTTPStatus.NOT_FOUND if self in _UNAUTHENTICATED else HTTPStatus.BAD_REQUEST


_UNAUTHENTICATED: Final = frozenset(
    {
        Refusal.WRONG_METHOD,
        Refusal.UNKNOWN_CALLER,
        Refusal.SIGNATURE_MISSING,
        Refusal.SIGNATURE_MALFORMED,
        Refusal.SIGNATURE_EXPIRED,
        Refusal.SIGNATURE_WRONG,
    }
)


class Refused(Exception):
    """The request can never become valid. The text shows nothing of what would be valid."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason
