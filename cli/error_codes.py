"""The registry of error codes: each code's kind, meaning and remedy.

`dlq explain` and `doctor` read it, and `cli.errors_page` writes the tables of docs/errors.md from
it. It is no part of the layer: the functions need a code and its kind only, and name both where
they raise. A test compares each raised code with this registry.
"""

import re
from dataclasses import dataclass
from enum import Enum
from shlex import quote
from typing import Final

from cli.failures import CliError
from cli.letters import NO_REASON
from reportflow.errors import (
    CredentialsRefused,
    FileMissing,
    Held,
    NoSlot,
    OutcomeUnknown,
    OutOfTime,
    PayloadMissing,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
    Unavailable,
)


class DeadLetter(Enum):
    """How an operator finishes a dead letter with a code, as subcommands of `dlq`."""

    NEVER = ()
    """No dead letter has the code."""

    REDRIVE = ("redrive",)
    DROP = ("drop",)
    EITHER = ("redrive", "drop")


FAMILIES: Final = frozenset({"HTTP_1xx", "HTTP_2xx", "HTTP_3xx", "HTTP_4xx", "HTTP_5xx", "AWS_*"})
"""Each stands for all codes of its form that have no entry of their own."""


@dataclass(frozen=True)
class ErrorCode:
    """One code, or one of `FAMILIES`.

    `kinds` are the classes that the functions raise it with. `meaning` and `remedy` are Markdown,
    for operators: the remedy's imperatives are theirs.
    """

    code: str
    kinds: tuple[type[PipelineError], ...]
    dead_letter: DeadLetter
    meaning: str
    remedy: str

    @property
    def is_last_failure(self) -> bool:
        """See `LAST_FAILURE`."""
        is_permanent = any(issubclass(kind, Permanent) for kind in self.kinds)
        return bool(self.kinds) and not is_permanent and self.dead_letter is not DeadLetter.NEVER

    def commands(self, code: str, job_id: str | None = None) -> list[str]:
        """The commands that finish the dead letters with this code, or of this job.

        They are in the shell's quotes.
        """
        reason = "CODE" if code in FAMILIES else quote(code)
        selected = f"--reason {reason}" if job_id is None else f"--job {quote(job_id)}"
        edit = [f"reportflow dlq edit {quote(job_id)}"] if job_id and self._is_of_message else []
        return edit + [f"reportflow dlq {name} {selected}" for name in self.dead_letter.value]

    @property
    def _is_of_message(self) -> bool:
        """Whether a correction of the message can help."""
        return Permanent in self.kinds and DeadLetter.DROP.value[0] in self.dead_letter.value


_DEPLOY: Final = "deploy (`make deploy ENV=NAME`)"
_SEND_AGAIN: Final = "send the message again with the same `jobId`"
_NOTHING: Final = "Do nothing: the message comes back on its own."
_LOG: Final = (
    "Find the cause in the function's log (docs/operations.md shows the command). Fix it, then "
    "redrive."
)
_SET_KEYS: Final = (
    "Store the right keys with `reportflow set-keys`. Waiting messages come back within an hour."
)
_HTTP_SERVERS: Final = "Ask ReportFlow's support, or whoever runs a proxy in between,"

_OF_MESSAGES: Final = (
    ErrorCode(
        "INVALID_MESSAGE",
        (Permanent,),
        DeadLetter.DROP,
        "The message breaks the format. `errorMessage` names the field.",
        "Ask upstream to fix the message and to send it again. Then drop the dead letter.",
    ),
    ErrorCode(
        "JOB_ID_REUSED",
        (Permanent,),
        DeadLetter.DROP,
        "Upstream has sent another document with the same `jobId` before.",
        "Ask upstream to give each document a `jobId` of its own, and to send this one again. Then "
        "drop the dead letter.",
    ),
    ErrorCode(
        "PAYLOAD_BUCKET_UNKNOWN",
        (Permanent,),
        DeadLetter.EITHER,
        "The message points to a bucket that `payload_buckets` does not name.",
        f"If the bucket is the right one, add it to `payload_buckets`, {_DEPLOY} and redrive. "
        "Otherwise ask upstream to use one of `payload_buckets`, and drop the dead letter.",
    ),
    ErrorCode(
        "PAYLOAD_MISSING",
        (PayloadMissing,),
        DeadLetter.REDRIVE,
        "S3 does not have the object that the message points to. The submitter has looked for it "
        "at five deliveries.",
        "Ask upstream to put the object back, and to keep payloads as long as messages. Then "
        "redrive.",
    ),
    ErrorCode(
        "PAYLOAD_TOO_LARGE",
        (Permanent,),
        DeadLetter.DROP,
        "The request is larger than ReportFlow takes: 20 MB, or 50 MB with the contract central.",
        "Ask upstream to split the document. Then drop the dead letter.",
    ),
    ErrorCode(
        "BEING_SUBMITTED",
        (Held,),
        DeadLetter.NEVER,
        "Another delivery has the lease of this job, or its outcome is not known yet. The message "
        "waits.",
        _NOTHING,
    ),
)

