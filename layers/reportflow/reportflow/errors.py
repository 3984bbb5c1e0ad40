"""Every failure of the pipeline, told apart by type.

    PipelineError
    ├── Retryable             the same work can succeed later
    │   ├── Unavailable       AWS refused or did not answer
    │   ├── Throttled         asked to slow down: costs no retry
    │   │   └── Paced         by our own rate limit, which has no slot for it soon enough
    │   ├── Held              waits for something that is not this job's doing: costs no retry
    │   ├── FileMissing       ReportFlow has no such file, or not yet: costs no retry
    │   ├── OutOfTime         the invocation ends before the work could: costs no retry
    │   └── CredentialsRefused  the keys are wrong or missing: an outage, costs no retry
    ├── OutcomeUnknown        the request may have been taken: neither success nor failure
    └── Permanent             the same work can never succeed
        └── PayloadMissing    what the message points to is not there

Each outside system is translated to these in one function: `service.translate_status` and
`service.translate_exception` for ReportFlow, `aws.translate` for AWS.
"""

from datetime import timedelta
from typing import Self, override


class PipelineError(Exception):
    """A failure with a stable code for programs and a message that says what to do.

    `message` goes where the customer's data is: to the job's record, the dead letter and the event.
    What it quotes of others may hold a value of `params`. `loggable` is the same in our own words
    only, and all that a log or a traceback shows. Neither may hold a key or a token. `job_id` is
    set where the job is known.
    """

    job_id: str | None = None

    def __init__(self, code: str, message: str, *, loggable: str | None = None) -> None:
        """`loggable` is given where `message` quotes somebody."""
        self.code = code
        self.message = message
        self.loggable = message if loggable is None else loggable
        super().__init__(code, self.loggable)

    @override
    def __str__(self) -> str:
        return f"{self.code}: {self.loggable}"


class Retryable(PipelineError):
    """The same work can succeed later; `delay_seconds` is set where something says how much later.

    `costs_retry` tells whether the failure counts against the job's retry budget.
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
    """Asked to slow down, by the other side or by ourselves. That never uses up a job's retries."""

    costs_retry = False


class Paced(Throttled):
    """The rate limit that we keep has no slot soon enough: nothing was sent."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(
            "PACED",
            "ReportFlow's rate limit is used up for the moment",
            delay_seconds=delay.total_seconds(),
        )


class Held(Retryable):
    """Waits for another delivery or event, not for a repair: no retry is used up."""

    costs_retry = False


class FileMissing(Retryable):
    """ReportFlow has no file under this path: not yet, not any more, or a webhook named it wrong.

    A webhook's word alone ends no job.
    """

    costs_retry = False


class OutOfTime(Retryable):
    """The invocation has too little time left to begin: the next one takes it, at once."""

    costs_retry = False

    def __init__(self) -> None:
        super().__init__("OUT_OF_TIME", "the invocation had no time left", delay_seconds=0.0)


class CredentialsRefused(Retryable):
    """ReportFlow refused the keys, or there are none yet: every job waits, none is to blame."""

    costs_retry = False


class OutcomeUnknown(PipelineError):
    """The request left and no answer came: the PDF may be in the making, and billed."""


class Permanent(PipelineError):
    """The same work can never succeed: to the dead-letter queue at once."""


class PayloadMissing(Permanent):
    """The payload that a message points to is not there: gone, or not there yet."""
