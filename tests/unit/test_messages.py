import json
from collections.abc import Callable
from typing import Any

import pytest

from reportflow.contract import CENTRAL, WORKSPACE
from reportflow.contract.document import normal_design
from reportflow.contract.json_values import nests_deeper
from reportflow.errors import Permanent
from reportflow.messages import (
    MAX_METADATA_BYTES,
    Check,
    GenerationRequest,
    parse_download,
    parse_request,
    salvage_job_id,
    unwrapped,
)
from tests.unit.samples import (
    DESIGN_ID,
    body_of,
    bus_event,
    check_body,
    completed_body,
    message,
    message_body,
    notification,
    request,
)


def content(**changes: Any) -> dict[str, Any]:
    return {"fileName": "a.pdf", "params": {}, **changes}


def with_params(params: str) -> bytes:
    """A message whose params are this very text."""
    return message_body(content=content(params="@")).replace('"@"', params).encode()


def refusal(body: bytes) -> str:
    with pytest.raises(Permanent) as refused:
        parse_request(body, WORKSPACE)
    assert refused.value.code == "INVALID_MESSAGE"
    return refused.value.message


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("jobId", {"jobId": ""}),
        ("jobId", {"jobId": None}),
        ("jobId", {"jobId": 7}),
        ("jobId", {"jobId": "../other"}),
        ("jobId", {"jobId": ".hidden"}),
        ("jobId", {"jobId": "job 1"}),
        ("jobId", {"jobId": "job-1\n"}),
        ("jobId", {"jobId": "請求書"}),
        ("jobId", {"jobId": "j" * 129}),
        ("designId", {"designId": ""}),
        ("designId", {"designId": "."}),
        ("designId", {"designId": ".."}),
        ("designId", {"designId": "a/b"}),
        ("designId", {"designId": "a%2fb"}),
        ("designId", {"designId": "a?b"}),
        ("designId", {"designId": "設計"}),
        ("designId", {"designId": "d" * 129}),
        ("designId", {"designId": DESIGN_ID + "\n"}),
        ("designId", {"designId": f"{{{DESIGN_ID}}}"}),
        ("designId", {"designId": None}),
        ("version", {"version": 0}),
        ("version", {"version": 1.0}),
        ("version", {"version": "1"}),
        ("version", {"version": True}),
        ("version", {"version": 2**31}),
        ("content", {"content": []}),
        ("content.fileName", {"content": content(fileName="")}),
        ("content.fileName", {"content": content(fileName="../../etc/passwd")}),
        ("content.fileName", {"content": content(fileName="a/b.pdf")}),
        ("content.fileName", {"content": content(fileName="a\\b.pdf")}),
        ("content.fileName", {"content": content(fileName="..")}),
        ("content.fileName", {"content": content(fileName=".pdf")}),
        ("content.fileName", {"content": content(fileName="invoice.pdf\n")}),
        ("content.fileName", {"content": content(fileName="a\r\nX-Evil: 1")}),
        ("content.fileName", {"content": content(fileName='a".pdf')}),
        ("content.fileName", {"content": content(fileName="a b.pdf")}),
        ("content.fileName", {"content": content(fileName="a\u202efdp.exe")}),
        ("content.fileName", {"content": content(fileName="n" * 201)}),
        ("content.fileName", {"content": content(fileName="한글.pdf")}),
        ("content.fileName", {"content": content(fileName="\ue000.pdf")}),
        ("content.params", {"content": content(params=None)}),
        ("content.params", {"content": content(params=[1])}),
        ("content.params", {"content": content(params="text")}),
        ("content.pages", {"content": content(pages=2)}),
        ("metadata", {"metadata": None}),
        ("metadata", {"metadata": "text"}),
        ("metadata", {"metadata": {"note": "n" * MAX_METADATA_BYTES}}),
        ("priority", {"priority": "high"}),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else value,
)
def test_a_wrong_value_is_refused_by_its_fields_name(field: str, changes: dict[str, Any]) -> None:
    said = refusal(message_body(**changes).encode())

    place, name = field.rpartition(".")[::2]
    assert place in said
    assert name in said


@pytest.mark.parametrize(
    "design_id", ["design_123", "aB3dE5fG7hI9jK1l", "_x-Y", "-x", "a.b~c", "d" * 128, DESIGN_ID]
)
def test_a_design_is_named_by_any_safe_text(design_id: str) -> None:
    sent = json.loads(body_of(request(designId=design_id)))

    assert sent["designId"] == design_id


