"""Alarms and dashboard, against what the pipeline's template and the functions' code say."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import pytest

from local.alarms import Value, evaluate
from reportflow.consumer import MAX_DELAY_SECONDS
from stacks.packaging import REPOSITORY
from tests.stacks.emitted import emitted
from tests.stacks.template import Properties, Template, reference, references

ALARM = "AWS::CloudWatch::Alarm"
FUNCTION = "AWS::Lambda::Function"
QUEUE = "AWS::SQS::Queue"
DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Metric:
    """A metric; the dimensions' values are the resources that they refer to, or text."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]

    def get(self, dimension: str) -> str:
        return dict(self.dimensions)[dimension]


@dataclass(frozen=True)
class Watched:
    """The pipeline and what watches it, of one deployment."""

    pipeline: Template
    monitoring: Template

    @classmethod
    def read(cls, assembly: Path) -> Self:
        (pipeline,) = assembly.glob("*-Pipeline.template.json")
        (monitoring,) = assembly.glob("*-Monitoring.template.json")
        return cls(Template.read(pipeline), Template.read(monitoring))

    @property
    def alarms(self) -> Mapping[str, Properties]:
        """By name without the deployment's prefix."""
        return {
            alarm["AlarmName"].split("-", 1)[1]: alarm
            for alarm in self.monitoring.of_type(ALARM).values()
        }

    def metric(self, alarm: Properties) -> Metric:
        dimensions = tuple(
            (each["Name"], self._resource(each["Value"])) for each in alarm["Dimensions"]
        )
        return Metric(alarm["Namespace"], alarm["MetricName"], dimensions)

    def on(self, namespace: str, name: str, *, prefix: str = "") -> dict[str, Properties]:
        """The alarms on one of AWS's metrics, by the resource that they watch.

        Where there are several on one resource, they differ by the `prefix` of their names.
        """
        found = [
            (metric.dimensions[0][1], alarm)
            for alarm_name, alarm in self.alarms.items()
            if alarm_name.startswith(prefix)
            and (metric := self.metric(alarm)).namespace == namespace
            and metric.name == name
        ]
        assert len(dict(found)) == len(found)
        return dict(found)

    def shown(self) -> Iterator[Metric]:
        """The metrics of the dashboard."""
        body = json.loads(self._text(self.monitoring.one("AWS::CloudWatch::Dashboard")))
        for widget in body["widgets"]:
            for line in widget["properties"].get("metrics", []):
                if isinstance(line[0], dict):
                    yield from _searched(line[0]["expression"])
                    continue
                namespace, name, *rest = [part for part in line if isinstance(part, str)]
                dimensions = tuple(zip(rest[::2], rest[1::2], strict=True))
                yield Metric(namespace, name, dimensions)

    def _resource(self, value: object) -> str:
        if isinstance(value, str):
            return value
        name = reference(value)
        return self.pipeline.exports().get(name, name)

    def _text(self, dashboard: Properties) -> str:
        _, parts = dashboard["DashboardBody"]["Fn::Join"]
        return "".join(map(self._resource, parts))


def _searched(expression: str) -> Iterator[Metric]:
    found = re.search(r'{"(.+)",service,reason} service="(\w+)" MetricName="(\w+)"', expression)
    assert found, expression
    namespace, service, name = found.groups()
    yield Metric(namespace, name, (("service", service),))


@pytest.fixture(params=["cloud_assembly", "changed_assembly"])
def watched(request: pytest.FixtureRequest) -> Watched:
    """The app as it is shipped, and with every setting changed."""
    return Watched.read(request.getfixturevalue(request.param))


def services(watched: Watched) -> dict[str, tuple[str, str]]:
    """Each function's namespace and service."""
    variables = {
        logical_id: function["Environment"]["Variables"]
        for logical_id, function in watched.pipeline.of_type(FUNCTION).items()
    }
    return {
        logical_id: (of["POWERTOOLS_METRICS_NAMESPACE"], of["POWERTOOLS_SERVICE_NAME"])
        for logical_id, of in variables.items()
    }


def dead_letter_queues(watched: Watched) -> set[str]:
    return {
        reference(queue["RedrivePolicy"]["deadLetterTargetArn"])
        for queue in watched.pipeline.of_type(QUEUE).values()
        if "RedrivePolicy" in queue
    }


def test_what_is_watched_and_shown_is_what_the_functions_emit(watched: Watched) -> None:
    known = {service: emitted(service[1]) for service in services(watched).values()}
    in_alarms = map(watched.metric, watched.alarms.values())
    own = [
        metric
        for metric in [*in_alarms, *watched.shown()]
        if not metric.namespace.startswith("AWS/")
    ]
    assert own
    wrong = [
        metric
        for metric in own
        if metric.name not in known.get((metric.namespace, metric.get("service")), ())
    ]
    assert wrong == []


