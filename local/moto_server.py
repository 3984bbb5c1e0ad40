"""moto's server, with one request at a time to each service: `moto_server.py PORT`.

moto answers in threads and has no locks. Another thread may run between the check of a condition
and the write after it, so two claims of one job would both succeed. An item can be read half
written. A message that is sent while another one is deleted can be lost. AWS promises otherwise, so
requests to one service wait for each other here. A receive that waits for messages polls the queue,
and lets other requests run in between. It calls moto only if the queue has messages, because
several queues are polled all the time.
"""

import io
import json
import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Final, cast

from moto import backends
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend
from moto.sqs import models as sqs_models
from moto.sqs.models import Message, SQSBackend, sqs_backends
from werkzeug.serving import run_simple
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SERVICES: Final = ("dynamodb", "s3", "sqs")
RECEIVE: Final = "AmazonSQS.ReceiveMessage"
POLL_SECONDS: Final = 0.05

_SERVICE = re.compile(
    r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[a-z0-9-]+)/aws4_request"
)


_move_label = SecretsManagerBackend.update_secret_version_stage


class OneAtATime:
    """Lets one request at a time through to each service."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application
        self._locks = {service: Lock() for service in SERVICES}

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request when no other is in flight."""
        if environ.get("HTTP_X_AMZ_TARGET") == RECEIVE:
            return self._receive(environ)(environ, start_response)
        signed_for = _SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
        lock = self._locks.get(signed_for["service"]) if signed_for else None
        if lock is None:
            return self._application(environ, start_response)
        with lock:
            return self._application(environ, start_response)

    def _receive(self, environ: "WSGIEnvironment") -> Response:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        wanted = json.loads(environ["wsgi.input"].read(length))
        deadline = time.monotonic() + wanted.get("WaitTimeSeconds", 0)
        at_once = json.dumps({**wanted, "WaitTimeSeconds": 0}).encode()
        signed_for = _SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
        region = signed_for["region"] if signed_for else None
        while True:
            with self._locks["sqs"]:
                if time.monotonic() >= deadline or _has_messages(wanted["QueueUrl"], region):
                    response = Response.from_app(self._application, _with_body(environ, at_once))
                    if time.monotonic() >= deadline or _is_answer(response):
                        return response
            time.sleep(POLL_SECONDS)


def _has_messages(queue_url: str, region: str | None) -> bool:
    """Whether a receive would find messages. For an unknown queue, moto must answer."""
    *_, account, name = queue_url.split("/")
    if region is None:
        return True
    queue = sqs_backends[account][region].queues.get(name)
    return queue is None or bool(queue.messages)


def _is_answer(response: Response) -> bool:
    """Whether the answer has messages or an error. A redriven message leaves it empty."""
    return response.status_code != 200 or bool(json.loads(response.get_data()).get("Messages"))


def _with_body(environ: "WSGIEnvironment", body: bytes) -> "WSGIEnvironment":
    return {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}


def _move_current(
    backend: SecretsManagerBackend,
    secret_id: str,
    version_stage: str,
    remove_from_version_id: str,
    move_to_version_id: str,
) -> tuple[str, str]:
    """Move AWSCURRENT as moto does, and the default version with it."""
    answer = _move_label(
        backend, secret_id, version_stage, remove_from_version_id, move_to_version_id
    )
    if version_stage == "AWSCURRENT" and move_to_version_id:
        secret = cast("FakeSecret", backend.secrets[secret_id])
        secret.set_default_version_id(move_to_version_id)
    return answer


def _is_kept(backend: SQSBackend, queue_name: str, message: Message) -> bool:
    """Whether a message is younger than its queue's retention period.

    For this, moto computes all attributes of the queue, and several of them count its messages:
    once for each message that is received.
    """
    kept_seconds = cast("int", vars(backend.get_queue(queue_name))["message_retention_period"])
    return cast("float", message.sent_timestamp) / 1000 + kept_seconds > time.time()


def _milliseconds(dt: datetime | None = None) -> float:
    """The time as moto has it, without two datetimes for each message that it looks at."""
    return (time.time() if dt is None else dt.replace(tzinfo=UTC).timestamp()) * 1000


def main() -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    # moto has no option for what these three change. Their docstrings say why each has to.
    for owner, name, ours in (
        (SecretsManagerBackend, "update_secret_version_stage", _move_current),
        (SQSBackend, "is_message_valid_based_on_retention_period", _is_kept),
        (sqs_models, "unix_time_millis", _milliseconds),
    ):
        setattr(owner, name, ours)
    # For each request, moto would list its folder twice.
    services = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: services
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        OneAtATime(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )


if __name__ == "__main__":
    main()