@pytest.mark.parametrize("number", ["9" * 4000, "-" + "9" * 4000, "0." + "3" * 5000, "1e5000"])
def test_a_long_number_is_passed_on(number: str) -> None:
    assert number.encode() in body_of(parse_request(with_params(f'{{"a": {number}}}'), WORKSPACE))


def test_a_byte_order_mark_in_front_is_ignored() -> None:
    body = message_body().encode()

    assert (
        parse_request(b"\xef\xbb\xbf" + body, WORKSPACE).digest
        == parse_request(body, WORKSPACE).digest
    )


@pytest.mark.parametrize("field", ["designId", "version", "content"])
def test_a_missing_field_is_named(field: str) -> None:
    incomplete = message()
    del incomplete[field]

    assert field in refusal(json.dumps(incomplete).encode())


@pytest.mark.parametrize("field", ["fileName", "params"])
def test_a_missing_field_of_content_is_named(field: str) -> None:
    incomplete = content()
    del incomplete[field]

    assert field in refusal(message_body(content=incomplete).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"null",
        b'"text"',
        b"[]",
        b"{",
        message_body().encode() + b"x",
        message_body().encode("utf-16"),
        b'{"jobId": "\xff"}',
        with_params('{"a": NaN}'),
        with_params('{"a": Infinity}'),
        with_params('{"a": 01}'),
        with_params('{"a": "\\ud800"}'),
        with_params('{"a": 12345678901234567890, "b": NaN}'),
        with_params('{"a": "\x01"}'),
        message_body(metadata={"a": "@"}).replace("@", "\\ud800").encode(),
        with_params('{"a": "é"}').replace("é".encode(), b"\xe9"),
        message_body(metadata={"a": "é"}).replace("é", "\udce9").encode(errors="surrogateescape"),
        message_body(metadata={"a": "@"}).replace('"@"', "NaN").encode(),
    ],
    ids=repr,
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal(body)


@pytest.mark.parametrize("place", ["params", "metadata"])
@pytest.mark.parametrize("depth", [600, 3_000, 10_000, 200_000])
def test_nesting_that_would_exhaust_the_stack_is_refused(place: str, depth: int) -> None:
    nest = f'{{"a":{"[" * depth}{"]" * depth}}}'
    changes = {"metadata": "@"} if place == "metadata" else {"content": content(params="@")}

    assert "deep" in refusal(message_body(**changes).replace('"@"', nest).encode())


def test_what_was_parsed_can_be_digested_from_deeper_in_the_program() -> None:
    def has_digest(request: GenerationRequest[Any]) -> bool:
        return bool(request.digest)

    def parses(depth: int) -> bool:
        try:
            parse_request(with_params(f'{{"a":{"[" * depth}{"]" * depth}}}'), WORKSPACE)
        except Permanent:
            return False
        return True

    # The deepest nesting that is accepted, found by halving.
    accepted, refused = 10, 200_000
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        accepted, refused = (middle, refused) if parses(middle) else (accepted, middle)
    deepest = parse_request(with_params(f'{{"a":{"[" * accepted}{"]" * accepted}}}'), WORKSPACE)

    # `map` calls from C, and it is the depth of C calls that the decoder counts.
    assert all(map(has_digest, [deepest]))


@pytest.mark.parametrize(
    "name",
    [
        "請求書.pdf",
        "御見積書_2024年度.pdf",
        "ﾌﾟﾚｾﾞﾝ資料.pdf",
        "納品書（".removesuffix("（") + "控え.pdf",
        "髙橋﨑・ー々〆.pdf",
        "２０２４年.pdf",
        "-dash_.pdf",
        "請" * 200,
    ],
)
def test_japanese_file_names_reach_reportflow_unchanged(name: str) -> None:
    sent = json.loads(body_of(request(content=content(fileName=name))))

    assert sent["content"]["fileName"] == name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("か\u3099んは\u309aる.pdf", "がんぱる.pdf"),
        ("か\u309a.pdf", "か\u309a.pdf"),
        ("\ufa19社か\u3099.pdf", "\ufa19社が.pdf"),
    ],
    ids=["composed", "nothing to compose", "a name's own ideograph stays"],
)
def test_a_file_name_is_kept_in_its_composed_form(sent: str, kept: str) -> None:
    parsed = request(content=content(fileName=sent))

    assert parsed.content.file_name == kept
    assert json.loads(body_of(parsed))["content"]["fileName"] == kept


