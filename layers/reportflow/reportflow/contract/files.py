"""ReportFlow's files as values: what a 202 and a webhook say about them.

The pipeline stores and compares `file_id` and `reference` and passes them back. Only the contract
reads them.
"""

import msgspec

from reportflow.contract.document import DesignId, FileId, Version


class Mark(msgspec.Struct, frozen=True, rename="camel"):
    """What a submission carries so that its webhook finds the job: the job's id and a secret tag.

    The tag is random. A caller that makes PDFs in the same workspace cannot guess it.
    """

    job_id: str
    tag: str


class Accepted(msgspec.Struct, frozen=True):
    """ReportFlow took the request: its name for the file, and how to find it later."""

    file_id: str
    reference: str


class CompletedFile(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="completed",
):
    """One message on the download queue: ReportFlow says that this file is finished.

    `request_digest` and `mark` identify the document or the job that the file belongs to. Each is
    empty if the contract's webhook does not say it.
    """

    file_id: FileId
    reference: str
    design_id: DesignId
    version: Version
    request_digest: str = ""
    mark: Mark | None = None


class ReportedFiles(msgspec.Struct, frozen=True):
    """The files that a webhook reports, and the number of entries that are unreadable."""

    files: list[CompletedFile] = msgspec.field(default_factory=list)
    wrong_entries: int = 0


class Location(msgspec.Struct, frozen=True):
    """Where a file is: a path under the API's base URL, or a whole URL that takes no keys."""

    path: str = ""
    url: str = ""
