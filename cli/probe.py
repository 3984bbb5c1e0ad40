"""Tests the webhook from outside, with an event about no file, which changes nothing."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import uuid4

import requests

from cli.target import Target
from reportflow.signature import signature, signing_keys

EVENT: Final = "reportflow-cli.probe"
SECONDS: Final = 10.0


def probe(target: Target, token: str, signing_secrets: Sequence[str] = ()) -> int | None:
    """Return the status of the webhook's answer; None if there is none.

    With signing secrets the event is signed. A webhook that needs no signature ignores that. No
    error is passed on: it would name the URL, and with it the token.

    The request takes the way of the AWS clients: the proxies and certificates that the environment
    names. It reaches the local system directly.
    """
    body = json.dumps({"event": EVENT}).encode()
    with requests.Session() as session:
        session.trust_env = not target.is_local
        try:
            with session.post(
                f"{target.webhook_base_url}/{token}",
                data=body,
                headers={"Content-Type": "application/json", **_signed(body, signing_secrets)},
                # Any value keeps requests from sending what `.netrc` has for the host.
                auth=lambda request: request,
                timeout=SECONDS,
                allow_redirects=False,
                stream=True,
                verify=os.environ.get("AWS_CA_BUNDLE") or True,
            ) as response:
                return response.status_code
        except OSError:
            return None


def _signed(body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
    """Sign with all secrets: right after a change a function may know only the older one."""
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