@pytest.mark.parametrize(
    "number",
    [
        "1.10",
        "1.0",
        "1E2",
        "-0.0",
        "1e400",
        "0.1000000000000000055511151231257827",
        "123456789012345678901234567890",
        "12345678901234567890.000000000000000001",
    ],
)
def test_numbers_reach_reportflow_as_they_were_written(number: str) -> None:
    params = f'{{ "amount" : {number}, "名":"\\u682a" }}'

    assert params.encode() in body_of(parse_request(with_params(params), WORKSPACE))


def test_reportflow_gets_the_documented_fields_and_nothing_of_ours() -> None:
    sent = json.loads(body_of(request(metadata={"tenant": "acme"})))

    assert sent == {name: message()[name] for name in ("designId", "version", "content")}


@pytest.mark.parametrize("value", ["1e400", "9" * 5000], ids=lambda value: value[:8])
def test_metadata_that_nobody_could_read_is_refused(value: str) -> None:
    body = message_body(metadata={"a": ["@"]}).replace('"@"', value)

    with pytest.raises(Permanent, match="metadata: a number is out of range"):
        parse_request(body.encode(), WORKSPACE)


def test_metadata_is_kept_as_it_was_written() -> None:
    body = message_body(metadata="@").replace('"@"', '{"tenant": "株式会社", "rate": 1.10}')

    assert (
        parse_request(body.encode(), WORKSPACE).metadata_json()
        == '{"tenant":"株式会社","rate":1.10}'
    )


@pytest.mark.parametrize(
    "same",
    [
        with_params('{"b":[1,{"d":2,"c":3}],"a":"株"}'),
        with_params(' { "a" : "\\u682a",\n"b" : [ 1, {"c":3, "d":2} ] } '),
        json.dumps(dict(reversed(message(content=content(params="@")).items())), indent=1)
        .replace('"@"', '{"a":"株","b":[1,{"c":3,"d":2}]}')
        .replace(DESIGN_ID, DESIGN_ID.upper())
        .encode(),
        message_body(metadata={"tenant": "acme"}, content=content(params="@"), jobId="other")
        .replace('"@"', '{"a":"株","b":[1,{"c":3,"d":2}]}')
        .encode(),
    ],
    ids=["as it is", "white space and escapes", "order of fields, case of the UUID", "ours"],
)
def test_the_digest_is_the_same_for_the_same_document(same: bytes) -> None:
    document = with_params('{"a":"株","b":[1,{"c":3,"d":2}]}')

    assert parse_request(same, WORKSPACE).digest == parse_request(document, WORKSPACE).digest


@pytest.mark.parametrize(
    "same",
    ["1.5", "1.50", "15e-1", "0.15E+1", "150e-2"],
)
def test_the_digest_is_the_same_for_the_same_number(same: str) -> None:
    digests = {
        parse_request(with_params(f'{{"a":{n}}}'), WORKSPACE).digest for n in (same, "1.500")
    }

    assert len(digests) == 1


@pytest.mark.parametrize(
    ("whole", "same"),
    [("100", "100.0"), ("100", "1e2"), ("-7", "-7.00"), ("0", "0.0"), ("0", "0e5"), ("0", "-0.0")],
)
def test_the_digest_is_the_same_for_a_whole_number_in_another_form(whole: str, same: str) -> None:
    digests = {parse_request(with_params(f'{{"a":{n}}}'), WORKSPACE).digest for n in (whole, same)}

    assert len(digests) == 1


@pytest.mark.parametrize(
    "other",
    [
        message_body(version=2).encode(),
        message_body(designId=DESIGN_ID.replace("5", "6")).encode(),
        message_body(content=content(fileName="b.pdf", params={"a": 1, "b": [1, 2]})).encode(),
        with_params('{"a":1,"b":[2,1]}'),
        with_params('{"a":"1","b":[1,2]}'),
        with_params('{"a":1.01,"b":[1,2]}'),
        with_params('{"a":true,"b":[1,2]}'),
        with_params('{"a":1,"b":[1,2],"c":null}'),
        with_params('{"A":1,"b":[1,2]}'),
        with_params('{"a":1,"b":[1,2,[]]}'),
    ],
    ids=lambda body: body.decode()[-60:],
)
def test_the_digest_notices_every_change(other: bytes) -> None:
    document = with_params('{"a":1,"b":[1,2]}')

    assert parse_request(other, WORKSPACE).digest != parse_request(document, WORKSPACE).digest


