"""The webhook's sender: posts finished files to the workspace's one URL, with retries."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import urllib3

from local.emulator.fault_plan import Call, FaultPlan
from local.emulator.files import FileRecord, Files, WebhookAttempt
from local.emulator.scheduler import Scheduler
from local.emulator.settings import EmulatorSettings

type Event = Mapping[str, object]


class Webhooks:
    """Sends events in the background. Without a `url` it sends none."""

    def __init__(
        self, settings: EmulatorSettings, files: Files, plan: FaultPlan, url: str | None
    ) -> None:
        self.url = url
        self._settings = settings
        self._files = files
        self._plan = plan
        self._scheduler = Scheduler("webhook", settings.webhook_workers)
        self._pool = urllib3.PoolManager(
            maxsize=settings.webhook_workers,
            retries=False,
            timeout=settings.webhook_timeout_seconds,
        )
        self._lock = Lock()
        self._held: list[_Once] = []

    def send(self, event: Event, records: Sequence[FileRecord]) -> None:
        """Send the `event` of these files once, or as a fault has it."""
        delivery = _Delivery(self, event, [record.file_id for record in records])
        fault = self._plan.dispatch(Call.WEBHOOK, records)
        if fault is None:
            delivery.post()
        else:
            fault.apply(delivery)

    def close(self) -> None:
        """Wait for deliveries in flight, and drop the others."""
        self._scheduler.close()
        self._pool.clear()

    def schedule(self, delivery: "_Delivery", attempt: int, after: float) -> None:
        """Make an attempt in `after` seconds."""
        self._scheduler.post(lambda: self._deliver(delivery, attempt), after)

    def hold(self, delivery: "_Delivery", seconds: float) -> None:
        """Keep a delivery until the next one was sent, at most `seconds`."""
        held = _Once(delivery.post)
        with self._lock:
            self._held.append(held)
        self._scheduler.post(held, seconds)

    def _deliver(self, delivery: "_Delivery", attempt: int) -> None:
        if self.url is None:
            return
        result = self._post(self.url, delivery.event)
        self._files.add_webhook(delivery.file_ids, result)
        with self._lock:
            released, self._held = self._held, []
        for held in released:
            held()
        failed = result.status is None or result.status >= 500
        if failed and attempt < self._settings.webhook_retries:
            self.schedule(
                delivery, attempt + 1, self._settings.webhook_backoff_seconds * 2**attempt
            )

    def _post(self, url: str, event: Event) -> WebhookAttempt:
        body = json.dumps(event, ensure_ascii=True).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "ReportFlow-Webhook"}
        try:
            response = self._pool.request("POST", url, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            return WebhookAttempt(None, f"{type(error).__name__}: {error}")
        return WebhookAttempt(response.status, None)


@dataclass(frozen=True)
class _Delivery:
    """One event in flight."""

    webhooks: Webhooks
    event: Event
    file_ids: Sequence[str]

    def post(self, after: float = 0) -> None:
        """Send it in `after` seconds."""
        self.webhooks.schedule(self, 0, after)

    def hold(self, seconds: float) -> None:
        """Send it after the next event."""
        self.webhooks.hold(self, seconds)


class _Once:
    """An action that happens at its first call only."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._fresh = Lock()

    def __call__(self) -> None:
        """Act, unless it has happened."""
        if self._fresh.acquire(blocking=False):
            self._action()
