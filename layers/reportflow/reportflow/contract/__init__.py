"""What ReportFlow's wire looks like: the one place that names its URLs, headers and fields.

A contract is a version of ReportFlow's API, as pure functions. `Workspace` describes the names that
each has. docs/architecture.md says how to add one.

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

from typing import Final

from reportflow.contract.central import Central
from reportflow.contract.workspace import Workspace

type Contract = Workspace | Central

WORKSPACE: Final = Workspace()
CENTRAL: Final = Central()

CONTRACTS: Final[dict[str, Contract]] = {each.name: each for each in (WORKSPACE, CENTRAL)}
"""All contracts. An entry of a webhook belongs to the first whose form it has."""
