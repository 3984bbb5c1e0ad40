"""Alarms and dashboard, against what the pipeline's template and the functions' code say."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from local.alarms import Value
from reportflow.consumer import MAX_DELAY_SECONDS
from stacks.packaging import REPOSITORY
from tests.stacks.emitted import emitted
from tests.stacks.template import Properties, Template, reference, references
from tests.stacks.watching import (
    ALARM,
    DAY,
    FUNCTION,
    HOUR,
    QUEUE,
    Metric,
    Watched,
    dead_letter_queues,
    period,
    raw,
    span,
    state,
    states,
)

DASHBOARD_COLUMNS = 24


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


ACTIVE = 6 * HOUR
"""SQS sends metrics of a queue for so long after somebody touched it."""


def depths(*touched: tuple[float, int]) -> list[Value]:
    """What SQS reports of a queue that was used at these hours, and had so many messages then."""
    told = []
    for index, (hour, depth) in enumerate(touched):
        begun = round(hour * HOUR)
        until = min([begun + ACTIVE, *(round(of * HOUR) for of, _ in touched[index + 1 :])])
        told += [Value(second, depth) for second in range(begun, until, 600)]
    return told


def by_hours(until: float) -> range:
    return range(HOUR, round(until * HOUR), HOUR)


@pytest.fixture
def old_dead_letters(cloud_assembly: Path) -> Properties:
    return Watched.read(cloud_assembly).alarms["OldRequestDeadLetters"]


@pytest.fixture
def old_dead_letters_by_days(old_dead_letters: Properties) -> Properties:
    """The same alarm on whole days, without an expression."""
    return raw(old_dead_letters, Period=DAY, EvaluationPeriods=7, TreatMissingData="ignore")


def test_what_is_left_in_a_dead_letter_queue_is_reported_again_before_sqs_deletes_it(
    watched: Watched,
) -> None:
    alarms = watched.on("AWS/SQS", "ApproximateNumberOfMessagesVisible", prefix="Old")
    assert alarms.keys() == dead_letter_queues(watched)
    queues = watched.pipeline.of_type(QUEUE)
    for name, alarm in alarms.items():
        assert span(alarm) <= 7 * DAY  # CloudWatch takes no more.
        assert span(alarm) <= queues[name]["MessageRetentionPeriod"] - 7 * DAY


@pytest.mark.parametrize(
    "touched",
    [
        [(1, 2)],
        [(hour, 2) for hour in range(1, 200)],
        [(1, 2), (40, 1), (90, 3)],
    ],
    ids=["nobody looks", "somebody looks every hour", "somebody looks now and then"],
)
def test_dead_letters_of_a_week_are_reported_however_seldom_sqs_sends_metrics(
    old_dead_letters: Properties, touched: list[tuple[float, int]]
) -> None:
    seen = states(old_dead_letters, depths(*touched), by_hours(180))
    assert "ALARM" not in seen[: 6 * 24]
    assert "ALARM" in seen[7 * 24 - 2 :]


def test_the_alarm_on_old_dead_letters_ends_soon_after_the_queue_is_empty(
    old_dead_letters: Properties, old_dead_letters_by_days: Properties
) -> None:
    """On whole days, it would stay red: on the day itself there were dead letters, then no data."""
    told = depths(*((hour, 2) for hour in range(1, 194)), (194, 0))
    hours, days = by_hours(24 * 30), range(DAY, 30 * DAY, DAY)
    assert states(old_dead_letters, told, hours)[193 - 1] == "ALARM"
    assert set(states(old_dead_letters, told, hours)[196:]) == {"OK"}
    assert states(old_dead_letters_by_days, told, days)[-1] == "ALARM"


def test_the_alarm_on_old_dead_letters_ends_when_sqs_has_deleted_them_unseen(
    old_dead_letters: Properties, old_dead_letters_by_days: Properties
) -> None:
    told = depths(*((hour, 2) for hour in range(1, 194)))
    assert states(old_dead_letters, told, by_hours(24 * 20))[-1] == "OK"
    assert states(old_dead_letters_by_days, told, by_hours(24 * 20))[-1] == "ALARM"


def test_a_queue_that_was_empty_between_has_no_old_dead_letters(
    old_dead_letters: Properties,
) -> None:
    told = depths(*((hour, 2) for hour in range(1, 100)), (100, 0), (106, 1))
    assert set(states(old_dead_letters, told, by_hours(240))) == {"OK"}


def test_new_dead_letters_are_reported_while_old_ones_are_there(watched: Watched) -> None:
    """Hundreds that come while the queue's own alarm is red send a mail of their own."""
    for part, service in (("Request", "submitter"), ("Download", "downloader")):
        alarm = watched.alarms[f"New{part}DeadLetters"]
        metric = watched.metric(alarm)
        assert (metric.name, metric.get("service")) == ("Failed", service)
        quiet = [Value(0, 1, times=9)]
        burst = [*quiet, Value(3600, 1, times=200)]
        assert state(alarm, quiet, now=1) == "OK"
        assert state(alarm, burst, now=3601) == "ALARM"
        assert state(alarm, burst, now=3600 + span(alarm) + 1) == "OK"


def of_events(watched: Watched) -> list[Properties]:
    """The alarms on what has data only when it happens."""
    return [
        alarm
        for name, alarm in watched.alarms.items()
        if watched.metric(alarm).namespace != "AWS/SQS" and name != "WebhooksMissing"
    ]