@pytest.mark.parametrize("part", ["Request", "Download"])
def test_the_first_message_of_each_dead_letter_queue_raises_an_alarm(
    watched: Watched, part: str
) -> None:
    alarms = watched.on("AWS/SQS", "ApproximateNumberOfMessagesVisible", prefix=part)
    assert len(alarms) == 1
    assert alarms.keys() <= dead_letter_queues(watched)
    assert all(alarm["Threshold"] == alarm["EvaluationPeriods"] == 1 for alarm in alarms.values())


def test_what_is_left_in_a_dead_letter_queue_is_told_of_again_before_sqs_deletes_it(
    watched: Watched,
) -> None:
    alarms = watched.on("AWS/SQS", "ApproximateNumberOfMessagesVisible", prefix="Old")
    assert alarms.keys() == dead_letter_queues(watched)
    queues = watched.pipeline.of_type(QUEUE)
    for name, alarm in alarms.items():
        looks_back = alarm["Period"] * alarm["EvaluationPeriods"]
        assert looks_back <= 7 * DAY  # CloudWatch takes no more.
        assert looks_back <= queues[name]["MessageRetentionPeriod"] - 7 * DAY
        for first, last, state in ((0, 8, "ALARM"), (0, 5, "OK"), (6, 8, "OK")):
            lying = [
                Value(second, int(first * DAY <= second < last * DAY))
                for second in range(1, 8 * DAY, 6 * 3600)
            ]
            assert evaluate(cast("Any", alarm), lying, now=8 * DAY) == state


def test_new_dead_letters_are_told_of_while_old_ones_lie_there(watched: Watched) -> None:
    """Hundreds that come while the queue's own alarm is red send a mail of their own."""
    for part, service in (("Request", "submitter"), ("Download", "downloader")):
        alarm = watched.alarms[f"New{part}DeadLetters"]
        metric = watched.metric(alarm)
        assert (metric.name, metric.get("service")) == ("Failed", service)
        quiet = [Value(0, 1, times=9)]
        burst = [*quiet, Value(3600, 1, times=200)]
        assert evaluate(cast("Any", alarm), quiet, now=1) == "OK"
        assert evaluate(cast("Any", alarm), burst, now=3601) == "ALARM"
        assert evaluate(cast("Any", alarm), burst, now=3600 + 301) == "OK"


@pytest.mark.parametrize("hours_between_jobs", [0.4, 0.6, 3, 24, 24 * 31])
def test_a_url_that_was_never_set_raises_an_alarm_however_rare_jobs_are(
    cloud_assembly: Path, hours_between_jobs: float
) -> None:
    """Each job's webhook is lost, and its check finds the PDF."""
    alarms = Watched.read(cloud_assembly).alarms
    now = 40 * DAY
    jobs = range(0, now, round(hours_between_jobs * 3600))
    lost = [Value(job + 300, 1) for job in jobs]
    states = {
        evaluate(cast("Any", alarms["WebhooksLost"]), lost[: index + 1], now=each.second + 60)
        for index, each in enumerate(lost)
    }
    assert states == {"ALARM"}


def test_a_queue_that_nobody_takes_from_raises_an_alarm(watched: Watched) -> None:
    consumed = watched.pipeline.of_type(QUEUE).keys() - dead_letter_queues(watched)
    assert watched.on("AWS/SQS", "ApproximateAgeOfOldestMessage").keys() == consumed


@pytest.mark.parametrize("name", ["Errors", "Throttles", "Duration"])
def test_each_function_is_watched(watched: Watched, name: str) -> None:
    assert watched.on("AWS/Lambda", name).keys() == watched.pipeline.of_type(FUNCTION).keys()


def test_a_function_is_slow_before_its_time_is_out(watched: Watched) -> None:
    functions = watched.pipeline.of_type(FUNCTION)
    for logical_id, alarm in watched.on("AWS/Lambda", "Duration").items():
        milliseconds = 1000 * functions[logical_id]["Timeout"]
        assert 0.8 * milliseconds <= alarm["Threshold"] < milliseconds


def test_server_errors_of_each_api_raise_an_alarm(watched: Watched) -> None:
    apis = watched.pipeline.of_type("AWS::ApiGatewayV2::Api")
    assert watched.on("AWS/ApiGateway", "5xx").keys() == apis.keys()


def test_an_alarm_lasts_until_the_next_try_of_what_raised_it(watched: Watched) -> None:
    """What is only known when a message comes again is looked for as far back as it can be away."""
    seldom = {"UnfinishedSeconds", "CredentialsRefused"}
    periods = {
        (metric.name, metric.get("service")): alarm["Period"]
        for alarm in watched.alarms.values()
        if (metric := watched.metric(alarm)).name in seldom
    }
    assert periods.keys() == {(name, of) for name in seldom for of in ("submitter", "downloader")}
    assert min(periods.values()) >= MAX_DELAY_SECONDS


def test_silence_of_a_queue_changes_nothing_and_other_silence_is_good(watched: Watched) -> None:
    """SQS tells nothing of a queue that was long untouched; the others only tell what happened."""
    for alarm in watched.alarms.values():
        of_queue = alarm.get("Namespace") == "AWS/SQS"
        assert alarm["TreatMissingData"] == ("ignore" if of_queue else "notBreaching")


