"""Does what a person does after a rotation: gives ReportFlow the webhook's new URL."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from local.backend import Backend

ACCEPTED_SECONDS: Final = 15.0
"""From a new token until every function accepts it. `cli.rotation` waits as long."""

POLL_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Follower:
    """Finds from the secret which token ReportFlow should use.

    During a rotation the functions accept both tokens. ReportFlow uses the new one when every
    function accepts it. `rotate-webhook-secret` then shows the new URL.
    """

    def __init__(self, token: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._used = token
        self._clock = clock
        self._next: tuple[str, float] | None = None

    def see(self, token: str) -> str | None:
        """Take the secret's current token. Returns the token to use from now on, if it is new."""
        if token == self._used:
            self._next = None
        elif self._next is None or self._next[0] != token:
            self._next = token, self._clock()
        elif self._clock() - self._next[1] >= ACCEPTED_SECONDS:
            self._used, self._next = token, None
            return token
        return None


@contextmanager
def following(
    backend: Backend, secret_arn: str, webhook_url: str, use: Callable[[str], None]
) -> Iterator[None]:
    """Call `use` with the webhook's new URL after each rotation, until leaving."""
    base, _, token = webhook_url.rpartition("/")
    follower = Follower(token)
    client = backend.client("secretsmanager")
    stopped = threading.Event()

    def follow() -> None:
        while not stopped.wait(POLL_SECONDS):
            try:
                text = client.get_secret_value(SecretId=secret_arn)["SecretString"]
                new = follower.see(json.loads(text)["webhookToken"])
            except (ClientError, BotoCoreError, ValueError, TypeError, KeyError) as error:
                # A test may have broken the secret or the backend. The next attempt may succeed.
                _log.debug("the secret cannot be read: %s", type(error).__name__)
                continue
            if new is not None:
                use(f"{base}/{new}")

    thread = threading.Thread(target=follow, name="rotation")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
