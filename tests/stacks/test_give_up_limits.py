"""How long a message may wait and come again, across the queues and the functions' settings."""

import random
from collections.abc import Mapping
from typing import Any, override

import pytest

from reportflow.backoff import full_jitter
from reportflow.consumer import MAX_DELAY_SECONDS, REFUSED_BASE_SECONDS
from stacks.settings import SPARE_RECEIVES
from tests.stacks.template import Properties, Template, called, reference

SQS_MAXIMUM_DELAY_SECONDS = 900


class Middling(random.Random):
    """Gives the mean of what it would give."""

    @override
    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.fixture(params=["pipeline", "changed_pipeline"])
def template(request: pytest.FixtureRequest) -> Template:
    """The pipeline as it is shipped, and with every setting changed."""
    found: Template = request.getfixturevalue(request.param)
    return found


def environment(function: Properties) -> Mapping[str, Any]:
    variables: Mapping[str, Any] = function["Environment"]["Variables"]
    return variables


def consumers(template: Template) -> list[tuple[Properties, Properties]]:
    """Each consumed queue with its function."""
    queues = template.of_type("AWS::SQS::Queue")
    functions = template.of_type("AWS::Lambda::Function")
    return [
        (
            queues[reference(source["EventSourceArn"])],
            functions[called(template, source["FunctionName"])],
        )
        for source in template.of_type("AWS::Lambda::EventSourceMapping").values()
    ]


def downloader(template: Template) -> tuple[Properties, Properties]:
    (found,) = (
        (queue, function)
        for queue, function in consumers(template)
        if "COMPLETION_DEADLINE_SECONDS" in environment(function)
    )
    return found


def test_a_function_gives_a_message_up_well_before_sqs_does(template: Template) -> None:
    """Should the function crash at that, too, some deliveries are left to say why."""
    for queue, function in consumers(template):
        told = int(environment(function)["MAX_RECEIVE_COUNT"])
        assert told + SPARE_RECEIVES <= queue["RedrivePolicy"]["maxReceiveCount"]
        assert SPARE_RECEIVES > 2


def test_a_message_is_given_up_before_its_queue_drops_it(template: Template) -> None:
    """Twice in a row it may be away as long as a message can be, and still be seen in time."""
    for queue, function in consumers(template):
        given_up = int(environment(function)["MAX_MESSAGE_AGE_SECONDS"])
        absence = max(MAX_DELAY_SECONDS, queue["VisibilityTimeout"])
        assert 0 < given_up + 2 * absence <= queue["MessageRetentionPeriod"]


def test_while_keys_are_refused_no_message_is_dead_lettered(pipeline: Template) -> None:
    """On average the deliveries last longer than SQS keeps a message at all."""
    for queue, _ in consumers(pipeline):
        waits = (
            full_jitter(receive, Middling(), base=REFUSED_BASE_SECONDS, cap=MAX_DELAY_SECONDS)
            for receive in range(1, queue["RedrivePolicy"]["maxReceiveCount"] + 1)
        )
        assert sum(waits) >= queue["MessageRetentionPeriod"]


def test_no_wait_is_longer_than_sqs_takes() -> None:
    """SQS allows twelve hours after the receive; the invocation's own time counts, too."""
    assert MAX_DELAY_SECONDS <= 11 * 3600


def test_the_delay_of_a_check_is_one_that_sqs_takes(template: Template) -> None:
    told = [
        int(environment(function)["CHECK_DELAY_SECONDS"]) for _, function in consumers(template)
    ]
    assert len(told) == 2
    assert all(0 < delay <= SQS_MAXIMUM_DELAY_SECONDS for delay in told)


def test_the_checks_of_a_job_end_before_their_deliveries_do(pipeline: Template) -> None:
    queue, function = downloader(pipeline)
    variables = environment(function)
    checks = int(variables["COMPLETION_DEADLINE_SECONDS"]) / int(variables["CHECK_DELAY_SECONDS"])
    assert checks + 1 < queue["RedrivePolicy"]["maxReceiveCount"]
    assert int(variables["COMPLETION_DEADLINE_SECONDS"]) < queue["MessageRetentionPeriod"]


def test_a_file_waits_for_its_job_as_long_as_an_unanswered_submission_can_take(
    pipeline: Template,
) -> None:
    """A webhook that is given up before that cannot reconcile it."""
    functions = [function for _, function in consumers(pipeline)]
    (submitter,) = (one for one in functions if "OUTCOME_GRACE_SECONDS" in environment(one))
    _, receiver = downloader(pipeline)
    until_reconciled = submitter["Timeout"] + int(environment(submitter)["OUTCOME_GRACE_SECONDS"])
    assert int(environment(receiver)["ORPHAN_GRACE_SECONDS"]) > until_reconciled
