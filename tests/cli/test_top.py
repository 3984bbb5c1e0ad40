"""`top`: a deployment at a glance."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli import REPOSITORY
from cli.commands.top import Observer, drain_seconds, sparkline
from cli.target import Target
from reportflow.rate_limiter import ITEM
from tests.cli.conftest import Cli, Send
from tests.pipeline.driver import Driver, body, new_id, until


def test_a_snapshot_counts_what_was_done(cli: Cli, driver: Driver) -> None:
    before = cli.json("top")[0]["jobs"]
    good, bad = new_id("good"), new_id("bad")
    driver.send(body(good))
    driver.send(body(bad, version=99))
    cli("watch", good, bad, "--timeout", "30s")

    def counted() -> dict[str, Any] | None:
        [now] = cli.json("top")
        numbers = now["perMinute"]
        return now if sum(numbers["archived"]) and sum(numbers["failed"]) else None

    printed = until(counted, 60, "the functions' numbers")

    assert len(printed["perMinute"]["archived"]) == 31
    assert printed["jobs"]["ARCHIVED"] > before["ARCHIVED"]
    assert printed["jobs"]["FAILED"] > before["FAILED"]
    assert printed["deadLetters"]["reasons"]["HTTP_404"] >= 1


def test_it_shows_queues_and_dead_letters_and_hides_none(
    still: Target, still_cli: Cli, send: Send
) -> None:
    for number in range(3):
        still.sqs.send_message(QueueUrl=still.request_queue_url, MessageBody=str(number))
    send("a", "NOT_A_PDF")
    send("b")

    shown = still_cli("top").stdout
    [printed] = still_cli.json("top")

    allowed = still.local_settings["REPORTFLOW_REQUESTS_PER_MINUTE"]
    assert printed["rateLimit"]["allowed"] == int(allowed)
    [requests, downloads] = printed["queues"]
    assert (requests["waiting"], downloads["waiting"]) == (3, 0)
    assert downloads["drainSeconds"] == 0
    assert printed["deadLetters"] == {"total": 2, "reasons": {"NOT_A_PDF": 1, "HTTP_500": 1}}
    assert "NOT_A_PDF: 1" in shown
    assert len(still_cli.json("dlq", "list")) == 2


def test_reasons_are_read_again_only_if_the_number_changed(still: Target, send: Send) -> None:
    send("a")
    observer = Observer(still)
    first = observer.overview()
    again = observer.overview()
    send("b", "NOT_A_PDF")

    assert first["deadLetters"] == again["deadLetters"] == {"total": 1, "reasons": {"HTTP_500": 1}}
    assert observer.overview()["deadLetters"]["reasons"] == {"HTTP_500": 1, "NOT_A_PDF": 1}


def test_the_next_slot_is_the_rate_limiters(still: Target) -> None:
    def in_microseconds(moment: datetime) -> str:
        return str(int(moment.timestamp() * 1_000_000))

    item = still.dynamodb.get_item(TableName=still.jobs_table, Key={"jobId": {"S": ITEM}}).get(
        "Item"
    )
    ahead = datetime.now(UTC) + timedelta(seconds=30)
    still.dynamodb.put_item(
        TableName=still.jobs_table,
        Item={"jobId": {"S": ITEM}, "tat": {"N": in_microseconds(ahead)}},
    )
    try:
        slot = Observer(still).overview()["rateLimit"]["nextSlotSeconds"]
    finally:
        still.dynamodb.delete_item(TableName=still.jobs_table, Key={"jobId": {"S": ITEM}})
        if item:
            still.dynamodb.put_item(TableName=still.jobs_table, Item=item)

    assert 20 < slot <= 30


def test_the_time_to_drain_is_known_unless_nothing_moves() -> None:
    assert drain_seconds(100, 50) == 120
    assert drain_seconds(100, 0) is None
    assert drain_seconds(0, 0) == 0


def test_a_sparkline_is_relative_to_its_highest_minute() -> None:
    assert sparkline([0, 50, 100]) == "▁▅█"
    assert sparkline([0, 0]) == "▁▁"


def test_a_terminal_shows_it_until_it_is_interrupted(state_file: Path) -> None:
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "cli", "top", "--state", state_file, "--interval", "1s"],
        cwd=REPOSITORY,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "LINES": "30", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while shown.count(b"dead letters") < 2:
        shown += os.read(ours, 65536)
    program.send_signal(signal.SIGINT)
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while os.read(ours, 65536):
            pass
    os.close(ours)

    assert program.wait(30) == 130
    assert b"Traceback" not in shown
