"""The webhook from outside: an event that is about no file, which changes nothing."""

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
    """The status of the webhook's answer; None where there is none.

    It is signed where there are signing secrets; a webhook that asks for no signature ignores
    that. No error is passed on: it would name the URL, and with it the token.

    The way there is that of the AWS clients: by the proxies and with the certificates that the
    environment names; to this machine's system by none.
    """
    body = json.dumps({"event": EVENT}).encode()
    with requests.Session() as session:
        session.trust_env = not target.is_local
        try:
            with session.post(
                f"{target.webhook_base_url}/{token}",
                data=body,
                headers={"Content-Type": "application/json", **_signed(body, signing_secrets)},
                # Any keeps requests from sending what `.netrc` has for the host.
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
