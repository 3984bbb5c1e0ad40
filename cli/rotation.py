"""The secrets that the webhook believes: shown where they may be, changed with no event refused.

Secrets Manager has no conditional write, but moving a label is one: `AWSCURRENT` moves from the
version that was read, or not at all.

A function looks for an unknown token in the secret at most every `REREAD_SECONDS`. Right after a
change there may be one that has just looked, and would refuse the new token. So the new URL is not
shown before every function has to look again.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from botocore.exceptions import ClientError

from cli.failures import CliError, ExitCode
from cli.probe import probe
from cli.target import Target, clock_of
from reportflow.contract import Contract
from reportflow.contract.credentials import find_keys
from reportflow.secret import REREAD_SECONDS
from reportflow.signature import signing_keys

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

TOKEN_BYTES: Final = 32
SETTLED_SECONDS: Final = REREAD_SECONDS + 5
"""From a change until no function can still refuse the new token; the rest is for a read that was
under way, and for clocks."""

PROBE_SECONDS: Final = 20.0

_CURRENT: Final = "AWSCURRENT"
_PENDING: Final = "AWSPENDING"
_TOKEN: Final = "webhookToken"  # noqa: S105  (a field's name)
_PREVIOUS: Final = "previousWebhookToken"
_SIGNING: Final = "webhookSigningSecrets"


@dataclass(frozen=True)
class StoredSecret:
    """The secret's value, the version that it is, and how long it is. Never shown."""

    value: dict[str, Any] = field(repr=False)
    version_id: str
    age: timedelta

    @property
    def token(self) -> str:
        """The token in the webhook's URL."""
        return str(self.value[_TOKEN])

    @property
    def is_rotating(self) -> bool:
        """Whether the previous token is still accepted."""
        return bool(self.value.get(_PREVIOUS))

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """Those of a relay that signs, the newest first; none where the list is malformed."""
        listed = self.value.get(_SIGNING, [])
        whole = isinstance(listed, list) and all(isinstance(one, str) for one in listed)
        return tuple(listed) if whole else ()

    @property
    def can_verify(self) -> bool:
        """Whether a signature could be checked."""
        return bool(signing_keys(self.signing_secrets))

    def has_keys(self, contract: Contract) -> bool:
        """Whether somebody has filled in the account's keys."""
        keys = {name: str(value).strip() for name, value in self.value.items()}
        return find_keys(contract, keys) is not None


def read(client: "SecretsManagerClient", secret_id: str) -> StoredSecret:
    """The secret as it stands.

    Raises:
        CliError: its value is not what the functions can read; nothing of it is quoted.
    """
    answer = client.get_secret_value(SecretId=secret_id, VersionStage=_CURRENT)
    try:
        value = json.loads(answer.get("SecretString", ""))
    except ValueError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get(_TOKEN), str):
        raise CliError(
            "The secret is malformed: it must be a JSON object with ReportFlow's keys, "
            "webhookToken and previousWebhookToken, all of them text.",
            ExitCode.FINDINGS,
        )
    return StoredSecret(value, answer["VersionId"], clock_of(answer) - answer["CreatedDate"])


def rotate(target: Target, *, force: bool = False) -> None:
    """Make a new token; the present one stays good as the previous one.

    Raises:
        CliError: a rotation is under way, or somebody else changed the secret meanwhile.
    """
    stored = read(target.secretsmanager, target.secret_id)
    if stored.is_rotating and not force:
        raise CliError(
            "A rotation is under way: put the URL that `webhook-url` shows into ReportFlow's "
            "settings, then `rotate-webhook-secret --finish`. A second one now would cut off who "
            "still uses the first token; --force does it all the same.",
            ExitCode.FINDINGS,
        )
    new = {_TOKEN: secrets.token_urlsafe(TOKEN_BYTES), _PREVIOUS: stored.token}
    _replace(target, stored, new)


def fill_in(target: Target, keys: Mapping[str, str]) -> None:
    """Put the account's keys into the secret, and leave its tokens as they are.

    The other keys of the deployment's contract are emptied, so that these are the ones in use.
    Those of another contract stay.

    Raises:
        CliError: somebody else changed the secret meanwhile.
    """
    stored = read(target.secretsmanager, target.secret_id)
    others = {name for names in target.contract.credentials for name in names} & stored.value.keys()
    _replace(target, stored, {**dict.fromkeys(others, ""), **keys})


