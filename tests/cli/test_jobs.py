"""`status`, `watch`, `list` and `fetch`, over records that stand in the table."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import records
from cli.records import SOON, Records
from cli.target import Target
from tests.cli.conftest import Cli
from tests.pipeline.driver import Driver, body, new_id


def put(target: Target, job_id: str, status: str, age: timedelta, **fields: str) -> None:
    """A record whose last step was `age` ago."""
    moment = (datetime.now(UTC) - age).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    texts = {"jobId": job_id, "status": status, "createdAt": moment, "updatedAt": moment, **fields}
    target.dynamodb.put_item(
        TableName=target.jobs_table, Item={name: {"S": text} for name, text in texts.items()}
    )


def archived(target: Target, job_id: str, content: bytes, digest: str | None = None) -> None:
    """A record with its object."""
    key = f"design/2026/01/01/{job_id}/a.pdf"
    version = target.s3.put_object(Bucket=target.archive_bucket, Key=key, Body=content)
    put(
        target,
        job_id,
        "ARCHIVED",
        timedelta(),
        archiveKey=key,
        archiveVersionId=version["VersionId"],
        sha256=digest or hashlib.sha256(content).hexdigest(),
    )


@pytest.fixture
def job_id() -> str:
    return new_id("cli")


def test_status_prints_the_reason_and_nothing_that_opens_the_pdf(
    cli: Cli, target: Target, job_id: str
) -> None:
    reason = {"errorCode": "NOT_A_PDF", "errorMessage": "no PDF", "metadata": '{"tenant":"acme"}'}
    opens = {
        "url": "https://x/secret",
        "uuid": "secret-uuid",
        "fileReference": "workspace url https://x/secret",
        "tag": "secret-tag",
    }
    returned = {"passthrough": '{ "order" : 1 }'}
    put(target, job_id, "FAILED", timedelta(), **reason, **opens, **returned)

    shown = cli("status", job_id)
    [record] = cli.json("status", job_id)

    assert shown.exit_code == 0
    assert "NOT_A_PDF: no PDF" in shown.stdout
    assert record["metadata"] == {"tenant": "acme"}
    assert "secret" not in shown.stdout + json.dumps(record)
    assert not opens.keys() & record.keys()
    assert record["passthrough"] == {"order": 1}


@pytest.mark.parametrize(
    "metadata", ['{"x":1e400}', f'{{"x":{"9" * 5000}}}', f'{{"x":{"[" * 5000}{"]" * 5000}}}']
)
def test_metadata_that_python_cannot_hold_is_passed_on_as_it_is(
    cli: Cli, target: Target, job_id: str, metadata: str
) -> None:
    spaced = metadata.replace(":", " :\n")
    put(target, job_id, "FAILED", timedelta(), metadata=spaced)

    [line] = cli("status", job_id, "--json").stdout.splitlines()

    assert f'"metadata":{metadata}' in line
    assert cli("status", job_id).exit_code == 0


def test_a_record_is_shown_without_what_opens_the_pdf(
    cli: Cli, target: Target, job_id: str
) -> None:
    secret = {"fileReference": "workspace uuid 1", "url": "https://x/y", "tag": "t"}
    put(target, job_id, "SUBMITTED", timedelta(), fileId="f", **secret)

    [shown] = cli.json("status", job_id)

    assert shown["fileId"] == "f"
    assert not shown.keys() & secret.keys()


def test_metadata_that_is_no_json_is_text(cli: Cli, target: Target, job_id: str) -> None:
    put(target, job_id, "FAILED", timedelta(), metadata="{tenant")

    assert cli.json("status", job_id)[0]["metadata"] == "{tenant"


def test_status_of_an_unknown_job_is_one(cli: Cli, job_id: str) -> None:
    assert cli("status", job_id).exit_code == 1
    [printed] = cli.json("status", job_id)
    assert (printed["jobId"], printed["status"], printed["steps"]) == (job_id, None, [])
    assert "No record yet" in printed["next"]["what"]


def test_what_cannot_be_a_job_id_is_a_mistake_of_the_user(cli: Cli) -> None:
    assert cli("fetch", "../../etc/passwd").exit_code == 2


def test_watch_sees_each_end(cli: Cli, driver: Driver) -> None:
    good, bad = new_id("good"), new_id("bad")
    driver.send(body(good))
    driver.send(body(bad, version=99))

    result = cli("watch", good, bad, "--timeout", "30s", "--json")

    last = {line["jobId"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 1
    assert last[good]["status"] == "ARCHIVED"
    assert last[bad]["errorCode"] == "HTTP_404"


def test_watch_gives_up_in_time(cli: Cli, target: Target, job_id: str) -> None:
    put(target, job_id, "SUBMITTED", timedelta())

    result = cli("watch", job_id, "--timeout", "1s")

    assert result.exit_code == 1
    assert f"{job_id} SUBMITTED" in result.stdout
    assert f"1 not finished in time: {job_id}" in result.stderr


def test_watch_warns_once_about_a_job_without_a_record(target: Target, job_id: str) -> None:
    there = new_id("there")
    put(target, there, "SUBMITTED", timedelta())
    now = 0.0
    printed: list[tuple[float, list[str]]] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    table = Records(target, clock=lambda: now, sleep=sleep)
    rounds = table.follow(
        [there, job_id],
        interval=2,
        timeout=timedelta(minutes=2),
        miss=lambda missing: printed.append((now, list(missing))),
    )

    assert sum(1 for _ in rounds) == 61
    assert printed == [(SOON.total_seconds(), [job_id])]


def test_the_warning_about_such_a_job_names_the_next_command(
    cli: Cli, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "SOON", timedelta())

    result = cli("watch", job_id, "--timeout", "1s")

    assert f"{job_id}: no record yet; is the id right? See `dlq list`." in result.stderr


def reads(target: Target, job_id: str, changes: dict[float, dict[str, str]]) -> list[str]:
    """The job's state at each read, a second apart, while it changes at these seconds."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now in changes:
            put(target, job_id, age=timedelta(), **changes[now])

    table = Records(target, clock=lambda: now, sleep=sleep)
    end = timedelta(minutes=2)
    rounds = table.follow([job_id], interval=1, timeout=end, miss=lambda _: None)
    return [known[job_id]["status"] for known in rounds]


