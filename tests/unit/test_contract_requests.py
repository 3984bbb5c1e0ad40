"""From upstream's message to the request that ReportFlow gets, by either contract."""

import json
from typing import Any

import pytest

from reportflow.contract import CENTRAL, CONTRACTS, WORKSPACE, Contract
from reportflow.contract.central import OWN_KEY
from reportflow.contract.document import digest_of
from reportflow.contract.files import Mark
from reportflow.errors import Permanent
from reportflow.jobs import Job, JobStatus
from reportflow.messages import MAX_FILE_NAME_BYTES, MAX_METADATA_BYTES, parse_request
from tests.unit.clock import START
from tests.unit.samples import DESIGN_ID, MARK, content, message_body, request

S3_KEY_BYTES = 1024

both = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)


def named(name: str, contract: Contract = CENTRAL, **changes: Any) -> str:
    """The name under which the job keeps a file of this name."""
    kept: str = request(contract, content=content(fileName=name, **changes)).content.file_name
    return kept


def with_passthrough(text: str) -> bytes:
    """A message whose passthrough is this very text."""
    return message_body(content=content(passthrough="@")).replace('"@"', text).encode()


def sent(body: bytes, mark: Mark = MARK) -> bytes:
    """What ReportFlow gets for a message, by the contract `central`."""
    return CENTRAL.body(parse_request(body, CENTRAL), mark)


def refusal(body: bytes, contract: Contract = CENTRAL) -> str:
    with pytest.raises(Permanent) as refused:
        parse_request(body, contract)
    assert refused.value.code == "INVALID_MESSAGE"
    return refused.value.message


@both
def test_the_request_is_the_messages_document_and_nothing_of_ours_stands_on_top(
    contract: Contract,
) -> None:
    made = json.loads(contract.body(request(contract, metadata={"tenant": "acme"}), MARK))

    assert made.keys() == {"designId", "version", "content"}
    assert (made["designId"], made["version"]) == (DESIGN_ID, 1)
    assert {name: made["content"][name] for name in ("fileName", "params")} == content()


def test_a_workspace_request_carries_no_mark() -> None:
    made = json.loads(WORKSPACE.body(request(), MARK))

    assert made["content"] == content()


def test_the_mark_is_no_text_or_number_at_the_top_of_passthrough() -> None:
    """The service prints those into the PDF."""
    made = json.loads(sent(message_body().encode()))

    assert made["content"]["passthrough"] == {OWN_KEY: {"jobId": MARK.job_id, "tag": MARK.tag}}
    top = made["content"]["passthrough"].values()
    assert not [value for value in top if isinstance(value, (str, int, float))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"shareType": "01"}, {"shareType": "01"}),
        (
            {"shareType": "03", "passcodeEnabled": True},
            {"shareType": "03", "passcodeEnabled": True},
        ),
        ({"passcodeEnabled": False}, {"passcodeEnabled": False}),
    ],
    ids=repr,
)
def test_the_options_are_sent_as_upstream_set_them(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    made = json.loads(sent(message_body(content=content(**options)).encode()))["content"]

    assert {name: made[name] for name in made.keys() & {"shareType", "passcodeEnabled"}} == expected


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("shareType", "04"),
        ("shareType", "workspace"),
        ("shareType", 1),
        ("shareType", None),
        ("passcodeEnabled", "true"),
        ("passcodeEnabled", 1),
        ("passcodeEnabled", None),
        ("passthrough", None),
        ("passthrough", []),
        ("passthrough", "A-1"),
        ("passthrough", 1),
        ("passthrough", {OWN_KEY: {}}),
        ("passthrough", {"note": "n" * MAX_METADATA_BYTES}),
        ("passthrough", {"a": 2**63}),
        ("passthrough", {"a": [-(2**63) - 1]}),
        ("sharetype", "01"),
        ("contents", []),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_wrong_option_is_refused_by_its_name(field: str, wrong: object) -> None:
    assert field in refusal(message_body(content=content(**{field: wrong})).encode())


@pytest.mark.parametrize("option", [{"shareType": "01"}, {"passthrough": {}}], ids=repr)
def test_the_workspace_contract_has_no_options(option: dict[str, Any]) -> None:
    [field] = option
    assert field in refusal(message_body(content=content(**option)).encode(), WORKSPACE)


@pytest.mark.parametrize(
    ("passthrough", "said"),
    [
        ('{"report\\u0066lowJob":{}}', "reserved"),
        ('{"a":1e400}', "out of range"),
        ('{"a":' + "9" * 5000 + "}", "out of range"),
        ('{"a":' + "[" * 100 + "]" * 100 + "}", "at most 100 levels"),
        ('{"a":' + "[" * 600 + "]" * 600 + "}", "at most 100 levels"),
        ('{"a":' + "[" * 20_000 + "]" * 20_000 + "}", "deep"),
        ('{"a":NaN}', "not JSON"),
        ('{"\\ud800":1}', "not JSON"),
    ],
    ids=lambda text: text[:24],
)
def test_a_passthrough_that_could_not_come_back_is_refused(passthrough: str, said: str) -> None:
    assert said in refusal(with_passthrough(passthrough))


@pytest.mark.parametrize("place", ["{'\xff':1}", "{'a':'\xff'}", "{'a':{'b':['\xff']}}"])
def test_a_passthrough_that_is_not_utf_8_is_refused_by_its_name(place: str) -> None:
    text = place.replace("'", '"').encode("latin-1")
    body = with_passthrough("@@").replace(b"@@", text)

    assert refusal(body) == "content.passthrough: the JSON is not valid UTF-8"


@pytest.mark.parametrize(
    "members",
    [
        '"amount":1.10,"e":1E5,"zero":-0.0',
        '"big":9223372036854775807,"small":-9223372036854775808',
        '"b" : 1,\n\t"a":"\\u682a株" ',
        '"deep":' + "[" * 99 + "]" * 99,
        '"__proto__":null,"":""',
    ],
    ids=lambda text: text[:24],
)
def test_a_passthrough_is_sent_and_kept_byte_for_byte(members: str) -> None:
    text = "{" + members + "}"
    body = with_passthrough(text)

    assert members.strip().encode() in sent(body)
    assert json.loads(sent(body))["content"]["passthrough"].keys() == {OWN_KEY, *json.loads(text)}
    assert parse_request(body, CENTRAL).content.passthrough_json() == text


@pytest.mark.parametrize("empty", ["{}", " { \n } "])
def test_an_empty_passthrough_is_still_json_with_the_mark(empty: str) -> None:
    made = json.loads(sent(with_passthrough(empty)))

    assert made["content"]["passthrough"].keys() == {OWN_KEY}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("invoice", "invoice.pdf"),
        ("invoice.pdf", "invoice.pdf"),
        ("invoice.pdf.pdf", "invoice.pdf.pdf"),
        ("invoice.PDF", "invoice.PDF.pdf"),
        (".pdf.pdf", ".pdf.pdf"),
        ("..", "...pdf"),
        ("請求書 (1) #2 – été.pdf", "請求書 (1) #2 – été.pdf"),
        ("請求書カ\u3099", "請求書ガ.pdf"),
        ("😀%41'&;", "😀%41'&;.pdf"),
    ],
)
def test_a_central_name_has_one_ending(name: str, kept: str) -> None:
    assert named(name) == kept
    made = json.loads(sent(message_body(content=content(fileName=name)).encode()))
    assert made["content"]["fileName"] == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\u3000",
        ".pdf",
        " .pdf",
        "\u3000\u00a0.pdf",
        *(f"a{character}b.pdf" for character in '/\\:*?"<>|\0\n\r\x1f\x7f\x85\x9f'),
        "a.pdf\n",
        "../../etc/passwd",
        "n" * 201,
        "\U0001f600" * 180,
    ],
    ids=ascii,
)
def test_a_name_that_central_does_not_take_is_refused(name: str) -> None:
    assert "content.fileName" in refusal(message_body(content=content(fileName=name)).encode())


