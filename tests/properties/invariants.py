"""What must be true of every request, whatever it is."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from local.payload_format import error_response
from tests.properties import canary
from tests.properties.case import Case
from tests.properties.oracle import STATUSES, Fate, IsSigned, Verdict, is_id, judge
from tests.properties.receiver import TOKENS, WORKSPACE, Outcome

MISSING: Final = error_response(HTTPStatus.NOT_FOUND)

_MESSAGE_FIELDS: Final = {
    "kind",
    "fileId",
    "reference",
    "designId",
    "version",
    "requestDigest",
    "mark",
}
_DIGEST: Final = re.compile(r"([0-9a-f]{64})?")
_BLAND: Final = re.compile(rb'\{"message": ?"[A-Z][A-Za-z ]{2,40}"\}')
"""An answer says no more than its status does."""


def verdict_on(outcome: Outcome, is_signed: IsSigned | None = None) -> Verdict:
    """What should have become of the request."""
    if outcome.event is None:
        return Verdict(Fate.NOT_FOUND)
    return judge(outcome.event, TOKENS, WORKSPACE, is_signed)


def violations(case: Case, outcome: Outcome, verdict: Verdict, *, works: bool = True) -> list[str]:
    """All that is wrong with what the request led to; `works` is false while AWS fails."""
    if outcome.error is not None:
        return [f"raised {outcome.error!r}"]
    return [
        *_wrong_answer(outcome, verdict, works=works),
        *_wrong_messages(outcome, verdict, works=works),
        *_leaks(case, outcome),
    ]


def _wrong_answer(outcome: Outcome, verdict: Verdict, *, works: bool) -> list[str]:
    found = []
    right = set(STATUSES[verdict.fate])
    if not works and verdict.files:
        right = {503} | right - {200}
    if outcome.status not in right:
        found.append(f"answered {outcome.status}, and it is {verdict.fate}")
    if outcome.status == 200:
        if json.loads(outcome.body) != {"received": True}:
            found.append(f"answered {outcome.body!r}")
    elif not _BLAND.fullmatch(outcome.body):
        found.append(f"answered {outcome.body!r}")
    if outcome.status == 404 and (dict(MISSING.headers), MISSING.body) != (
        outcome.headers,
        outcome.body,
    ):
        found.append("a wrong token gets another answer than a missing route")
    return found


def _wrong_messages(outcome: Outcome, verdict: Verdict, *, works: bool) -> list[str]:
    messages = [json.loads(message) for message in outcome.messages]
    ids = [message.get("fileId") for message in messages]
    found = []
    if outcome.status == 200 and set(ids) != verdict.files:
        found.append(f"stored {len(set(ids))} files of {len(verdict.files)}")
    if not set(ids) <= verdict.files:
        found.append("stored what no webhook reported")
    if outcome.status // 100 == 4 and messages:
        found.append("stored and refused")
    if len(set(outcome.messages)) < len(messages):
        found.append("stored a file twice")
    marks = {
        (message["fileId"], message["mark"]["jobId"], message["mark"]["tag"])
        for message in messages
        if message.get("mark")
    }
    if not marks <= verdict.marks or (outcome.status == 200 and marks != verdict.marks):
        found.append(f"stored {len(marks)} marks of {len(verdict.marks)}")
    for message in messages:
        well_formed = (
            message.keys() == _MESSAGE_FIELDS
            and all(map(is_id, message["fileId"].split("/")))
            and _is_reference(message)
            and _is_mark(message["mark"])
            and is_id(message["designId"])
            and _DIGEST.fullmatch(message["requestDigest"])
            and type(message["version"]) is int
        )
        if not well_formed:
            found.append(f"stored {message}")
    # A batch takes ten; the secret is read and, for an unknown token, read again.
    if works and outcome.calls > 2 + -(-len(ids) // 10):
        found.append(f"called AWS {outcome.calls} times for {len(ids)} files")
    return found


def _is_reference(message: Mapping[str, Any]) -> bool:
    """A file of `central` has the id of its request too."""
    reference = str(message["reference"])
    if separators := message["fileId"].count("/"):
        return separators == 1 and reference == "central"
    uuid = reference.removeprefix("workspace uuid ")
    return uuid != reference and is_id(uuid)


def _is_mark(mark: object) -> bool:
    return mark is None or (
        isinstance(mark, dict)
        and mark.keys() == {"jobId", "tag"}
        and all(map(is_id, mark.values()))
    )


def _leaks(case: Case, outcome: Outcome) -> list[str]:
    told = "\n".join((outcome.log, outcome.body.decode(), str(outcome.headers), *outcome.messages))
    # What a sender writes as a file's id is one, even if it is the token.
    own = case.body.decode(errors="replace")
    return [
        f"told {secret}"
        for secret in (*canary.SECRETS, canary.PARAMS)
        if secret in told and (secret == canary.PARAMS or secret not in own)
    ]