@pytest.mark.parametrize(
    ("sent", "quoted"),
    [
        ("12345678901234567890", "12345678901234567000"),
        ("9007199254740993", "9007199254740992"),
        ("0.1000000000000000055511", "0.1"),
        ("1E+50", "1e+50"),
        ("100000000000000000000000", "1e+23"),
        ("0.0000001", "1e-7"),
        ("1e-400", "0"),
        ("-0", "0"),
        ("1e400", "null"),
        ("9" * 4000, "null"),
        ('"\\u30ab\\u3099"', '"ガ"'),
        ('"か\u3099"', '"が"'),
        ('"\\/"', '"/"'),
        ('{"a":1,"b":0,"a":2}', '{"a":2,"b":0}'),
        ('{"か\u3099":[{"は\u309a":1}]}', '{"が":[{"ぱ":1}]}'),
    ],
)
def test_the_digest_is_that_of_the_document_as_a_javascript_service_quotes_it(
    sent: str, quoted: str
) -> None:
    one, other = (
        parse_request(with_params(f'{{"v":{v},"w":"ｶ"}}'), WORKSPACE) for v in (sent, quoted)
    )

    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12345678901234567890", "12345678901234570000"),
        ('"\\nñ"', '"\\n\u0303"'),
        ("1e308", "1e400"),
        ("123456789012345.5", "123456789012345"),
    ],
)
def test_the_digest_distinguishes_what_javascript_does(one: str, other: str) -> None:
    digests = {
        parse_request(with_params(f'{{"v":{value}}}'), WORKSPACE).digest for value in (one, other)
    }

    assert len(digests) == 2


def test_the_digest_of_an_ordinary_document_never_changes() -> None:
    """It stands in the records of jobs that began before an upgrade."""
    params = {"amount": 10000, "price": 1.5, "名": "株式会社", "rows": [{"b": None, "a": True}]}

    assert request(content=content(params=params)).digest == (
        "b13747a7d91b8cd6dfe17f176d18eeb0a6a6c9ef118153b9ff9e33e488b5936e"
    )


def test_one_name_in_two_forms_of_unicode_is_one_document() -> None:
    digests = {
        request(content=content(fileName=name)).digest
        for name in ("請求書ガ.pdf", "請求書カ\u3099.pdf")
    }

    assert len(digests) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (DESIGN_ID, DESIGN_ID.upper(), True),
        ("aB3dE5fG7hI9jK1l", "ab3de5fg7hi9jk1l", False),
        ("design_123", "design_123", True),
        (DESIGN_ID, DESIGN_ID.replace("5", "6"), False),
    ],
)
def test_capitals_matter_in_a_designs_id_unless_it_is_a_uuid(
    *, one: str, other: str, same: bool
) -> None:
    assert (normal_design(one) == normal_design(other)) is same
    assert (request(designId=one).digest == request(designId=other).digest) is same


@pytest.mark.parametrize("brackets", ["[]", "{}", "both"])
def test_depth_is_that_of_the_brackets(brackets: str) -> None:
    value: object = "[[{"
    for level in range(20):
        is_list = brackets == "[]" or (brackets == "both" and level % 2)
        value = ["", value, []] if is_list else {"a[": value, "": {}}

    assert nests_deeper(value, 20)
    assert not nests_deeper(value, 21)


