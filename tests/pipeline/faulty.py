"""A system whose ReportFlow, AWS and functions fail on request, and what is left of its jobs."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import override

import msgspec

from local.backend import Backend, BackendKind, run_backend
from local.emulator import Contract, Emulator, EmulatorSettings, harshest
from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import AnyDispatchFault, AnyHttpFault
from local.emulator.files import FileRecord
from local.function_pool import FunctionPool
from local.system import KEYS, Options, System, run
from tests.pipeline.aws_proxy import AwsProxy
from tests.pipeline.driver import Driver, body, new_id, until

QUEUES = ("request_queue_url", "download_queue_url")
DEAD_LETTER_QUEUES = {"submit": "request_dlq_url", "archive": "download_dlq_url"}


@dataclass(frozen=True)
class Ending:
    """What is left of a job.

    `pdfs` counts what ReportFlow took in, `objects` all versions of the job's archived objects.
    """

    status: str = "ARCHIVED"
    error_code: str | None = None
    pdfs: int = 1
    possible_duplicates: int = 0
    objects: int = 1


def failed(error_code: str, pdfs: int) -> Ending:
    return Ending("FAILED", error_code, pdfs=pdfs, objects=0)


@dataclass(frozen=True)
class Story:
    """One job: what ReportFlow does wrong with it, and how it must end."""

    faults: Sequence[Fault] = ()
    ending: Ending = field(default_factory=Ending)


def on(
    call: Call,
    fault: AnyHttpFault | AnyDispatchFault,
    times: int | None = 1,
    *,
    prefix: str = "",
    probability: float = 1,
) -> Fault:
    """A fault; `prefix` is what the jobs' ids begin with that it strikes."""
    return Fault(
        call=call, fault=fault, times=times, probability=probability, file_name_prefix=prefix
    )


@dataclass(frozen=True)
class SlowJobs:
    """Ids of jobs whose ends take long."""

    never_made: str
    keys_refused: str


@dataclass(frozen=True)
class FaultySystem:
    """A running system and the ways to disturb it."""

    system: System
    driver: Driver
    aws: AwsProxy

    @property
    def emulator(self) -> Emulator:
        assert self.system.emulator is not None
        return self.system.emulator

    @property
    def contract(self) -> Contract:
        return self.emulator.settings.contract

    def pool(self, name: str) -> FunctionPool:
        """The processes of the submitter, the webhook or the downloader."""
        return next(
            pool for function, pool in self.system.pools.items() if name in function.lower()
        )

    def kill(self, name: str) -> None:
        """Kill all processes of a function."""
        for pid in self.pool(name).pids():
            os.kill(pid, signal.SIGKILL)

    def send(self, job_id: str) -> None:
        """Send a message whose PDF has the job's name."""
        content = {"fileName": f"{job_id}.pdf", "params": {"customerName": job_id, "amount": 1}}
        self.driver.send(body(job_id, content=content))

    def play(self, stories: Mapping[str, Story], seconds: float = 240) -> Mapping[str, str]:
        """Live through all stories at the same time, until nothing moves any more.

        Returns each story's job id.
        """
        job_ids = {name: new_id(name) for name in stories}
        self.emulator.faults.replace(
            [
                msgspec.structs.replace(fault, file_name_prefix=job_ids[name])
                for name, story in stories.items()
                for fault in story.faults
            ]
        )
        with self.until_idle(seconds):
            for job_id in job_ids.values():
                self.send(job_id)
            for job_id in job_ids.values():
                self.driver.ended(job_id, seconds)
        idle = [fault for fault, times in self.emulator.faults.counts() if not times]
        assert not idle, "these faults never happened"
        return job_ids

    @contextmanager
    def until_idle(self, seconds: float = 240) -> Iterator[None]:
        """On leaving, wait until the queues hold no more messages than on entering."""
        before = self._messages_left()
        yield

        def idle() -> bool | None:
            now = self._messages_left()
            return all(now[queue] <= before[queue] for queue in QUEUES) or None

        until(idle, seconds, "the queues have nothing left to do")

    def _messages_left(self) -> Mapping[str, int]:
        return {queue: self.driver.messages_left(queue) for queue in QUEUES}

    def endings(self, stories: Mapping[str, Story]) -> Mapping[str, Ending]:
        """How the stories end."""
        return {name: self.ending(job_id) for name, job_id in self.play(stories).items()}

    def pdfs(self, job_id: str) -> list[FileRecord]:
        """What ReportFlow took in for a job."""
        return [file for file in self.emulator.files() if file.file_name == f"{job_id}.pdf"]

    def ending(self, job_id: str) -> Ending:
        """What is left of an ended job.

        An archived one has the bytes that ReportFlow made, a failed one its dead letter.
        """
        job = self.driver.job(job_id)
        assert job is not None
        pdfs = self.pdfs(job_id)
        objects = self.driver.objects(job_id)
        if job["status"] == "ARCHIVED":
            stored = self.driver.s3.get_object(
                Bucket=self.driver.state["archive_bucket"], Key=job["archiveKey"]
            )
            sha256 = hashlib.sha256(stored["Body"].read()).hexdigest()
            made = {file_id(self.contract, file): file.sha256 for file in pdfs}
            assert sha256 == job["sha256"] == made[job["fileId"]], job_id
        else:
            queue = DEAD_LETTER_QUEUES[job["failedStep"]]
            dead = self.driver.dead_letter(queue, job_id, job["errorCode"])
            reason = {n: value["StringValue"] for n, value in dead["MessageAttributes"].items()}
            told = ("errorCode", "errorMessage", "failedStep", "jobId")
            assert reason == {name: job[name] for name in told}, job_id
        return Ending(
            status=job["status"],
            error_code=job.get("errorCode"),
            pdfs=len(pdfs),
            possible_duplicates=int(job.get("possibleDuplicates", 0)),
            objects=len(objects),
        )

    def change_keys(self, key: str) -> str:
        """Put another key into the secret (of two, the SecretKey); returns the one before it."""
        client = self.system.backend.client("secretsmanager")
        [arn] = [secret["ARN"] for secret in client.list_secrets()["SecretList"]]
        value = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
        name = KEYS[self.contract][-1]
        client.put_secret_value(SecretId=arn, SecretString=json.dumps({**value, name: key}))
        return str(value[name])


