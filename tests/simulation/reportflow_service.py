"""ReportFlow in memory, by either contract: its requests, its PDFs and its webhooks."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from reportflow.contract.central import OWN_KEY
from tests.simulation.faults import Chaos, Fault
from tests.simulation.scheduler import Scheduler

WORKSPACE_ID: Final = "acme"
API_HOST: Final = "acme.re-port-flow.test"
FILES_HOST: Final = "files.re-port-flow.test"
# Without TLS, whose work takes as long as a simulated job.
BASE_URL: Final = f"http://{API_HOST}/v1"
FILES_URL: Final = f"http://{FILES_HOST}/"

_MADE_TOGETHER: Final = 100_000
"""From this number on, foreign files are named in one webhook with a file of ours."""


class Design(StrEnum):
    """Templates, by what happens to the jobs that use them."""

    GOOD = "550e8400-e29b-41d4-a716-446655440000"
    MISSING = "550e8400-e29b-41d4-a716-446655440404"
    BROKEN = "550e8400-e29b-41d4-a716-446655440500"
    SILENT = "550e8400-e29b-41d4-a716-446655445111"
    OTHER = "550e8400-e29b-41d4-a716-446655440222"
    NO_PDF = "550e8400-e29b-41d4-a716-446655440666"
    POISON = "550e8400-e29b-41d4-a716-446655440999"
    POISON_PDF = "550e8400-e29b-41d4-a716-446655440998"


@dataclass(eq=False)
class Document:
    """A PDF that was asked for; `made` once it can be fetched."""

    number: int
    content_key: str
    design_id: str
    version: int
    file_name: str
    params: dict[str, Any]
    passthrough: Any = None
    made: bool = False
    taken_at: float = 0.0
    is_central: bool = False

    @property
    def request_id(self) -> str:
        """The id of a `central` request."""
        return f"request_{self.number:05}"

    @property
    def own_id(self) -> str:
        """The file's id as the service names it; in `central`, unique in its request only."""
        return "file_1" if self.is_central else f"file_{self.number:05}"

    @property
    def file_id(self) -> str:
        """The file's id in a job's record."""
        return f"{self.request_id}/{self.own_id}" if self.is_central else self.own_id

    @property
    def marked_job(self) -> str | None:
        """The job whose mark `passthrough` carries."""
        return None if self.passthrough is None else str(self.passthrough[OWN_KEY]["jobId"])

    @property
    def uuid(self) -> str:
        """The other half of the download path; the webhook carries it."""
        return f"uuid-{self.number:05}"

    @property
    def url(self) -> str:
        """The URL of the 202."""
        return f"{FILES_URL}{self.number:05}"

    def pdf(self) -> bytes:
        """Its bytes: unlike any other document's."""
        if self.design_id == Design.NO_PDF:
            return b"PK\x03\x04 no PDF at all"
        return b"%%PDF-1.7\n%s %d\n%%%%EOF\n" % (self.content_key.encode(), self.number)


def content_key(design_id: str, version: int, file_name: str, params: dict[str, Any]) -> str:
    """What a PDF is made of, as one text; reckoned apart from the code under test."""
    return json.dumps([design_id.lower(), version, file_name, params], sort_keys=True)


@lru_cache(maxsize=1000)
def read(body: bytes) -> Any:
    """What a request says; nobody may change it."""
    return json.loads(body)


@lru_cache(maxsize=1000)
def asked_for(body: bytes) -> str:
    """The `content_key` of the PDF that a request asks for."""
    asked = read(body)
    content = asked["content"]
    return content_key(asked["designId"], asked["version"], content["fileName"], content["params"])


@dataclass(frozen=True)
class Webhook:
    """How a webhook names a document: by its ids only if `bare`, and among which other files."""

    bare: bool = False
    before: tuple[Document, ...] = ()
    behind: tuple[Document, ...] = ()


