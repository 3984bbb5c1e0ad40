"""Put-back messages are reported with reason and remedy; normal waits are not."""

from datetime import timedelta

import pytest

from cli.attempts import RECENT, UNLISTED, attempts
from cli.findings import Severity
from cli.target import Target
from tests.cli.numbers.deployment import emit, found


@pytest.mark.parametrize(
    ("code", "severity", "remedy"),
    [
        ("HTTP_503", Severity.WARNING, "retries left recover on their own"),
        ("SERVICE_UNREACHABLE", Severity.WARNING, "Check reportflow_url"),
        ("HTTP_429", Severity.WARNING, "ask ReportFlow for a higher limit"),
        (
            "AWS_ProvisionedThroughputExceededException",
            Severity.WARNING,
            "raise the limit of the operation",
        ),
        ("AWS_AccessDenied", Severity.CRITICAL, "which is a policy"),
        ("HTTP_302", Severity.CRITICAL, "Correct reportflow_url"),
        ("URL_ELSEWHERE", Severity.CRITICAL, "Correct reportflow_files_url"),
        ("AWS_403", Severity.CRITICAL, "which is a policy"),
        ("AWS_InternalServerError", Severity.WARNING, "see the operation in the function's log"),
        ("QUEUE_INCOMPLETE", Severity.WARNING, "check AWS's health page"),
    ],
)
def test_what_is_tried_in_vain_is_reported_with_its_reason_and_remedy(
    target: Target, code: str, severity: Severity, remedy: str
) -> None:
    emit(target, "Returned", 40, service="downloader", reason=code)

    [finding] = found(attempts, target)

    assert finding.severity is severity
    assert finding.what.startswith(
        f"the downloader put messages back 40 times with {code} in the last 10m"
    )
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    "code",
    [
        "FILE_UNKNOWN",
        "BEING_SUBMITTED",
        "QUEUE_BEHIND",
        "OUT_OF_TIME",
        "HTTP_404",
        "HTTP_202",
        "HTTP_403",
    ],
)
def test_what_waits_as_it_should_is_not_reported(target: Target, code: str) -> None:
    """A 403 that was not counted as refused keys is how some servers say that no file is there."""
    emit(target, "Returned", 500, service="downloader", reason=code)

    assert not found(attempts, target)


def test_a_hiccup_is_not_reported_and_a_bug_always(target: Target) -> None:
    emit(target, "Returned", 2, reason="HTTP_503")
    emit(target, "Returned", 1, reason="UNEXPECTED")

    assert ["UNEXPECTED" in finding.what for finding in found(attempts, target)] == [True]


def test_a_few_of_very_many_are_not_reported(target: Target) -> None:
    emit(target, "Submitted", 1000)
    emit(target, "Returned", 9, reason="HTTP_503")
    assert not found(attempts, target)

    emit(target, "Returned", 2, reason="HTTP_503")
    assert found(attempts, target)


def test_what_is_over_is_not_reported(target: Target) -> None:
    emit(target, "Returned", 40, reason="HTTP_503", ago=RECENT + timedelta(minutes=2))

    assert not found(attempts, target)


@pytest.mark.parametrize(
    ("code", "is_told"),
    [("HTTP_503", False), ("HTTP_429", False), ("AWS_AccessDenied", True), ("UNEXPECTED", True)],
)
def test_a_failure_is_over_when_one_succeeds_unless_it_is_urgent(
    target: Target, *, code: str, is_told: bool
) -> None:
    emit(target, "Returned", 40, reason=code, ago=timedelta(minutes=4))
    emit(target, "Submitted", 1, ago=timedelta(minutes=6))
    assert found(attempts, target)

    emit(target, "Submitted", 1)
    assert bool(found(attempts, target)) is is_told


def test_refused_keys_are_reported_until_others_are_taken(target: Target) -> None:
    """Their messages come back within an hour."""
    before = timedelta(minutes=40)
    for service in ("submitter", "downloader"):
        emit(target, "Returned", 3, service=service, reason="HTTP_401", ago=before)
        emit(target, "CredentialsRefused", 3, service=service, ago=before)

    printed = found(attempts, target)

    assert [finding.severity for finding in printed] == [Severity.CRITICAL] * 2
    assert all("3 times with HTTP_401 in the last 1h" in finding.what for finding in printed)
    assert all("set-keys" in finding.remedy for finding in printed)
    emit(target, "Submitted", 1)
    assert not found(attempts, target)


def test_a_reason_that_is_not_listed_yet_is_reported_without_its_name(target: Target) -> None:
    emit(target, "Returned", 40)

    [finding] = found(attempts, target)

    assert UNLISTED in finding.what
