"""Tables, queues, buckets and secrets of a test's own, on the emulated AWS."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import replace
from datetime import timedelta
from random import SystemRandom
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from local.backend import Backend
from local.emulator import Emulator, EmulatorSettings
from local.function_pool import FunctionPool
from local.gateway import HttpGateway
from reportflow import observability
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving
from reportflow.consumer import Invocation
from reportflow.contract import WORKSPACE, Contract
from reportflow.contract.client import ReportFlow
from reportflow.events import Outbox
from reportflow.finishing import Finisher
from reportflow.jobs import Job, Lease, Step
from reportflow.jobs_table import JobsTable
from reportflow.payloads import Payloads
from reportflow.queues import Downloads, Record
from reportflow.secret import SecretStore
from reportflow.submission import Submission
from tests.unit.clock import Clock, Ticker
from tests.unit.deliveries import (
    CHECK_INTERVAL,
    COMPLETION_DEADLINE,
    GIVE_UP_LIMITS,
    INVOCATION_SECONDS,
    MAX_ATTEMPTS,
    ORPHAN_GRACE,
    OUTCOME_GRACE,
    DeadEnd,
)
from tests.unit.echo_gateway import echo_gateway, echo_pool
from tests.unit.peer import Peer, Respond, answer, listening
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import claim, submit
from tests.unit.reportflow_answers import accepting, central_accepting
from tests.unit.samples import (
    APP_KEY,
    CENTRAL_KEY,
    FILE_ID,
    JOB_ID,
    MAX_FILE_BYTES,
    PDF,
    SECRET_KEY,
    TOKEN,
    check_body,
    completed_body,
    request,
)
from tests.unit.service_client import client_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import GlobalSecondaryIndexTypeDef

TTL_DAYS = 30


@pytest.fixture(scope="session", autouse=True)
def _powertools() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POWERTOOLS_METRICS_NAMESPACE", "ReportFlow")
        patch.setenv("POWERTOOLS_SERVICE_NAME", "test")
        patch.setenv("POWERTOOLS_LOG_DEDUPLICATION_DISABLED", "1")  # or caplog sees nothing
        # Made here, or it would write to the captured output of the first test that logs.
        observability.logger()
        yield


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionPool]:
    with echo_pool(tmp_path_factory.mktemp("echo")) as pool:
        yield pool


@pytest.fixture(scope="module")
def gateway(pool: FunctionPool) -> Iterator[HttpGateway]:
    with echo_gateway(pool) as gateway:
        yield gateway


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def invocation(clock: Clock) -> Invocation:
    return Invocation(clock() + timedelta(seconds=INVOCATION_SECONDS))


@pytest.fixture
def table_name(aws: Backend) -> str:
    name = f"jobs-{uuid4()}"
    indexes: list[GlobalSecondaryIndexTypeDef] = [
        {
            "IndexName": "byFileId",
            "KeySchema": [{"AttributeName": "fileId", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
        {
            "IndexName": "byLeasedDigest",
            "KeySchema": [{"AttributeName": "leasedDigest", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
        {
            "IndexName": "byStatus",
            "KeySchema": [
                {"AttributeName": "status", "KeyType": "HASH"},
                {"AttributeName": "updatedAt", "KeyType": "RANGE"},
            ],
            "Projection": {
                "ProjectionType": "INCLUDE",
                "NonKeyAttributes": ["requestDigest", "messageId"],
            },
        },
    ]
    aws.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "jobId", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"}
            for attribute in ("jobId", "fileId", "leasedDigest", "status", "updatedAt")
        ],
        GlobalSecondaryIndexes=indexes,
    )
    return name


@pytest.fixture
def jobs(aws: Backend, table_name: str) -> JobsTable:
    return JobsTable(aws.client("dynamodb"), table_name, ttl_days=TTL_DAYS)


@pytest.fixture
def item(aws: Backend, table_name: str) -> Callable[[str], dict[str, str]]:
    """Reads a job's record as it stands; empty where there is none."""

    def read(job_id: str) -> dict[str, str]:
        answered = aws.client("dynamodb").get_item(
            TableName=table_name, Key={"jobId": {"S": job_id}}, ConsistentRead=True
        )
        return {
            name: str(next(iter(value.values())))
            for name, value in answered.get("Item", {}).items()
        }

    return read


