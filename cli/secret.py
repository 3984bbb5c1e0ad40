"""The deployment's secret: the webhook's token, the account's keys and a relay's signing secrets.

Secrets Manager has no compare-and-set, but moving a label is one: `AWSCURRENT` moves from the
version that was read, or not at all.

A function looks for an unknown token in the secret at most every `REREAD_SECONDS`. Right after a
change, a function that has just looked would refuse the new token. So the new URL is shown only
when every function has to look again.

All functions here raise `CliError`: the secret is malformed, another change is under way or was
made meanwhile, or the webhook does not accept its URL. No message quotes the secret.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from botocore.exceptions import ClientError

from cli.failures import CliError, ExitCode, aws_code
from cli.probe import probe
from cli.target import Target, clock_of
from reportflow.contract import Contract
from reportflow.contract.credentials import find_keys
from reportflow.secret import REREAD_SECONDS
from reportflow.signature import signing_keys

TOKEN_BYTES: Final = 32
ACCEPTED_SECONDS: Final = REREAD_SECONDS + 5
"""After a change, the time until no function can refuse the new token. The five seconds are for a
read that was under way, and for clocks."""

PROBE_SECONDS: Final = 20.0

_CURRENT: Final = "AWSCURRENT"
_PENDING: Final = "AWSPENDING"
_TOKEN: Final = "webhookToken"  # noqa: S105  (a field's name)
_PREVIOUS: Final = "previousWebhookToken"
_SIGNING: Final = "webhookSigningSecrets"


@dataclass(frozen=True)
class StoredSecret:
    """The secret's value, its version, and how old that is. Never printed."""

    value: dict[str, Any] = field(repr=False)
    version_id: str
    age: timedelta

    @property
    def is_rotating(self) -> bool:
        """Whether the previous token is still accepted."""
        return bool(self.value.get(_PREVIOUS))

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """The secrets of a relay that signs, the newest first; none if the list is malformed."""
        listed = self.value.get(_SIGNING, [])
        is_whole = isinstance(listed, list) and all(isinstance(one, str) for one in listed)
        return tuple(listed) if is_whole else ()

    def has_keys(self, contract: Contract) -> bool:
        """Return whether it has the account's keys."""
        keys = {name: str(value).strip() for name, value in self.value.items()}
        return find_keys(contract, keys) is not None


def read(target: Target) -> StoredSecret:
    """Read the secret."""
    answer = target.secretsmanager.get_secret_value(
        SecretId=target.secret_id, VersionStage=_CURRENT
    )
    try:
        value = json.loads(answer.get("SecretString", ""))
    except ValueError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get(_TOKEN), str):
        raise CliError(
            "The secret is malformed: it must be a JSON object with ReportFlow's keys, "
            "webhookToken and previousWebhookToken, all of them strings. Correct it in Secrets "
            "Manager.",
            ExitCode.FINDINGS,
        )
    return StoredSecret(value, answer["VersionId"], clock_of(answer) - answer["CreatedDate"])


def rotate(target: Target, *, force: bool = False) -> None:
    """Make a new token. The present one stays valid as the previous one."""
    stored = read(target)
    if stored.is_rotating and not force:
        raise CliError(
            "A rotation is under way. Put the URL that `webhook-url` prints into ReportFlow's "
            "settings, then run `rotate-webhook-secret --finish`. A second rotation now would "
            "refuse the webhooks that still use the first token; --force does it anyway.",
            ExitCode.FINDINGS,
        )
    token = secrets.token_urlsafe(TOKEN_BYTES)
    _replace(target, stored, {_TOKEN: token, _PREVIOUS: stored.value[_TOKEN]})


def finish(target: Target) -> bool:
    """End the previous token. Returns False if there was none."""
    stored = read(target)
    if not stored.is_rotating:
        return False
    accepted_url(target)
    _replace(target, stored, {_PREVIOUS: ""})
    return True


def set_keys(target: Target, keys: Mapping[str, str]) -> None:
    """Put the account's keys into the secret.

    The contract's other keys are emptied, so that these are the ones in use. Those of the other
    contract stay.
    """
    stored = read(target)
    others = {name for names in target.contract.credentials for name in names} & stored.value.keys()
    _replace(target, stored, {**dict.fromkeys(others, ""), **keys})


