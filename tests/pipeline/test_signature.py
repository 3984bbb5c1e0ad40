"""A deployment that believes signed webhooks only, behind a relay that signs them."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import requests

from reportflow.signature import TOLERANCE_SECONDS
from tests.pipeline.aws_proxy import Call, Operation
from tests.pipeline.driver import new_id
from tests.pipeline.faulty import Ending, FaultySystem, Story, run_faulty
from tests.properties.leaks import leaks, secrets_of
from tests.properties.signing import SECRETS, signature
from tests.unit.peer import Received, answer, listening

SETTINGS = {
    "webhook_signature": "required",
    # Time for a signed webhook to come first, and soon for those that are refused.
    "check_delay_seconds": "5",
    "completion_deadline_seconds": "600",
}

type Headers = Mapping[str, str]


def _signed(body: bytes, *, secret: str = SECRETS["current"], age_seconds: int = 0) -> Headers:
    message_id, timestamp = new_id("msg"), str(int(time.time()) - age_seconds)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }


FORGERIES: Mapping[str, tuple[Callable[[bytes], Headers], str]] = {
    "unsigned": (lambda _: {}, "SignatureMissing"),
    "stale": (lambda body: _signed(body, age_seconds=TOLERANCE_SECONDS + 60), "SignatureExpired"),
    "wrong-key": (lambda body: _signed(body, secret=SECRETS["wrong"]), "SignatureWrong"),
    "of-another": (lambda body: _signed(body + b" "), "SignatureWrong"),
}
"""What is forwarded with no signature that counts, by the job's label, and why it is refused."""


@dataclass
class Relay:
    """Forwards each webhook, and keeps what it sent by the name of the file."""

    target: str
    sent: dict[str, tuple[Headers, bytes]] = field(default_factory=dict)

    def forward(self, received: Received) -> Iterable[bytes]:
        name = json.loads(received.body)["files"][0]["fileName"]
        sign, _ = FORGERIES.get(name.rpartition("-")[0], (_signed, ""))
        headers = {"Content-Type": "application/json", **sign(received.body)}
        self.sent[name] = headers, received.body
        response = self.send_again(name)
        return answer(response.status_code, response.content)

    def send_again(self, name: str) -> requests.Response:
        headers, body = self.sent[name]
        return requests.post(self.target, data=body, headers=headers, timeout=30)


def _await_the_secret(webhook_url: str) -> None:
    """Wait until the function has read the secret again, which it did before its first event."""
    deadline = time.monotonic() + 60
    while (
        requests.post(webhook_url, data=b"{}", headers=_signed(b"{}"), timeout=30).status_code
        != 200
    ):
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture(scope="module")
def signing() -> Iterator[FaultySystem]:
    with run_faulty(SETTINGS) as running:
        secrets, arn = (
            running.system.backend.client("secretsmanager"),
            running.system.state.secret_arn,
        )
        value = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
        value["webhookSigningSecrets"] = [SECRETS["current"], SECRETS["previous"]]
        secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(value))
        _await_the_secret(running.system.state.webhook_url)
        yield running
        assert leaks(running.system, secrets_of(running.system)) == []


@pytest.fixture(scope="module")
def relay(signing: FaultySystem) -> Iterator[Relay]:
    relay = Relay(signing.system.state.webhook_url)
    with listening(relay.forward) as peer:
        signing.emulator.webhook_url = peer.url
        yield relay
        signing.emulator.webhook_url = None


@dataclass(frozen=True)
class Played:
    """The ids of one signed job and one of each forgery, all ended, and the calls of AWS."""

    job_ids: Mapping[str, str]
    calls: Sequence[Call]


@pytest.fixture(scope="module")
def played(signing: FaultySystem, relay: Relay) -> Played:
    calls: list[Call] = []
    signing.aws.observe = calls.append
    job_ids = signing.play({"signed": Story(), **dict.fromkeys(FORGERIES, Story())})
    return Played(job_ids, calls)


def _logged(system: FaultySystem, function: str) -> list[Mapping[str, object]]:
    """The function's log entries and metrics."""
    lines = system.pool(function).log_path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _counted(system: FaultySystem, function: str, metric: str) -> int:
    return sum(metric in entry for entry in _logged(system, function))


def test_a_webhook_moves_its_file_if_it_is_signed_and_the_check_finds_the_others(
    signing: FaultySystem, played: Played
) -> None:
    job_ids = played.job_ids
    assert {signing.ending(job_id) for job_id in job_ids.values()} == {Ending()}
    files = {name: signing.pdfs(job_id)[0] for name, job_id in job_ids.items()}
    answers = {name: [each.status for each in file.webhooks] for name, file in files.items()}
    assert answers == {"signed": [200], **{name: [404] for name in FORGERIES}}
    stored = b"".join(
        call.body for call in played.calls if call.operation == Operation("sqs", "SendMessageBatch")
    )
    assert [name for name, file in files.items() if file.file_id.encode() in stored] == ["signed"]
    refused = Counter(
        entry["reason"]
        for entry in _logged(signing, "webhook")
        if entry.get("message") == "webhook refused"
    )
    assert refused == Counter(reason for _, reason in FORGERIES.values())
    assert _counted(signing, "downloader", "LostWebhooks") == len(FORGERIES)


def test_a_signed_webhook_that_is_sent_again_changes_nothing(
    signing: FaultySystem, relay: Relay, played: Played
) -> None:
    job_id = played.job_ids["signed"]
    job, files = signing.driver.job(job_id), signing.pdfs(job_id)
    duplicates = _counted(signing, "downloader", "Duplicates")

    with signing.until_idle():
        assert relay.send_again(f"{job_id}.pdf").status_code == 200

    assert _counted(signing, "downloader", "Duplicates") == duplicates + 1
    assert signing.driver.job(job_id) == job
    assert signing.pdfs(job_id) == files
    assert signing.ending(job_id) == Ending()