_OF_REPORTFLOW: Final = (
    ErrorCode(
        "HTTP_1xx",
        (OutcomeUnknown, Retryable, FileMissing),
        DeadLetter.REDRIVE,
        "An interim answer came in place of ReportFlow's final one.",
        f"{_HTTP_SERVERS} for the reason. Then redrive.",
    ),
    ErrorCode(
        "HTTP_2xx",
        (FileMissing,),
        DeadLetter.NEVER,
        "ReportFlow answers a download with another success than 200: the PDF may not be made yet. "
        "The message waits, and no retry is used up.",
        "Do nothing: the webhook or the completion check brings the PDF. If this lasts, ask "
        "ReportFlow's support for the file.",
    ),
    ErrorCode(
        "HTTP_3xx",
        (Retryable, FileMissing),
        DeadLetter.REDRIVE,
        "ReportFlow redirects the request, and the functions follow no redirect.",
        f"Correct `reportflow_url`, {_DEPLOY} and redrive.",
    ),
    ErrorCode(
        "HTTP_4xx",
        (Permanent, FileMissing),
        DeadLetter.EITHER,
        "ReportFlow refuses the request or the download. `errorMessage` quotes its reason.",
        "If the template is wrong, fix it in ReportFlow and redrive. If the message is wrong or "
        "the file is gone, ask upstream for a correct message with the same `jobId`, and drop the "
        "dead letter.",
    ),
    ErrorCode(
        "HTTP_401",
        (CredentialsRefused, FileMissing),
        DeadLetter.NEVER,
        "ReportFlow refuses the keys: they are wrong or revoked. Messages wait, and no retry is "
        "used up.",
        _SET_KEYS,
    ),
    ErrorCode(
        "HTTP_403",
        (CredentialsRefused, FileMissing),
        DeadLetter.NEVER,
        "ReportFlow refuses the keys: they belong to another workspace. Messages wait, and no "
        "retry is used up.",
        _SET_KEYS,
    ),
    ErrorCode(
        "HTTP_412",
        (CredentialsRefused, FileMissing),
        DeadLetter.NEVER,
        "ReportFlow says that a key is missing. Messages wait, and no retry is used up.",
        _SET_KEYS,
    ),
    ErrorCode(
        "HTTP_408",
        (Retryable,),
        DeadLetter.REDRIVE,
        "ReportFlow waited too long for the request.",
        f"{_HTTP_SERVERS} why requests arrive late. Then redrive.",
    ),
    ErrorCode(
        "HTTP_425",
        (Retryable, FileMissing),
        DeadLetter.REDRIVE,
        "ReportFlow says that the request comes too early.",
        "Ask ReportFlow's support for the reason. Then redrive.",
    ),
    ErrorCode(
        "HTTP_429",
        (Throttled,),
        DeadLetter.NEVER,
        "ReportFlow's rate limit is used up. The message waits, and no retry is used up.",
        "Do nothing: the message comes back on its own. If this lasts, lower "
        f"`reportflow_requests_per_minute` and {_DEPLOY}, or ask ReportFlow for a higher limit.",
    ),
    ErrorCode(
        "HTTP_5xx",
        (Retryable, OutcomeUnknown),
        DeadLetter.REDRIVE,
        "ReportFlow failed, or a gateway in front of it.",
        "Ask ReportFlow's support when the service works again. Then redrive.",
    ),
    ErrorCode(
        "SERVICE_UNREACHABLE",
        (Retryable,),
        DeadLetter.REDRIVE,
        "The function cannot connect to ReportFlow.",
        f"Check `reportflow_url` and ask ReportFlow's support. If the URL is wrong, correct it and "
        f"{_DEPLOY}. Then redrive.",
    ),
    ErrorCode(
        "ANSWER_LOST",
        (OutcomeUnknown,),
        DeadLetter.REDRIVE,
        "The request left, and ReportFlow's answer did not arrive. A submission then waits for its "
        "webhook; a download is tried again.",
        "Ask ReportFlow's support when the service works again. Then redrive.",
    ),
    ErrorCode(
        "UNREADABLE_ANSWER",
        (OutcomeUnknown,),
        DeadLetter.NEVER,
        "ReportFlow accepted the submission, and its answer names no `fileId`. The message waits "
        "for the webhook; after `outcome_grace_seconds` the submitter sends the request again.",
        "Do nothing for a single message. If this lasts, ask ReportFlow's support what has changed "
        "in its answers.",
    ),
    ErrorCode(
        "TWO_ANSWERS",
        (OutcomeUnknown,),
        DeadLetter.NEVER,
        "More than one answer came to one submission, so the submitter trusts none. The message "
        "waits for the webhook; after `outcome_grace_seconds` the submitter sends the request "
        "again.",
        "Do nothing for a single message. If this lasts, ask ReportFlow's support, or whoever runs "
        "a proxy in between.",
    ),
    ErrorCode(
        "OUTCOME_UNKNOWN",
        (Permanent,),
        DeadLetter.EITHER,
        "The submitter has sent the request several times, and ReportFlow never answered. "
        "ReportFlow may have made the PDF, even more than once.",
        "Look for the PDF in ReportFlow. If there is none, redrive. If there is one, a redrive "
        "makes and bills another: redrive if the archive needs the PDF, and drop the dead letter "
        "if not.",
    ),
    ErrorCode(
        "KEYS_MISSING",
        (CredentialsRefused,),
        DeadLetter.NEVER,
        "The secret holds no usable `appKey` and `secretKey`. Messages wait, and no retry is used "
        "up.",
        _SET_KEYS,
    ),
    ErrorCode(
        "SECRET_MALFORMED",
        (CredentialsRefused,),
        DeadLetter.NEVER,
        "The secret in Secrets Manager is not a JSON object of the expected strings. Messages "
        "wait, and no retry is used up.",
        "Correct the secret's value in Secrets Manager (`errorMessage` names its fields), and "
        "check it with `reportflow doctor`. Waiting messages come back within an hour.",
    ),
    ErrorCode(
        "PACED",
        (NoSlot,),
        DeadLetter.NEVER,
        "The rate limiter has no slot for the request soon enough. The function has sent nothing, "
        "and no retry is used up.",
        _NOTHING,
    ),
)

