"""The search finds what it is there to find: each small bug, within the corpus or soon after."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.properties.case import CORPUS, Case, known
from tests.properties.generator import generated
from tests.properties.judged import Judge, judging
from tests.properties.variants import VARIANTS, Variant

SEED = 20260215
REQUESTS = 1000


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with judging() as judge:
        yield judge


def _cases() -> Iterator[Case]:
    corpus = [known(path).case for path in CORPUS.glob("*.json")]
    random = Random(SEED)
    yield from sorted(corpus, key=lambda case: len(case.body))
    for _ in range(REQUESTS):
        yield generated(random)


def _finds(judge: Judge, case: Case) -> list[str]:
    return [
        *judge.in_process(case),
        *judge.in_process(case, signed=True),
        *judge.while_aws_fails(case, drops=True),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_bug_is_found(judge: Judge, variant: Variant) -> None:
    with variant.broken():
        found = next((found for case in _cases() if (found := _finds(judge, case))), None)

    print(f"{variant.name}: {found}")
    assert found