@pytest.mark.parametrize(
    "end", [{"status": "ARCHIVED"}, {"status": "FAILED", "failedAt": "2026-01-02T00:00:00.000Z"}]
)
def test_watch_waits_for_a_job_that_was_just_sent_again(
    target: Target, job_id: str, end: dict[str, str]
) -> None:
    """It stays FAILED until its message is taken, whatever else changes on its record."""
    before = {"status": "FAILED", "failedAt": "2026-01-01T00:00:00.000Z"}
    put(target, job_id, age=timedelta(days=1), **before)

    states = reads(target, job_id, {1.0: before, 3.0: {"status": "SUBMITTING"}, 5.0: end})

    assert states == [*["FAILED"] * 3, *["SUBMITTING"] * 2, end["status"]]


def test_watch_gives_such_a_job_no_longer_than_one_without_a_record(
    target: Target, job_id: str
) -> None:
    put(target, job_id, "FAILED", timedelta(days=1), failedAt="2026-01-01T00:00:00.000Z")

    assert len(reads(target, job_id, {})) == SOON.seconds + 1


def test_the_warning_about_a_job_that_failed_before_says_what_watch_waits_for(
    cli: Cli, target: Target, job_id: str
) -> None:
    put(target, job_id, "FAILED", timedelta(days=1))

    result = cli("watch", job_id, "--timeout", "1s")

    assert result.exit_code == 1
    assert f"{job_id}: FAILED before. A job that was sent again" in result.stderr
    assert "0 archived, 1 failed." in result.stderr


