"""A dead letter is read, corrected, and sent with its job's id; and what `drop` kept comes back."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import REPOSITORY
from cli.dead_letters import DeadLetters, depth
from cli.target import Target
from tests.cli.conftest import Cli, Send, failed
from tests.cli.test_redrive import received
from tests.pipeline.driver import Driver, body, new_id

WRONG: dict[str, Any] = {**body("a"), "version": "1"}


def test_show_prints_body_reason_attributes_and_steps_and_leaves_all(
    still: Target, still_cli: Cli, requests: DeadLetters, send: Send
) -> None:
    job_id = new_id("shown")
    failed(still, job_id, createdAt="2026-01-01T00:00:00.000Z", failedAt="2026-01-01T00:00:02.500Z")
    send(job_id, "HTTP_503")
    send("other")

    printed = still_cli("dlq", "show", job_id)

    assert printed.exit_code == 0
    assert "other" not in printed.stdout
    for part in (
        "reason: HTTP_503",
        "attribute: tenant=acme",
        "attribute: trace=0001",
        "2026-01-01T00:00:02.500Z  failed, 2.5s later",
        '"customerName": ',
        f"reportflow dlq redrive --job {job_id}",
    ):
        assert part in printed.stdout, printed.stdout
    left = depth(still.sqs, requests.url)
    assert (left.visible, left.hidden) == (2, 0)


def test_show_says_that_a_job_has_none(still_cli: Cli, send: Send) -> None:
    send("a")

    result = still_cli("dlq", "show", "a", "b")

    assert result.exit_code == 1
    assert "b: no dead letter." in result.stderr


def test_submit_sends_what_show_and_drop_wrote(
    still: Target, still_cli: Cli, send: Send, tmp_path: Path
) -> None:
    """The job's id stays, also if only the attributes or the message's id named it."""
    send("a")
    nameless = send(None, None, json.dumps(body()))
    shown = still_cli("dlq", "show", "a", "--json").stdout
    path = tmp_path / "dropped.jsonl"
    assert still_cli("dlq", "drop", "--all", "--yes", "--save-to", str(path)).exit_code == 0

    from_show = still_cli("submit", "-", stdin=shown)
    from_drop = still_cli("submit", str(path))

    assert from_show.exit_code == from_drop.exit_code == 0, from_drop.output
    sent = [json.loads(message["Body"]) for message in received(still, still.request_queue_url)]
    assert sorted(each["jobId"] for each in sent) == sorted(["a", "a", nameless])
    assert sent[0]["content"] == body("a")["content"]


def test_submit_refuses_a_kept_message_of_the_download_queue(
    still: Target, still_cli: Cli, downloads: DeadLetters
) -> None:
    still.sqs.send_message(QueueUrl=downloads.url, MessageBody='{"kind":"check","jobId":"a"}')
    shown = still_cli("dlq", "show", "a", "--json").stdout

    result = still_cli("submit", "-", stdin=shown)

    assert result.exit_code == 1
    assert "download queue" in result.stderr


def test_drop_as_a_trial_deletes_and_writes_nothing(
    still_cli: Cli, send: Send, tmp_path: Path
) -> None:
    send("a")
    send("b", "NOT_A_PDF")
    path = tmp_path / "dropped.jsonl"

    tried = still_cli("dlq", "drop", "--all", "--dry-run", "--save-to", str(path))

    assert tried.exit_code == 0
    assert sorted(tried.stdout.splitlines()) == ["a HTTP_500", "b NOT_A_PDF"]
    assert "2 dead letters (" in tried.stderr
    assert "would be dropped" in tried.stderr
    assert not path.exists()
    assert len(still_cli.json("dlq", "list")) == 2


def test_a_corrected_message_takes_the_dead_letters_place(
    still: Target, still_cli: Cli, requests: DeadLetters, send: Send, tmp_path: Path
) -> None:
    send("a", "INVALID_MESSAGE", json.dumps(WRONG))
    send("b")
    (tmp_path / "a.json").write_text(json.dumps(body("a")))

    result = still_cli("dlq", "edit", "a", "--file", str(tmp_path / "a.json"))

    assert result.exit_code == 0, result.output
    assert result.stdout == "a\n"
    [message] = received(still, still.request_queue_url)
    assert json.loads(message["Body"]) == body("a")
    assert message["MessageAttributes"]["tenant"]["StringValue"] == "acme"
    assert [one["jobId"] for one in still_cli.json("dlq", "list")] == ["b"]


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (json.dumps(WRONG), "version"),
        (json.dumps(body("z")), "jobId: expected 'a', got 'z'"),
        ("[]", "got an array"),
    ],
)
def test_a_message_that_is_still_wrong_is_not_sent(
    still: Target, still_cli: Cli, requests: DeadLetters, send: Send, text: str, printed: str
) -> None:
    send("a", "INVALID_MESSAGE", json.dumps(WRONG))

    result = still_cli("dlq", "edit", "a", "--file", "-", stdin=text)

    assert result.exit_code == 2
    assert printed in result.stderr
    assert depth(still.sqs, still.request_queue_url).total == 0
    assert depth(still.sqs, requests.url).total == 1


@pytest.mark.parametrize(
    ("fields", "printed"),
    [
        ({"status": "ARCHIVED"}, "a job has one document"),
        ({"status": "SUBMITTED"}, "reportflow watch"),
        ({"failedStep": "archive", "fileId": "f"}, "--again"),
    ],
)
def test_no_second_document_for_a_job_in_flight_or_with_a_pdf(
    still: Target, still_cli: Cli, send: Send, fields: dict[str, str], printed: str
) -> None:
    job_id = new_id("unsafe")
    failed(still, job_id, **fields)
    send(job_id)

    result = still_cli("dlq", "edit", job_id, "--file", "-", stdin=json.dumps(body(job_id)))

    assert result.exit_code == 2
    assert printed in result.stderr
    assert depth(still.sqs, still.request_queue_url).total == 0


def test_a_job_without_a_dead_letter_is_named(still_cli: Cli) -> None:
    result = still_cli("dlq", "edit", "a", "--file", "-", stdin="{}")

    assert result.exit_code == 1
    assert "reportflow status a" in result.stderr


def in_a_terminal(still_cli: Cli, editor: str, answers: str = "") -> tuple[int, str]:
    """`dlq edit a` with the editor, as a person at a terminal runs it."""
    ours, theirs = pty.openpty()
    os.write(ours, answers.encode())
    with os.fdopen(theirs) as terminal:
        program = subprocess.run(
            [sys.executable, "-m", "cli", *still_cli.options, "dlq", "edit", "a"],
            cwd=REPOSITORY,
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "EDITOR": editor, "VISUAL": ""},
            check=False,
            timeout=60,
        )
    os.close(ours)
    return program.returncode, program.stdout


def test_the_editor_shows_the_message_and_its_text_is_sent(
    still: Target, still_cli: Cli, send: Send
) -> None:
    send("a", "INVALID_MESSAGE", json.dumps({"Type": "Notification", "Message": json.dumps(WRONG)}))

    status, printed = in_a_terminal(still_cli, """sed -i 's/"version": "1"/"version": 1/'""")

    assert status == 0, printed
    [message] = received(still, still.request_queue_url)
    assert json.loads(message["Body"]) == body("a")
    assert still_cli.json("dlq", "list") == []


def test_an_unchanged_message_is_not_sent(still: Target, still_cli: Cli, send: Send) -> None:
    send("a")

    status, printed = in_a_terminal(still_cli, "true")

    assert status == 0
    assert "No changes, nothing was sent." in printed
    assert len(still_cli.json("dlq", "list")) == 1


def test_a_text_that_is_given_up_is_kept(still: Target, still_cli: Cli, send: Send) -> None:
    send("a", "INVALID_MESSAGE", json.dumps(WRONG))

    status, printed = in_a_terminal(still_cli, "sed -i s/customerName/customer/", "n\n")

    assert status == 1
    assert "version" in printed
    kept = Path(printed.rpartition("--file ")[2].split()[0])
    assert json.loads(kept.read_text())["version"] == "1"
    assert kept.stat().st_mode & 0o077 == 0
    kept.unlink()
    assert len(still_cli.json("dlq", "list")) == 1


def test_a_failed_job_is_corrected_resent_and_archived(cli: Cli, driver: Driver) -> None:
    job_id = new_id("corrected")
    driver.send(body(job_id, version=99))
    assert cli("watch", job_id, "--timeout", "30s").exit_code == 1

    sent = cli("dlq", "edit", job_id, "--file", "-", stdin=json.dumps(body(job_id)))
    watched = cli("watch", job_id, "--timeout", "40s")

    assert sent.exit_code == 0, sent.output
    assert watched.exit_code == 0, watched.output