@pytest.mark.parametrize(("depth", "is_taken"), [(99, True), (100, False)])
def test_metadata_nests_as_deep_as_it_says(depth: int, *, is_taken: bool) -> None:
    nest = "[" * depth + "]" * depth
    body = message_body(metadata={"a": "@"}).replace('"@"', nest).encode()

    if is_taken:
        assert parse_request(body, WORKSPACE).metadata_json() == f'{{"a":{nest}}}'
    else:
        said = refusal(body)
        assert said.startswith("metadata: ")
        assert "100" in said


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_metadata_holds_no_whole_number_that_eventbridge_refuses(number: int) -> None:
    assert refusal(message_body(metadata={"a": [number]}).encode()).startswith("metadata: ")
    assert request(metadata={"a": [number // 2]}).metadata


@pytest.mark.parametrize("envelope", [notification, bus_event])
def test_an_envelope_is_taken_off_and_the_message_kept_byte_for_byte(
    envelope: Callable[[str], str],
) -> None:
    message = message_body(content=content(params={"名": "@"})).replace('"@"', "1.10 ")

    assert unwrapped(envelope(message).encode()) == message.encode()


@pytest.mark.parametrize(
    "body",
    [
        message_body(),
        '{"Type":"SubscriptionConfirmation","Message":"{}"}',
        '{"Type":"Notification","Message":{}}',
        '{"detail-type":"a","source":"b"}',
        "[]",
        "no json",
        "",
    ],
)
def test_what_is_no_envelope_is_the_message_itself(body: str) -> None:
    assert unwrapped(body.encode()) == body.encode()


def test_only_one_envelope_is_taken_off() -> None:
    inner = notification(message_body())

    assert unwrapped(notification(inner).encode()) == inner.encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (message_body(version="wrong", jobId="job-1"), "job-1"),
        ('{"jobId":"job-1","unknown":1}', "job-1"),
        ('{"jobId":"../job"}', "fallback"),
        ('{"jobId":7}', "fallback"),
        ("{}", "fallback"),
        ("[]", "fallback"),
        ("no json", "fallback"),
        (json.dumps({"Type": "Notification", "Message": '{"jobId":"job-1"}'}), "job-1"),
        ('{"detail-type":"a","source":"b","detail":{"jobId":"job-1","x":1}}', "job-1"),
        ("\ufeff" + '{"jobId":"job-1"}', "job-1"),
        (json.dumps({"Type": "Notification", "Message": '\ufeff{"jobId":"job-1"}'}), "job-1"),
        ("", "fallback"),
        ('{"jobId":"job-1",' + '"a":' + "[" * 200_000, "fallback"),
    ],
    ids=lambda value: value[:40],
)
def test_a_job_id_is_salvaged_from_an_invalid_message(body: str, expected: str) -> None:
    assert salvage_job_id(body.encode(), "fallback") == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "other"},
        {"kind": None},
        {"fileId": "a//b"},
        {"fileId": "../x"},
        {"fileId": "x?y"},
        {"fileId": "x\n"},
        {"fileId": ""},
        {"fileId": "a/b/c"},
        {"fileId": "a/.."},
        {"reference": None},
        {"designId": "../x"},
        {"version": 0},
        {"params": {}},
        {"requestDigest": None},
    ],
    ids=repr,
)
def test_a_wrong_message_of_the_download_queue_is_refused_by_its_field(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(Permanent) as refused:
        parse_download(completed_body(**changes).encode())

    assert refused.value.code == "INVALID_MESSAGE"
    assert next(iter(changes)) in refused.value.message


@pytest.mark.parametrize("name", ["canary", "a`b canary", "x - at `$.canary", "canary" * 50])
def test_the_name_of_an_unknown_field_is_in_the_message_and_not_for_a_log(name: str) -> None:
    with pytest.raises(Permanent) as refused:
        parse_request(message_body(**{name: 1}).encode(), WORKSPACE)

    assert "canary" in refused.value.message
    assert "unknown field" in refused.value.loggable
    assert "canary" not in refused.value.loggable + str(refused.value) + repr(refused.value)


@pytest.mark.parametrize(
    "changes", [{"jobId": "../job"}, {"jobId": ""}, {"jobId": None}, {"fileId": "file_1"}], ids=repr
)
def test_a_wrong_check_is_refused_by_its_field(changes: dict[str, Any]) -> None:
    with pytest.raises(Permanent) as refused:
        parse_download(check_body(**changes).encode())

    assert next(iter(changes)) in refused.value.message


@pytest.mark.parametrize("job_id", ["job-1", "j" * 128, "5b9c0f36-6a6c-4b7e-8d55-6a0a6d1f1c11"])
def test_a_check_of_any_job_is_read(job_id: str) -> None:
    assert parse_download(check_body(jobId=job_id).encode()) == Check(job_id)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 200_000], ids=lambda body: body[:5])
def test_what_is_no_message_of_the_download_queue_is_refused(body: bytes) -> None:
    with pytest.raises(Permanent, match="INVALID_MESSAGE"):
        parse_download(body)


def test_a_refused_share_type_is_in_the_message_and_not_for_a_log() -> None:
    with pytest.raises(Permanent) as refused:
        parse_request(message_body(content=content(shareType="canary")).encode(), CENTRAL)

    assert "canary" in refused.value.message
    assert "shareType" in refused.value.loggable
    assert "canary" not in refused.value.loggable


@pytest.mark.parametrize("field", ["designId", "jobId"])
def test_a_refused_id_is_in_the_message_and_not_for_a_log(field: str) -> None:
    with pytest.raises(Permanent) as refused:
        parse_request(message_body(**{field: "https://x/?key=canary"}).encode(), WORKSPACE)

    assert "canary" in refused.value.message
    assert field in refused.value.loggable
    assert "canary" not in refused.value.loggable + str(refused.value) + repr(refused.value)
