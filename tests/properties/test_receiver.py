"""Requests that hypothesis makes up, judged by the oracle; derandomized, the same each time."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from tests.properties.case import dump
from tests.properties.generator import generated
from tests.properties.invariants import verdict_on
from tests.properties.judged import Judge, judging
from tests.properties.over_http import broken
from tests.properties.signing import is_signed

RANDOMS = st.randoms(note_method_calls=False, use_true_random=False)

searching = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with judging() as judge:
        yield judge


@searching
@given(RANDOMS)
def test_request_becomes_what_it_must(judge: Judge, random: Random) -> None:
    case = generated(random)
    note(dump(case).decode())
    event(verdict_on(judge.plain.send(case)).fate)

    assert judge.in_process(case) == []


@searching
@given(RANDOMS)
def test_where_signatures_are_asked_for_only_signed_requests_get_in(
    judge: Judge, random: Random
) -> None:
    case = generated(random)
    note(dump(case).decode())
    event(verdict_on(judge.signed.send(case), is_signed).fate)

    assert judge.in_process(case, signed=True) == []


@settings(searching, max_examples=60)
@given(random=RANDOMS, drops=st.booleans())
def test_what_the_queue_does_not_take_whole_is_asked_for_again(
    judge: Judge, *, random: Random, drops: bool
) -> None:
    case = generated(random)
    note(dump(case).decode())

    assert judge.while_aws_fails(case, drops=drops) == []


@settings(searching, max_examples=60)
@given(RANDOMS)
def test_request_fares_over_http_as_it_does_without(judge: Judge, random: Random) -> None:
    case = generated(random)
    note(dump(case).decode())

    assert judge.over_http(case) == []


@settings(searching, max_examples=60)
@given(RANDOMS)
def test_bytes_that_are_nearly_http_open_nothing(judge: Judge, random: Random) -> None:
    sent = broken(generated(random), random)
    note(repr(sent))

    assert judge.bytes_sent(sent) == []