def test_no_webhook_is_an_alarm_only_while_one_is_due(watched: Watched) -> None:
    """One that comes in the period after its job's is not missing."""
    alarm = watched.alarms["WebhooksMissing"]
    assert watched.metric(alarm).name == "WebhooksReceived"
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 1)
    assert alarm["EvaluationPeriods"] > 1


def test_each_alarm_is_heard_of_when_it_begins_and_when_it_ends(watched: Watched) -> None:
    (topic,) = watched.monitoring.of_type("AWS::SNS::Topic")
    for alarm in watched.alarms.values():
        assert [reference(action) for action in alarm["AlarmActions"]] == [topic]
        assert [reference(action) for action in alarm["OKActions"]] == [topic]


def test_each_alarm_has_its_page_and_says_what_to_look_at_first(watched: Watched) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    headings = re.findall(r"^### (.+)$", page, flags=re.MULTILINE)
    assert {name for heading in headings for name in heading.split(", ")} == watched.alarms.keys()
    for name, alarm in watched.alarms.items():
        assert "Look first at" in alarm["AlarmDescription"]
        assert alarm["AlarmDescription"].endswith(f"docs/operations.md, {name}")
        assert len(alarm["AlarmDescription"]) <= 1024


def test_the_webhook_has_no_batch_and_no_messages_that_come_again(watched: Watched) -> None:
    for name in ("WebhookErrors", "WebhookSlow"):
        told = watched.alarms[name]["AlarmDescription"]
        assert not re.search(r"batch|messages|ReportFlow", told)


def test_the_dashboard_opens_with_all_alarms(watched: Watched) -> None:
    body = watched.monitoring.one("AWS::CloudWatch::Dashboard")["DashboardBody"]["Fn::Join"][1]
    until = next(
        index for index, part in enumerate(body) if part == '"],"' or "sortBy" in str(part)
    )
    shown = {reference(part) for part in body[:until] if not isinstance(part, str)}
    assert shown == watched.monitoring.of_type(ALARM).keys()


def test_the_dashboard_shows_what_every_alarm_counts(watched: Watched) -> None:
    """From an alarm one goes to its line on the dashboard."""
    shown = {(metric.namespace, metric.name) for metric in watched.shown()}
    own = {
        (metric.namespace, metric.name)
        for metric in map(watched.metric, watched.alarms.values())
        if metric.namespace != "AWS/ApiGateway"
    }
    assert own <= shown


def test_the_dashboard_shows_what_the_api_itself_refuses(watched: Watched) -> None:
    """What is throttled or too large reaches no function, and only API Gateway counts it."""
    (api,) = watched.pipeline.of_type("AWS::ApiGatewayV2::Api")
    shown = [each for each in watched.shown() if each.name == "4xx"]
    assert shown == [Metric("AWS/ApiGateway", "4xx", (("ApiId", api),))]


def test_the_dashboards_name_is_of_its_region(watched: Watched) -> None:
    """Dashboards are the account's: the same deployment in a second region has another."""
    name = watched.monitoring.one("AWS::CloudWatch::Dashboard")["DashboardName"]
    assert list(references(name)) == ["AWS::Region"]


def test_only_the_accounts_alarms_reach_the_topic_and_never_in_the_clear(watched: Watched) -> None:
    topic = watched.monitoring.one("AWS::SNS::Topic")
    key = watched.monitoring.of_type("AWS::KMS::Key")[reference(topic["KmsMasterKeyId"])]
    statements = watched.monitoring.one("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    (allowed,) = (each for each in statements if each["Effect"] == "Allow")
    (denied,) = (each for each in statements if each["Effect"] == "Deny")
    cloudwatch = {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Principal"] == cloudwatch
    assert allowed["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert key["EnableKeyRotation"] is True
    assert any(
        each["Principal"] == cloudwatch
        and {"kms:Decrypt", "kms:GenerateDataKey"} == set(each["Action"])
        for each in key["KeyPolicy"]["Statement"]
    )


def test_deployments_side_by_side_share_neither_metrics_nor_alarms(
    cloud_assembly: Path, changed_assembly: Path
) -> None:
    def names(assembly: Path) -> tuple[set[str], set[str]]:
        (path,) = assembly.glob("*-Monitoring.template.json")
        document = Template.read(path)
        text = json.dumps(document.document)
        return (
            {alarm["AlarmName"] for alarm in document.of_type(ALARM).values()}
            | {json.dumps(document.one("AWS::CloudWatch::Dashboard")["DashboardName"])},
            set(re.findall(r'"Namespace": "([^"]+)"', text))
            - {"AWS/SQS", "AWS/Lambda", "AWS/ApiGateway"},
        )

    for ours, theirs in zip(names(cloud_assembly), names(changed_assembly), strict=True):
        assert ours
        assert ours.isdisjoint(theirs)
