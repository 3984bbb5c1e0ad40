"""AWS refuses: the archive's bucket by its policy, the table by its limit."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.incidents.drill import Drill
from tests.pipeline.aws_proxy import Failure, Operation, no_mischief

# As S3 says it; moto refuses by a policy without naming a code.
DENIED = Failure(403, "AccessDenied")
THROTTLED = Failure(400, "ProvisionedThroughputExceededException")


def bucket_denies(drill: Drill) -> None:
    """The archive takes nothing, and it is fixed when the retries have ended."""
    with _refused(drill, "s3", "PUT", DENIED):
        jobs = drill.submit(drill.site.scale.jobs)
        drill.until_shown("attempts", "AWS_AccessDenied")
        drill.wait(jobs, ends=("FAILED",))
        dead = drill.until_shown("dead-letter-queues", "AWS_AccessDenied")
        assert "Fix the cause" in dead.remedy
    drill.done("the policy is fixed")
    drill.redrive("AWS_AccessDenied")


def table_throttled(drill: Drill) -> None:
    """DynamoDB refuses all that the functions ask, for as long as an outage lasts."""
    with drill.stream(drill.interval), _refused(drill, "dynamodb", "", THROTTLED):
        drill.until_shown("attempts", THROTTLED.code)
        drill.outlast(drill.site.scale.outage_seconds)
    drill.done("the limit is raised")


@contextmanager
def _refused(drill: Drill, service: str, name: str, failure: Failure) -> Iterator[None]:
    """Let AWS refuse the functions' calls of a service whose names begin so."""

    def refuse(operation: Operation) -> Failure | None:
        meant = operation.service == service and operation.name.startswith(name)
        return failure if meant else None

    drill.site.faulty.aws.mischief = refuse
    try:
        yield
    finally:
        drill.site.faulty.aws.mischief = no_mischief
