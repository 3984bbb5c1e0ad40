"""Standard Webhooks signatures a second time: making them, and deciding what must be believed.

Written from the specification (github.com/standard-webhooks/standard-webhooks).
"""

import hashlib
import hmac
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from tests.properties import canary

SECRETS: Final = {
    "current": canary.SIGNING_SECRET,
    "previous": canary.PREVIOUS_SIGNING_SECRET,
    "wrong": "whsec_" + b64encode(b"nobody knows this one for sure!!").decode(),
}
AGES: Final = {"old": -3600, "late": -200, "early": 200, "future": 3600}
"""Seconds from now; the specification leaves the tolerance open, and five minutes are usual."""

_USUAL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_USUAL_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_USUAL_SIGNATURES: Final = re.compile(r"v1,[A-Za-z0-9+/=]+( v1,[A-Za-z0-9+/=]+)*")


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the HMAC."""
    key = b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(recipe: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """The headers by a recipe of `SECRETS`' and `AGES`' names: `wrong current old`."""
    words = recipe.split()
    if not words:
        return ()
    timestamp = str(int(time.time()) + sum(AGES.get(word, 0) for word in words))
    made = [signature(SECRETS[word], "msg_1", timestamp, body) for word in words if word in SECRETS]
    return (
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", " ".join(made)),
    )


def is_signed(event: Mapping[str, Any], body: bytes) -> bool | None:
    """Whether the event is signed; None where the specification leaves it open."""
    given = event.get("headers")
    given = given if isinstance(given, Mapping) else {}
    message_id: Any = given.get("webhook-id")
    timestamp: Any = given.get("webhook-timestamp")
    signatures: Any = given.get("webhook-signature")
    try:
        age = abs(int(time.time()) - int(timestamp))
        right = {
            signature(secret, message_id, timestamp, body)
            for secret in (canary.SIGNING_SECRET, canary.PREVIOUS_SIGNING_SECRET)
        }
        matches = right & set(signatures.split(" "))
    except (AttributeError, TypeError, ValueError):
        return False
    if not matches or age > 310:
        return False
    usual = (
        age < 290
        and _USUAL_ID.fullmatch(message_id)
        and _USUAL_TIMESTAMP.fullmatch(timestamp)
        and _USUAL_SIGNATURES.fullmatch(signatures)
    )
    return True if usual else None