def test_an_alarm_ends_when_what_raised_it_is_over(watched: Watched) -> None:
    """An alarm on the metric itself would judge old values again, for as long as there are none."""
    for alarm in of_events(watched):
        now = 10 * DAY
        points = alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
        told = [Value(now - 1 - period(alarm) * ago, 1e9) for ago in range(points)]
        late = alarm["EvaluationPeriods"] - points
        over = now + (1 + late) * period(alarm) + 1
        assert state(alarm, told, now) == "ALARM"
        assert state(alarm, told, over) == "OK"
        assert state(raw(alarm, EvaluationPeriods=points), told, over) == "ALARM"


def test_the_first_possible_duplicate_raises_an_alarm(watched: Watched) -> None:
    alarm = watched.alarms["PossibleDuplicates"]
    assert state(alarm, [Value(10 * DAY - 1, 1)], 10 * DAY) == "ALARM"


def test_data_that_come_a_period_late_still_raise_an_alarm(watched: Watched) -> None:
    """Logs bring metrics minutes late, and until then there is a zero in their place."""
    for alarm in of_events(watched):
        if period(alarm) > 15 * 60:
            continue
        points = alarm["DatapointsToAlarm"]
        late = [Value(DAY - period(alarm) * (1 + ago), 1e9) for ago in range(points)]
        assert state(alarm, late, DAY + 1) == "ALARM"


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
        state(alarms["WebhooksLost"], lost[: index + 1], now=each.second + 60)
        for index, each in enumerate(lost)
    }
    assert states == {"ALARM"}


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
    """What is only known when a message comes again is counted as far back as it can be away."""
    seldom = {"UnfinishedSeconds", "CredentialsRefused"}
    periods = {
        (metric.name, metric.get("service")): period(alarm)
        for alarm in watched.alarms.values()
        if (metric := watched.metric(alarm)).name in seldom
    }
    assert periods.keys() == {(name, of) for name in seldom for of in ("submitter", "downloader")}
    assert min(periods.values()) >= MAX_DELAY_SECONDS


def test_no_webhook_is_an_alarm_only_while_one_is_due(watched: Watched) -> None:
    """The submitter counts a zero for each job, whose webhook may come in the next period."""
    alarm = watched.alarms["WebhooksMissing"]
    assert watched.metric(alarm).name == "WebhooksReceived"
    each, now = period(alarm), 10 * DAY
    due, come = 0, 1

    def told(*periods: int | None) -> list[Value]:
        """The last periods' values, the newest last."""
        return [
            Value(now - 1 - each * ago, value)
            for ago, value in enumerate(reversed(periods))
            if value is not None
        ]

    assert state(alarm, told(due, due), now) == "ALARM"
    assert state(alarm, told(due, come), now) == "OK"
    assert state(alarm, told(), now) == "OK"
    # No job was submitted since, so that nothing is due.
    assert state(alarm, told(due, due, None), now) == "OK"
    assert state(alarm, told(due, None, due), now) == "OK"
    assert state(raw(alarm), told(due, due, None), now) == "ALARM"


ENDS_ARE_WAITED_FOR = {
    *("RequestsUnfinished", "DownloadsUnfinished", "RequestsNotTaken", "DownloadsNotTaken"),
    *("SubmitterKeysRefused", "DownloaderKeysRefused", "WebhooksMissing", "BacklogTooLong"),
}
"""Outages: somebody fixes something and wants to hear that it has helped."""


def test_each_alarm_is_heard_of_when_it_begins_and_an_outage_when_it_ends(
    watched: Watched,
) -> None:
    (topic,) = watched.monitoring.of_type("AWS::SNS::Topic")
    for name, alarm in watched.alarms.items():
        assert [reference(action) for action in alarm["AlarmActions"]] == [topic]
        ends = [reference(action) for action in alarm.get("OKActions", ())]
        assert ends == ([topic] if name in ENDS_ARE_WAITED_FOR else [])


def test_each_alarm_has_its_page_and_says_what_to_look_at_first(watched: Watched) -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    headings = re.findall(r"^### (.+)$", page, flags=re.MULTILINE)
    assert {name for heading in headings for name in heading.split(", ")} == watched.alarms.keys()
    for name, alarm in watched.alarms.items():
        assert "Look first at" in alarm["AlarmDescription"]
        assert alarm["AlarmDescription"].endswith(f"docs/operations.md, {name}")
        assert len(alarm["AlarmDescription"]) <= 1024


def test_the_limits_page_says_how_many_metrics_of_alarms_are_billed(watched: Watched) -> None:
    page = (REPOSITORY / "docs" / "limits.md").read_text()
    billed = sum(len(watched.metrics(alarm)) for alarm in watched.alarms.values())
    assert f"{len(watched.alarms)} alarms; each of the {billed} metrics" in page


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
        for alarm in watched.alarms.values()
        for metric in watched.metrics(alarm)
        if metric.namespace != "AWS/ApiGateway"
    }
    assert own <= shown


def test_the_dashboard_shows_what_the_api_itself_refuses(watched: Watched) -> None:
    """What is throttled or too large reaches no function, and only API Gateway counts it."""
    (api,) = watched.pipeline.of_type("AWS::ApiGatewayV2::Api")
    shown = [each for each in watched.shown() if each.name == "4xx"]
    assert shown == [Metric("AWS/ApiGateway", "4xx", (("ApiId", api),))]


def test_each_row_of_the_dashboard_is_full_and_level(watched: Watched) -> None:
    rows: dict[int, list[Properties]] = defaultdict(list)
    for widget in watched.widgets():
        rows[widget["y"]].append(widget)
    end = 0
    for top, row in sorted(rows.items()):
        assert top == end
        assert sum(widget["width"] for widget in row) == DASHBOARD_COLUMNS
        (height,) = {widget["height"] for widget in row}
        end = top + height


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