def set_signing_secret(target: Target, secret: str) -> None:
    """Let the webhook believe what a relay signs with this secret; the present one stays good.

    Raises:
        CliError: a change is under way, or somebody else changed the secret meanwhile.
    """
    stored = read(target.secretsmanager, target.secret_id)
    present = stored.signing_secrets
    if secret in present[:1]:
        return
    if len(present) > 1:
        raise CliError(
            "A change of the signing secret is under way: let the relay sign with the newest one, "
            "then `set-signing-secret --finish`. A third one now would cut off who still signs "
            "with the first.",
            ExitCode.FINDINGS,
        )
    _replace(target, stored, {_SIGNING: [secret, *present]})


def drop_previous_signing_secret(target: Target) -> bool:
    """Believe the newest signing secret only. False: there was no other.

    Raises:
        CliError: somebody else changed the secret meanwhile.
    """
    stored = read(target.secretsmanager, target.secret_id)
    if len(stored.signing_secrets) < 2:
        return False
    _replace(target, stored, {_SIGNING: [stored.signing_secrets[0]]})
    return True


def finish(target: Target) -> bool:
    """Accept the previous token no longer. False: there was none.

    Raises:
        CliError: the new token is not accepted, or somebody else changed the secret meanwhile.
    """
    stored = read(target.secretsmanager, target.secret_id)
    if not stored.is_rotating:
        return False
    settled_url(target)
    _replace(target, stored, {_PREVIOUS: ""})
    return True


def settled_url(target: Target, sleep: Callable[[float], None] = time.sleep) -> str:
    """The webhook's URL, once every function accepts it.

    Raises:
        CliError: the webhook does not accept it.
    """
    stored = read(target.secretsmanager, target.secret_id)
    unsettled = SETTLED_SECONDS - stored.age.total_seconds()
    if stored.is_rotating and unsettled > 0:
        sleep(unsettled)
    deadline = time.monotonic() + PROBE_SECONDS
    while (status := ask(target, stored)) != HTTPStatus.OK:
        if time.monotonic() > deadline:
            raise CliError(
                f"The webhook answers {status or 'nothing'} to its own URL: "
                f"{remedy(stored, status)}. Change nothing in ReportFlow's settings: the token "
                "that it has is still good.",
                ExitCode.FINDINGS,
            )
        sleep(1)
    return f"{target.webhook_base_url}/{stored.token}"


def ask(target: Target, stored: StoredSecret) -> int | None:
    """What the webhook answers to an event as a sender with this secret would send it."""
    return probe(target, stored.token, stored.signing_secrets)


def remedy(stored: StoredSecret, status: int | None) -> str:
    """What to do when the webhook gave this answer to its own URL."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE and not stored.can_verify:
        return (
            "with webhook_signature=required it needs a signing secret and there is none: "
            "reportflow set-signing-secret"
        )
    if status is None:
        return (
            "is there a proxy on the way? Name it in HTTPS_PROXY, and its certificates in "
            "AWS_CA_BUNDLE; else look in the API's access log, and deploy again"
        )
    return "look in the webhook's log and the API's access log; deploy again"


def _replace(target: Target, stored: StoredSecret, changes: Mapping[str, object]) -> None:
    """Make the changed value the current version if the one that was read still is."""
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
        if not _label_was_elsewhere(error):
            raise
        # botocore asks again where an answer was lost. Then the label has moved already.
        if read(client, target.secret_id).version_id != version_id:
            raise CliError(
                "Somebody else changed the secret at the same time, and nothing was done here: run "
                "it again.",
                ExitCode.FINDINGS,
            ) from None
    finally:
        _put_pending_away(target, version_id)


def _put_pending_away(target: Target, version_id: str) -> None:
    """Take the label away, unless another change has done so by taking it."""
    try:
        target.secretsmanager.update_secret_version_stage(
            SecretId=target.secret_id, VersionStage=_PENDING, RemoveFromVersionId=version_id
        )
    except ClientError as error:
        if not _label_was_elsewhere(error):
            raise


def _label_was_elsewhere(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") == "InvalidParameterException"
