"""Tables, queues, buckets and secrets of a test's own, on the emulated AWS."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from local.backend import Backend
from reportflow.consumer import Invocation
from reportflow.jobs_table import JobsTable
from reportflow.secret import SecretStore
from reportflow.service import ReportFlow
from tests.unit.clock import Clock, Ticker
from tests.unit.peer import Peer, Respond, answer, listening
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import APP_KEY, SECRET_KEY, TOKEN

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import GlobalSecondaryIndexTypeDef

TTL_DAYS = 30
INVOCATION_SECONDS = 30


@pytest.fixture(scope="session", autouse=True)
def _powertools() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POWERTOOLS_METRICS_NAMESPACE", "ReportFlow")
        patch.setenv("POWERTOOLS_SERVICE_NAME", "test")
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def invocation(clock: Clock) -> Invocation:
    return Invocation("request-1", clock() + timedelta(seconds=INVOCATION_SECONDS))


@pytest.fixture
def table_name(aws: Backend) -> str:
    name = f"jobs-{uuid4()}"
    keys = {"byFileId": ["fileId"], "byStatus": ["status", "updatedAt"]}
    indexes: list[GlobalSecondaryIndexTypeDef] = [
        {
            "IndexName": index,
            "KeySchema": [
                {"AttributeName": key, "KeyType": kind}
                for key, kind in zip(attributes, ("HASH", "RANGE"), strict=False)
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
        for index, attributes in keys.items()
    ]
    aws.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "jobId", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"}
            for attribute in ("jobId", "fileId", "status", "updatedAt")
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
    sqs = aws.client("sqs")
    name = uuid4()
    url = sqs.create_queue(QueueName=f"queue-{name}")["QueueUrl"]
    return QueuePair(sqs, url, sqs.create_queue(QueueName=f"dlq-{name}")["QueueUrl"])


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
def secret_arn(aws: Backend) -> str:
    value = {"appKey": APP_KEY, "secretKey": SECRET_KEY, "webhookToken": TOKEN}
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
def service(peer: Peer, secret_store: SecretStore) -> Iterator[ReportFlow]:
    client = ReportFlow(f"{peer.url}/v1", secret_store)
    yield client
    client._session.close()
