from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from reportflow import aws
from reportflow.contract.failures import (
    MAX_RETRY_AFTER_SECONDS,
    parse_retry_after,
    translate_status,
)
from reportflow.errors import (
    CredentialsRefused,
    Held,
    OutcomeUnknown,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
    Unavailable,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Permanent),
        (401, CredentialsRefused),
        (403, CredentialsRefused),
        (404, Permanent),
        (405, Permanent),
        (408, Retryable),
        (412, CredentialsRefused),
        (413, Permanent),
        (422, Permanent),
        (425, Retryable),
        (429, Throttled),
        (500, Retryable),
        (502, Retryable),
        (503, Retryable),
        (301, Retryable),
        (307, Retryable),
    ],
)
def test_a_status_decides_the_kind_of_error(status: int, kind: type[PipelineError]) -> None:
    error = translate_status(status, "理由", retry_after_seconds=7)

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"
    assert "理由" in error.message
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("kind", "costs"),
    [(Retryable, True), (Throttled, False), (Held, False), (CredentialsRefused, False)],
)
def test_what_is_nobodys_fault_costs_no_retry(kind: type[Retryable], *, costs: bool) -> None:
    assert kind("CODE", "message").costs_retry is costs


def test_the_three_kinds_exclude_each_other() -> None:
    for kind in (Retryable, OutcomeUnknown, Permanent):
        others = {Retryable, OutcomeUnknown, Permanent} - {kind}
        assert issubclass(kind, PipelineError)
        assert not issubclass(kind, tuple(others))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_retry_after_is_handed_on(status: int) -> None:
    error = translate_status(status, "", retry_after_seconds=7)

    assert isinstance(error, Retryable)
    assert error.delay_seconds == 7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("9" * 400, MAX_RETRY_AFTER_SECONDS),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30),
        ("Sun, 01 Mar 2026 21:00:30 +0900", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2037 12:00:00 GMT", MAX_RETRY_AFTER_SECONDS),
        ("Sun, 01 Mar 99999 12:00:00 GMT", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def refusal(code: str, operation: str = "PutObject") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "secret detail"}}, operation)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("ThrottlingException"), Throttled),
        (refusal("ProvisionedThroughputExceededException"), Throttled),
        (refusal("SlowDown"), Throttled),
        (refusal("RequestThrottled"), Throttled),
        (refusal("InternalError"), Unavailable),
        (refusal("AccessDenied"), Unavailable),
        (refusal("ResourceNotFoundException"), Unavailable),
        (ClientError({}, "PutObject"), Unavailable),
        (EndpointConnectionError(endpoint_url="http://x"), Unavailable),
        (ReadTimeoutError(endpoint_url="http://x"), Unavailable),
        (NoCredentialsError(), Unavailable),
    ],
    ids=lambda value: str(value)[:60],
)
def test_nothing_that_aws_refuses_is_the_messages_fault(
    error: ClientError | BotoCoreError, kind: type[PipelineError]
) -> None:
    with pytest.raises(PipelineError) as translated, aws.translated("s3:PutObject"):
        raise error

    assert type(translated.value) is kind
    assert "s3:PutObject" in translated.value.message
    assert "secret detail" not in str(translated.value)


def test_what_is_not_awss_passes_unchanged() -> None:
    def fail(**_: Any) -> None:
        raise Permanent("CODE", "message")

    with pytest.raises(Permanent, match="CODE: message"), aws.translated("s3:PutObject"):
        fail()
