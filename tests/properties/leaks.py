"""Finds secrets, and what is a customer's, wherever a running system has written anything."""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, Final

from local.system import System

type Places = Iterator[tuple[str, str]]

_MIN_LENGTH: Final = 8
"""A shorter value would be found by chance."""


def secrets_of(system: System) -> Mapping[str, str]:
    """The deployment's secrets by their names, as they are now."""
    client = system.backend.client("secretsmanager")
    found: dict[str, str] = {}
    for secret in client.list_secrets()["SecretList"]:
        value = json.loads(client.get_secret_value(SecretId=secret["ARN"])["SecretString"])
        for name, content in value.items():
            for text in content if isinstance(content, list) else [content]:
                if len(text) >= _MIN_LENGTH:
                    found[name] = text
    return found


def leaks(system: System, values: Mapping[str, str], *, without: tuple[str, ...] = ()) -> list[str]:
    """Where one of the values is to be read, by place and name; `without` skips kinds of places."""
    found = set()
    for place, text in _places(system):
        if place.startswith(without):
            continue
        for name, value in values.items():
            if value in text or b64encode(value.encode()).decode().rstrip("=") in text:
                found.add(f"{name} in {place}")
    return sorted(found)


def _places(system: System) -> Places:
    yield from _logs(system)
    yield from _items(system)
    yield from _messages(system)
    yield from _objects(system)
    yield from _functions(system)


def _logs(system: System) -> Places:
    """What the functions printed: logs, metrics and tracebacks."""
    for pool in system.pools.values():
        if pool.log_path.exists():
            yield f"log {pool.function.name}", pool.log_path.read_text(errors="replace")


def _items(system: System) -> Places:
    client = system.backend.client("dynamodb")
    pages = client.get_paginator("scan").paginate(TableName=system.state.jobs_table)
    for page in pages:
        for item in page["Items"]:
            yield f"item {_text(item['jobId'])}", _text(item)


def _messages(system: System) -> Places:
    """All that lies in a queue; dead letters keep the body that upstream sent."""
    client = system.backend.client("sqs")
    state = system.state
    for kind, url in (
        ("downloads", state.download_queue_url),
        ("download dead letters", state.download_dlq_url),
        ("dead letters", state.request_dlq_url),
    ):
        for _ in range(200):
            messages = client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=5,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if not messages:
                break
            for message in messages:
                yield f"{kind}: body", message["Body"]
                yield f"{kind}: attributes", _text(message.get("MessageAttributes"))


def _objects(system: System) -> Places:
    """The archive: what stands beside the PDFs, which show what a customer asked for."""
    client, bucket = system.backend.client("s3"), system.state.archive_bucket
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            head = client.head_object(Bucket=bucket, Key=found["Key"])
            yield "archive: headers", f"{found['Key']} {_text(head)}"
            body = client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
            yield "pdf", body.decode("latin-1")


def _functions(system: System) -> Places:
    """What the deployment shows: environments, and the state but for the webhook's URL."""
    for pool in system.pools.values():
        yield f"environment {pool.function.name}", _text(dict(pool.function.environment))
    state = {name: value for name, value in vars(system.state).items() if name != "webhook_url"}
    yield "outputs", _text(state)


def _text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
