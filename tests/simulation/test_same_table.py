"""The jobs table means the same on the simulation's DynamoDB as on the emulated one."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from local.backend import Backend
from reportflow.errors import Permanent
from reportflow.jobs import ArchivedFile, Job, JobStatus, Lease, Step
from reportflow.jobs_table import JobsTable
from reportflow.messages import parse_request
from stacks.settings import DeploymentSettings
from stacks.storage import StorageStack
from tests.simulation.dynamodb import INDEXES, DynamoDB, Index
from tests.simulation.scheduler import EPOCH
from tests.simulation.storage import DynamoDBClient
from tests.simulation.upstream import one_job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient as Boto3Client
    from mypy_boto3_dynamodb.type_defs import (
        GlobalSecondaryIndexTypeDef,
        KeySchemaElementTypeDef,
        ProjectionTypeDef,
    )

SEEDS = 8
STEPS = 80
JOB_IDS = ("job-1", "job-2", "job-3")
FILE_IDS = ("file_1", "file_2")
DOCUMENTS = tuple(parse_request(one_job("job", subject).body.encode()) for subject in (1, 2))
ARCHIVED = ArchivedFile("file_1", "archive", "d/2026/03/31/job-1/a.pdf", "v1", 123, "ab" * 32)
ERROR = Permanent("HTTP_404", "デザインがありません")


@pytest.fixture
def emulated(aws: Backend) -> Iterator["Boto3Client"]:
    """A client whose table `jobs` is new."""
    client = aws.client("dynamodb")
    indexes: list[GlobalSecondaryIndexTypeDef] = []
    attributes = {"jobId"}
    for name, index in INDEXES.items():
        schema: list[KeySchemaElementTypeDef] = [
            {"AttributeName": index.hash_key, "KeyType": "HASH"}
        ]
        if index.range_key is not None:
            schema.append({"AttributeName": index.range_key, "KeyType": "RANGE"})
        projection: ProjectionTypeDef = {"ProjectionType": "KEYS_ONLY"}
        if index.included:
            projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(index.included)}
        indexes.append({"IndexName": name, "KeySchema": schema, "Projection": projection})
        attributes |= {key["AttributeName"] for key in schema}
    client.create_table(
        TableName="simulated-jobs",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "jobId", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"} for attribute in sorted(attributes)
        ],
        GlobalSecondaryIndexes=indexes,
    )
    yield client
    client.delete_table(TableName="simulated-jobs")


@dataclass
class Both:
    """Does everything twice and compares."""

    emulated: JobsTable
    simulated: JobsTable
    emulated_client: "Boto3Client"
    simulated_client: DynamoDB
    rng: random.Random
    now: datetime = EPOCH
    leases: int = 0
    seen: list[Job] = field(default_factory=list)
    results: dict[str, set[object]] = field(default_factory=lambda: defaultdict(set))
    changed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.simulated_client.written = lambda job_id, _before, _after: self.changed.add(job_id)

    def step(self) -> None:
        """One random operation with what may have been read long ago."""
        self.now += timedelta(seconds=self.rng.choice((0, 1, 40)))
        name, call = self.rng.choice(tuple(self.operations().items()))
        results = [call(table) for table in (self.emulated, self.simulated)]
        assert results[0] == results[1], name
        self.results[name].add(results[0] if isinstance(results[0], bool) else bool(results[0]))
        if isinstance(results[0], Job):
            self.seen.append(results[0])
        self.compare_record(self.rng.choice(JOB_IDS) if not self.changed else self.changed.pop())

    def compare_record(self, job_id: str) -> None:
        """The record itself, attribute by attribute."""
        found = self.emulated_client.get_item(
            TableName="simulated-jobs", Key={"jobId": {"S": job_id}}, ConsistentRead=True
        ).get("Item")
        assert found == self.simulated_client.items.get(job_id)

    def operations(self) -> dict[str, Callable[[JobsTable], object]]:
        """What can be done now."""
        rng, now = self.rng, self.now
        self.leases += 1
        lease = Lease(f"owner-{self.leases}", now + timedelta(seconds=30))
        job_id = rng.choice(JOB_IDS)
        document, file_id = rng.choice(DOCUMENTS), rng.choice(FILE_IDS)
        message_id = rng.choice(("message-1", "message-2"))
        costs, step = rng.random() < 0.5, rng.choice(tuple(Step))
        always: dict[str, Callable[[JobsTable], object]] = {
            "claim": lambda table: table.claim(job_id, document, message_id, lease, now),
            "get": lambda table: table.get(job_id),
            "find_by_file_id": lambda table: self._one(table.find_by_file_id(file_id)),
            "find_unanswered": lambda table: self._one(table.find_unanswered(document.digest, now)),
            "rejected": lambda table: table.rejected(job_id, ERROR, now),
        }
        if not self.seen:
            return always
        # Mostly what was read last; sometimes what another process still believes.
        job = self.seen[-1] if rng.random() < 0.7 else rng.choice(self.seen)
        if rng.random() < 0.1:
            job = replace(job, status=rng.choice(tuple(JobStatus)))
        return always | {
            "take_over": lambda table: table.take_over(job, lease, now),
            "give_back": lambda table: table.give_back(job, now, costs_retry=costs),
            "unanswered": lambda table: table.unanswered(job, now),
            "submitted": lambda table: table.submitted(job, file_id, "https://x/1", now),
            "adopt": lambda table: table.adopt(job, file_id, "uuid-1", now),
            "count_retry": lambda table: table.count_retry(job, now),
            "webhook_waits": lambda table: table.webhook_waits(job, now),
            "archived": lambda table: table.archived(job, ARCHIVED, now),
            "failed": lambda table: table.failed(job, ERROR, step, now),
        }

    def _one(self, found: Job | None) -> Job | str | None:
        """Which of several an index names first is nobody's promise."""
        if found is None:
            return None
        same = [
            item
            for item in self.simulated_client.items.values()
            if item.get("fileId", {}).get("S") == found.file_id
            and item.get("requestDigest", {}).get("S") == found.request_digest
            and item["status"]["S"] == found.status
        ]
        return found if len(same) == 1 else "one of several"