_OF_FILES: Final = (
    ErrorCode(
        "NO_COMPLETION",
        (Permanent,),
        DeadLetter.REDRIVE,
        "ReportFlow had no PDF for the job up to `completion_deadline_seconds`.",
        "Ask ReportFlow's support for the file. When it is there, redrive.",
    ),
    ErrorCode(
        "FILE_GONE",
        (Permanent,),
        DeadLetter.DROP,
        "A redriven webhook found no PDF in ReportFlow, and the archive has none.",
        f"Ask upstream to {_SEND_AGAIN}, which makes a new PDF. Then drop the dead letter.",
    ),
    ErrorCode(
        "NOT_A_PDF",
        (Permanent,),
        DeadLetter.EITHER,
        "ReportFlow's file does not begin with `%PDF-`.",
        "A redrive fetches the same file again: ask ReportFlow's support to repair it, and "
        "redrive. Or fix the design in ReportFlow, ask upstream to "
        f"{_SEND_AGAIN}, and drop the dead letter.",
    ),
    ErrorCode(
        "FILE_TOO_LARGE",
        (Permanent,),
        DeadLetter.EITHER,
        "The PDF is larger than `max_file_mb`.",
        f"If PDFs of this size are expected, raise `max_file_mb`, {_DEPLOY} and redrive. "
        "Otherwise ask upstream to send a smaller document, and drop the dead letter.",
    ),
    ErrorCode(
        "FILE_MISMATCH",
        (Permanent, Held),
        DeadLetter.DROP,
        "The file that ReportFlow named for the job holds another document: the file's webhook or "
        "another job's record says so.",
        "Look at the file in ReportFlow, and in the archive if the job is `ARCHIVED`. If the "
        "archived PDF is right, the webhook was wrong. If not, ask upstream to send the message "
        "again: with the same `jobId` once the job is `FAILED`, with a new one if it is "
        "`ARCHIVED`. Then drop the dead letter.",
    ),
    ErrorCode(
        "UNEXPECTED_CONTENT_TYPE",
        (Retryable,),
        DeadLetter.REDRIVE,
        "The answer does not claim to be a PDF, and is none: for example, the error page of a "
        "proxy.",
        f"{_HTTP_SERVERS} what answers there. Then redrive.",
    ),
    ErrorCode(
        "TRUNCATED",
        (Retryable,),
        DeadLetter.REDRIVE,
        "The download was cut off.",
        f"{_HTTP_SERVERS} what cuts it off. Then redrive.",
    ),
    ErrorCode(
        "UNREADABLE_CODING",
        (Retryable,),
        DeadLetter.REDRIVE,
        "The download is not coded as its `Content-Encoding` says.",
        f"{_HTTP_SERVERS} for the reason. Then redrive.",
    ),
    ErrorCode(
        "DOWNLOAD_TOO_SLOW",
        (Retryable,),
        DeadLetter.REDRIVE,
        "The file did not arrive in the time that the downloader has.",
        f"If ReportFlow is slow, ask its support. If the file is large, raise "
        f"`downloader_timeout_seconds` and {_DEPLOY}. Then redrive.",
    ),
    ErrorCode(
        "FILE_UNKNOWN",
        (Held,),
        DeadLetter.NEVER,
        "A webhook names a file that no job has yet, or that ReportFlow does not have. The message "
        "waits up to `orphan_grace_seconds`, then ends without a dead letter.",
        "Do nothing: others may use the workspace too. If a job lacks its PDF, its completion "
        "check finds it.",
    ),
    ErrorCode(
        "QUEUE_BEHIND",
        (Held,),
        DeadLetter.NEVER,
        "A completion check lets the messages in the queue go first: the job's webhook may be "
        "among them.",
        _NOTHING,
    ),
    ErrorCode(
        "JOB_CHANGED",
        (Held,),
        DeadLetter.NEVER,
        "The job's record changed while its completion check waited for a slot.",
        _NOTHING,
    ),
    ErrorCode(
        "NOT_READY",
        (FileMissing,),
        DeadLetter.NEVER,
        "ReportFlow says that it still makes the PDF.",
        "Do nothing: a completion check looks again. If the job fails as `NO_COMPLETION`, ask "
        "ReportFlow's support why the PDF takes so long.",
    ),
    ErrorCode(
        "URL_ELSEWHERE",
        (FileMissing,),
        DeadLetter.NEVER,
        "The URL in ReportFlow's 202 does not begin with `reportflow_files_url`, so the completion "
        "check does not call it. Without a webhook, the job fails as `NO_COMPLETION`.",
        f"Correct `reportflow_files_url` and {_DEPLOY}.",
    ),
    ErrorCode(
        "CONTRACT_UNKNOWN",
        (FileMissing,),
        DeadLetter.NEVER,
        "The job was submitted by the other contract, and `former_reportflow_url` does not say "
        "where its files are. Without a webhook, the job fails as `NO_COMPLETION`.",
        f"Set `former_reportflow_url` to the former base URL and {_DEPLOY}.",
    ),
    ErrorCode(
        "TOKEN_MISSING",
        (Retryable,),
        DeadLetter.REDRIVE,
        "ReportFlow's token endpoint did not answer, or not with an OAuth token. The functions try "
        "again with the next message.",
        "Check `reportflow_token_url`. When the service works again, redrive.",
    ),
    ErrorCode(
        "ARCHIVE_CONFLICT",
        (Permanent,),
        DeadLetter.EITHER,
        "The archive holds another document under the job's key, which `errorMessage` names. The "
        "job failed after its PDF was stored, and upstream then sent another document with its "
        "`jobId`.",
        "Compare the two documents. If the archived one is wrong, delete it "
        "(`aws s3 rm s3://BUCKET/KEY`) and redrive. If it is right, drop the dead letter.",
    ),
)