@pytest.fixture
def queues(aws: Backend) -> QueuePair:
    """The queue that the function under test consumes."""
    return QueuePair.made_with(aws.client("sqs"))


@pytest.fixture
def ordered(aws: Backend) -> QueuePair:
    """Where the submitter orders its checks."""
    return QueuePair.made_with(aws.client("sqs"))


@pytest.fixture
def bucket(aws: Backend) -> str:
    s3 = aws.client("s3")
    name = f"bucket-{uuid4()}"
    s3.create_bucket(
        Bucket=name,
        CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"},
    )
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def event_bus(aws: Backend) -> str:
    """The name of a bus that nobody listens to yet."""
    name = f"bus-{uuid4()}"
    aws.client("events").create_event_bus(Name=name)
    return name


@pytest.fixture
def heard(aws: Backend, event_bus: str) -> Callable[[], list[dict[str, Any]]]:
    """The events that came since the last look, as a rule with a queue hears them."""
    queue = QueuePair.made_with(aws.client("sqs"))
    arn = aws.client("sqs").get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
    events = aws.client("events")
    pattern = {"source": ["reportflow"], "detail-type": ["PDF Archived", "PDF Failed"]}
    events.put_rule(Name="pdfs", EventBusName=event_bus, EventPattern=json.dumps(pattern))
    events.put_targets(
        Rule="pdfs",
        EventBusName=event_bus,
        Targets=[{"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}],
    )
    return lambda: [json.loads(record.body) for record in queue.receive()]


@pytest.fixture
def outbox(aws: Backend, jobs: JobsTable, event_bus: str, clock: Clock) -> Outbox:
    return Outbox(jobs, lambda: aws.client("events"), event_bus, clock=clock)


@pytest.fixture
def contract() -> Contract:
    """The contract that the functions speak; a module about the other one has its own."""
    return WORKSPACE


@pytest.fixture
def secret_arn(aws: Backend) -> str:
    value = {
        "appKey": APP_KEY,
        "secretKey": SECRET_KEY,
        "centralAppKey": CENTRAL_KEY,
        "webhookToken": TOKEN,
    }
    created = aws.client("secretsmanager").create_secret(
        Name=f"secret-{uuid4()}",
        SecretString=json.dumps({**value, "previousWebhookToken": ""}),
    )
    return created["ARN"]


@pytest.fixture
def rotate(aws: Backend, secret_arn: str) -> Callable[..., None]:
    """Puts another value into the secret: a text as it is, or fields of its JSON."""

    def put(text: str | None = None, **fields: str) -> None:
        value = {"appKey": APP_KEY, "secretKey": SECRET_KEY, "webhookToken": TOKEN, **fields}
        aws.client("secretsmanager").put_secret_value(
            SecretId=secret_arn, SecretString=json.dumps(value) if text is None else text
        )

    return put


@pytest.fixture
def ticker() -> Ticker:
    return Ticker()


@pytest.fixture
def secret_store(aws: Backend, secret_arn: str, ticker: Ticker) -> SecretStore:
    return SecretStore(aws.client("secretsmanager"), secret_arn, clock=ticker)


@pytest.fixture
def listen() -> Iterator[Callable[[Respond], Peer]]:
    """Starts peers that end with the test."""
    with ExitStack() as peers:
        yield lambda respond: peers.enter_context(listening(respond))


@pytest.fixture
def peer(listen: Callable[[Respond], Peer]) -> Peer:
    """Stands in ReportFlow's place; out of order until the test sets its `respond`."""
    return listen(lambda _: answer(500))


@pytest.fixture
def service(peer: Peer, secret_store: SecretStore, clock: Clock, contract: Contract) -> ReportFlow:
    return client_of(
        f"{peer.url}/v1", secret_store, f"{peer.url}/files", contract=contract, clock=clock
    )


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """ReportFlow with the keys of the secret."""
    settings = EmulatorSettings(
        app_key=APP_KEY, secret_key=SECRET_KEY, render_seconds=(0, 0), max_body_bytes=100_000
    )
    with Emulator(settings) as running:
        yield running


@pytest.fixture
def client_at() -> Iterator[Callable[[str, str], Any]]:
    """Clients of an AWS service at the URL, which ask it once only."""
    with ExitStack() as clients:

        def client(service: str, url: str) -> object:
            made = boto3.client(
                cast("Any", service),
                endpoint_url=url,
                region_name="ap-northeast-1",
                aws_access_key_id="local",
                aws_secret_access_key="local",
                config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
            )
            clients.callback(made.close)
            return made

        yield client


@pytest.fixture
def submission_with(
    *,
    aws: Backend,
    jobs: JobsTable,
    service: ReportFlow,
    queues: QueuePair,
    ordered: QueuePair,
    bucket: str,
    outbox: Outbox,
    clock: Clock,
    contract: Contract,
) -> Callable[..., Submission]:
    """Makes submissions with another `service`, or other `bodies` or `checks`, than the real."""

    def make(**parts: Any) -> Submission:
        usual: dict[str, Any] = {
            "service": service,
            "bodies": Payloads(
                lambda: aws.client("s3"),
                (bucket,),
                max_request_bytes=contract.max_request_bytes,
            ),
            "checks": Downloads(ordered.client, ordered.url),
            "finisher": Finisher(
                Step.SUBMIT, jobs, queues.queue, outbox, GIVE_UP_LIMITS, MAX_ATTEMPTS, clock
            ),
        }
        return Submission(
            contract=contract,
            rng=SystemRandom(),
            outcome_grace=OUTCOME_GRACE,
            **usual | parts,
        )

    return make


@pytest.fixture
def submission(
    submission_with: Callable[..., Submission], peer: Peer, contract: Contract
) -> Submission:
    peer.respond = accepting() if contract is WORKSPACE else central_accepting()
    return submission_with()


@pytest.fixture
def dying_submission(submission_with: Callable[..., Submission]) -> Submission:
    """Its function is killed while it waits for ReportFlow's answer."""
    return submission_with(service=DeadEnd())


@pytest.fixture
def archiving(
    aws: Backend,
    jobs: JobsTable,
    service: ReportFlow,
    queues: QueuePair,
    peer: Peer,
    bucket: str,
    outbox: Outbox,
    clock: Clock,
) -> Archiving:
    peer.respond = lambda _: answer(200, PDF, Content_Type="application/pdf")
    return Archiving(
        Finisher(Step.ARCHIVE, jobs, queues.queue, outbox, GIVE_UP_LIMITS, MAX_ATTEMPTS, clock),
        service,
        S3Archive(aws.client("s3"), bucket),
        max_file_bytes=MAX_FILE_BYTES,
        orphan_grace=ORPHAN_GRACE,
        check_interval=CHECK_INTERVAL,
        completion_deadline=COMPLETION_DEADLINE,
    )


@pytest.fixture
def job(jobs: JobsTable, peer: Peer, clock: Clock) -> Job:
    """A job that ReportFlow has taken."""
    lease = Lease("submitter", clock() + timedelta(seconds=30))
    claimed = claim(jobs, JOB_ID, request(), "message-1", lease, clock())
    return submit(jobs, claimed, FILE_ID, f"{peer.url}/files/of-the-202", clock())


@pytest.fixture
def record(queues: QueuePair, clock: Clock) -> Record:
    """ReportFlow's word that the job's file is done."""
    return replace(queues.deliver(completed_body()), sent_at=clock())


@pytest.fixture
def check(queues: QueuePair, clock: Clock) -> Record:
    """The order to look for the job's file."""
    return replace(queues.deliver(check_body()), sent_at=clock())


@pytest.fixture
def contents(aws: Backend, bucket: str) -> Callable[[], list[bytes]]:
    """What lies in the archive."""

    def read() -> list[bytes]:
        s3 = aws.client("s3")
        keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]

    return read
