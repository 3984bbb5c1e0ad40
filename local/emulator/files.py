"""The files of the workspace: what was asked for, what was made of it, who heard of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from threading import Condition
from time import monotonic
from uuid import uuid4

from local.emulator.designs import Design
from local.emulator.settings import Ids


@dataclass(frozen=True)
class WebhookAttempt:
    """One POST to the receiver: the status of its answer, or why there was none."""

    status: int | None
    error: str | None


@dataclass(frozen=True)
class Content:
    """What one file is to be made of.

    Only `central` has `share_type` ("01" workspace, "02" invited, "03" public), `passcode_enabled`
    and `passthrough`, which is the caller's and given back as it came.
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
    """A file. `sha256` (hex) and `size` (bytes) are None until it is made.

    `uuid` is sent with the webhook of `workspace` only.
    """

    file_id: str
    uuid: str
    request_id: str
    design_id: str
    version: int
    sha256: str | None = None
    size: int | None = None
    downloads: int = 0
    webhooks: tuple[WebhookAttempt, ...] = ()


@dataclass(frozen=True)
class Submission:
    """One accepted request: the files it asks for, all of one version of a design.

    `link` is the last part of the `url` in the 202 of `workspace`. `origin` is the scheme, host
    and port that the caller used: links to this machine begin with it.
    """

    request_id: str
    link: str
    origin: str
    design: Design
    version: int
    file_ids: tuple[str, ...]


class Files:
    """All files since the start, safe to use from any thread."""

    def __init__(self, retention_seconds: float, ids: Ids) -> None:
        self._retention_seconds = retention_seconds
        self._ids = ids
        self._records: dict[str, FileRecord] = {}
        self._pdfs: dict[str, tuple[bytes, float]] = {}
        self._submissions: dict[str, Submission] = {}
        self._by_link: dict[str, Submission] = {}
        self._closed = False
        self._changed = Condition()

    def add(
        self, design: Design, version: int, contents: Sequence[Content], origin: str
    ) -> Submission:
        """Record a request and give its files their ids."""
        request_id = self._ids.make("batch")
        records = [
            FileRecord(
                file_id=self._ids.make("file"),
                uuid=str(uuid4()),
                request_id=request_id,
                design_id=design.id,
                version=version,
                **vars(content),
            )
            for content in contents
        ]
        file_ids = tuple(record.file_id for record in records)
        submission = Submission(request_id, str(uuid4()), origin, design, version, file_ids)
        with self._changed:
            self._records.update(zip(file_ids, records, strict=True))
            self._submissions[request_id] = submission
            self._by_link[submission.link] = submission
        return submission

    def all(self) -> tuple[FileRecord, ...]:
        """Every file, in the order of the requests."""
        with self._changed:
            return tuple(self._records.values())

    def get(self, file_id: str) -> FileRecord | None:
        """The file, or None where it is unknown."""
        with self._changed:
            return self._records.get(file_id)

    def records(self, file_ids: Sequence[str]) -> list[FileRecord]:
        """The files of a submission."""
        with self._changed:
            return [self._records[file_id] for file_id in file_ids]

    def submission(self, request_id: str) -> Submission | None:
        """The submission with this id, or None."""
        with self._changed:
            return self._submissions.get(request_id)

    def at(self, link: str) -> Submission | None:
        """The submission whose `url` ends with `link`, or None."""
        with self._changed:
            return self._by_link.get(link)

    def store(self, file_id: str, pdf: bytes) -> None:
        """Keep the PDF made for a file."""
        with self._changed:
            record = self._records[file_id]
            self._records[file_id] = replace(record, sha256=sha256(pdf).hexdigest(), size=len(pdf))
            self._pdfs[file_id] = pdf, monotonic() + self._retention_seconds
            self._changed.notify_all()

    def is_made(self, file_id: str) -> bool:
        """Whether the PDF was made, be it still kept or not."""
        with self._changed:
            return self._records[file_id].sha256 is not None

    def pdf(self, file_id: str) -> bytes | None:
        """The PDF, or None where it is not made or not kept any more."""
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
                lambda: self._closed or all(id_ in self._pdfs for id_ in file_ids), seconds
            )
            pdfs = [self._pdfs[id_][0] for id_ in file_ids if id_ in self._pdfs]
            return pdfs if len(pdfs) == len(file_ids) else None

    def count_download(self, file_id: str) -> None:
        """Note that the PDF's bytes are on their way to somebody."""
        with self._changed:
            record = self._records[file_id]
            self._records[file_id] = replace(record, downloads=record.downloads + 1)

    def add_webhook(self, file_ids: Sequence[str], attempt: WebhookAttempt) -> None:
        """Note an attempt to announce files."""
        with self._changed:
            for file_id in file_ids:
                record = self._records[file_id]
                self._records[file_id] = replace(record, webhooks=(*record.webhooks, attempt))
            self._changed.notify_all()

    def wait_until_announced(self, file_ids: Sequence[str], seconds: float) -> None:
        """Wait until each file's webhook was attempted once, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or all(r.webhooks for r in self.records(file_ids)), seconds
            )

    def close(self) -> None:
        """Release whoever waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
