"""What ReportFlow's wire looks like: the one place that names its URLs, headers and fields.

A contract is a version of ReportFlow's API. `Contract` lists all that depends on it. To add one,
write a module beside `workspace.py` and put it into `CONTRACTS`.

    document.py      what a PDF is made of, and its digest
    json_values.py   JSON as the service reads it
    files.py         what the service says about files, as values
    workspace.py     the contract of the page on asynchronous generation
    central.py       today's contract
    webhook_body.py  from a webhook's body to the finished files
    client.py        the HTTP client
    credentials.py   from the secret to the headers that authenticate a request
    failures.py      the service's failures as kinds of ours
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from reportflow.contract.central import Central
from reportflow.contract.document import Content, Document
from reportflow.contract.files import Accepted, CompletedFile, Location, Mark
from reportflow.contract.workspace import Workspace


class Contract(Protocol):
    """One version of ReportFlow's API, as pure functions."""

    @property
    def name(self) -> str:
        """The value of the setting `contract`."""

    @property
    def content(self) -> type[Content]:
        """The kind of `content` that a message may have."""

    @property
    def max_request_bytes(self) -> int:
        """The most bytes that a request's body may have."""

    @property
    def customers_field(self) -> str:
        """The field of a webhook's entry in which names are the customer's own."""

    @property
    def credentials(self) -> tuple[tuple[str, ...], ...]:
        """The names in the secret that authenticate a request; each alternative is complete."""

    def file_name(self, name: str) -> str:
        """The file name that ReportFlow will give to the file."""

    def body(self, document: Document[Any], mark: Mark) -> bytes:
        """The body of the request that asks for the document."""

    def key_mistake(self, *keys: str) -> str:
        """Why these keys cannot be the contract's; empty if they may be."""

    def headers(self, *keys: str) -> Mapping[str, str]:
        """The headers of the first alternative of `credentials`."""

    def accepted(self, answer: bytes, mark: Mark) -> Accepted:
        """Read the body of a success; `mark` is the request's.

        Raises:
            msgspec.DecodeError: it does not name the file, or is the answer to another request.
        """

    def location(self, file_id: str, reference: str) -> Location | None:
        """Where a file is; None if the reference belongs to another contract."""

    def is_missing(self, status: int, message: str) -> bool:
        """Whether this answer to a download means that the file is not there, or not yet.

        Such an answer costs no retry: the job's deadline decides.
        """

    def announces(self, event: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
        """Whether this entry of a `file.completed` has the contract's form."""

    def completed(
        self, event: Mapping[str, Any], design_id: str, version: int, entry: Mapping[str, Any]
    ) -> CompletedFile:
        """The file that an entry of a webhook reports.

        Raises:
            msgspec.ValidationError: a field is missing or malformed.
        """


WORKSPACE: Final[Contract] = Workspace()
CENTRAL: Final[Contract] = Central()

CONTRACTS: Final[Mapping[str, Contract]] = {
    contract.name: contract for contract in (WORKSPACE, CENTRAL)
}
"""All contracts. An entry of a webhook belongs to the first whose form it has."""