def set_signing_secret(target: Target, secret: str) -> None:
    """Let the webhook accept what a relay signs with this secret. The present one stays valid."""
    stored = read(target)
    present = stored.signing_secrets
    if secret in present[:1]:
        return
    if len(present) > 1:
        raise CliError(
            "A change of the signing secret is under way. Let the relay sign with the newest "
            "secret, then run `set-signing-secret --finish`. A third secret now would refuse what "
            "is still signed with the first.",
            ExitCode.FINDINGS,
        )
    _replace(target, stored, {_SIGNING: [secret, *present]})


def finish_signing_secret(target: Target) -> bool:
    """Accept only the newest signing secret. Returns False if there was no other."""
    stored = read(target)
    if len(stored.signing_secrets) < 2:
        return False
    _replace(target, stored, {_SIGNING: [stored.signing_secrets[0]]})
    return True


def accepted_url(target: Target, sleep: Callable[[float], None] = time.sleep) -> str:
    """Return the webhook's URL, once every function accepts it."""
    stored = read(target)
    remaining = ACCEPTED_SECONDS - stored.age.total_seconds()
    if stored.is_rotating and remaining > 0:
        sleep(remaining)
    deadline = time.monotonic() + PROBE_SECONDS
    while (status := ask(target, stored)) != HTTPStatus.OK:
        if time.monotonic() > deadline:
            raise CliError(
                f"The webhook answers {status or 'nothing'} to its own URL: "
                f"{remedy(stored, status)}. Change nothing in ReportFlow's settings: the token "
                "there is still valid.",
                ExitCode.FINDINGS,
            )
        sleep(1)
    return f"{target.webhook_base_url}/{stored.value[_TOKEN]}"


def ask(target: Target, stored: StoredSecret) -> int | None:
    """Return the webhook's answer to an event that a sender with this secret would send."""
    return probe(target, stored.value[_TOKEN], stored.signing_secrets)


def remedy(stored: StoredSecret, status: int | None) -> str:
    """Return what to do if the webhook gave this answer to its own URL."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not signing_keys(stored.signing_secrets):
        return (
            "with webhook_signature=required it needs a signing secret and there is none: "
            "reportflow set-signing-secret"
        )
    if status is None:
        return (
            "if a proxy is between here and AWS, name it in HTTPS_PROXY and its certificates in "
            "AWS_CA_BUNDLE. If not, read the API's access log, and deploy again"
        )
    return "read the webhook's log and the API's access log; deploy again"


def _replace(target: Target, stored: StoredSecret, changes: Mapping[str, object]) -> None:
    """Make the changed value the current version, if the version that was read still is current."""
    client = target.secretsmanager
    version_id = str(uuid4())
    client.put_secret_value(
        SecretId=target.secret_id,
        ClientRequestToken=version_id,
        SecretString=json.dumps({**stored.value, **changes}),
        VersionStages=[_PENDING],
    )
    try:
        client.update_secret_version_stage(
            SecretId=target.secret_id,
            VersionStage=_CURRENT,
            MoveToVersionId=version_id,
            RemoveFromVersionId=stored.version_id,
        )
    except ClientError as error:
        if not _was_moved_before(error):
            raise
        # botocore repeats a call whose answer was lost. Then the label has moved already.
        if read(target).version_id != version_id:
            raise CliError(
                "Somebody else changed the secret at the same time. Nothing was changed here: run "
                "it again.",
                ExitCode.FINDINGS,
            ) from None
    finally:
        _remove_pending(target, version_id)


def _remove_pending(target: Target, version_id: str) -> None:
    """Remove the label, unless another change has taken it."""
    try:
        target.secretsmanager.update_secret_version_stage(
            SecretId=target.secret_id, VersionStage=_PENDING, RemoveFromVersionId=version_id
        )
    except ClientError as error:
        if not _was_moved_before(error):
            raise


def _was_moved_before(error: ClientError) -> bool:
    return aws_code(error) == "InvalidParameterException"
