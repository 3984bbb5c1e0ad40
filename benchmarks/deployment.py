"""A deployment in an emulated AWS whose calls are metered, beside an echo of ReportFlow."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.bench import Echo, echo
from benchmarks.echo import SECRET
from benchmarks.metering import Meter
from local.assembly import synthesize
from local.backend import Backend, BackendKind, run_backend
from local.executor import deploy

IDEMPOTENCY: Final = "idempotency"
"""The peer's second table."""

AWS_SECONDS: Final[Mapping[str, float]] = {
    "dynamodb": 0.005,
    "sqs": 0.01,
    "s3": 0.03,
    "events": 0.01,
    "secretsmanager": 0.02,
}
"""Assumed: how long a call takes within a region."""


@dataclass(frozen=True)
class Deployment:
    """What a candidate's functions work with."""

    backend: Backend
    meter: Meter
    reportflow: Echo
    variables: Mapping[str, str]

    def queued(self, queue: str) -> list[str]:
        """Take the bodies of all messages that wait in a queue."""
        sqs = self.backend.client("sqs")
        url = self.variables[f"{queue.upper()}_URL"]
        bodies = []
        while messages := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600
        ).get("Messages"):
            bodies += [message["Body"] for message in messages]
        return bodies


@contextmanager
def deployed(
    *,
    reportflow_seconds: float,
    bytes_per_second: float = float("inf"),
    latency: Mapping[str, float] = AWS_SECONDS,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Deployment]:
    """Create the template's resources anew, with these deployment settings.

    ReportFlow answers after `reportflow_seconds`, and its links carry `bytes_per_second`. AWS
    answers after the `latency` of each service.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        run_backend(BackendKind.MOTO, Path(folder) / "moto") as backend,
        echo(Path(folder), reportflow_seconds, bytes_per_second) as reportflow,
    ):
        assembly = synthesize(
            {
                "environment": "",
                "workspace_id": "acme",
                "reportflow_url": f"{reportflow.url}/v1",
                "reportflow_files_url": reportflow.url,
                **(settings or {}),
            },
            Path(folder) / "assembly",
        )
        made = deploy(assembly, backend)
        outputs = {name: value for of in made.outputs.values() for name, value in of.items()}
        backend.client("secretsmanager").put_secret_value(
            SecretId=outputs["SecretArn"], SecretString=json.dumps(SECRET)
        )
        backend.client("dynamodb").create_table(
            TableName=IDEMPOTENCY,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        meter = Meter(backend, latency=latency)
        with meter.serving() as url:
            variables = {
                name: value
                for function in made.functions
                for name, value in function.environment.items()
            }
            aws = {
                **backend.environment,
                "AWS_ENDPOINT_URL": url,
                "IDEMPOTENCY_TABLE": IDEMPOTENCY,
                # A check can be received at once. It is handled when its job has ended.
                "CHECK_DELAY_SECONDS": "0",
            }
            yield Deployment(backend, meter, reportflow, {**variables, **aws})
