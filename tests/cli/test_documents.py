"""What `submit` reads: which bodies, which mistakes, and the job ids that it gives."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.documents import Naming, Reading, read
from cli.failures import CliError
from reportflow.contract import CENTRAL, WORKSPACE
from reportflow.messages import parse_request
from tests.pipeline.driver import body

BY_DIGEST = Naming(by_digest=True)


def lines(*messages: dict[str, Any] | str) -> str:
    return "\n".join(m if isinstance(m, str) else json.dumps(m) for m in messages)


def mistakes(reading: Reading) -> dict[str, str]:
    return {mistake.place: mistake.text for mistake in reading.mistakes}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "documents.jsonl"


def test_each_mistake_names_its_line_and_field(file: Path) -> None:
    wrong_name = body("b", content={"fileName": "a/b.pdf", "params": {}})
    file.write_text(lines(body("a"), wrong_name, "", body("c", colour="red"), "{", body("d")))

    reading = read([str(file)], Naming(), WORKSPACE)

    assert [document.job_id for document in reading.documents] == ["a", "d"]
    found = mistakes(reading)
    assert found.keys() == {f"{file}:2", f"{file}:4", f"{file}:5"}
    assert "content.fileName" in found[f"{file}:2"]
    assert "colour" in found[f"{file}:4"]
    assert "not JSON" in found[f"{file}:5"]


def test_two_central_names_that_differ_by_the_ending_only_are_one_document(file: Path) -> None:
    file.write_text(
        lines(*(body(content={"fileName": name, "params": {}}) for name in ("a", "a.pdf", "b")))
    )

    reading = read([str(file)], BY_DIGEST, CENTRAL)

    assert len(reading.documents) == 2
    assert reading.repeated == 1
    assert not reading.mistakes


def test_a_syntax_error_in_a_long_document_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(body("a"), indent=1).replace('"version": 1,', '"version": 1'))

    reading = read([str(path)], Naming(), WORKSPACE)

    [line] = [n for n, text in enumerate(path.read_text().splitlines(), 1) if "content" in text]
    assert f"(line {line})" in mistakes(reading)[str(path)]


def test_a_folder_gives_its_documents_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(body("a"), indent=2))
    (tmp_path / "many.ndjson").write_text(lines(body("b"), body("c")))
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / ".hidden.json").write_text("{")

    reading = read([str(tmp_path)], Naming(), WORKSPACE)

    assert {document.job_id for document in reading.documents} == {"a", "b", "c"}
    assert not reading.mistakes


@pytest.mark.parametrize("indent", [None, 2])
def test_standard_input_is_lines_or_one_document(
    monkeypatch: pytest.MonkeyPatch, indent: int | None
) -> None:
    text = lines(body("a"), body("b")) if indent is None else json.dumps(body("a"), indent=indent)
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr("sys.stdin", stdin)

    reading = read(["-"], Naming(), WORKSPACE)

    expected = {"a", "b"} if indent is None else {"a"}
    assert {document.job_id for document in reading.documents} == expected


def test_without_a_job_id_a_document_is_refused_unless_one_is_made(file: Path) -> None:
    file.write_text(lines(body()))

    assert "--generate-job-ids" in mistakes(read([str(file)], Naming(), WORKSPACE))[f"{file}:1"]
    [document] = read([str(file)], BY_DIGEST, WORKSPACE).documents
    request = parse_request(document.body.encode(), WORKSPACE)
    assert request.job_id == document.job_id
    assert request.digest == document.digest


def test_a_made_job_id_is_the_documents_whatever_its_spelling(tmp_path: Path) -> None:
    message = body()
    (tmp_path / "a.json").write_text(json.dumps(message))
    (tmp_path / "b.json").write_text(json.dumps(dict(reversed(message.items())), indent=3))
    other = body(content={"fileName": "invoice.pdf", "params": {"amount": 11}})
    (tmp_path / "c.json").write_text(json.dumps(other))

    reading = read([str(tmp_path)], BY_DIGEST, WORKSPACE)

    assert len({document.job_id for document in reading.documents}) == 2
    assert reading.repeated == 1


def test_a_job_id_may_be_the_files_name(tmp_path: Path) -> None:
    (tmp_path / "invoice-7.json").write_text(json.dumps(body()))
    (tmp_path / "invoice-8.json").write_text(json.dumps(body("another")))
    (tmp_path / "no id.json").write_text(json.dumps(body()))

    reading = read([str(tmp_path)], Naming(by_file_name=True), WORKSPACE)

    assert [document.job_id for document in reading.documents] == ["invoice-7"]
    assert mistakes(reading).keys() == {
        str(tmp_path / "invoice-8.json"),
        str(tmp_path / "no id.json"),
    }


def test_a_job_id_of_two_documents_is_a_mistake_and_of_one_twice_is_none(file: Path) -> None:
    other = body("a", content={"fileName": "other.pdf", "params": {}})
    file.write_text(lines(body("a"), other, body("a")))

    reading = read([str(file)], Naming(), WORKSPACE)

    assert [document.job_id for document in reading.documents] == ["a"]
    assert f"{file}:1" in mistakes(reading)[f"{file}:2"]
    assert reading.repeated == 1


@pytest.mark.parametrize("job_id", [None, "a"])
def test_documents_of_one_job_that_differ_in_metadata_are_a_mistake(
    file: Path, job_id: str | None
) -> None:
    """The job could keep the metadata of one only."""
    acme, other = ({"tenant": tenant, "n": 1.10} for tenant in ("acme", "other"))
    same = json.dumps(body(job_id, metadata=dict(reversed(acme.items()))), indent=1)
    file.write_text(
        lines(
            body(job_id, metadata=acme),
            body(job_id, metadata=other),
            same.replace("\n", " "),
            body(job_id),
        )
    )

    reading = read([str(file)], BY_DIGEST, WORKSPACE)

    assert len(reading.documents) == 1
    assert reading.repeated == 1
    found = mistakes(reading)
    assert found.keys() == {f"{file}:2", f"{file}:4"}
    assert all(f"{file}:1 has other metadata" in text for text in found.values())


def test_parameters_go_as_they_were_written(file: Path) -> None:
    params = '{"amount": 10000.10, "digits": 123456789012345678901234567890, "mark": "\\u00e9"}'
    text = json.dumps(body("a", content={"fileName": "a.pdf", "params": "HERE"}))
    file.write_text(text.replace('"HERE"', params))

    [document] = read([str(file)], Naming(), WORKSPACE).documents

    assert params in document.body


def test_a_character_that_sqs_refuses_is_escaped(file: Path) -> None:
    message = body("a", content={"fileName": "a.pdf", "params": {"name": "x\uffffy"}})
    file.write_text(json.dumps(message, ensure_ascii=False))

    [document] = read([str(file)], Naming(), WORKSPACE).documents

    assert "\uffff" not in document.body
    assert json.loads(document.body) == message


def test_what_reportflow_would_not_take_is_a_mistake(file: Path) -> None:
    message = body("a", content={"fileName": "a.pdf", "params": {"x": "x" * (20 * 1024 * 1024)}})
    file.write_text(lines(message))

    assert "bytes" in mistakes(read([str(file)], Naming(), WORKSPACE))[f"{file}:1"]


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"absent\.json"):
        read([str(tmp_path / "absent.json")], Naming(), WORKSPACE)
