"""A first deployment that fails, and the way on that docs/deployment.md gives.

The storage stack fails at its event bus: somebody else has one of that name.
"""

import subprocess
from dataclasses import dataclass

import pytest

from local.backend import Backend
from tests.deployment.account import Account
from tests.deployment.cdk import UNATTENDED, WORKSPACE, Cdk

pytestmark = pytest.mark.slow

PREFIX = "ReportFlow-prod"
STORAGE = f"{PREFIX}-Storage"


@dataclass
class Story:
    """What is there after each of its chapters."""

    failed: subprocess.CompletedProcess[str]
    taken_back: set[str]
    left: set[str]
    refusal: subprocess.CompletedProcess[str]
    deployed: set[str]


@pytest.fixture(scope="module")
def story(backend: Backend, cdk: Cdk) -> Story:
    account, events = Account(backend), backend.client("events")
    cdk("bootstrap", "prod", WORKSPACE)
    events.create_event_bus(Name=PREFIX)
    failed = cdk.run("deploy", "prod", UNATTENDED, WORKSPACE)
    taken_back = account.in_rollback(STORAGE, "DELETE_COMPLETE")
    left = account.in_rollback(STORAGE, "DELETE_SKIPPED")

    events.delete_event_bus(Name=PREFIX)
    refusal = cdk.run("deploy", "prod", UNATTENDED, WORKSPACE)
    account.cloudformation.update_termination_protection(
        StackName=STORAGE, EnableTerminationProtection=False
    )
    cdk("deploy", "prod", UNATTENDED, WORKSPACE)
    return Story(failed, taken_back, left, refusal, account.stacks(PREFIX))


def test_it_fails_for_the_reason_that_is_documented(story: Story) -> None:
    assert story.failed.returncode != 0
    assert "already exists" in story.failed.stdout


def test_it_takes_back_what_it_has_made(story: Story) -> None:
    assert "AWS::S3::Bucket" in story.taken_back
    assert story.left == set()


def test_the_next_one_is_refused_until_the_stack_is_no_longer_protected(story: Story) -> None:
    assert story.refusal.returncode != 0
    assert "TerminationProtection" in story.refusal.stdout


def test_then_it_goes_through(story: Story) -> None:
    assert story.deployed == {f"{PREFIX}-{part}" for part in ("Storage", "Pipeline", "Monitoring")}
