"""The whole system on this machine: synthesizes, creates, sets the keys, and runs it."""

import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from local.alarms import Alarms
from local.assembly import synthesize
from local.backend import Backend, BackendKind, run_backend
from local.deployment import Deployment
from local.emulator import UNLIMITED, Contract, Emulator, EmulatorSettings
from local.event_source import SqsEventSource
from local.executor import deploy
from local.function_pool import FunctionPool
from local.gateway import HttpGateway
from local.http_server import ADDRESS
from local.metrics import MeasuredPool, MetricsPublisher
from local.paths import BUILD_CACHE
from local.payload_format import Api

LOCAL_SETTINGS: Mapping[str, str] = {
    "environment": "",
    "removal_policy": "destroy",
    "submitter_timeout_seconds": "15",
    "downloader_timeout_seconds": "20",
    "check_delay_seconds": "30",
    "orphan_grace_seconds": "300",
    "unfinished_alarm_seconds": "600",
}
"""The differences from cdk.json.

They shorten waits for a person at a terminal: for the message of a killed function, which returns
after six time-outs; for the PDF of a lost webhook; and for an alarm.
"""

EMULATORS_LIMIT: Mapping[str, str] = {
    "reportflow_requests_per_minute": "6000",
    "reportflow_burst": "500",
}
"""For the emulator, which has no rate limit. Another ReportFlow is called as from AWS."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "workspace": ("appKey", "secretKey"),
    "central": ("centralAppKey",),
}
"""The names of the account's keys in the secret, by contract."""

APP_KEYS: Mapping[str, str] = {"workspace": "local-app-key", "central": "ak_local"}
"""The emulator's first or only key, by contract. `set-keys` accepts them like real ones."""

MAX_PROCESSES = 4
"""The most of each function. More would only wait for this machine's processors."""


class StartError(RuntimeError):
    """The port is in use, or the log folder cannot be written."""


@dataclass(frozen=True)
class Options:
    """What to run.

    `reportflow_url` None starts the emulator. `port` is the webhook's; 0 takes a free one.
    `settings` are deployment settings, and replace those of cdk.json and `LOCAL_SETTINGS`.
    `app_key` None is the contract's in `APP_KEYS`.
    """

    backend: BackendKind = BackendKind.MOTO
    settings: Mapping[str, str] = field(default_factory=dict)
    reportflow_url: str | None = None
    workspace_id: str = "local-workspace"
    app_key: str | None = field(default=None, repr=False)
    secret_key: str = field(default="local-secret-key", repr=False)
    port: int = 0
    emulator: EmulatorSettings = field(default_factory=EmulatorSettings)


@dataclass(frozen=True)
class State:
    """The content of the state file: what another program needs to use the system."""

    aws_endpoint_url: str
    region: str
    request_queue_url: str
    request_dlq_url: str
    download_queue_url: str
    download_dlq_url: str
    jobs_table: str
    archive_bucket: str
    payload_buckets: tuple[str, ...]
    event_bus: str
    secret_arn: str
    webhook_url: str = field(repr=False)
    reportflow_url: str
    contract: str
    settings: Mapping[str, str]
    pid: int
    log_folder: str

    def write(self, path: Path) -> None:
        """Replace the file as a whole.

        Only its owner can read it, because it has the webhook's secret.
        """
        unfinished = path.with_name(f".{path.name}.unfinished")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n")
        unfinished.replace(path)


@dataclass(frozen=True)
class System:
    """A running system. `emulator` is None if another ReportFlow is used."""

    state: State
    backend: Backend
    emulator: Emulator | None
    pools: Mapping[str, FunctionPool]
    log_folder: Path


@contextmanager
def run(
    options: Options,
    report: Callable[[str], None],
    start_backend: Callable[[BackendKind, Path], AbstractContextManager[Backend]] = run_backend,
) -> Iterator[System]:
    """Start the system, and stop all of it on leaving. `report` gets each step and its time.

    Raises:
        SynthesisError: a setting is wrong.
        BackendError, ExecutionError, PackageError, InvocationFailed, StartError: a part does not
            start.
    """
    log_folder = make_log_folder()
    _check_port(options.port)
    with ExitStack() as stack:
        assembly_folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="reportflow-"))
        emulator = None
        reportflow_url = options.reportflow_url
        if reportflow_url is None:
            emulator = stack.enter_context(Emulator(_emulator_settings(options)))
            reportflow_url = emulator.url
        with _step("synthesize the template", report):
            assembly = synthesize(
                {
                    **LOCAL_SETTINGS,
                    "workspace_id": options.workspace_id,
                    "reportflow_url": reportflow_url,
                    "reportflow_files_url": _origin(reportflow_url),
                    **(_of_emulator(emulator) if emulator is not None else {}),
                    **options.settings,
                },
                Path(assembly_folder),
            )
        with _step(f"start {options.backend}", report):
            backend = stack.enter_context(start_backend(options.backend, log_folder))
        with _step("create the template's resources", report):
            deployment = deploy(assembly, backend)
        payload_buckets = _make_payload_buckets(deployment, backend)
        outputs = {name: value for of in deployment.outputs.values() for name, value in of.items()}
        token = _fill_in_keys(backend, outputs["SecretArn"], options)
        with _step("start the functions", report):
            pools = _start_functions(deployment, backend, log_folder, stack)
        queue_urls = [value for name, value in outputs.items() if name.endswith("QueueUrl")]
        alarms = Alarms(backend.client("cloudwatch"), time.time, deployment.alarms)
        publisher = MetricsPublisher(backend, pools.values(), queue_urls, alarms.update)
        publisher.start()
        stack.callback(publisher.stop)
        with _step("start the gateway and the event sources", report):
            api = Api(deployment.region, deployment.account)
            gateway = HttpGateway(deployment.routes, pools, api, port=options.port)
            stack.callback(gateway.stop)
            webhook_url = f"{gateway.url}/webhooks/{token}"
            if emulator is not None:
                emulator.webhook_url = webhook_url
            _start_event_sources(deployment, pools, backend, stack)
        yield System(
            state=State(
                aws_endpoint_url=backend.endpoint_url,
                region=backend.region,
                request_queue_url=outputs["RequestQueueUrl"],
                request_dlq_url=outputs["RequestDeadLetterQueueUrl"],
                download_queue_url=outputs["DownloadQueueUrl"],
                download_dlq_url=outputs["DownloadDeadLetterQueueUrl"],
                jobs_table=outputs["JobsTableName"],
                archive_bucket=outputs["ArchiveBucketName"],
                payload_buckets=payload_buckets,
                event_bus=outputs["EventBusName"],
                secret_arn=outputs["SecretArn"],
                webhook_url=webhook_url,
                reportflow_url=reportflow_url,
                contract=_contract(options),
                settings=_settings(deployment, outputs),
                pid=os.getpid(),
                log_folder=str(log_folder),
            ),
            backend=backend,
            emulator=emulator,
            pools=pools,
            log_folder=log_folder,
        )