def test_list_shows_a_job_once_that_moves_while_it_is_listed(
    target: Target, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each state is a query of its own, whose results are looked up in parts."""
    monkeypatch.setattr(records, "MAX_KEYS", 2)
    put(target, job_id, "SUBMITTED", timedelta())
    other = new_id("other")
    put(target, other, "SUBMITTED", timedelta())
    twice: list[records.Record] = [{"jobId": one} for one in (job_id, job_id, other, job_id)]

    table = Records(target)

    assert [record["jobId"] for record in table.detailed(iter(twice))] == [job_id, other]
    assert table.get([job_id, job_id]).keys() == {job_id}


def test_what_dynamodb_leaves_out_is_asked_for_again_and_not_at_once(
    target: Target, job_id: str
) -> None:
    put(target, job_id, "SUBMITTED", timedelta())
    left = 4
    pauses: list[float] = []
    name = target.jobs_table

    def leave_out(parsed: dict[str, Any], **_: object) -> None:
        nonlocal left
        if left:
            left -= 1
            keys = [{"jobId": item["jobId"]} for item in parsed["Responses"].pop(name)]
            parsed["UnprocessedKeys"] = {name: {"Keys": keys, "ConsistentRead": True}}

    events = target.dynamodb.meta.events
    event = "after-call.dynamodb.BatchGetItem"
    events.register(event, leave_out)
    try:
        found = Records(target, sleep=pauses.append).get([job_id])
    finally:
        events.unregister(event, leave_out)

    assert found.keys() == {job_id}
    assert len(pauses) == 4
    # Drawn at random, so that a later one may be shorter: it is the ceiling that grows.
    for attempt, pause in enumerate(pauses, start=1):
        assert 0 < pause <= min(0.2 * 2 ** (attempt - 1), records.LONGEST_PAUSE)


def test_list_is_by_state_and_age(cli: Cli, target: Target) -> None:
    old, older, young, other = (new_id(name) for name in ("old", "older", "young", "other"))
    put(target, old, "SUBMITTING", timedelta(hours=2))
    put(target, older, "SUBMITTING", timedelta(days=2))
    put(target, young, "SUBMITTING", timedelta(minutes=1))
    put(target, other, "SUBMITTED", timedelta(hours=3))

    def listed(*options: str) -> list[str]:
        return [record["jobId"] for record in cli.json("list", *options)]

    assert listed("--status", "SUBMITTING", "--older-than", "1h") == [older, old]
    assert listed("--newer-than", "0s") == []
    assert listed("--status", "submitting", "--older-than", "1h", "--newer-than", "1d") == [old]
    both = listed("--older-than", "1h", "--status", "SUBMITTED", "--status", "SUBMITTING")
    assert set(both) == {old, older, other}
    assert cli("list", "--status", "LOST").exit_code == 2


def test_list_goes_on_where_a_page_ends_and_says_when_it_stops(cli: Cli, target: Target) -> None:
    """A page of DynamoDB ends at 1 MiB, and details come a hundred at a time."""
    many = [new_id("page") for _ in range(130)]
    for one in many:
        put(target, one, "SUBMITTED", timedelta(days=9), note="x" * 9000)

    some = cli("list", "--status", "SUBMITTED", "--older-than", "8d", "--limit", "120", "--json")
    last = json.loads(some.stdout.splitlines()[-1])["jobId"]
    rest = cli.json("list", "--status", "SUBMITTED", "--older-than", "8d", "--after", last)
    every = cli.json("list", "--status", "SUBMITTED", "--older-than", "8d", "--limit", "0")

    assert len(some.stdout.splitlines()) == 120
    assert f"--after {last}" in some.stderr
    assert [record["jobId"] for record in every] == [
        *(json.loads(line)["jobId"] for line in some.stdout.splitlines()),
        *(record["jobId"] for record in rest),
    ]
    assert {record["jobId"] for record in every} == set(many)


def test_fetch_leaves_a_file_with_other_bytes_alone(
    cli: Cli, target: Target, job_id: str, tmp_path: Path
) -> None:
    archived(target, job_id, b"%PDF-right")
    there = tmp_path / f"{job_id}.pdf"
    there.write_bytes(b"mine")

    result = cli("fetch", job_id, "-o", str(tmp_path))

    assert result.exit_code == 1
    assert "left as it is" in result.stderr
    assert there.read_bytes() == b"mine"


def test_fetch_again_finds_it_there(cli: Cli, target: Target, job_id: str, tmp_path: Path) -> None:
    archived(target, job_id, b"%PDF-right")

    [first] = cli.json("fetch", job_id, "-o", str(tmp_path / "new" / "folder"))
    [again] = cli.json("fetch", job_id, "-o", str(tmp_path / "new" / "folder"))

    assert Path(first["path"]).read_bytes() == b"%PDF-right"
    assert first.pop("fresh")
    assert not again.pop("fresh")
    assert first == again


def test_fetch_keeps_nothing_that_is_not_what_the_record_says(
    cli: Cli, target: Target, tmp_path: Path
) -> None:
    wrong, unarchived, absent = new_id("wrong"), new_id("unarchived"), new_id("absent")
    archived(target, wrong, b"%PDF-other", digest="0" * 64)
    put(target, unarchived, "SUBMITTED", timedelta())

    result = cli("fetch", wrong, unarchived, absent, "-o", str(tmp_path))

    assert result.exit_code == 1
    for one, why in ((wrong, "SHA-256"), (unarchived, "SUBMITTED"), (absent, "no such job")):
        assert any(one in line and why in line for line in result.stderr.splitlines())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_created_is_reported(cli: Cli, job_id: str, tmp_path: Path) -> None:
    file: Any = tmp_path / "file"
    file.write_text("")

    result = cli("fetch", job_id, "-o", str(file / "below"))

    assert result.exit_code == 2
    assert "cannot be created" in result.stderr
