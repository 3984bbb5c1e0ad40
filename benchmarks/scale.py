"""Which limit breaks first, from one job a second to a thousand?

The units of a job are those that `make bench` counted last, in results.json. The quotas are AWS's
defaults, from these pages, as of 2025:

ReportFlow        100 requests a minute: its documentation of the contract `central`
DynamoDB          1,000 writes a second of one partition, and so of one item; an
                  on-demand table begins at 4,000 writes a second and doubles within half an hour
                  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
                  https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
SQS               120,000 messages in flight
                  https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
Lambda            1,000 concurrent executions of the account and region
                  https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
S3                3,500 writes a second of one prefix
                  https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html
EventBridge       PutEvents: 10,000 a second in the largest regions, 400 in the smallest
                  https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
API Gateway       10,000 requests a second of the account and region
                  https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.aws_calls import GIGABYTES, Units
from benchmarks.results import Results

RATES: Final = (1, 3, 10, 30, 100, 300, 1000)

OUTAGE_SECONDS: Final = 3600.0
"""Assumed: how long ReportFlow is down. Until its next try, each message is in flight."""


@dataclass(frozen=True)
class Limit:
    """A limit and the jobs a second up to which it holds."""

    what: str
    jobs_per_second: float
    beyond: str
    """What to do for more."""

    @property
    def short(self) -> str:
        """Its name, without its condition."""
        return self.what.partition(", ")[0]

    def used(self, rate: float) -> float:
        """The share of the limit that a rate of jobs a second takes."""
        return rate / self.jobs_per_second


def limits(units: Units) -> Sequence[Limit]:
    """All limits, the lowest first."""
    found = [
        Limit(
            "ReportFlow: 100 requests a minute",
            100 / 60 / units.slots,
            "ask ReportFlow for more, or share the jobs out among workspaces",
        ),
        Limit(
            "SQS: 120,000 messages in flight, after an hour without ReportFlow",
            120_000 / OUTAGE_SECONDS,
            "nothing: the other messages wait in the queue, and none is lost",
        ),
        Limit(
            "DynamoDB: 1,000 writes a second of the rate limiter's item",
            1000 / units.slot_writes,
            "a deployment for each workspace",
        ),
        Limit(
            "DynamoDB: 1,000 writes a second of the busiest status in `byStatus`",
            1000 / units.hot_writes,
            "share the jobs out among deployments: throttled writes to an index throttle the table",
        ),
        Limit(
            "DynamoDB: 4,000 writes a second of a new on-demand table",
            4000 / (units.record_writes + units.slot_writes),
            "wait half an hour, or set the table's warm throughput before",
        ),
        Limit("EventBridge: 400 events a second", 400 / units.events, "ask AWS for more"),
        Limit(
            "Lambda: 1,000 concurrent executions",
            1000 / (units.gb_seconds / GIGABYTES),
            "ask AWS for more, and raise both maximum concurrencies",
        ),
        Limit(
            "S3: 3,500 writes a second of one design's prefix",
            3500 / units.puts,
            "nothing: S3 splits the prefix, and slows writes down until then",
        ),
        Limit("API Gateway: 10,000 requests a second", 10_000 / units.api, "ask AWS for more"),
    ]
    return sorted(found, key=lambda limit: limit.jobs_per_second)


def table(units: Units) -> Iterator[str]:
    """The limits in Markdown, with the share that each rate takes of them."""
    yield "| Limit | Jobs a second | Beyond it |"
    yield "|---|---|---|"
    for limit in limits(units):
        digits = 2 if limit.jobs_per_second < 10 else 0
        yield f"| {limit.what} | {limit.jobs_per_second:,.{digits}f} | {limit.beyond} |"


def matrix(units: Units) -> Iterator[str]:
    """The share of each limit that each rate takes."""
    yield "| Jobs a second | " + " | ".join(f"{rate:,}" for rate in RATES) + " |"
    yield "|---|" + "---|" * len(RATES)
    for limit in limits(units):
        used = (_share(limit.used(rate)) for rate in RATES)
        yield f"| {limit.what} | " + " | ".join(used) + " |"


def _share(used: float) -> str:
    if used > 1:
        return "**over**"
    return f"{100 * used:.{0 if used >= 0.1 else 1}f} %"


if __name__ == "__main__":
    mine = Results.read().units["ours"]
    print("\n".join([*table(mine), "", *matrix(mine)]))
