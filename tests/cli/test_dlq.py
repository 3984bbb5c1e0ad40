"""Dead letters: found, explained, and dropped with a copy."""

import json
from pathlib import Path

import pytest

from cli import dead_letters, error_codes
from cli.dead_letters import DeadLetters, depth
from cli.target import Target
from tests.cli.conftest import Alter, Answer, Cli, Send, failed
from tests.pipeline.driver import body, new_id


def test_reading_shows_each_dead_letter_once_and_leaves_all(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    sent = {send(f"job-{n}") for n in range(25)}

    with requests.batches() as batches:
        seen = [one.message_id for batch in batches for one in batch]

    assert sorted(seen) == sorted(sent)
    assert depth(still.sqs, requests.url).visible == len(sent)


def test_list_selects_and_shows_no_body(still_cli: Cli, send: Send) -> None:
    send("a", "NOT_A_PDF")
    send("b", "HTTP_500")

    by_reason = still_cli.json("dlq", "list", "--reason", "HTTP_500")
    by_job = still_cli.json("dlq", "list", "--job", "a")
    by_age = still_cli("dlq", "list", "--older-than", "1h")
    shown = still_cli("dlq", "list")

    assert [one["jobId"] for one in by_reason] == ["b"]
    assert [one["errorCode"] for one in by_job] == ["NOT_A_PDF"]
    assert by_age.exit_code == 0
    assert shown.exit_code == 1
    assert "customerName" not in shown.output


def test_what_another_command_hides_is_reported(
    still: Target,
    still_cli: Cli,
    requests: DeadLetters,
    send: Send,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dead_letters, "BELIEVED_SECONDS", 0)
    send("a")
    with requests.batches() as batches:
        assert next(batches)
        for arguments in (["list"], ["redrive", "--all"]):
            result = still_cli("dlq", *arguments)
            assert result.stderr.count("1 dead letter hidden") == 1
            assert result.exit_code == (1 if "redrive" in arguments else 0)
        assert any("hidden" in finding["what"] for finding in still_cli.json("doctor"))

    assert len(still_cli.json("dlq", "list")) == 1


def test_what_sqs_counts_as_hidden_for_a_while_is_not_believed(
    still_cli: Cli, send: Send, alter: Alter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number lags behind what the command itself deleted."""
    monkeypatch.setattr(dead_letters, "BELIEVED_SECONDS", 10)
    send("a")
    late = 0

    def lag(operation: str, answer: Answer) -> None:
        nonlocal late
        if operation == "DeleteMessageBatch":
            late = 3
        elif operation == "GetQueueAttributes" and late:
            late -= 1
            answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"] = "1"

    alter(lag)
    result = still_cli("dlq", "redrive", "--all")

    assert late == 0
    assert result.exit_code == 0, result.output
    assert "hidden" not in result.output


def test_an_age_of_nothing_narrows_down_like_any_other(
    still_cli: Cli, send: Send, tmp_path: Path
) -> None:
    """Beside a reason it must not mean all of them, and alone it is a word about which."""
    send("a")
    kept = str(tmp_path / "dropped.jsonl")

    for selection in (["--reason", "HTTP_500"], []):
        result = still_cli(
            "dlq", "drop", *selection, "--newer-than", "0s", "--yes", "--save-to", kept
        )
        assert result.exit_code == 0, result.output
        assert "There are no such dead letters." in result.stderr
    assert still_cli("dlq", "redrive", "--all", "--older-than", "0s").exit_code == 2
    assert len(still_cli.json("dlq", "list", "--older-than", "0s")) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("dlq", "list", "--older-than", "999999d"),
        ("dlq", "redrive", "--newer-than", "999999d"),
        ("list", "--older-than", "999999d"),
        ("doctor", "--window", "999999d"),
        ("doctor", "--unfinished", "3651d"),
    ],
)
def test_a_time_before_all_time_is_refused(cli: Cli, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments)

    assert result.exit_code == 2
    assert "too long" in " ".join(result.stderr.split())


HOSTILE = "[/x]'\x1b[2J; rm"


def test_a_hostile_reason_is_reported_and_quoted_and_not_obeyed(
    still: Target, still_cli: Cli, send: Send
) -> None:
    send("a", "[/x]; rm -r $HOME")

    explained = still_cli("dlq", "explain").stdout
    [finding] = [one for one in still_cli.json("doctor") if "; rm" in one["what"]]

    assert explained.startswith("[/x]; rm -r $HOME (1): ")
    assert "reportflow dlq drop --reason '[/x]; rm -r $HOME'" in explained
    assert "(reportflow dlq explain '[/x]; rm -r $HOME')" in finding["remedy"]


def test_dead_letters_of_archived_jobs_are_shown_as_such(
    still: Target, still_cli: Cli, send: Send
) -> None:
    job_id = new_id("archived")
    failed(still, job_id, status="ARCHIVED")
    send(job_id)
    send("never-seen", "NOT_A_PDF")

    listed = {one["jobId"]: one["status"] for one in still_cli.json("dlq", "list")}
    [row] = [line for line in still_cli("dlq", "list").stdout.splitlines() if job_id in line]
    explained = {line["errorCode"]: line["archived"] for line in still_cli.json("dlq", "explain")}

    assert listed == {job_id: "ARCHIVED", "never-seen": None}
    assert "ARCHIVED" in row
    assert explained == {"HTTP_500": 1, "NOT_A_PDF": 0}
    assert "archived since: 1 job" in still_cli("dlq", "explain").stdout


def test_drop_keeps_a_copy_for_its_owner_only(
    still: Target, still_cli: Cli, send: Send, tmp_path: Path
) -> None:
    send("a", "INVALID_MESSAGE")
    send("b", "HTTP_500")
    path = tmp_path / "dropped.jsonl"
    arguments = ("dlq", "drop", "--reason", "INVALID_MESSAGE", "--save-to", str(path))

    assert still_cli(*arguments).exit_code == 2, "nobody can be asked"
    assert still_cli(*arguments, "--yes").exit_code == 0

    [line] = path.read_text().splitlines()
    kept = json.loads(line)
    assert json.loads(kept["body"]) == body("a")
    assert kept["attributes"]["tenant"]["StringValue"] == "acme"
    assert path.stat().st_mode & 0o077 == 0
    assert [one["jobId"] for one in still_cli.json("dlq", "list")] == ["b"]


def test_drop_writes_over_no_file(still_cli: Cli, send: Send, tmp_path: Path) -> None:
    send("a")
    path = tmp_path / "dropped.jsonl"
    path.write_text("mine")

    result = still_cli("dlq", "drop", "--all", "--yes", "--save-to", str(path))

    assert result.exit_code == 2
    assert path.read_text() == "mine"
    assert len(still_cli.json("dlq", "list")) == 1


def test_explain_says_what_the_registry_says(cli: Cli) -> None:
    codes = [entry.code for entry in error_codes.ERROR_CODES]

    printed = cli("dlq", "explain", *codes)

    assert printed.exit_code == 0
    for entry in error_codes.ERROR_CODES:
        meaning, remedy = (text.replace("`", "") for text in (entry.meaning, entry.remedy))
        assert f"{entry.code}: {meaning}" in printed.stdout
        assert f"what to do: {remedy}" in printed.stdout
        for command in entry.commands(entry.code):
            assert command in printed.stdout


def test_explain_knows_families_and_last_failures(cli: Cli) -> None:
    meanings = {
        line["errorCode"]: line["meaning"]
        for line in cli.json("dlq", "explain", "HTTP_500", "HTTP_404", "AWS_AccessDenied", "PACED")
    }
    last = {code for code, printed in meanings.items() if error_codes.LAST_FAILURE in printed}

    assert last == {"HTTP_500", "AWS_AccessDenied"}
    assert "ReportFlow failed" in meanings["HTTP_500"]


def test_every_dead_letter_has_a_command(still_cli: Cli, send: Send) -> None:
    """Also one that SQS itself moved, or whose code no dead letter of this release has."""
    for number, code in enumerate((None, "PACED", "NEVER_HEARD_OF")):
        send(f"job-{number}", code)

    printed = still_cli("dlq", "explain").stdout
    gone = still_cli("dlq", "redrive", "--reason", "(none)", "--reason", "PACED")

    for reason in ("'(none)'", "PACED", "NEVER_HEARD_OF"):
        assert f"reportflow dlq redrive --reason {reason}" in printed
    assert gone.exit_code == 0, gone.output
    assert [one["errorCode"] for one in still_cli.json("dlq", "list")] == ["NEVER_HEARD_OF"]


def test_explain_offers_no_redrive_of_what_comes_straight_back(cli: Cli) -> None:
    offered = {
        code: "dlq redrive" in cli("dlq", "explain", code).stdout
        for code in ("INVALID_MESSAGE", "JOB_ID_REUSED", "HTTP_404", "HTTP_500", "NO_COMPLETION")
    }

    assert offered == {
        "INVALID_MESSAGE": False,
        "JOB_ID_REUSED": False,
        "HTTP_404": True,
        "HTTP_500": True,
        "NO_COMPLETION": True,
    }
    assert "dlq drop --reason INVALID_MESSAGE" in cli("dlq", "explain", "INVALID_MESSAGE").stdout


def test_explain_takes_a_code_in_any_case_and_no_other(cli: Cli) -> None:
    for text, code in (
        ("invalid_message", "INVALID_MESSAGE"),
        ("Http_404", "HTTP_404"),
        ("aws_AccessDenied", "AWS_AccessDenied"),
        ("truncated", "TRUNCATED"),
    ):
        assert cli.json("dlq", "explain", text)[0]["errorCode"] == code
    unknown = cli("dlq", "explain", "NOPE")
    assert unknown.exit_code == 2
    assert "Unknown error code 'NOPE'. " in unknown.stderr


@pytest.mark.parametrize(
    "command", [("redrive",), ("redrive", "--dry-run"), ("drop", "--yes")], ids=" ".join
)
def test_dead_letters_that_are_not_there_are_no_silent_success(
    still_cli: Cli, send: Send, command: tuple[str, ...]
) -> None:
    send("a", "HTTP_500")
    send("b", "HTTP_500")
    send("c", "NOT_A_PDF")

    for selection in (("--reason", "NOPE"), ("--job", "nope")):
        result = still_cli("dlq", *command, *selection)
        assert result.exit_code == 0
        printed = "There are no such dead letters. There are: HTTP_500: 2, NOT_A_PDF: 1."
        assert printed in result.stderr
    assert len(still_cli.json("dlq", "list")) == 3


@pytest.mark.parametrize("command", ["list", "redrive", "drop"])
def test_a_queue_that_there_is_not_is_refused_before_anybody_is_asked(command: str) -> None:
    nowhere = {"AWS_REGION": None, "AWS_DEFAULT_REGION": None, "REPORTFLOW_PREFIX": "Nowhere"}

    result = Cli([], nowhere)("dlq", command, "--queue", "foo")

    assert result.exit_code == 2
    assert "neither requests nor downloads" in result.stderr


def test_explain_reads_the_dead_letters(still_cli: Cli, send: Send) -> None:
    assert still_cli("dlq", "explain").exit_code == 0
    send("a", "NOT_A_PDF")

    [printed] = still_cli.json("dlq", "explain")

    assert printed["errorCode"] == "NOT_A_PDF"
    assert printed["deadLetters"] == 1
    assert printed["oldest"]["jobId"] == "a"
