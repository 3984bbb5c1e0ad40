"""The deployment has moved from `workspace` to `central`, and jobs of before are in flight."""

import json
from collections.abc import Callable
from copy import replace
from typing import Any

import msgspec
import pytest

from reportflow.archiving import ADOPTION_AGE, Archiving
from reportflow.consumer import Outcome
from reportflow.contract import CENTRAL, WORKSPACE, Contract
from reportflow.contract.client import Endpoint, ReportFlow
from reportflow.contract.webhook_body import read_webhook
from reportflow.errors import Held
from reportflow.jobs import Job, Lease
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from reportflow.secret import SecretStore
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    COMPLETION_DEADLINE,
    ORPHAN_GRACE,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Respond, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import claim, submit
from tests.unit.reportflow_answers import central_accepted, said
from tests.unit.samples import (
    JOB_ID,
    PDF,
    central_webhook_body,
    check_body,
    content,
    message_body,
    request,
    webhook_body,
)
from tests.unit.service_client import client_of

type Items = Callable[[str], dict[str, str]]

PATH = "/v1/file/download/u1/file_1"
URL = "/files/of-the-202"


@pytest.fixture
def contract() -> Contract:
    return CENTRAL


@pytest.fixture
def former(listen: Callable[[Respond], Peer]) -> Peer:
    """The host of before."""
    return listen(lambda _: answer(200, PDF))


@pytest.fixture
def knows_former() -> bool:
    """Whether the setting says where the host of before is."""
    return True


@pytest.fixture
def service(
    *, peer: Peer, former: Peer, secret_store: SecretStore, clock: Clock, knows_former: bool
) -> ReportFlow:
    return client_of(
        f"{peer.url}/v1",
        secret_store,
        f"{former.url}/files",
        contract=CENTRAL,
        clock=clock,
        former=[Endpoint(WORKSPACE, f"{former.url}/v1")] if knows_former else [],
    )


@pytest.fixture
def older(jobs: JobsTable, clock: Clock) -> Job:
    """A job whose submission by `workspace` was not answered."""
    return claim(jobs, JOB_ID, request(), "message-1", Lease("submitter", clock()), clock())


@pytest.fixture
def older_submitted(jobs: JobsTable, older: Job, former: Peer, clock: Clock) -> Job:
    return submit(jobs, older, "file_1", f"{former.url}{URL}", clock())


@pytest.fixture
def webhook(queues: QueuePair, clock: Clock) -> Record:
    """The older job's webhook, in the form of before."""
    [file, _] = webhook_body()["files"]
    file = {**file, "fileName": "invoice.pdf", "params": {"amount": 10000}}
    (completed,) = read_webhook(json.dumps(webhook_body(files=[file])).encode(), "acme").files
    record = queues.deliver(msgspec.json.encode(completed).decode())
    return replace(record, sent_at=clock() - ADOPTION_AGE)


@pytest.fixture
def check(queues: QueuePair, clock: Clock) -> Record:
    return replace(queues.deliver(check_body()), sent_at=clock())


@pytest.mark.usefixtures("older_submitted")
@pytest.mark.parametrize(("message", "target"), [("webhook", PATH), ("check", URL)])
def test_an_older_job_is_archived_from_the_host_of_before(
    *,
    archiving: Archiving,
    former: Peer,
    peer: Peer,
    item: Items,
    clock: Clock,
    message: str,
    target: str,
    request: pytest.FixtureRequest,
) -> None:
    record: Record = request.getfixturevalue(message)

    assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED

    assert item(JOB_ID)["status"] == "ARCHIVED"
    assert [got.target for got in former.received] == [target]
    assert peer.received == []


@pytest.mark.usefixtures("older")
def test_an_older_submission_without_an_answer_is_reconciled_by_its_webhook(
    archiving: Archiving, webhook: Record, former: Peer, item: Items, clock: Clock
) -> None:
    assert archiving(webhook, next_invocation(clock)) is Outcome.ARCHIVED

    assert item(JOB_ID)["fileId"] == "file_1"
    assert [got.target for got in former.received] == [PATH]


@pytest.mark.parametrize("name", ["invoice.pdf", "invoice"])
def test_an_older_message_that_comes_again_is_submitted_by_the_new_contract(
    *,
    submission: Submission,
    archiving: Archiving,
    jobs: JobsTable,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    name: str,
) -> None:
    asked: dict[str, Any] = {"content": content(fileName=name)}
    record = queues.deliver(message_body(**asked))
    lease = Lease("submitter", clock())
    claim(jobs, JOB_ID, request(**asked), record.message_id, lease, clock())
    clock.advance(120)
    peer.respond = lambda _: answer(202, central_accepted("req-1", "file_1"))

    assert submission(redelivered(record), next_invocation(clock)) is Outcome.SUBMITTED

    assert item(JOB_ID)["fileId"] == "req-1/file_1"
    assert queues.dead_letters() == []
    peer.respond = lambda _: answer(200, PDF)
    body = central_webhook_body({"fileId": "file_1"}, requestId="req-1")
    (completed,) = read_webhook(json.dumps(body).encode(), "acme").files
    record = queues.deliver(msgspec.json.encode(completed).decode())
    assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED
    assert item(JOB_ID)["fileName"] == "invoice.pdf"


def test_a_file_of_before_with_the_same_id_is_another_file(
    *,
    archiving: Archiving,
    older_submitted: Job,
    queues: QueuePair,
    item: Items,
    clock: Clock,
) -> None:
    body = central_webhook_body({"fileId": older_submitted.file_id})
    (completed,) = read_webhook(json.dumps(body).encode(), "acme").files
    record = replace(queues.deliver(msgspec.json.encode(completed).decode()), sent_at=clock())
    before = item(JOB_ID)

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(record, next_invocation(clock))

    assert item(JOB_ID) == before


@pytest.mark.usefixtures("older_submitted")
@pytest.mark.parametrize("knows_former", [False])
def test_without_the_host_of_before_the_check_says_what_to_set(
    *,
    archiving: Archiving,
    webhook: Record,
    check: Record,
    peer: Peer,
    former: Peer,
    item: Items,
    clock: Clock,
) -> None:
    with pytest.raises(Held):
        archiving(webhook, next_invocation(clock))
    with pytest.raises(Held, match="CONTRACT_UNKNOWN"):
        archiving(check, next_invocation(clock))
    clock.advance(ORPHAN_GRACE.total_seconds())
    assert archiving(redelivered(webhook), next_invocation(clock)) is Outcome.NOT_OURS

    clock.advance(COMPLETION_DEADLINE.total_seconds())
    assert archiving(redelivered(check), next_invocation(clock)) is Outcome.FAILED
    job = item(JOB_ID)
    assert job["errorCode"] == "NO_COMPLETION"
    assert "CONTRACT_UNKNOWN" in job["errorMessage"]
    assert peer.received == former.received == []


def test_the_former_host_that_refuses_the_old_keys_burns_no_job(
    *,
    archiving: Archiving,
    older_submitted: Job,
    webhook: Record,
    former: Peer,
    item: Items,
    clock: Clock,
) -> None:
    former.respond = lambda _: said(401, "revoked")

    with pytest.raises(Exception, match="HTTP_401"):
        archiving(webhook, next_invocation(clock))

    assert item(JOB_ID)["status"] == "SUBMITTED"
    assert item(JOB_ID)["fileId"] == older_submitted.file_id
