"""The pipeline as `functions/` composes it, among in-memory surroundings, in virtual time."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast
from unittest.mock import patch

from reportflow import archiving, consumer, finishing, observability, submission
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving
from reportflow.consumer import GiveUpLimits, Invocation, consume
from reportflow.contract import WORKSPACE
from reportflow.contract.client import Endpoint, ReportFlow
from reportflow.errors import Retryable
from reportflow.events import Outbox
from reportflow.finishing import Finisher
from reportflow.jobs import Step
from reportflow.jobs_table import JobsTable
from reportflow.payloads import Payloads
from reportflow.queues import Downloads, Record, SqsQueue
from reportflow.rate_limiter import NoRateLimit, RateLimit, RateLimiter, SharedRateLimiter
from reportflow.refusal import Refused
from reportflow.secret import SecretStore
from reportflow.submission import TAG_BYTES, Submission
from reportflow.webhook import Receiver
from stacks.settings import SPARE_RECEIVES, VISIBILITY_PER_TIMEOUT, DeploymentSettings
from tests.simulation.checker import Checker
from tests.simulation.dynamodb import DynamoDB
from tests.simulation.faults import Chaos, Fault
from tests.simulation.narrator import Narrator
from tests.simulation.process import Fates, Function, Handler, Process, ThreadPool, as_completed
from tests.simulation.reportflow_service import (
    BASE_URL,
    FILES_URL,
    WORKSPACE_ID,
    ReportFlowService,
    announcement,
    foreign,
)
from tests.simulation.scheduler import DAY, Lock, Scheduler
from tests.simulation.sqs import EventSource, Message, Order, Queue, SqsClient
from tests.simulation.storage import (
    Bucket,
    DynamoDBClient,
    EventBus,
    EventsClient,
    S3Client,
    SecretsClient,
    Vault,
)
from tests.simulation.upstream import PAYLOAD_BUCKET, Sending

TOKEN: Final = "t0kenT0kenT0kenT0kenT0ken"


@dataclass(frozen=True)
class Surroundings:
    """What differs from seed to seed beside the faults."""

    settings: DeploymentSettings
    not_ready_status: int = 404
    webhook_attempts: int = 1
    requests_a_minute: int = 1_000_000
    limit: RateLimit | None = None
    index_lag_seconds: float = 0.1
    urls_work: bool = True
    order: Order = Order.VISIBLE


class World:
    """One run."""

    def __init__(
        self,
        rng: random.Random,
        chaos: Chaos,
        fates: Fates,
        surroundings: Surroundings,
        narrator: Narrator,
    ) -> None:
        settings = surroundings.settings
        self.rng = rng
        self._tags = random.Random(0)
        self.chaos = chaos
        self.settings = settings
        self.narrator = narrator
        self.scheduler = Scheduler()
        narrator.clock = self.scheduler.monotonic
        self._fates = fates
        self._limit = surroundings.limit
        self._order = surroundings.order
        self.index_lag_seconds = surroundings.index_lag_seconds
        self.table = DynamoDB(
            monotonic=self.scheduler.monotonic,
            lag=lambda: rng.random() * surroundings.index_lag_seconds,
        )
        # The item with the schedule, apart from the jobs that the checker looks at.
        self._schedule = DynamoDB(monotonic=self.scheduler.monotonic, lag=lambda: 0.0)
        self.bucket = Bucket()
        self.payloads: dict[str, bytes] = {}
        self.events = EventBus()
        self.vault = Vault(
            appKey="app-1", secretKey="secret-1", webhookToken=TOKEN, previousWebhookToken=""
        )
        self.request_dlq = Queue("request-dlq", self.scheduler, chaos)
        self.download_dlq = Queue("download-dlq", self.scheduler, chaos)
        self.requests = self._queue(
            "requests", settings.submitter_timeout_seconds, self.request_dlq
        )
        self.downloads = self._queue(
            "downloads", settings.downloader_timeout_seconds, self.download_dlq
        )
        self._queues = {
            queue.name: queue
            for queue in (self.requests, self.downloads, self.request_dlq, self.download_dlq)
        }
        self.service = ReportFlowService(
            self.scheduler,
            chaos,
            surroundings.not_ready_status,
            surroundings.webhook_attempts,
            surroundings.requests_a_minute,
            surroundings.urls_work,
            self.deliver,
        )
        self.checker = Checker(self)
        narrator.heard = self.checker.logged
        self.functions = {
            "submitter": self._function(
                "submitter", settings.submitter_timeout_seconds, self._submitter
            ),
            "webhook": self._function("webhook", settings.webhook_timeout_seconds, self._webhook),
            "downloader": self._function(
                "downloader", settings.downloader_timeout_seconds, self._downloader
            ),
        }
        self._source(self.requests, "submitter", settings.request_batch_size, 3)
        self._source(self.downloads, "downloader", settings.download_batch_size, 3)

    def send(self, sending: Sending) -> None:
        """Upstream's message reaches the queue."""
        if sending.payload is not None:
            name, content = sending.payload
            self.payloads[name] = content
            if self.chaos.strikes(Fault.PAYLOAD_LOST):
                self.scheduler.after(self.rng.random() * 60, partial(self._lose_payload, name))
        message_id = self.requests.send(sending.body, {})
        self.checker.accepted(message_id, sending)

    def _lose_payload(self, name: str) -> None:
        self.payloads.pop(name, None)

    def deliver(self, body: str, answered: Callable[[int | None], None]) -> None:
        """ReportFlow posts a webhook."""
        self.post(TOKEN, body, answered)

    def post(self, token: str, body: str, answered: Callable[[int | None], None]) -> None:
        """Somebody posts to the webhook's URL."""
        event = {
            "requestContext": {"http": {"method": "POST"}},
            "pathParameters": {"token": token},
            "body": body,
            "isBase64Encoded": False,
        }
        self.functions["webhook"].invoke(event, answered)

    def post_foreign(self, number: int) -> None:
        """ReportFlow tells of a file that a sync call made."""
        self.deliver(announcement(foreign(number)), lambda _: None)

    def post_forged(self, number: int) -> None:
        """Somebody tells of a file without knowing the token."""
        document = foreign(50_000 + number)
        self.checker.forged.add(document.file_id)
        self.post("wrong", announcement(document), lambda _: None)

    def redrive(self, dead: Message, queue: Queue, source: Queue) -> None:
        """An operator moves a dead letter back: new message id, attributes kept."""
        if dead.deleted:
            return
        dead.deleted = True
        del queue.messages[dead.message_id]
        message_id = source.send(dead.body, dead.attributes)
        self.chaos.note(Fault.REDRIVEN)
        self.checker.redriven(dead, message_id)

    def _queue(self, name: str, timeout: int, dead_letters: Queue) -> Queue:
        return Queue(
            name,
            self.scheduler,
            self.chaos,
            visibility_timeout=VISIBILITY_PER_TIMEOUT * timeout,
            max_receives=self.settings.max_receive_count + SPARE_RECEIVES,
            dead_letters=dead_letters,
            order=self._order,
            retention=self.settings.message_retention_days * DAY,
        )

    def _function(self, name: str, timeout: int, compose: Callable[[Process], Handler]) -> Function:
        return Function(
            name,
            timeout,
            self.scheduler,
            self.chaos,
            self._fates,
            compose,
            self.checker.defect,
        )

    def _source(self, queue: Queue, function: str, batch_size: int, concurrency: int) -> None:
        EventSource(
            queue,
            self.functions[function],
            self.scheduler,
            self.chaos,
            batch_size=batch_size,
            concurrency=concurrency,
        )

    def _secrets(self, process: Process) -> SecretStore:
        client = cast("Any", SecretsClient(process, self.vault))
        clock = self.scheduler.monotonic
        store = SecretStore(client, "secret", clock=clock, wall_clock=clock)
        store._lock = cast("Any", Lock(self.scheduler))
        return store

    def _reportflow(self, process: Process) -> ReportFlow:
        return ReportFlow(
            Endpoint(WORKSPACE, BASE_URL),
            self._secrets(process),
            self._rate_limiter(process),
            clock=self.scheduler.clock,
            files_url=FILES_URL,
        )

    def _jobs(self, process: Process) -> JobsTable:
        client = cast("Any", DynamoDBClient(process.aws, self.table))
        return JobsTable(client, "jobs", ttl_days=self.settings.status_ttl_days)

    def _rate_limiter(self, process: Process) -> RateLimiter:
        limit = self._limit
        if limit is None:
            return NoRateLimit()
        return SharedRateLimiter(
            cast("Any", DynamoDBClient(process.aws, self._schedule)),
            "jobs",
            limit,
            clock=self.scheduler.clock,
            rng=self.rng,
            sleep=process.sleep,
        )

    def _finisher(self, step: Step, process: Process, queue: SqsQueue) -> Finisher:
        """As `reportflow.composition` does."""
        client = cast("Any", EventsClient(process, self.events))
        jobs, clock = self._jobs(process), self.scheduler.clock
        outbox = Outbox(jobs, lambda: client, "bus", clock=clock)
        return Finisher(step, jobs, queue, outbox, self._give_up_limits(), clock)

    def _submitter(self, process: Process) -> Handler:
        """As `functions/submitter/handler.py` does."""
        settings = self.settings
        sqs = cast("Any", SqsClient(process, self._queues))
        queue = SqsQueue(sqs, "requests", "request-dlq")
        s3 = cast("Any", S3Client(process, self.bucket, self.payloads))
        work = submission.Submission(
            self._finisher(Step.SUBMIT, process, queue),
            self._reportflow(process),
            Payloads(lambda: s3, (PAYLOAD_BUCKET,), max_request_bytes=WORKSPACE.max_request_bytes),
            Downloads(sqs, "downloads", check_delay_seconds=settings.check_delay_seconds),
            WORKSPACE,
            max_attempts=settings.max_attempts,
            outcome_grace=timedelta(seconds=settings.outcome_grace_seconds),
            new_tag=lambda: self._tags.randbytes(TAG_BYTES).hex(),
        )
        return self._consumer(work, queue)

    def _downloader(self, process: Process) -> Handler:
        """As `functions/downloader/handler.py` does."""
        settings = self.settings
        sqs = cast("Any", SqsClient(process, self._queues))
        queue = SqsQueue(sqs, "downloads", "download-dlq")
        s3 = cast("Any", S3Client(process, self.bucket, self.payloads))
        work = archiving.Archiving(
            self._finisher(Step.ARCHIVE, process, queue),
            self._reportflow(process),
            S3Archive(s3, "archive"),
            max_file_bytes=settings.max_file_mb * 1024 * 1024,
            max_attempts=settings.max_attempts,
            orphan_grace=timedelta(seconds=settings.orphan_grace_seconds),
            check_interval=timedelta(seconds=settings.check_delay_seconds),
            completion_deadline=timedelta(seconds=settings.completion_deadline_seconds),
        )
        return self._consumer(work, queue)

    def _give_up_limits(self) -> GiveUpLimits:
        age = timedelta(seconds=self.settings.max_message_age_seconds)
        return GiveUpLimits(self.settings.max_receive_count, age)

    def _consumer(self, work: Submission | Archiving, queue: SqsQueue) -> Handler:
        def handle(event: list[Record], invocation: Invocation) -> Any:
            return consume(event, work, queue, invocation, rng=self.rng, clock=self.scheduler.clock)

        return handle

    def _webhook(self, process: Process) -> Handler:
        """As `functions/webhook/handler.py` does."""
        sqs = cast("Any", SqsClient(process, self._queues))
        receiver = Receiver(self._secrets(process), Downloads(sqs, "downloads"), WORKSPACE_ID)

        def handle(event: Mapping[str, Any], _: Invocation) -> int:
            try:
                receiver.receive(event)
            except Refused as refused:
                return refused.reason.status
            except Retryable:
                return HTTPStatus.SERVICE_UNAVAILABLE
            return HTTPStatus.OK

        return handle


@contextmanager
def in_place_of_threads(narrator: Narrator) -> Iterator[None]:
    """Threads become tasks, logs go to the narrator, metrics nowhere."""
    with (
        patch.object(consumer, "ThreadPoolExecutor", ThreadPool),
        patch.object(consumer, "as_completed", as_completed),
        patch.object(observability, "count", _ignore),
        patch.object(observability, "measure", _ignore),
        patch.object(submission, "count", _ignore),
        patch.object(finishing, "count", _ignore),
        patch.object(submission, "expect_webhook", _ignore),
        patch.object(archiving, "count", _ignore),
        patch.object(archiving, "measure", _ignore),
        patch.object(observability, "logger", lambda: narrator),
        patch.object(submission, "logger", lambda: narrator),
        patch.object(finishing, "logger", lambda: narrator),
        patch.object(archiving, "logger", lambda: narrator),
    ):
        yield


def _ignore(*_: object, **__: object) -> None:
    pass