_OF_WEBHOOKS: Final = (
    ErrorCode(
        "SIGNING_SECRET_MISSING",
        (CredentialsRefused,),
        DeadLetter.NEVER,
        "`webhook_signature` is on, and the secret holds no key to check signatures with. The "
        "webhook answers 503.",
        "Store the relay's secret with `reportflow set-signing-secret`. The relay's next try "
        "succeeds.",
    ),
    ErrorCode(
        "QUEUE_INCOMPLETE",
        (Retryable,),
        DeadLetter.NEVER,
        "SQS took only some of a webhook's files. The webhook answers 503, and a completion check "
        "finds the PDFs if ReportFlow does not send the webhook again.",
        "Do nothing. If this lasts, look at AWS's health page.",
    ),
)

_ONLY_THE_EVENT: Final = (
    "If that is `events:PutEvents`, the job may be finished, and only its event is not published."
)

_OF_AWS: Final = (
    ErrorCode(
        "AWS_*",
        (Unavailable, Throttled, Retryable),
        DeadLetter.REDRIVE,
        f"AWS refused a call; `errorMessage` names the operation. {_ONLY_THE_EVENT}",
        "Fix the cause: a policy that denies the operation, a limit that is too low, or an outage "
        "on AWS's health page. Then redrive.",
    ),
    ErrorCode(
        "AWS_UNREACHABLE",
        (Unavailable,),
        DeadLetter.REDRIVE,
        f"AWS did not answer; `errorMessage` names the operation. {_ONLY_THE_EVENT}",
        "Look at AWS's health page. When the outage is over, redrive.",
    ),
)