def _straight[T](_: str, effect: Callable[[], T]) -> T:
    return effect()


def test_every_operation_ends_alike(emulated: "Boto3Client") -> None:
    results: dict[str, set[object]] = defaultdict(set)
    for seed in range(SEEDS):
        for job_id in JOB_IDS:
            emulated.delete_item(TableName="simulated-jobs", Key={"jobId": {"S": job_id}})
        simulated = DynamoDB(monotonic=lambda: 0.0, lag=lambda: 0.0)
        both = Both(
            JobsTable(emulated, "simulated-jobs", ttl_days=30),
            JobsTable(cast("Any", DynamoDBClient(_straight, simulated)), "jobs", ttl_days=30),
            emulated,
            simulated,
            random.Random(seed),
        )
        for _ in range(STEPS):
            both.step()
        for job_id in JOB_IDS:
            both.compare_record(job_id)
        for name, seen in both.results.items():
            results[name] |= seen
    tells = results.keys() - {"claim", "give_back", "unanswered", "count_retry", "webhook_waits"}
    assert {name: results[name] for name in tells} == {name: {True, False} for name in tells}


def test_the_indexes_are_those_of_the_template() -> None:
    settings = DeploymentSettings(workspace_id="acme", reportflow_url="https://acme.test/v1")
    stack = StorageStack(App(), "Storage", settings=settings)
    (table,) = Template.from_stack(stack).find_resources("AWS::DynamoDB::Table").values()
    deployed = {}
    for index in table["Properties"]["GlobalSecondaryIndexes"]:
        keys = [key["AttributeName"] for key in index["KeySchema"]]
        deployed[index["IndexName"]] = Index(
            keys[0],
            keys[1] if len(keys) > 1 else None,
            tuple(index["Projection"].get("NonKeyAttributes", ())),
        )
    assert deployed == INDEXES
