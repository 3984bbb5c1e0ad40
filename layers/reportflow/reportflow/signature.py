"""Standard Webhooks signatures, for a deployment with a signing relay in front.

HMAC-SHA256 over `{id}.{timestamp}.{body}`, the body as the very bytes that came. Standard library
only. Specification: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

TOLERANCE_SECONDS: Final = 300
"""How far a timestamp may lie in the past or in the future."""

MIN_KEY_BYTES: Final = 24
"""The specification's minimum. An empty key would be one that everybody knows."""

_VERSION: Final = b"v1"

# Without a full stop: id, timestamp and body are signed with one between them, and of an id with
# full stops in it a second reading could be signed too.
_ID: Final = re.compile(r"[!-\-/-~]{1,256}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURES: Final = re.compile(r"[!-+\--~]+,[!-+\--~]+( [!-+\--~]+,[!-+\--~]+)*")


class Flaw(StrEnum):
    """What is wrong with a signature."""

    MISSING = "SignatureMissing"
    MALFORMED = "SignatureMalformed"
    EXPIRED = "SignatureExpired"
    WRONG = "SignatureWrong"


class InvalidSignature(Exception):
    """The request is not signed, or not so that it counts. Says nothing of what would."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw)
        self.flaw = flaw


def signing_keys(secrets: Iterable[str]) -> list[bytes]:
    """The keys of `whsec_` secrets; what is none, or shorter than `MIN_KEY_BYTES`, is left out."""
    keys = [_key(secret) for secret in secrets]
    return [key for key in keys if len(key) >= MIN_KEY_BYTES]


def check_signature(
    headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], now: float
) -> None:
    """Return if one of the signatures was made with one of the keys.

    `headers` have their names in lower case; `now` is in seconds since 1970.

    Raises:
        InvalidSignature: none was, or it is too old, too new or malformed.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not (message_id and timestamp and signatures):
        raise InvalidSignature(Flaw.MISSING)
    if not (
        _ID.fullmatch(message_id)
        and _TIMESTAMP.fullmatch(timestamp)
        and _SIGNATURES.fullmatch(signatures)
    ):
        raise InvalidSignature(Flaw.MALFORMED)
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise InvalidSignature(Flaw.EXPIRED)
    given = signatures.encode().split(b" ")
    head = f"{message_id}.{timestamp}.".encode()
    # As text: what a lenient decoder makes of something else is no signature of ours.
    expected = [signature(key, head, body) for key in keys]
    # All of them, whatever the first comparison says: the time tells nobody which key it was.
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    if not any(matches):
        raise InvalidSignature(Flaw.WRONG)


def signature(key: bytes, head: bytes, body: bytes) -> bytes:
    """What the header holds for one key; `head` is `{id}.{timestamp}.`."""
    made = hmac.new(key, head, "sha256")
    made.update(body)
    return _VERSION + b"," + b64encode(made.digest())


def _key(secret: str) -> bytes:
    try:
        return b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except ValueError:
        return b""