def make_log_folder() -> Path:
    """Make a new folder for logs, in the repository's `.build`.

    Raises:
        StartError: it cannot be written.
    """
    folder = BUILD_CACHE / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StartError(
            f"{folder} cannot be written: {error.strerror}. The local system needs the "
            "repository's folder .build for packages and logs."
        ) from error
    return folder


def _origin(url: str) -> str:
    """Scheme, host and port, from which ReportFlow's files are fetched."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _of_emulator(emulator: Emulator) -> Mapping[str, str]:
    return {**EMULATORS_LIMIT, "reportflow_token_url": emulator.token_url}


def _emulator_settings(options: Options) -> EmulatorSettings:
    contract = _contract(options)
    if contract not in set(Contract):
        # The synthesis reports it, with all other mistakes.
        return options.emulator
    rate = options.emulator.requests_per_minute
    return replace(
        options.emulator,
        contract=Contract(contract),
        requests_per_minute=UNLIMITED if rate is None else rate,
        workspace_id=options.workspace_id,
        app_key=_app_key(options),
        secret_key=options.secret_key,
    )


def _settings(deployment: Deployment, outputs: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of submitter and downloader. The same name has the same value."""
    names = {outputs[f"{role}FunctionName"] for role in ("Submitter", "Downloader")}
    return {
        name: value
        for function in deployment.functions
        if function.name in names
        for name, value in function.environment.items()
    }


def _contract(options: Options) -> str:
    return options.settings.get("contract", "workspace")


def _app_key(options: Options) -> str:
    return APP_KEYS[_contract(options)] if options.app_key is None else options.app_key


def _make_payload_buckets(deployment: Deployment, backend: Backend) -> tuple[str, ...]:
    """Create the buckets of upstream systems, which the submitter may read."""
    named = [function.environment.get("PAYLOAD_BUCKETS", "") for function in deployment.functions]
    buckets = tuple(bucket for names in named for bucket in names.split(",") if bucket)
    for bucket in buckets:
        backend.client("s3").create_bucket(
            Bucket=bucket,
            CreateBucketConfiguration=cast("Any", {"LocationConstraint": backend.region}),
        )
    return buckets


def _fill_in_keys(backend: Backend, secret_arn: str, options: Options) -> str:
    """Set the keys, as a person does after a deployment, and return the webhook's token."""
    client = backend.client("secretsmanager")
    secret = json.loads(client.get_secret_value(SecretId=secret_arn)["SecretString"])
    names = KEYS.get(_contract(options), ())
    secret |= dict(zip(names, (_app_key(options), options.secret_key), strict=False))
    client.put_secret_value(SecretId=secret_arn, SecretString=json.dumps(secret))
    return str(secret["webhookToken"])


def _start_functions(
    deployment: Deployment, backend: Backend, log_folder: Path, stack: ExitStack
) -> Mapping[str, MeasuredPool]:
    pools = {}
    for function in deployment.functions:
        pool = MeasuredPool(function, backend, work_dir=log_folder, max_processes=MAX_PROCESSES)
        pools[function.name] = stack.enter_context(closing(pool))
    with ThreadPoolExecutor() as starting:
        for started in [starting.submit(pool.warm_up) for pool in pools.values()]:
            started.result()
    return pools


def _check_port(port: int) -> None:
    """Report a port that is in use before the long part of the start.

    Raises:
        StartError: it is.
    """
    try:
        socket.create_server((ADDRESS, port)).close()
    except OSError as error:
        raise StartError(
            f"Port {port} cannot be used: {os.strerror(error.errno or 0)}. Use another --port, "
            "or 0 for a free one."
        ) from error


def _start_event_sources(
    deployment: Deployment,
    pools: Mapping[str, FunctionPool],
    backend: Backend,
    stack: ExitStack,
) -> None:
    sources = [
        SqsEventSource(source, pools[source.function_name], backend.client("sqs"))
        for source in deployment.event_sources
    ]
    stopping = stack.enter_context(ThreadPoolExecutor())
    for source in sources:
        source.start()
        stack.callback(stopping.submit, source.stop)


@contextmanager
def _step(name: str, report: Callable[[str], None]) -> Iterator[None]:
    begun = time.monotonic()
    yield
    report(f"{name}: {time.monotonic() - begun:.1f} s")
