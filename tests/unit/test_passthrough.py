"""The caller's `passthrough` comes back in record and event as it was sent, without our mark."""

import json
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from reportflow.archiving import Archiving
from reportflow.consumer import Outcome
from reportflow.contract import CENTRAL, Contract
from reportflow.contract.webhook_body import read_webhook
from reportflow.events import detail_of
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import next_invocation
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.reportflow_answers import said
from tests.unit.samples import JOB_ID, PDF, central_webhook_body, content, message_body

type Items = Callable[[str], dict[str, str]]
type Heard = Callable[[], list[dict[str, Any]]]

TEXTS = [
    '{"order":"A-1"}',
    '{ "b" : 1.10,\n "a":[9223372036854775807, -0.0, 1E5], "名":"\\u682a秘密" }',
    "{}",
    '{"deep":{"reportflowJob":{"jobId":"mine"}}}',
]


@pytest.fixture
def contract() -> Contract:
    return CENTRAL


def asked(passthrough: str | None) -> str:
    """A message whose passthrough is this very text."""
    if passthrough is None:
        return message_body()
    return message_body(content=content(passthrough="@")).replace('"@"', passthrough)


def webhook_of(peer: Peer, queues: QueuePair) -> Record:
    """ReportFlow returns what it got with the last submission."""
    passthrough = json.loads(peer.received[-1].body)["content"]["passthrough"]
    body = central_webhook_body(
        {"fileId": "file_abc123", "passthrough": passthrough}, requestId="req-1"
    )
    (completed,) = read_webhook(json.dumps(body).encode(), "acme").files
    return queues.deliver(msgspec.json.encode(completed).decode())


@pytest.mark.parametrize("text", [None, *TEXTS])
def test_it_comes_back_with_the_pdf(
    *,
    archiving: Archiving,
    submission: Submission,
    jobs: JobsTable,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    heard: Heard,
    clock: Clock,
    text: str | None,
) -> None:
    assert submission(queues.deliver(asked(text)), next_invocation(clock)) is Outcome.SUBMITTED
    record = webhook_of(peer, queues)
    peer.respond = lambda _: answer(200, PDF)

    assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED

    kept = item(JOB_ID)
    assert kept.get("passthrough") == text
    (event,) = heard()
    assert event["detail-type"] == "PDF Archived"
    assert event["detail"]["passthrough"] == json.loads(text or "{}")
    assert kept["tag"] not in json.dumps(event)
    job = jobs.get(JOB_ID)
    assert job is not None
    assert f'"passthrough":{text or "{}"},' in msgspec.json.encode(detail_of(job)).decode()


def test_it_comes_back_with_a_failure_and_stays_out_of_logs(
    *,
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    heard: Heard,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    peer.respond = lambda got: said(400, "no " + got.body.decode())

    submission(queues.deliver(asked(TEXTS[1])), next_invocation(clock))

    (event,) = heard()
    assert event["detail-type"] == "PDF Failed"
    assert event["detail"]["passthrough"] == json.loads(TEXTS[1])
    tag = item(JOB_ID)["tag"]
    assert tag in peer.received[0].body.decode()
    assert tag not in json.dumps(
        [event, queues.dead_letter_reasons(), item(JOB_ID)["errorMessage"]]
    )
    assert caplog.records
    assert "秘密" not in caplog.text + "".join(str(vars(record)) for record in caplog.records)


def test_the_next_life_of_a_job_has_its_own(
    *, submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    peer.respond = lambda _: said(400, "no")
    for text in ('{"first":1}', '{"second":2}', None):
        submission(queues.deliver(asked(text)), next_invocation(clock))
        assert item(JOB_ID).get("passthrough") == text
        clock.advance(1)


@pytest.mark.parametrize("text", TEXTS[1:])
def test_another_passthrough_is_another_document(
    *, submission: Submission, queues: QueuePair, clock: Clock, text: str
) -> None:
    submission(queues.deliver(asked(TEXTS[0])), next_invocation(clock))

    assert submission(queues.deliver(asked(text)), next_invocation(clock)) is Outcome.FAILED
    (reason,) = queues.dead_letter_reasons()
    assert reason["errorCode"] == "JOB_ID_REUSED"
