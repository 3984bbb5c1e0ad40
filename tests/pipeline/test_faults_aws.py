"""AWS throttles and fails, sometimes after it has done what was asked."""

from tests.pipeline.aws_proxy import RandomFailures
from tests.pipeline.faulty import FaultySystem, Story


def test_jobs_outlive_an_aws_that_fails_at_random(
    stormy: FaultySystem, aws_failures: RandomFailures
) -> None:
    aws_failures.share = 0.15
    job_ids = stormy.play({f"aws-{number}": Story() for number in range(20)}, 90)

    for job_id in job_ids.values():
        ending = stormy.ending(job_id)
        assert (ending.status, ending.objects) == ("ARCHIVED", 1)
        assert ending.pdfs <= 1 + ending.possible_duplicates
    # S3 is called so seldom that chance may spare it.
    assert {service for service, _, _ in aws_failures.failed} >= {"dynamodb", "sqs"}
    assert {forwarded for _, _, forwarded in aws_failures.failed} == {True, False}
