"""The checker is checked: code that is broken in one small way does not pass."""

import pytest

from tests.simulation.run import simulate
from tests.simulation.variants import VARIANTS, Variant

JOBS = 20


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_broken_variant_is_caught(variant: Variant, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(variant.caught_within):
        # What the unbroken code would be blamed for is no merit of this variant's.
        violations = set(simulate(seed, JOBS, change=variant.change).violations)
        if violations and violations - set(simulate(seed, JOBS, change=variant.provoke).violations):
            break
    else:
        pytest.fail(f"{variant.caught_within} seeds show nothing wrong with it")
    with capsys.disabled():
        print(f"\n{variant.name}: seed {seed}, {min(violations)[:100]}")
