"""Every failure of the pipeline, distinguished by type.

    PipelineError
    ├── Retryable             the same work can succeed later
    │   ├── Unavailable       AWS refused or did not answer
    │   ├── Throttled         asked to slow down: costs no retry
    │   │   └── NoSlot        our own rate limiter has no slot soon enough
    │   ├── Held              waits for another delivery or event: costs no retry
    │   ├── FileMissing       ReportFlow does not have the file, or not yet: costs no retry
    │   ├── OutOfTime         the invocation has too little time left: costs no retry
    │   └── CredentialsRefused  the keys are wrong or missing: an outage, costs no retry
    ├── OutcomeUnknown        ReportFlow may have accepted the request: no success, no failure
    └── Permanent             the same work can never succeed
        └── PayloadMissing    S3 does not have the object that the message points to

`contract/failures.py` translates ReportFlow's failures to these kinds, and `aws.translate` those of
AWS. The registry `cli/error_codes.py` says what each code means and what to do about it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Self, override

MAX_MESSAGE_CHARACTERS: Final = 1000


class PipelineError(Exception):
    """A failure with a stable code for programs and a message that says what to do.

    The registry of error codes has `code`, or its pattern as in `HTTP_4xx`. `message` goes to the
    job's record, the dead letter and the event. It may quote others, and with them a value of
    `params`. `loggable` says the same in our own words only: logs and tracebacks show nothing else.
    Neither may hold a key or a token. `job_id` is set by `concerning`.
    """

    job_id: str | None = None

    def __init__(self, code: str, message: str, *, loggable: str | None = None) -> None:
        """Pass `loggable` if `message` quotes others; of a long one, the start is kept."""
        self.code = code
        self.message = message[:MAX_MESSAGE_CHARACTERS]
        self.loggable = message if loggable is None else loggable
        super().__init__(code, self.loggable)

    @classmethod
    def again(cls, code: str, message: str) -> Self:
        """A failure that a job's record tells of; our own words are no longer told apart in it."""
        return cls(code, message, loggable="")

    @override
    def __str__(self) -> str:
        return f"{self.code}: {self.loggable}"


class Retryable(PipelineError):
    """The same work can succeed later; `delay_seconds` says how much later, if that is known.

    `costs_retry` says whether the failure counts against the job's retry budget.
    """

    costs_retry = True

    def __init__(
        self,
        code: str,
        message: str,
        *,
        loggable: str | None = None,
        delay_seconds: float | None = None,
    ) -> None:
        super().__init__(code, message, loggable=loggable)
        self.delay_seconds = delay_seconds

    @classmethod
    def of(cls, error: PipelineError, *, delay_seconds: float | None = None) -> Self:
        """The same failure as one of this kind."""
        same = cls(error.code, error.message, loggable=error.loggable, delay_seconds=delay_seconds)
        same.job_id = error.job_id
        return same


class Unavailable(Retryable):
    """AWS refused or did not answer: an outage, a limit or a permission, never the message."""


class Throttled(Retryable):
    """ReportFlow, AWS or our own rate limiter asks to slow down. That costs no retry."""

    costs_retry = False


class NoSlot(Throttled):
    """Our own rate limiter has no slot soon enough: nothing was sent."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(
            "PACED",
            "ReportFlow's rate limit is used up for the moment",
            delay_seconds=delay.total_seconds(),
        )


class Held(Retryable):
    """Waits for another delivery or event, not for a fix. That costs no retry."""

    costs_retry = False


class FileMissing(Retryable):
    """ReportFlow has no file under this path: not yet, no longer, or a webhook named a wrong one.

    A webhook alone never fails a job: its ids can be forged.
    """

    costs_retry = False


class OutOfTime(Retryable):
    """The invocation has too little time left to begin: the next one takes the work at once."""

    costs_retry = False

    def __init__(self) -> None:
        super().__init__("OUT_OF_TIME", "the invocation had no time left", delay_seconds=0.0)


class CredentialsRefused(Retryable):
    """ReportFlow refused the keys, or there are none yet: all jobs wait."""

    costs_retry = False


class OutcomeUnknown(PipelineError):
    """The request left and no answer came: ReportFlow may make the PDF, and bill it."""


class Permanent(PipelineError):
    """The same work can never succeed: the message becomes a dead letter at once."""


class PayloadMissing(Permanent):
    """S3 does not have the payload that a message points to, or not yet."""


@contextmanager
def concerning(job_id: str) -> Iterator[None]:
    """Name the job in each failure of the block that does not name one."""
    try:
        yield
    except PipelineError as error:
        error.job_id = error.job_id or job_id
        raise