@dataclass
class ReportFlowService:
    """The service. `deliver` posts a webhook body and calls back with the answer's status."""

    scheduler: Scheduler
    chaos: Chaos
    not_ready_status: int
    webhook_attempts: int
    requests_a_minute: int
    urls_work: bool
    is_central: bool
    deliver: Callable[[str, Callable[[int | None], None]], None]
    keys: tuple[str, str] = ("app-1", "secret-1")
    documents: list[Document] = field(default_factory=list)
    made_of: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    on_announced: Callable[[Document, Webhook], None] | None = None
    on_request: Callable[[bytes | None], None] | None = None
    """Hears of each request before it is answered: what a submission asks for, else None."""

    on_answer: Callable[[int], None] | None = None
    """Hears of each answer that begins with a status line, whatever becomes of it."""

    unanswered: Document | None = None
    """Its answer goes to another request."""

    downloads: int = 0
    """Files that were fetched, or begun to be."""

    _window: tuple[int, int] = (0, 0)

    def throttles(self) -> bool:
        """Whether this minute's requests are used up."""
        minute = int(self.scheduler.now // 60)
        count = self._window[1] + 1 if self._window[0] == minute else 1
        self._window = (minute, count)
        return count > self.requests_a_minute

    def take(self, body: bytes) -> Document:
        """Accept a request: from now on it is billed, and will be made."""
        asked = read(body)
        content = asked["content"]
        document = Document(
            len(self.documents) + 1,
            asked_for(body),
            asked["designId"],
            asked["version"],
            content["fileName"],
            content["params"],
            content.get("passthrough"),
            is_central=self.is_central,
        )
        document.taken_at = self.scheduler.now
        self.documents.append(document)
        self.made_of[document.content_key] += 1
        rng = self.chaos.rng
        if document.design_id == Design.SILENT or self.chaos.strikes(Fault.RENDER_LOST):
            return document
        duration = rng.random() * 5
        if self.chaos.strikes(Fault.RENDER_LATE):
            duration = rng.uniform(30, 4000)
        self.scheduler.after(duration, lambda: self._finish(document))
        if self.chaos.strikes(Fault.WEBHOOK_EARLY):
            self.scheduler.after(
                duration * rng.random(), lambda: self._announce(document, self.webhook_attempts)
            )
        return document

    def _finish(self, document: Document) -> None:
        document.made = True
        if self.chaos.tell is not None:
            self.chaos.tell(f"ReportFlow made {document.file_id}")
        rng = self.chaos.rng
        if self.chaos.strikes(Fault.WEBHOOK_LOST):
            return
        delay = rng.random() * 2
        if self.chaos.strikes(Fault.WEBHOOK_LATE):
            delay = rng.uniform(30, 10_000)
        times = 1 + self.chaos.strikes(Fault.WEBHOOK_TWICE)
        for _ in range(times):
            self.scheduler.after(delay, lambda: self._announce(document, self.webhook_attempts))
            delay += rng.random() * rng.choice((1, 60, 3000))

    def _announce(self, document: Document, attempts: int) -> None:
        made = document.made
        webhook = self._webhook(document)

        def answered(status: int | None) -> None:
            if status == HTTPStatus.OK and made and self.on_announced is not None:
                self.on_announced(document, webhook)
            if (status is None or status >= 500) and attempts > 1:
                self.scheduler.after(
                    5 + self.chaos.rng.random() * 60,
                    lambda: self._announce(document, attempts - 1),
                )

        if self.chaos.strikes(Fault.WEBHOOK_OTHER):
            self.deliver(self._of_another(document), lambda _: None)
        self.deliver(announcement(document, webhook), answered)

    def _webhook(self, document: Document) -> Webhook:
        bare = self.chaos.strikes(Fault.WEBHOOK_BARE)
        if not self.chaos.strikes(Fault.WEBHOOK_MULTIPLE):
            return Webhook(bare=bare)
        rng = self.chaos.rng
        first = _MADE_TOGETHER + 20 * document.number
        before, behind = rng.randrange(12), rng.randrange(3)
        return Webhook(
            bare=bare,
            before=tuple(self.foreign(first + number) for number in range(before)),
            behind=tuple(self.foreign(first + before + number) for number in range(behind)),
        )

    def _of_another(self, document: Document) -> str:
        """A webhook, forged by somebody with the token.

        It names the file with another design or version; or it names another file and, with a
        guessed tag, the job of this one.
        """
        if document.marked_job is not None and self.chaos.rng.random() < 0.5:
            return announcement(
                replace(
                    self.chaos.rng.choice(self.documents),
                    design_id=document.design_id,
                    version=document.version,
                    passthrough={OWN_KEY: {"jobId": document.marked_job, "tag": "guessed"}},
                )
            )
        changes: dict[str, Any] = (
            {"version": document.version + 1}
            if self.chaos.rng.random() < 0.5
            else {"design_id": Design.OTHER}
        )
        return announcement(replace(document, **changes), Webhook(bare=True))

    def refuse(self, body: bytes) -> None:
        """Count a request that was answered with an error and not taken."""
        self.refused[asked_for(body)] += 1

    def at(self, host: str, path: str) -> Document | None:
        """The document that a download path or a 202's URL stands for."""
        if host == FILES_HOST:
            return self._numbered(path.removeprefix("/")) if self.urls_work else None
        first, _, file_id = path.removeprefix("/v1/file/download/").partition("/")
        if self.is_central:
            return self.by_file_id(f"{first}/{file_id}")
        found = self.by_file_id(file_id)
        return found if found is not None and found.uuid == first else None

    def by_file_id(self, file_id: str) -> Document | None:
        """The document with this id in a job's record."""
        found = self._numbered(file_id.partition("/")[0].partition("_")[2])
        return found if found is not None and found.file_id == file_id else None

    def foreign(self, number: int) -> Document:
        """A file that a sync call made: nobody asked for it here."""
        key = hashlib.sha256(str(number).encode()).hexdigest()
        params = {"foreign": number}
        return Document(
            90_000 + number,
            key,
            Design.GOOD,
            1,
            "other.pdf",
            params,
            is_central=self.is_central,
        )

    def _numbered(self, text: str) -> Document | None:
        number = int(text) if text.isdecimal() else 0
        return self.documents[number - 1] if 1 <= number <= len(self.documents) else None


def announcement(document: Document, webhook: Webhook = Webhook()) -> str:
    """The webhook's body. All its files are of one template, and of one request if it has an id."""
    files = (*webhook.before, document, *webhook.behind)
    return json.dumps(
        {
            **({"requestId": document.request_id} if document.is_central else {}),
            "event": "file.completed",
            "timestamp": "2026-03-31T23:59:50Z",
            "workspaceId": WORKSPACE_ID,
            "designId": document.design_id,
            "version": document.version,
            "files": [
                _entry(file, number, bare=webhook.bare)
                for number, file in enumerate(files, start=1 - len(webhook.before))
            ],
        }
    )


def _entry(document: Document, number: int, *, bare: bool) -> Mapping[str, Any]:
    if document.is_central:
        return central_file(document, f"file_{number}", bare=bare)
    ids = {"fileId": document.own_id, "uuid": document.uuid}
    if bare:
        return ids
    return {**ids, "fileName": document.file_name, "params": document.params}


def central_file(document: Document, file_id: str, *, bare: bool = False) -> Mapping[str, Any]:
    """A file as the 202 and the webhook of `central` name it."""
    named = {"fileId": file_id, "fileName": document.file_name}
    share = {"shareType": "workspace", "url": document.url, "passcodeEnabled": False}
    if bare or document.passthrough is None:
        return {**named, "share": share}
    return {**named, "passthrough": document.passthrough, "share": share}
