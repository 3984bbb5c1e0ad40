"""What `doctor` asks Lambda about, with a Lambda of answers."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli import checks
from cli.findings import Check, Finding, Plan, Severity, findings
from cli.target import Target

PLAN = Plan(window=timedelta(hours=1), unfinished=timedelta(hours=1))
FUNCTIONS = {"submitter": "acme-submitter", "downloader": "acme-downloader"}
ARN = "arn:aws:lambda:eu-west-1:111122223333:function"
QUEUES = "https://sqs.eu-west-1.amazonaws.com/111122223333"


@dataclass
class Account:
    """Lambda and SQS of an account in which two queues feed two functions."""

    called: dict[str, str]
    limit: int = 1000
    maximum: int = 5
    refusal: ClientError | None = None
    asked: list[str] = field(default_factory=list)

    def client(self, _service: str, /) -> Any:
        return self

    def get_queue_attributes(self, **request: Any) -> Any:
        return {"Attributes": {"QueueArn": request["QueueUrl"].rsplit("/", 1)[-1]}}

    def list_event_source_mappings(self, **request: Any) -> Any:
        mapping = {
            "UUID": "a-uuid",
            "State": "Enabled",
            "FunctionArn": f"{ARN}:{self.called[request['EventSourceArn']]}",
            "ScalingConfig": {"MaximumConcurrency": self.maximum},
        }
        return {"EventSourceMappings": [mapping]}

    def get_account_settings(self) -> Any:
        if self.refusal:
            raise self.refusal
        return {"AccountLimit": {"ConcurrentExecutions": self.limit}}

    def get_function_configuration(self, **request: Any) -> Any:
        self.asked.append(f"{request['FunctionName']}:{request['Qualifier']}")
        return {"State": "Active", "LastUpdateStatus": "Successful", "Layers": []}


ALIASED = {"requests": "acme-submitter:live", "downloads": "acme-downloader:live"}


def target(account: Account, *, functions: dict[str, str] = FUNCTIONS) -> Target:
    return Target(
        name="Acme",
        is_local=not functions,
        request_queue_url=f"{QUEUES}/requests",
        request_dlq_url=f"{QUEUES}/request-dead-letters",
        download_queue_url=f"{QUEUES}/downloads",
        download_dlq_url=f"{QUEUES}/download-dead-letters",
        jobs_table="jobs",
        archive_bucket="archive",
        secret_id="secret",
        webhook_base_url="https://example.com/webhooks",
        clients=account,
        functions=functions,
    )


def found(check: Check, account: Account, **of: Any) -> list[Finding]:
    return findings(check, target(account, **of), PLAN)


def refused(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetAccountSettings")


def test_an_account_that_runs_few_functions_at_a_time_is_named() -> None:
    [finding] = found(checks.concurrency, Account(ALIASED, limit=10, maximum=2))
    assert finding.severity is Severity.WARNING
    assert "may run 10 times at once" in finding.what
    assert "may take 4 of them" in finding.what
    assert "request-service-quota-increase" in finding.remedy


def test_the_queues_and_a_seconds_webhooks_have_to_fit() -> None:
    room = 5 + 5 + checks.WEBHOOKS_AT_A_TIME
    assert found(checks.concurrency, Account(ALIASED, limit=room - 1, maximum=5))
    assert not found(checks.concurrency, Account(ALIASED, limit=room, maximum=5))


def test_without_the_right_to_ask_nothing_is_known() -> None:
    account = Account(ALIASED, refusal=refused("AccessDeniedException", 403))
    [finding] = found(checks.concurrency, account)
    assert finding.severity is Severity.UNKNOWN
    assert "AccessDeniedException" in finding.what


def test_an_emulated_aws_without_account_settings_is_short_of_nothing() -> None:
    assert found(checks.concurrency, Account(ALIASED, refusal=refused("404", 404))) == []
    assert found(checks.concurrency, Account({}, limit=10), functions={}) == []


@pytest.mark.parametrize("qualifier", ["", ":live"])
def test_an_event_source_is_found_whether_it_calls_an_alias_or_not(qualifier: str) -> None:
    called = {
        "requests": f"acme-submitter{qualifier}",
        "downloads": f"acme-downloader{qualifier}",
    }
    assert found(checks.event_sources, Account(called)) == []


def test_an_event_source_of_another_function_feeds_nobody_here() -> None:
    called = ALIASED | {"requests": "acme-submitter-2:live"}
    [finding] = found(checks.event_sources, Account(called))
    assert finding.what == "the submitter has no event source"


def test_the_version_that_is_called_is_checked() -> None:
    account = Account(ALIASED)
    assert found(checks.functions, account) == []
    assert account.asked == ["acme-submitter:live", "acme-downloader:live"]