def service(contract: Contract) -> EmulatorSettings:
    """ReportFlow as it is by default, or with `central` as unhelpful as it may be."""
    return harshest(contract) if contract is Contract.CENTRAL else EmulatorSettings()


def file_id(contract: Contract, file: FileRecord) -> str:
    """The file's id on its job's record."""
    return f"{file.request_id}/{file.file_id}" if contract is Contract.CENTRAL else file.file_id


class _Proxied(Backend):
    """A backend that the functions reach through a proxy, and everybody else directly."""

    def __init__(self, backend: Backend, proxy: AwsProxy) -> None:
        super().__init__(backend.kind, backend.endpoint_url)
        self.proxy = proxy

    @property
    @override
    def environment(self) -> Mapping[str, str]:
        return {**super().environment, "AWS_ENDPOINT_URL": self.proxy.url}


@contextmanager
def run_faulty(
    settings: Mapping[str, str],
    seed: int = 0,
    backend_kind: BackendKind = BackendKind.MOTO,
    contract: Contract = Contract.WORKSPACE,
) -> Iterator[FaultySystem]:
    """Run a system; `seed` decides which calls ReportFlow's faults strike."""

    @contextmanager
    def start_backend(kind: BackendKind, folder: Path) -> Iterator[Backend]:
        with (
            run_backend(kind, folder) as backend,
            AwsProxy(backend.endpoint_url) as proxy,
            closing(_Proxied(backend, proxy)) as proxied,
        ):
            yield proxied

    emulator = replace(service(contract), render_seconds=(0.1, 0.3), seed=seed)
    options = Options(
        backend=backend_kind, settings={**settings, "contract": contract}, emulator=emulator
    )
    with ExitStack() as stack:
        system = stack.enter_context(run(options, print, start_backend))
        assert isinstance(system.backend, _Proxied)
        driver = stack.enter_context(closing(Driver(asdict(system.state))))
        yield FaultySystem(system, driver, system.backend.proxy)
