"""The jobs table means the same on the simulation's DynamoDB as on the emulated one."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch
from uuid import UUID

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from local.backend import Backend
from reportflow import jobs, jobs_table
from reportflow.contract import WORKSPACE
from reportflow.contract.files import Accepted, CompletedFile
from reportflow.errors import Permanent
from reportflow.jobs import ArchivedFile, Job, JobStatus, Lease, Step, Verdict
from reportflow.jobs_table import JobsTable, Rule
from reportflow.messages import parse_request
from reportflow.salvage import Salvaged
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

SEEDS = 12
STEPS = 80
JOB_IDS = ("job-1", "job-2", "job-3")
FILE_IDS = ("file_1", "file_2")
DOCUMENTS = tuple(
    parse_request(one_job("job", subject).body.encode(), WORKSPACE) for subject in (1, 2)
)
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


type Operation = Callable[[JobsTable], tuple[Job | None, Verdict | None]]


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
        # The two write the same ids.
        ids = [UUID(int=self.rng.getrandbits(128)) for _ in range(8)]
        results = []
        for table in (self.emulated, self.simulated):
            with patch.object(jobs_table, "uuid4", iter(ids).__next__):
                results.append(call(table))
        assert results[0] == results[1], name
        job, verdict = results[0]
        self.results[name].add(verdict is None and job is not None)
        if job is not None:
            self.seen.append(job)
        self.compare_record(self.rng.choice(JOB_IDS) if not self.changed else self.changed.pop())

    def compare_record(self, job_id: str) -> None:
        """The record itself, attribute by attribute."""
        found = self.emulated_client.get_item(
            TableName="simulated-jobs", Key={"jobId": {"S": job_id}}, ConsistentRead=True
        ).get("Item")
        assert found == self.simulated_client.items.get(job_id)

    def operations(self) -> dict[str, Operation]:
        """What can be done now."""
        rng, now = self.rng, self.now
        self.leases += 1
        job_id = rng.choice(JOB_IDS)
        document, file_id = rng.choice(DOCUMENTS), rng.choice(FILE_IDS)
        never = Job(job_id=job_id, status=JobStatus.SUBMITTING, created_at=now)
        # Mostly what was read last; sometimes what another process still believes.
        recent = self.seen[-1:] if rng.random() < 0.7 else self.seen
        read = rng.choice(recent) if recent else None
        begin = partial(
            jobs.begin,
            request=document,
            message_id=rng.choice(("message-1", "message-2")),
            lease=Lease(f"owner-{self.leases}", now + timedelta(seconds=30)),
            grace=timedelta(seconds=rng.choice((0, 60))),
            tag="tag-1",
            now=now,
        )
        job, owner = read or never, read.lease_owner if read else ""
        rules: dict[str, Rule] = {
            "begin": partial(begin, job_id=job.job_id),
            "given_back": partial(jobs.given_back, owner=owner, costs_retry=rng.random() < 0.5),
            "unanswered": partial(jobs.unanswered, owner=owner, now=now),
            "submitted": partial(
                jobs.submitted, owner=owner, file=Accepted(file_id, "https://x/1"), now=now
            ),
            "adopted": partial(
                jobs.adopted,
                file=CompletedFile(file_id, "uuid-1", document.design_id, document.version),
                now=now,
            ),
            "postponed": partial(
                jobs.postponed, read=job, now=now, costs_retry=True, by_webhook=rng.random() < 0.5
            ),
            "doubted": partial(jobs.doubted, read=job),
            "archived": partial(jobs.archived, read=job, file=ARCHIVED, now=now),
            "failed": partial(
                jobs.failed, read=job, error=ERROR, step=rng.choice(tuple(Step)), now=now
            ),
            "published": partial(jobs.published, read=job),
        }
        changes: dict[str, Operation] = {
            name: partial(_change, job_id=job.job_id, read=read, rule=rule, now=now)
            for name, rule in rules.items()
        }
        rejected = partial(
            jobs.rejected,
            job_id=job_id,
            message_id="message-3",
            salvaged=Salvaged(),
            error=ERROR,
            now=now,
        )
        return changes | {
            "begin anew": partial(
                _change, job_id=job_id, read=None, rule=partial(begin, job_id=job_id), now=now
            ),
            "rejected": partial(_change, job_id=job_id, read=None, rule=rejected, now=now),
            "get": lambda table: (table.get(job_id), None),
            "find_by_file_id": lambda table: self._one(
                table.find_by_file_id(file_id, document.digest), document.digest
            ),
            "find_unanswered": lambda table: self._one(
                table.find_unanswered(document.digest, now), document.digest
            ),
        }

    def _one(self, found: Job | None, digest: str) -> tuple[Job | None, None]:
        """Which of several an index names first is undefined."""
        if found is None:
            return None, None
        same = [
            item
            for item in self.simulated_client.items.values()
            if item.get("fileId", {}).get("S") == found.file_id
            and (item.get("requestDigest", {}).get("S") == digest)
            == (found.request_digest == digest)
        ]
        return (found if len(same) == 1 else None), None


def _change(
    table: JobsTable, job_id: str, read: Job | None, rule: Rule, now: datetime
) -> tuple[Job | None, Verdict | None]:
    return table.change(job_id, read, rule, now)


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
    # Which of several an index names first is undefined, and so is what "none" means there.
    always = results.keys() - {"find_unanswered"}
    assert {name for name in always if results[name] != {True, False}} == set()


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
