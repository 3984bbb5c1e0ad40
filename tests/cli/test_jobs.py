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


def test_status_tells_the_reason_and_nothing_that_opens_the_pdf(
    cli: Cli, target: Target, job_id: str
) -> None:
    reason = {"errorCode": "NOT_A_PDF", "errorMessage": "no PDF", "metadata": '{"tenant":"acme"}'}
    put(target, job_id, "FAILED", timedelta(), url="https://x/secret", uuid="u-u", **reason)

    shown = cli("status", job_id)
    [record] = cli.json("status", job_id)

    assert shown.exit_code == 0
    assert "NOT_A_PDF: no PDF" in shown.stdout
    assert record["metadata"] == {"tenant": "acme"}
    assert "secret" not in shown.stdout + json.dumps(record)
    assert not {"url", "uuid"} & record.keys()


def test_status_of_an_unknown_job_is_one(cli: Cli, job_id: str) -> None:
    assert cli("status", job_id).exit_code == 1
    assert cli.json("status", job_id) == [{"jobId": job_id, "status": None}]


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
    assert f"1 not ended in time: {job_id}" in result.stderr


def test_watch_tells_once_of_a_job_without_a_record(target: Target, job_id: str) -> None:
    there = new_id("there")
    put(target, there, "SUBMITTED", timedelta())
    now = 0.0
    told: list[tuple[float, list[str]]] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    rounds = Records(target.dynamodb, target.jobs_table).follow(
        [there, job_id],
        interval=2,
        timeout=timedelta(minutes=2),
        miss=lambda missing: told.append((now, list(missing))),
        clock=lambda: now,
        sleep=sleep,
    )

    assert sum(1 for _ in rounds) == 61
    assert told == [(SOON.total_seconds(), [job_id])]


def test_what_is_told_of_such_a_job_says_where_to_look(
    cli: Cli, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "SOON", timedelta())

    result = cli("watch", job_id, "--timeout", "1s")

    assert f"{job_id}: no record yet; is the id right? Look in `dlq list`." in result.stderr


def test_list_is_by_state_and_age(cli: Cli, target: Target) -> None:
    old, older, young, other = (new_id(name) for name in ("old", "older", "young", "other"))
    put(target, old, "SUBMITTING", timedelta(hours=2))
    put(target, older, "SUBMITTING", timedelta(days=2))
    put(target, young, "SUBMITTING", timedelta(minutes=1))
    put(target, other, "SUBMITTED", timedelta(hours=3))

    def listed(*options: str) -> list[str]:
        return [record["jobId"] for record in cli.json("list", *options)]

    assert listed("--state", "SUBMITTING", "--older-than", "1h") == [older, old]
    assert listed("--state", "submitting", "--older-than", "1h", "--newer-than", "1d") == [old]
    both = listed("--older-than", "1h", "--state", "SUBMITTED", "--state", "SUBMITTING")
    assert set(both) == {old, older, other}
    assert cli("list", "--state", "LOST").exit_code == 2


def test_list_goes_on_where_a_page_ends_and_says_when_it_stops(cli: Cli, target: Target) -> None:
    """A page of DynamoDB ends at 1 MiB, and details come a hundred at a time."""
    many = [new_id("page") for _ in range(130)]
    for one in many:
        put(target, one, "SUBMITTED", timedelta(days=9), note="x" * 9000)

    some = cli("list", "--state", "SUBMITTED", "--older-than", "8d", "--limit", "120", "--json")
    every = cli.json("list", "--state", "SUBMITTED", "--older-than", "8d")

    assert len(some.stdout.splitlines()) == 120
    assert "--limit" in some.stderr
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


def test_a_folder_that_cannot_be_made_is_told(cli: Cli, job_id: str, tmp_path: Path) -> None:
    file: Any = tmp_path / "file"
    file.write_text("")

    result = cli("fetch", job_id, "-o", str(file / "below"))

    assert result.exit_code == 2
    assert "cannot be made" in result.stderr
