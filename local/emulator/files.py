"""The files of the workspace: what was requested, made and sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from threading import Condition
from time import monotonic
from uuid import uuid4

from local.emulator.settings import Ids


@dataclass(frozen=True)
class WebhookAttempt:
    """One POST to the receiver: the status of its answer, or why there was none."""

    status: int | None
    error: str | None


@dataclass(frozen=True)
class Content:
    """The name and the parameters of a file.

    Only `central` has `share_type` ("01" workspace, "02" invited, "03" public), `passcode_enabled`
    and `passthrough`, which is returned to the caller unchanged.
    """

    file_name: str
    params: Mapping[str, object]
    share_type: str = "01"
    passcode_enabled: bool = False
    passthrough: Mapping[str, object] | None = None

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the service writes into the PDF: top-level strings and numbers of `passthrough`."""
        return {
            name: str(value)
            for name, value in (self.passthrough or {}).items()
            if isinstance(value, str | int | float) and not isinstance(value, bool)
        }


@dataclass(frozen=True, kw_only=True)
class FileRecord(Content):
    """A file of an accepted request.

    `sha256` (hex) and `size` (bytes) are None until it is made.

    `uuid` is sent with the webhook of `workspace` only. The files of one request have the same
    `request_id`, `link` and `origin`. `link` is the last part of the `url` in the 202 of
    `workspace`. `origin` is the scheme, host and port that the caller used: links to this machine
    begin with it.
    """

    file_id: str
    uuid: str
    request_id: str
    design_id: str
    version: int
    link: str
    origin: str
    sha256: str | None = None
    size: int | None = None
    downloads: int = 0
    webhooks: tuple[WebhookAttempt, ...] = ()


class Files:
    """All files since the start, safe to use from any thread."""

    def __init__(self, retention_seconds: float, ids: Ids) -> None:
        self._retention_seconds = retention_seconds
        self._ids = ids
        self._records: dict[str, FileRecord] = {}
        self._requests: dict[str, list[str]] = {}
        self._pdfs: dict[str, tuple[bytes, float]] = {}
        self._closed = False
        self._changed = Condition()

    def add(
        self, design_id: str, version: int, contents: Sequence[Content], origin: str
    ) -> list[FileRecord]:
        """Record a request and give its files their ids."""
        request_id, link = self._ids.make("batch"), str(uuid4())
        records = [
            FileRecord(
                file_id=self._ids.make("file"),
                uuid=str(uuid4()),
                request_id=request_id,
                design_id=design_id,
                version=version,
                link=link,
                origin=origin,
                **vars(content),
            )
            for content in contents
        ]
        with self._changed:
            self._records |= {record.file_id: record for record in records}
            self._requests[request_id] = [record.file_id for record in records]
        return records

    def all(self) -> tuple[FileRecord, ...]:
        """Every file, in the order of the requests."""
        with self._changed:
            return tuple(self._records.values())

    def get(self, file_id: str) -> FileRecord | None:
        """The file, or None if it is unknown."""
        with self._changed:
            return self._records.get(file_id)

    def of_request(self, request_id: str) -> list[FileRecord]:
        """The files of a request; none if it is unknown."""
        with self._changed:
            return [self._records[file_id] for file_id in self._requests.get(request_id, ())]

    def at(self, link: str) -> list[FileRecord]:
        """The files of the request whose `url` ends with `link`; none if it is unknown."""
        return [record for record in self.all() if record.link == link]

    def store(self, file_id: str, pdf: bytes) -> list[FileRecord]:
        """Keep the PDF made for a file, and return all files of its request."""
        with self._changed:
            record = self._records[file_id]
            self._records[file_id] = replace(record, sha256=sha256(pdf).hexdigest(), size=len(pdf))
            self._pdfs[file_id] = pdf, monotonic() + self._retention_seconds
            self._changed.notify_all()
            return self.of_request(record.request_id)

    def is_made(self, file_id: str) -> bool:
        """Whether the PDF was made. It may have expired since."""
        with self._changed:
            return self._records[file_id].sha256 is not None

    def pdf(self, file_id: str) -> bytes | None:
        """The PDF, or None if it is not made yet, or has expired."""
        with self._changed:
            pdf, expires = self._pdfs.get(file_id, (None, 0.0))
            if pdf is not None and expires <= monotonic():
                del self._pdfs[file_id]
                return None
            return pdf

    def wait_until_made(self, file_ids: Sequence[str], seconds: float) -> list[bytes] | None:
        """Wait until each PDF is made and return them, or None after `seconds`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._pdfs.keys() >= set(file_ids), seconds
            )
            pdfs = [self._pdfs[id_][0] for id_ in file_ids if id_ in self._pdfs]
            return pdfs if len(pdfs) == len(file_ids) else None

    def count_download(self, file_id: str) -> None:
        """Record that the PDF is downloaded."""
        with self._changed:
            record = self._records[file_id]
            self._records[file_id] = replace(record, downloads=record.downloads + 1)

    def add_webhook(self, file_ids: Sequence[str], attempt: WebhookAttempt) -> None:
        """Record an attempt to send the webhook of files."""
        with self._changed:
            for file_id in file_ids:
                record = self._records[file_id]
                self._records[file_id] = replace(record, webhooks=(*record.webhooks, attempt))
            self._changed.notify_all()

    def wait_for_webhook(self, file_ids: Sequence[str], seconds: float) -> None:
        """Wait until the webhook of each file was attempted once, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or all(self._records[id_].webhooks for id_ in file_ids),
                seconds,
            )

    def close(self) -> None:
        """End all waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