def test_two_central_names_that_differ_by_the_ending_only_are_one_document() -> None:
    digests = {
        request(CENTRAL, content=content(fileName=name)).digest for name in ("a", "a.pdf", "b")
    }
    assert len(digests) == 2
    assert request(content=content(fileName="a")).digest not in digests


@pytest.mark.parametrize(
    "option",
    [
        {"shareType": "01"},
        {"shareType": "02"},
        {"passcodeEnabled": False},
        {"passcodeEnabled": True},
        {"passthrough": {}},
        {"passthrough": {"order": 1}},
        {"passthrough": {"order": "1"}},
    ],
    ids=repr,
)
def test_the_digest_notices_every_option(option: dict[str, Any]) -> None:
    digest = request(CENTRAL, content=content(**option)).digest

    assert digest != request(CENTRAL).digest
    others: list[dict[str, Any]] = [{"shareType": "03"}, {"passthrough": {"order": 2}}]
    assert digest not in {request(CENTRAL, content=content(**other)).digest for other in others}


def test_the_order_and_white_space_of_passthrough_do_not_matter() -> None:
    digests = {
        parse_request(with_passthrough(text), CENTRAL).digest
        for text in ('{"a":1.0,"b":"株"}', ' { "b" : "\\u682a", "a" : 1 } ')
    }
    assert len(digests) == 1


def test_a_document_without_options_has_one_digest_in_both_contracts() -> None:
    """A deployment can move from one to the other while a job is being submitted."""
    assert request(CENTRAL).digest == request(WORKSPACE).digest
    plain = digest_of(DESIGN_ID, 1, "invoice.pdf", {"amount": 10000})
    assert request(CENTRAL).digest == plain


@both
def test_the_archives_key_fits_s3_however_long_its_parts_are(contract: Contract) -> None:
    japanese = "請" * 200
    kept = contract.file_name(japanese)
    job_id = "j" * 128
    asked = request(contract, jobId=job_id, designId="d" * 128, content=content(fileName=japanese))
    job = Job(
        job_id=job_id,
        status=JobStatus.SUBMITTING,
        created_at=START,
        design_id=asked.design_id,
        file_name=asked.content.file_name,
    )

    assert job.key().endswith(f"/{kept}")
    assert len(job.key().encode()) <= S3_KEY_BYTES
    assert len(job.key().encode()) + MAX_FILE_NAME_BYTES - len(kept.encode()) <= S3_KEY_BYTES


@pytest.mark.parametrize(
    ("contract", "mebibytes"), [(WORKSPACE, 20), (CENTRAL, 50)], ids=["workspace", "central"]
)
def test_the_largest_request_is_the_documented_one(contract: Contract, mebibytes: int) -> None:
    assert contract.max_request_bytes == mebibytes * 1024 * 1024
