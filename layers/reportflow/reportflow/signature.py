"""Standard Webhooks signatures, for a deployment with a signing relay in front.

HMAC-SHA256 over `{id}.{timestamp}.{body}`, the body as the very bytes that came. Standard library
only. Specification: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final

from reportflow.refusal import Refusal, Refused

TOLERANCE_SECONDS: Final = 300
"""How far a timestamp may lie in the past or in the future."""

MIN_KEY_BYTES: Final = 24
"""The specification's minimum. Everybody would know an empty key."""

_VERSION: Final = b"v1"

# No full stop: the signed text joins id, timestamp and body with full stops. An id that contains
# one would allow a second reading of the same signature.
_ID: Final = re.compile(r"[!-\-/-~]{1,256}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_SIGNATURES: Final = re.compile(r"[!-+\--~]+,[!-+\--~]+( [!-+\--~]+,[!-+\--~]+)*")


def signing_keys(secrets: Iterable[str]) -> list[bytes]:
    """The keys of `whsec_` secrets, without malformed ones and ones under `MIN_KEY_BYTES`."""
    keys = [_key(secret) for secret in secrets]
    return [key for key in keys if len(key) >= MIN_KEY_BYTES]


def check_signature(
    headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], now: float
) -> None:
    """Return if one of the signatures matches one of the keys.

    `headers` have their names in lower case; `now` is in seconds since 1970.

    Raises:
        Refused: no signature matches, or the timestamp is too old or too new.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not (message_id and timestamp and signatures):
        raise Refused(Refusal.SIGNATURE_MISSING)
    if not (
        _ID.fullmatch(message_id)
        and _TIMESTAMP.fullmatch(timestamp)
        and _SIGNATURES.fullmatch(signatures)
    ):
        raise Refused(Refusal.SIGNATURE_MALFORMED)
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise Refused(Refusal.SIGNATURE_EXPIRED)
    given = signatures.encode().split(b" ")
    head = f"{message_id}.{timestamp}.".encode()
    # Compared as text: a lenient base64 decoder would accept several spellings of a signature.
    expected = [signature(key, head, body) for key in keys]
    # Every pair is compared, so that the time does not reveal which key matched.
    matches = [hmac.compare_digest(one, other) for one in expected for other in given]
    if not any(matches):
        raise Refused(Refusal.SIGNATURE_WRONG)


def signature(key: bytes, head: bytes, body: bytes) -> bytes:
    """The header's signature for one key; `head` is `{id}.{timestamp}.`."""
    made = hmac.new(key, head, "sha256")
    made.update(body)
    return _VERSION + b"," + b64encode(made.digest())


def _key(secret: str) -> bytes:
    try:
        return b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except ValueError:
        return b""
