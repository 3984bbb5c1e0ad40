"""What do PDFs cost on AWS?

The units of a PDF are those that `make bench` counted last, in results.json. ReportFlow's own price
is extra.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from math import ceil
from typing import Annotated, Final

import typer

from benchmarks.aws_calls import GIGABYTES, Units
from benchmarks.backlog import Waiting
from benchmarks.fetching import SPEED
from benchmarks.prices import AS_OF, PRICES, Prices
from benchmarks.results import Results
from benchmarks.running import REQUEST_BATCH

SQS_KB: Final = 64
API_KB: Final = 512
PUT_BACK_LOG_BYTES: Final = 500

FLOOR: Final = Units(
    calls=5,
    sqs=2 + 4 / REQUEST_BATCH,
    invocations=1 + 2 / REQUEST_BATCH,
    gb_seconds=GIGABYTES * 2 * 0.3 / REQUEST_BATCH,
    api=1,
    record_writes=2,
    index_writes=0,
    hot_writes=0,
    slot_writes=0,
    reads=0,
    puts=1,
    events=1,
    log_bytes=1000,
    slots=2,
)
"""The least that any such pipeline needs: two messages in full batches, a record of the 202 and one
of the archive, an object, an event, a kilobyte of logs, and ReportFlow's answers of 0.3 s."""


class Part(StrEnum):
    """What the bill is made of."""

    SQS = "SQS"
    INVOCATIONS = "Lambda: invocations"
    DURATION = "Lambda: duration"
    API = "API Gateway"
    WRITES = "DynamoDB: writes"
    READS = "DynamoDB: reads"
    S3 = "S3: PutObject"
    EVENTS = "EventBridge"
    LOGS = "CloudWatch Logs"
    TRAFFIC = "Requests to ReportFlow"


@dataclass(frozen=True)
class Load:
    """What is asked of the pipeline: sizes in KB and MB, and the share of PDFs in a backlog."""

    request_kb: float = 10.0
    size_mb: float = 0.1
    backlog: float = 0.0


def in_backlog(units: Units, waiting: Waiting, share: float) -> Units:
    """The units if a share of the PDFs waits for the rate limit."""
    each = waiting.put_backs
    worst = replace(
        units,
        gb_seconds=max(units.gb_seconds, waiting.gb_seconds),
        slot_writes=waiting.slot_writes,
        # A receive and a change of visibility; the record is read before a slot is asked for.
        sqs=units.sqs + 2 * each,
        reads=units.reads + each,
        # Each webhook is one, too.
        invocations=waiting.invocations + units.api,
        log_bytes=units.log_bytes + PUT_BACK_LOG_BYTES * each,
    )
    mixed = {
        name: (1 - share) * getattr(units, name) + share * getattr(worst, name)
        for name in Units.__dataclass_fields__
    }
    return Units(**mixed)


def bill(units: Units, load: Load, prices: Prices) -> Mapping[Part, float]:
    """Dollars for a PDF, by part."""
    # SQS bills 64 KiB of a batch as one request.
    more_sends = ceil(load.request_kb / SQS_KB) - 1
    more_receives = (ceil(REQUEST_BATCH * load.request_kb / SQS_KB) - 1) / REQUEST_BATCH
    # The way in and the way out.
    carrying = 2 * GIGABYTES * load.size_mb * 1e6 / SPEED
    return {
        Part.SQS: (units.sqs + more_sends + more_receives) * prices.sqs / 1e6,
        Part.INVOCATIONS: units.invocations * prices.invocation / 1e6,
        Part.DURATION: (units.gb_seconds + carrying) * prices.gb_second,
        # The webhook returns the parameters.
        Part.API: units.api * ceil(load.request_kb / API_KB) * prices.api / 1e6,
        Part.WRITES: units.writes * prices.write / 1e6,
        Part.READS: units.reads * prices.read / 1e6,
        Part.S3: units.puts * prices.put / 1e3,
        Part.EVENTS: units.events * prices.event / 1e6,
        Part.LOGS: units.log_bytes * prices.log_gb / 1e9,
        Part.TRAFFIC: load.request_kb * prices.out_gb / 1e6,
    }


def columns(results: Results, load: Load, prices: Prices) -> Mapping[str, Mapping[Part, float]]:
    """Dollars for a PDF: ours, the peer's and the floor's. The peer keeps no rate limit."""
    mine = in_backlog(results.units["ours"], results.waiting, load.backlog)
    return {
        "ours": bill(mine, load, prices),
        "peer": bill(results.units["peer"], load, prices),
        "floor": bill(FLOOR, load, prices),
    }


def sheet(columns: Mapping[str, Mapping[Part, float]], pdfs: int) -> Iterator[str]:
    """The dollars for so many PDFs as a table in Markdown."""
    yield f"| {pdfs:,} PDFs | " + " | ".join(columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for part in Part:
        yield _line(part, [pdfs * parts[part] for parts in columns.values()])
    yield _line("**Together**", [pdfs * sum(parts.values()) for parts in columns.values()])


def _line(what: str, dollars: Sequence[float]) -> str:
    return f"| {what} | " + " | ".join(f"${each:,.2f}" for each in dollars) + " |"


def _own_price(text: str) -> tuple[str, float]:
    name, _, dollars = text.partition("=")
    names = [field.name for field in fields(Prices)]
    if name not in names:
        raise typer.BadParameter(f"--price: expected one of {', '.join(names)}, got {name!r}")
    try:
        return name, float(dollars)
    except ValueError as error:
        raise typer.BadParameter(f"--price {name}: expected dollars, got {dollars!r}") from error


def main(
    volume: Annotated[int, typer.Option(min=1, help="PDFs.")] = 1_000_000,
    request_kb: Annotated[float, typer.Option(min=0.1, max=1024, help="Of a message.")] = 10.0,
    size_mb: Annotated[float, typer.Option(min=0, help="Of a PDF.")] = 0.1,
    backlog: Annotated[
        float, typer.Option(min=0, max=1, help="Share of PDFs that wait for the rate limit.")
    ] = 0.0,
    region: Annotated[str, typer.Option(help=f"One of {', '.join(PRICES)}.")] = "us-east-1",
    price: Annotated[
        list[str] | None,
        typer.Option(help="One that differs, as NAME=DOLLARS; see docs/limits.md."),
    ] = None,
) -> None:
    """Print what PDFs cost: ours, a typical peer, and the least possible."""
    if region not in PRICES:
        raise typer.BadParameter(f"--region: expected one of {', '.join(PRICES)}, got {region!r}")
    prices = replace(PRICES[region], **dict(map(_own_price, price or ())))
    load = Load(request_kb, size_mb, backlog)
    for line in sheet(columns(Results.read(), load, prices), volume):
        print(line)
    stored = volume * size_mb / 1000 * prices.stored_gb
    print(f"\nIn the archive: ${stored:,.2f} a month. List prices of {region}, {AS_OF}.")
    if backlog:
        print("The peer keeps no rate limit: its messages meet 429s instead, which cost extra.")


if __name__ == "__main__":
    typer.run(main)
