"""The webhook from outside: an event that is about no file, which changes nothing."""

import json
from typing import Final

import urllib3

EVENT: Final = "reportflow-cli.probe"
SECONDS: Final = 10.0


def probe(base_url: str, token: str) -> int | None:
    """The status of the webhook's answer; None where there is none.

    No error is passed on: it would name the URL, and with it the token.
    """
    try:
        response = urllib3.request(
            "POST",
            f"{base_url}/{token}",
            body=json.dumps({"event": EVENT}).encode(),
            headers={"Content-Type": "application/json"},
            timeout=SECONDS,
            retries=False,
            redirect=False,
        )
    except urllib3.exceptions.HTTPError:
        return None
    return response.status