_OF_DELIVERIES: Final = (
    ErrorCode(
        "RECEIVES_USED_UP",
        (Permanent,),
        DeadLetter.REDRIVE,
        "SQS has delivered the message `max_receive_count` times, and no delivery finished it: "
        "the function was cut off each time, or something kept the message waiting.",
        _LOG,
    ),
    ErrorCode(
        "WAITED_TOO_LONG",
        (Permanent,),
        DeadLetter.REDRIVE,
        "The message waited until shortly before its queue would have deleted it.",
        _LOG,
    ),
    ErrorCode(
        NO_REASON,
        (),
        DeadLetter.REDRIVE,
        "The dead letter carries no code. SQS itself moved it after its last delivery, because the "
        "function was cut off each time. Or its body leaves no room for the code, which is then in "
        "the job's record.",
        "Read the job's record with `reportflow status JOB`. If it has an `errorCode`, do what "
        "`reportflow dlq explain CODE` says. If not, find the cause in the function's log "
        "(docs/operations.md shows the command). Fix it, then redrive.",
    ),
    ErrorCode(
        "OUT_OF_TIME",
        (OutOfTime,),
        DeadLetter.NEVER,
        "The invocation had no time left for the message, and the next one takes it. A webhook is "
        "answered with 503 instead.",
        f"Do nothing. If this lasts, raise the function's `…_timeout_seconds` and {_DEPLOY}.",
    ),
)

ERROR_CODES: Final = (
    *_OF_MESSAGES,
    *_OF_REPORTFLOW,
    *_OF_FILES,
    *_OF_WEBHOOKS,
    *_OF_AWS,
    *_OF_DELIVERIES,
)

UNKNOWN: Final = ErrorCode(
    "unknown",
    (),
    DeadLetter.EITHER,
    "No function of this release sets this code in a dead letter: another release or the message's "
    "sender has set it.",
    "Look at the dead letter's `errorMessage` and at the function's log. Fix the cause and "
    "redrive, or drop the dead letter.",
)
"""Explains a dead letter with any other code."""

LAST_FAILURE: Final = "In a dead letter, this is the last failure: the retries are used up."
"""Holds for all of a dead letter's codes that are never `Permanent`."""

_BY_CODE: Final = {entry.code: entry for entry in ERROR_CODES}
_HTTP: Final = re.compile(r"HTTP_([1-5])\d\d")
_AWS: Final = re.compile(r"AWS_\w+")


def find(code: str) -> ErrorCode | None:
    """The code's entry, or else its family's."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status := _HTTP.fullmatch(code):
        return _BY_CODE[f"HTTP_{status[1]}xx"]
    return _BY_CODE["AWS_*"] if _AWS.fullmatch(code) else None


@dataclass(frozen=True)
class Explanation:
    """What an operator reads about one code, without Markdown."""

    meaning: str
    remedy: str
    commands: list[str]


def explain(code: str, *, in_dead_letters: bool, job_id: str | None = None) -> Explanation:
    """What to print about a code, which may be any text if a dead letter has it.

    With `job_id`, the commands are those for this job.
    """
    entry = find(code)
    if entry is None or (in_dead_letters and entry.dead_letter is DeadLetter.NEVER):
        entry = UNKNOWN
    meaning = f"{entry.meaning} {LAST_FAILURE}" if entry.is_last_failure else entry.meaning
    return Explanation(
        meaning.replace("`", ""),
        entry.remedy.replace("`", ""),
        entry.commands(code, job_id),
    )


def code_of(text: str) -> str:
    """The error code that a person means, in any case.

    Raises:
        CliError: there is no such code.
    """
    # AWS's own part of a code keeps its case.
    head, underscore, tail = text.partition("_")
    own = {code.lower(): code for code in _BY_CODE}
    code = own.get(text.lower(), f"{head.upper()}{underscore}{tail}")
    if find(code) is None:
        raise CliError(
            f"Unknown error code {text!r}. See docs/errors.md for all codes, or run `dlq explain` "
            "without a code."
        )
    return code
