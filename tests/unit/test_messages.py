import json
from typing import Any

import pytest

from reportflow.errors import Permanent
from reportflow.messages import (
    MAX_BESIDE_PARAMS,
    MAX_METADATA_BYTES,
    Check,
    GenerationRequest,
    parse_download,
    parse_request,
    salvage_job_id,
)
from tests.unit.samples import (
    DESIGN_ID,
    check_body,
    completed_body,
    message,
    message_body,
    request,
)


def content(**changes: Any) -> dict[str, Any]:
    return {"fileName": "a.pdf", "params": {}, **changes}


def with_params(params: str) -> bytes:
    """A message whose params are this very text."""
    return message_body(content=content(params="@")).replace('"@"', params).encode()


def refusal(body: bytes) -> str:
    with pytest.raises(Permanent) as refused:
        parse_request(body)
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
        ("designId", {"designId": "invoice"}),
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


def test_a_number_too_long_to_compare_is_refused_by_its_fields_name() -> None:
    assert "content.params" in refusal(with_params(f'{{"a": {"9" * 5000}}}'))


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
    ("name", "body"),
    [
        ("jobId", '{"jobId": "other", ' + message_body()[1:]),
        ("jobId", '{"job\\u0049d": "other", ' + message_body()[1:]),
        ("content", message_body()[:-1] + ', "content": {"fileName": "b.pdf", "params": {}}}'),
        ("metadata", '{"metadata": {"a": 1}, "metadata": {}, ' + message_body()[1:]),
        ("fileName", message_body().replace('"params"', '"fileName": "b.pdf", "params"')),
        ("params", message_body().replace('"params"', '"params": {"amount": 10000}, "params"')),
        ("tenant", message_body(metadata="@").replace('"@"', '{"tenant": "a", "tenant": "b"}')),
        ("", message_body(metadata="@").replace('"@"', '{"": 1, "": 2}')),
    ],
)
def test_a_name_that_stands_twice_is_refused(name: str, body: str) -> None:
    """Of two values one reader takes the first, and another one the last."""
    with pytest.raises(Permanent) as refused:
        parse_request(body.encode())

    assert refused.value.message == f"{name}: the name stands twice"
    # It may be a name of the customer's.
    assert "tenant" not in refused.value.loggable


def test_parameters_are_not_read_for_names_and_may_stand_elsewhere_too() -> None:
    twice = '{"a": 1, "a": 2}'
    alike = message_body(metadata={"copy": {}}, content=content(params="@"))
    text = alike.replace('"@"', twice).replace('"copy": {}', '"copy": {"a": 1}')

    assert bytes(parse_request(text.encode()).content.params) == twice.encode()
    text = message_body(metadata={"copy": {"amount": 10000}})
    assert parse_request(text.encode()).metadata.keys() == {"copy"}


def test_a_body_of_little_but_white_space_is_refused() -> None:
    """Or of values that a later one of the same name hides."""
    said = refusal(
        message_body().replace('"version"', " " * MAX_BESIDE_PARAMS + '"version"').encode()
    )

    assert "beside content.params" in said


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
        with_params('{"a": "\x01"}'),
        with_params('{"a": "é"}').replace("é".encode(), b"\xe9"),
        message_body(metadata={"a": "é"}).replace("é", "\udce9").encode(errors="surrogateescape"),
        message_body(metadata={"a": "@"}).replace('"@"', "NaN").encode(),
    ],
    ids=repr,
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal(body)


@pytest.mark.parametrize("place", ["params", "metadata"])
@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_nesting_that_would_exhaust_the_stack_is_refused(place: str, depth: int) -> None:
    nest = f'{{"a":{"[" * depth}{"]" * depth}}}'
    changes = {"metadata": "@"} if place == "metadata" else {"content": content(params="@")}

    assert "deep" in refusal(message_body(**changes).replace('"@"', nest).encode())


