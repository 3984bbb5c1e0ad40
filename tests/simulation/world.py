"""The pipeline as `functions/` composes it, among in-memory surroundings, in virtual time."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast
from unittest.mock import patch

from reportflow import (
    archiving,
    aws,
    combining,
    consumer,
    finishing,
    observability,
    submission,
)
from reportflow.composition import Consumer, Surroundings
from reportflow.consumer import Invocation
from reportflow.contract import CENTRAL
from reportflow.rate_limiter import NoRateLimit, RateLimit, RateLimiter, SharedRateLimiter
from reportflow.secret import SecretStore
from reportflow.settings import (
    DownloaderSettings,
    FunctionSettings,
    SubmitterSettings,
    WebhookSettings,
    load,
)
from stacks.settings import SPARE_RECEIVES, VISIBILITY_PER_TIMEOUT, DeploymentSettings
from tests.simulation import shipped
from tests.simulation.checker import Checker
from tests.simulation.dynamodb import DynamoDB
from tests.simulation.faults import Chaos, Fault
from tests.simulation.narrator import Narrator
from tests.simulation.process import Fates, Function, Handler, Process, ThreadPool, as_completed
from tests.simulation.reportflow_service import (
    BASE_URL,
    FILES_URL,
    ReportFlowService,
    announcement,
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

RESOURCES: Final = {
    "jobs_table": "jobs",
    "archive_bucket": "archive",
    "event_bus": "bus",
    "secret_arn": "secret",
    "request_queue_url": "requests",
    "request_dlq_url": "request-dlq",
    "download_queue_url": "downloads",
    "download_dlq_url": "download-dlq",
}
ENVIRONMENT: Final = {
    "REPORTFLOW_URL": BASE_URL,
    "REPORTFLOW_FILES_URL": FILES_URL,
    "PAYLOAD_BUCKETS": PAYLOAD_BUCKET,
}
"""What a deployment's settings do not allow: `http` to a host that is not this machine."""


@dataclass(frozen=True)
class Circumstances:
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
        circumstances: Circumstances,
        narrator: Narrator,
    ) -> None:
        settings = circumstances.settings
        self.rng = rng
        self.chaos = chaos
        self.settings = settings
        self.narrator = narrator
        self.scheduler = Scheduler()
        narrator.clock = self.scheduler.monotonic
        self._fates = fates
        self._limit = circumstances.limit
        self._environments: dict[type[FunctionSettings], FunctionSettings] = {}
        self._order = circumstances.order
        self.index_lag_seconds = circumstances.index_lag_seconds
        self.table = DynamoDB(
            monotonic=self.scheduler.monotonic,
            lag=lambda: rng.random() * circumstances.index_lag_seconds,
        )
        # The item with the schedule, apart from the jobs that the checker looks at.
        self._schedule = DynamoDB(monotonic=self.scheduler.monotonic, lag=lambda: 0.0)
        self.bucket = Bucket()
        self.payloads: dict[str, bytes] = {}
        self.events = EventBus()
        self.vault = Vault(
            appKey="app-1",
            secretKey="secret-1",
            centralAppKey="app-1",
            webhookToken=TOKEN,
            previousWebhookToken="",
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
            circumstances.not_ready_status,
            circumstances.webhook_attempts,
            circumstances.requests_a_minute,
            circumstances.urls_work,
            settings.contract == CENTRAL.name,
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
        """ReportFlow reports a file that a sync call made."""
        self.deliver(announcement(self.service.foreign(number)), lambda _: None)

    def post_forged(self, number: int) -> None:
        """Somebody reports a file without knowing the token."""
        document = self.service.foreign(50_000 + number)
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
        store = SecretStore(client, "secret", clock=clock)
        store._lock = cast("Any", Lock(self.scheduler))
        return store

    def _rate_limiter(self, process: Process) -> RateLimiter:
        limit = self._limit
        if limit is None:
            return NoRateLimit()
        return SharedRateLimiter(
            cast("Any", DynamoDBClient(process.aws, self._schedule)),
            "jobs",
            limit,
            clock=self.scheduler.clock,
            sleep=process.sleep,
        )

    def _around(self, process: Process) -> Surroundings:
        clock = self.scheduler.clock
        return Surroundings(self._secrets(process), self._rate_limiter(process), clock, self.rng)

    def _environment[S: (SubmitterSettings, WebhookSettings, DownloaderSettings)](
        self, kind: type[S]
    ) -> S:
        if kind not in self._environments:
            variables = self.settings.variables(kind, RESOURCES) | ENVIRONMENT
            self._environments[kind] = load(kind, variables)
        return cast("S", self._environments[kind])

    @contextmanager
    def _aws(self, process: Process) -> Iterator[None]:
        """The clients that a function gets while it is composed."""
        clients = {
            "dynamodb": DynamoDBClient(process.aws, self.table),
            "sqs": SqsClient(process, self._queues),
            "s3": S3Client(process, self.bucket, self.payloads),
            "events": EventsClient(process, self.events),
        }
        with ExitStack() as stack:
            for name, client in clients.items():
                stack.enter_context(patch.object(aws, name, partial(_itself, client)))
            stack.enter_context(patch.object(combining, "Lock", partial(Lock, self.scheduler)))
            yield

    def _submitter(self, process: Process) -> Handler:
        environment = self._environment(SubmitterSettings)
        with self._aws(process):
            return _batches(shipped.submitter.compose(environment, self._around(process)))

    def _downloader(self, process: Process) -> Handler:
        environment = self._environment(DownloaderSettings)
        with self._aws(process):
            return _batches(shipped.downloader.compose(environment, self._around(process)))

    def _webhook(self, process: Process) -> Handler:
        environment = self._environment(WebhookSettings)
        with self._aws(process):
            receiver = shipped.webhook.compose(environment, self._secrets(process))

        def handle(event: Mapping[str, Any], _: Invocation) -> int:
            return int(shipped.webhook.answer(receiver, event)["statusCode"])

        return handle


def _itself[T](client: T) -> T:
    return client


def _batches(consume: Consumer) -> Handler:
    return lambda records, invocation: consume(records, invocation=invocation)


@contextmanager
def in_place_of_threads(narrator: Narrator) -> Iterator[None]:
    """Threads become tasks, logs go to the narrator, metrics nowhere."""
    with (
        patch.object(consumer, "ThreadPoolExecutor", ThreadPool),
        patch.object(consumer, "as_completed", as_completed),
        patch.object(observability, "count", _ignore),
        patch.object(shipped.webhook, "count", _ignore),
        patch.object(shipped.webhook, "logger", lambda: narrator),
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
