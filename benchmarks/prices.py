"""AWS's list prices in US dollars, without free tiers, as of early 2025.

From each service's price page on https://aws.amazon.com/pricing/. Check them before you rely on
them: they change, and an account may have others.
"""

from dataclasses import dataclass
from typing import Final

AS_OF: Final = "early 2025"


@dataclass(frozen=True)
class Prices:
    """The prices of one region."""

    sqs: float
    """A million requests of at most 64 KiB."""

    invocation: float
    """A million invocations."""

    gb_second: float
    """A GB-second on arm64."""

    api: float
    """A million requests of an HTTP API, 512 KB each."""

    write: float
    """A million write units, on demand."""

    read: float
    """A million read units, on demand."""

    put: float
    """A thousand `PutObject`."""

    stored_gb: float
    """A GB in S3 Standard, a month."""

    event: float
    """A million events."""

    log_gb: float
    """A GB of ingested logs."""

    out_gb: float
    """A GB to the internet."""

    metric: float = 0.30
    """A metric, a month in which it has data."""

    alarm: float = 0.10
    """A metric of an alarm, a month."""

    board: float = 3.00
    """A dashboard, a month."""

    secret: float = 0.40
    """A secret, a month."""

    secret_read: float = 0.05
    """Ten thousand requests of Secrets Manager."""

    key: float = 1.00
    """A KMS key, a month."""

    metric_read: float = 0.01
    """A thousand metrics read with `GetMetricData`."""

    watch_call: float = 0.01
    """A thousand other requests of CloudWatch."""


PRICES: Final = {
    "us-east-1": Prices(
        sqs=0.40,
        invocation=0.20,
        gb_second=0.0000133334,
        api=1.00,
        write=0.625,
        read=0.125,
        put=0.005,
        stored_gb=0.023,
        event=1.00,
        log_gb=0.50,
        out_gb=0.09,
    ),
    "eu-central-1": Prices(
        sqs=0.40,
        invocation=0.20,
        gb_second=0.0000133334,
        api=1.20,
        write=0.7625,
        read=0.1525,
        put=0.0054,
        stored_gb=0.0245,
        event=1.00,
        log_gb=0.63,
        out_gb=0.09,
    ),
    "ap-northeast-1": Prices(
        sqs=0.40,
        invocation=0.20,
        gb_second=0.0000133334,
        api=1.29,
        write=0.715,
        read=0.143,
        put=0.0047,
        stored_gb=0.025,
        event=1.00,
        log_gb=0.76,
        out_gb=0.114,
    ),
}