def test_what_was_parsed_can_be_digested_from_deeper_in_the_program() -> None:
    def has_digest(request: GenerationRequest) -> bool:
        return bool(request.digest)

    def parses(depth: int) -> bool:
        try:
            parse_request(with_params(f'{{"a":{"[" * depth}{"]" * depth}}}'))
        except Permanent:
            return False
        return True

    # The deepest nesting that is accepted, found by halving.
    accepted, refused = 10, 200_000
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        accepted, refused = (middle, refused) if parses(middle) else (accepted, middle)
    deepest = parse_request(with_params(f'{{"a":{"[" * accepted}{"]" * accepted}}}'))

    # `map` calls from C, and it is the depth of C calls that the decoder counts.
    assert all(map(has_digest, [deepest]))


@pytest.mark.parametrize(
    "name",
    [
        "請求書.pdf",
        "御見積書_2024年度.pdf",
        "ﾌﾟﾚｾﾞﾝ資料.pdf",
        "納品書（".removesuffix("（") + "控え.pdf",
        "か\u3099んばる.pdf",
        "髙橋﨑・ー々〆.pdf",
        "２０２４年.pdf",
        "-dash_.pdf",
        "請" * 200,
    ],
)
def test_japanese_file_names_reach_reportflow_unchanged(name: str) -> None:
    sent = json.loads(request(content=content(fileName=name)).service_body())

    assert sent["content"]["fileName"] == name


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

    assert params.encode() in parse_request(with_params(params)).service_body()


def test_reportflow_gets_the_documented_fields_and_nothing_of_ours() -> None:
    sent = json.loads(request(metadata={"tenant": "acme"}).service_body())

    assert sent == {name: message()[name] for name in ("designId", "version", "content")}


@pytest.mark.parametrize("value", ["1e400", "9" * 5000], ids=lambda value: value[:8])
def test_metadata_that_nobody_could_read_is_refused(value: str) -> None:
    body = message_body(metadata={"a": ["@"]}).replace('"@"', value)

    with pytest.raises(Permanent, match="metadata: a number is out of range"):
        parse_request(body.encode())


def test_metadata_is_kept_as_it_was_written() -> None:
    body = message_body(metadata="@").replace('"@"', '{"tenant": "株式会社", "rate": 1.10}')

    assert parse_request(body.encode()).metadata_json() == '{"tenant":"株式会社","rate":1.10}'


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

    assert parse_request(same).digest == parse_request(document).digest


@pytest.mark.parametrize(
    "same",
    ["1.5", "1.50", "15e-1", "0.15E+1", "150e-2"],
)
def test_the_digest_is_the_same_for_the_same_number(same: str) -> None:
    digests = {parse_request(with_params(f'{{"a":{n}}}')).digest for n in (same, "1.500")}

    assert len(digests) == 1


@pytest.mark.parametrize(
    ("whole", "same"),
    [("100", "100.0"), ("100", "1e2"), ("-7", "-7.00"), ("0", "0.0"), ("0", "0e5"), ("0", "-0.0")],
)
def test_the_digest_is_the_same_for_a_whole_number_in_another_form(whole: str, same: str) -> None:
    digests = {parse_request(with_params(f'{{"a":{n}}}')).digest for n in (whole, same)}

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
        with_params('{"a":1.00000000000000000001,"b":[1,2]}'),
        with_params('{"a":true,"b":[1,2]}'),
        with_params('{"a":1,"b":[1,2],"c":null}'),
        with_params('{"A":1,"b":[1,2]}'),
        with_params('{"a":1,"b":[1,2,[]]}'),
    ],
    ids=lambda body: body.decode()[-60:],
)
def test_the_digest_notices_every_change(other: bytes) -> None:
    document = with_params('{"a":1,"b":[1,2]}')

    assert parse_request(other).digest != parse_request(document).digest


def test_the_digest_tells_apart_decimals_that_are_one_floating_point_number() -> None:
    exact, near = (
        parse_request(with_params(f'{{"a":{n}}}')) for n in ("0.1", "0.1" + "0" * 20 + "1")
    )

    assert exact.digest != near.digest


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
        {"fileId": "a/b"},
        {"fileId": "../x"},
        {"fileId": "x?y"},
        {"fileId": "x\n"},
        {"fileId": ""},
        {"uuid": "..%2f"},
        {"uuid": None},
        {"designId": "x"},
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
        parse_request(message_body(**{name: 1}).encode())

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
