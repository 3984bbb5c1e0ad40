"""`submit`: what goes to the queue, and what becomes of it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli import sending
from cli.documents import Naming, read
from cli.failures import CliError
from cli.sending import MAX_BODY_BYTES, Outgoing, batches, send
from cli.target import Target
from reportflow.contract import WORKSPACE
from reportflow.payloads import Payloads
from reportflow.queues import MAX_BATCH, MAX_MESSAGE_BYTES
from tests.cli.conftest import QUEUES, Cli, by_central, changed
from tests.pipeline.conftest import PAYLOAD_BUCKET
from tests.pipeline.driver import Driver, body, new_id


def large(path: Path, job_id: str) -> Path:
    """A file with a document that is too large for SQS."""
    params = {"customerName": "Large", "amount": 1, "note": "x" * MAX_BODY_BYTES}
    content = {"fileName": "l.pdf", "params": params}
    path.write_text(json.dumps(body(job_id, content=content)))
    return path


def documents(path: Path, *job_ids: str) -> Path:
    path.write_text("\n".join(json.dumps(body(job_id)) for job_id in job_ids))
    return path


def queued(target: Target) -> Iterator[str]:
    while received := target.sqs.receive_message(
        QueueUrl=target.request_queue_url, MaxNumberOfMessages=10
    ).get("Messages"):
        yield from (message["Body"] for message in received)


def test_documents_become_pdfs_and_a_repetition_makes_no_second(
    cli: Cli, driver: Driver, tmp_path: Path
) -> None:
    job_ids = [new_id("cli") for _ in range(3)]
    path = documents(tmp_path / "d.jsonl", *job_ids)

    first = cli("submit", str(path))
    assert first.exit_code == 0
    assert first.stdout.split() == job_ids
    watched = cli("watch", "-", "--timeout", "30s", stdin=first.stdout)
    assert watched.exit_code == 0, watched.output
    assert cli("submit", str(path)).exit_code == 0

    fetched = cli("fetch", *job_ids, "-o", str(tmp_path / "pdfs"))
    assert fetched.exit_code == 0
    assert {Path(line).name for line in fetched.stdout.split()} == {f"{id_}.pdf" for id_ in job_ids}
    for job_id in job_ids:
        assert (tmp_path / "pdfs" / f"{job_id}.pdf").read_bytes().startswith(b"%PDF-")
        assert len(driver.objects(job_id)) == 1


def test_one_mistake_keeps_everything_back_unless_keep_going_is_given(
    still: Target, still_cli: Cli, tmp_path: Path
) -> None:
    path = documents(tmp_path / "d.jsonl", "good", "not good")

    refused = still_cli("submit", str(path))
    assert refused.exit_code == 1
    assert f"{path}:2: jobId" in refused.stderr
    assert not list(queued(still))

    assert still_cli("submit", str(path), "--keep-going").exit_code == 1
    assert [json.loads(text)["jobId"] for text in queued(still)] == ["good"]


def test_a_dry_run_sends_nothing(still: Target, still_cli: Cli, tmp_path: Path) -> None:
    result = still_cli("submit", str(documents(tmp_path / "d.jsonl", "a")), "--dry-run")

    assert result.exit_code == 0
    assert not list(queued(still))


def test_documents_are_checked_by_the_deployments_contract_or_by_the_one_that_is_named(
    *, still: Target, still_cli: Cli, state_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "d.json"
    content = {"fileName": "請求書 (1)", "params": {}, "passthrough": {"order": 1}}
    path.write_text(json.dumps(body("a", content=content)))
    folder = tmp_path / "central"
    folder.mkdir()
    state = by_central(state_file, folder)
    central_cli = Cli(["--state", str(state)], {})

    assert central_cli("submit", str(path), "--dry-run").exit_code == 0
    assert central_cli("submit", str(path), "--dry-run", "--contract", "workspace").exit_code == 1
    assert still_cli("submit", str(path)).exit_code == 1
    unknown = still_cli("submit", str(path), "--contract", "v3")
    assert unknown.exit_code == 2
    assert "workspace, central" in unknown.output
    assert not list(queued(still))

    assert still_cli("submit", str(path), "--contract", "central").exit_code == 0
    [text] = queued(still)
    assert json.loads(text)["content"] == content


def test_a_large_body_goes_by_a_pointer_that_the_functions_follow(
    still: Target, still_cli: Cli, tmp_path: Path
) -> None:
    path = large(tmp_path / "large.json", "large")

    for options in ([], ["--payload-bucket", PAYLOAD_BUCKET]):
        sent = still_cli("submit", str(path), *options)
        assert sent.exit_code == 0, sent.output

    first, second = queued(still)
    assert first == second
    payloads = Payloads(
        lambda: still.s3, (PAYLOAD_BUCKET,), max_request_bytes=WORKSPACE.max_request_bytes
    )
    assert payloads.resolve(first) == path.read_bytes()


def test_without_a_payload_bucket_a_large_body_is_refused(still: Target, tmp_path: Path) -> None:
    [document] = read([str(large(tmp_path / "large.json", "large"))], Naming(), WORKSPACE).documents

    with pytest.raises(CliError, match="names no payload_buckets"):
        sending.Payloads(replace(still, local_settings={})).store(document)


def test_a_large_message_whose_body_cannot_be_read_is_found_by_its_job(
    cli: Cli, driver: Driver, target: Target, tmp_path: Path
) -> None:
    job_id = new_id("unread")
    [document] = read([str(large(tmp_path / "large.json", job_id))], Naming(), WORKSPACE).documents
    elsewhere = replace(target, local_settings={"PAYLOAD_BUCKETS": "elsewhere"})
    outgoing = sending.Payloads(elsewhere).outgoing(document)

    [sent] = send(target.sqs, target.request_queue_url, [outgoing])

    assert sent.refused is None
    assert driver.ended(job_id)["errorCode"] == "PAYLOAD_BUCKET_UNKNOWN"
    [one] = cli.json("dlq", "list", "--job", job_id)
    assert one["errorCode"] == "PAYLOAD_BUCKET_UNKNOWN"


def test_a_bucket_that_is_not_there_is_reported_before_anything_is_sent(
    still: Target, state_file: Path, tmp_path: Path
) -> None:
    urls = {name: getattr(still, name) for name in QUEUES}
    settings = json.loads(state_file.read_text())["settings"] | {"PAYLOAD_BUCKETS": "absent-bucket"}
    state = changed(state_file, tmp_path, settings=settings, **urls)
    (tmp_path / "a.json").write_text(json.dumps(body("a")))
    large(tmp_path / "b.json", "b")

    files = (str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    result = Cli(["--state", str(state)], {})("submit", *files)

    assert result.exit_code == 2
    assert "NoSuchBucket" in result.stderr
    assert not list(queued(still))


def test_batches_keep_the_order_and_what_sqs_takes() -> None:
    sizes = [10] * 15 + [MAX_MESSAGE_BYTES // 2] * 3 + [MAX_MESSAGE_BYTES, 1]
    messages = [Outgoing(str(n), "x" * size, {}) for n, size in enumerate(sizes)]

    made = list(batches(messages))

    assert [message for batch in made for message in batch] == messages
    assert all(len(batch) <= MAX_BATCH for batch in made)
    assert all(sum(message.size for message in batch) <= MAX_MESSAGE_BYTES for batch in made)


def test_sqs_own_fault_is_tried_again_and_the_senders_is_reported(still: Target) -> None:
    messages = [Outgoing(name, json.dumps(name), {}) for name in ("good", "unlucky", "bad")]
    calls: list[set[str]] = []

    def refuse(params: dict[str, Any], **_: Any) -> None:
        """Take what SQS shall not take out of the request."""
        entries = {entry["MessageBody"]: entry for entry in params["Entries"]}
        calls.append(set(entries))
        kept = ['"good"'] if len(calls) == 1 else ['"unlucky"']
        params["Entries"] = [entry for text, entry in entries.items() if text in kept]
        refused[:] = [
            {"Id": entry["Id"], "SenderFault": text == '"bad"', "Code": "Because"}
            for text, entry in entries.items()
            if text not in kept
        ]

    def answer(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Failed"] = list(refused)

    refused: list[dict[str, Any]] = []
    events = still.sqs.meta.events
    events.register("provide-client-params.sqs.SendMessageBatch", refuse)
    events.register("after-call.sqs.SendMessageBatch", answer)
    try:
        answers = {
            sent.key: sent.refused for sent in send(still.sqs, still.request_queue_url, messages)
        }
    finally:
        events.unregister("provide-client-params.sqs.SendMessageBatch", refuse)
        events.unregister("after-call.sqs.SendMessageBatch", answer)

    assert answers["good"] is None
    assert answers["unlucky"] is None
    assert "Because" in (answers["bad"] or "")
    assert calls[1:] == [{'"unlucky"'}]
    assert set(queued(still)) == {'"good"', '"unlucky"'}


def test_all_mistakes_of_a_document_are_reported_at_once(still_cli: Cli) -> None:
    wrong = body("a b", designId=5, version="1", content={"fileName": "a/b.pdf"}, foo=1)

    result = still_cli("submit", "-", stdin=json.dumps(wrong))

    assert result.exit_code == 1
    for field in ("jobId:", "designId:", "version:", "content.fileName:", "foo"):
        assert field in result.stderr, result.stderr
    assert "params" in result.stderr
    assert result.stderr.count("stdin:1: ") == 6
    assert "1 document checked, 1 with mistakes. Nothing was sent." in result.stderr


@pytest.mark.parametrize(
    ("content", "mistake"), [([], "content: "), (None, "content")], ids=["array", "missing"]
)
def test_a_content_that_is_none_is_one_mistake(still_cli: Cli, content: Any, mistake: str) -> None:
    wrong = {**body("a"), "content": content}
    if content is None:
        del wrong["content"]

    printed = still_cli("submit", "-", stdin=json.dumps(wrong)).stderr.splitlines()

    assert len(printed) == 2
    assert mistake in printed[0]


@pytest.mark.parametrize("command", [["submit", "-"], ["watch", "-"], ["status", "-"]])
def test_an_empty_standard_input_is_an_error(cli: Cli, command: list[str]) -> None:
    result = cli(*command, stdin="\n")

    assert result.exit_code == 2
    assert "tandard input is empty" in result.stderr


def test_sub_folders_are_read_if_asked_and_named_if_not(still_cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    (folder / "empty").mkdir()
    documents(below / "d.jsonl", "deep")

    nothing = still_cli("submit", str(folder))
    documents(folder / "d.jsonl", "top")
    some = still_cli("submit", str(folder))
    every = still_cli("submit", "--recursive", str(folder))

    assert nothing.exit_code == 2
    assert "--recursive" in nothing.stderr
    assert some.stdout.split() == ["top"]
    assert f"The sub-folders of {folder} were not read" in some.stderr
    assert every.stdout.split() == ["top", "deep"]
    assert "not read" not in every.stderr


def test_a_summary_ends_an_interrupted_run(
    still_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_all = sending.send

    def interrupted(*arguments: Any) -> Iterator[sending.Sent]:
        for number, sent in enumerate(send_all(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield sent

    monkeypatch.setattr(sending, "send", interrupted)
    path = documents(tmp_path / "d.jsonl", *(f"job-{n}" for n in range(5)))

    result = still_cli("submit", str(path))

    assert result.exit_code == 130
    assert "2 sent, 0 refused by SQS, 3 left." in result.stderr
