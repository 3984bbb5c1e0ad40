"""Reads the secret at run time: ReportFlow's keys and the webhook's tokens."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from reportflow import aws
from reportflow.errors import CredentialsRefused

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CACHE_SECONDS: Final = 300.0
REREAD_SECONDS: Final = 10.0
"""The shortest time between two reads of the secret, however often ReportFlow refuses its keys."""


class Secret(msgspec.Struct, frozen=True):
    """The secret's value. Its repr hides all fields, so no log or traceback contains them.

    `keys` holds the other texts by name: ReportFlow's keys, which the contract reads.
    `webhook_tokens` holds the current token and, during a rotation, the previous one.
    `webhook_signing_secrets` holds the signing relay's secrets, unchecked.
    """

    keys: Mapping[str, str]
    webhook_tokens: tuple[str, ...]
    webhook_signing_secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "Secret()"


class SecretStore:
    """Reads the secret from Secrets Manager and caches it for `CACHE_SECONDS`. Thread-safe."""

    def __init__(
        self,
        client: "SecretsManagerClient",
        secret_arn: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Pass a wall clock: a monotonic one can stop while Lambda freezes the process."""
        self._client = client
        self._secret_arn = secret_arn
        self._clock = clock
        self._lock = threading.Lock()
        self._cached: tuple[Secret, float] | None = None

    def get(self) -> Secret:
        """Return the secret, at most `CACHE_SECONDS` old.

        Raises:
            Retryable: Secrets Manager does not answer.
            CredentialsRefused: the secret's value is malformed.
        """
        return self._no_older_than(CACHE_SECONDS)

    def get_fresh(self) -> Secret:
        """Return the secret, at most `REREAD_SECONDS` old, because a newer one may be right."""
        return self._no_older_than(REREAD_SECONDS)

    def _no_older_than(self, seconds: float) -> Secret:
        with self._lock:
            now = self._clock()
            # A clock that was set back makes an age negative.
            if self._cached is None or not 0 <= now - self._cached[1] < seconds:
                # The value's age counts from the request, because the answer may take long.
                self._cached = (self._read(), now)
            return self._cached[0]

    def _read(self) -> Secret:
        with aws.translated("secretsmanager:GetSecretValue"):
            answer = self._client.get_secret_value(SecretId=self._secret_arn)
        try:
            stored = msgspec.json.decode(answer.get("SecretString", ""), type=dict[str, Any])
            tokens = msgspec.convert(
                (stored["webhookToken"], stored.get("previousWebhookToken", "")), tuple[str, str]
            )
        except (KeyError, msgspec.DecodeError):
            # The decoder's own message could quote the secret.
            raise CredentialsRefused(
                "SECRET_MALFORMED",
                "the secret must be a JSON object of strings with ReportFlow's keys, webhookToken "
                "and previousWebhookToken: correct its value",
            ) from None
        # A mistake in this list must affect the webhook only.
        signing = stored.get("webhookSigningSecrets")
        if not isinstance(signing, list) or not all(isinstance(each, str) for each in signing):
            signing = ()
        return Secret(
            # A pasted key can have white space around it.
            keys={name: value.strip() for name, value in stored.items() if isinstance(value, str)},
            webhook_tokens=tuple(token for token in tokens if token),
            webhook_signing_secrets=tuple(signing),
        )
