"""Every request of the corpus, to the function itself and over HTTP."""

import tracemalloc
from collections.abc import Iterator

import pytest

from tests.properties.case import CORPUS, Known, dump, dump_raw, known, load, raw_of
from tests.properties.invariants import verdict_on
from tests.properties.judged import Judge, judging
from tests.properties.oracle import STATUSES
from tests.properties.over_http import can_be_sent

KNOWN = [known(path) for path in sorted(CORPUS.glob("*.json"))]
MEMORY_A_BYTE = 40
"""An empty list takes three bytes of a body, and seventy as an object of Python's."""


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with judging() as judge:
        yield judge


@pytest.mark.parametrize("entry", [e for e in KNOWN if not e.raw], ids=lambda entry: entry.name)
def test_function_does_what_it_must(judge: Judge, entry: Known) -> None:
    outcome = judge.plain.send(entry.case)

    assert judge.in_process(entry.case) == []
    assert (outcome.status, len(outcome.messages)) == (entry.status, entry.stored), entry.why
    assert entry.status in STATUSES[verdict_on(outcome).fate]


@pytest.mark.parametrize("entry", [e for e in KNOWN if not e.raw], ids=lambda entry: entry.name)
def test_without_a_signature_nothing_gets_in_where_one_is_asked_for(
    judge: Judge, entry: Known
) -> None:
    outcome = judge.signed.send(entry.case)

    assert (outcome.status, outcome.messages) == (404, ())


@pytest.mark.parametrize(
    "entry", [e for e in KNOWN if not e.raw and can_be_sent(e.case)], ids=lambda entry: entry.name
)
def test_request_fares_over_http_as_it_does_without(judge: Judge, entry: Known) -> None:
    assert judge.over_http(entry.case) == []


@pytest.mark.parametrize("entry", [e for e in KNOWN if e.raw], ids=lambda entry: entry.name)
def test_bytes_are_answered(judge: Judge, entry: Known) -> None:
    answers, outcomes = judge.front.exchange(entry.raw)

    assert answers[0][0] == entry.status, entry.why
    assert sum(len(outcome.messages) for outcome in outcomes) == entry.stored
    assert judge.bytes_sent(entry.raw) == []


@pytest.mark.parametrize(
    "entry", [e for e in KNOWN if len(e.case.body) > 100_000], ids=lambda entry: entry.name
)
def test_memory_is_bounded_by_the_bodys_size(judge: Judge, entry: Known) -> None:
    tracemalloc.start()
    try:
        judge.plain.send(entry.case)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MEMORY_A_BYTE * len(entry.case.body)


def test_file_that_the_search_writes_holds_the_same_request() -> None:
    for entry in KNOWN:
        if entry.raw:
            assert raw_of(dump_raw(entry.raw)) == entry.raw, entry.name
        else:
            assert load(dump(entry.case)) == entry.case, entry.name
