"""The webhook from outside: an event that is about no file, which changes nothing."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import uuid4

import urllib3

from reportflow.signature import signature, signing_keys

EVENT: Final = "reportflow-cli.probe"
SECONDS: Final = 10.0


def probe(base_url: str, token: str, signing_secrets: Sequence[str] = ()) -> int | None:
    """The status of the webhook's answer; None where there is none.

    It is signed where there are signing secrets; a webhook that asks for no signature ignores
    that. No error is passed on: it would name the URL, and with it the token.
    """
    body = json.dumps({"event": EVENT}).encode()
    try:
        response = urllib3.request(
            "POST",
            f"{base_url}/{token}",
            body=body,
            headers={"Content-Type": "application/json", **_signed(body, signing_secrets)},
            timeout=SECONDS,
            retries=False,
            redirect=False,
        )
    except urllib3.exceptions.HTTPError:
        return None
    return response.status


def _signed(body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
    """With all of them: right after a change a function may know the older one only."""
    keys = signing_keys(secrets)
    if not keys:
        return {}
    message_id, timestamp = f"probe_{uuid4().hex}", str(int(time.time()))
    head = f"{message_id}.{timestamp}.".encode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": b" ".join(signature(key, head, body) for key in keys).decode(),
    }
