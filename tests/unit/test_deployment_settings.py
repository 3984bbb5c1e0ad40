from collections.abc import Mapping
from typing import cast

import pytest

from reportflow import consumer
from stacks import conflicts
from stacks.context import InvalidSettings
from stacks.setting_types import allowed
from stacks.settings import DeploymentSettings

MINIMAL: Mapping[str, object] = {"workspace_id": "acme"}


def read(**changed: object) -> DeploymentSettings:
    return DeploymentSettings.from_context({**MINIMAL, **changed})


def mistakes(**changed: object) -> list[str]:
    with pytest.raises(InvalidSettings) as refused:
        read(**changed)
    return str(refused.value).splitlines()[1:]


def test_the_workspace_is_all_that_must_be_set() -> None:
    settings = DeploymentSettings.from_context(MINIMAL)
    assert settings.workspace_id == "acme"
    assert settings.reportflow_url == "https://acme.re-port-flow.com/v1"


def test_a_missing_workspace_is_named() -> None:
    with pytest.raises(InvalidSettings, match="workspace_id is missing"):
        DeploymentSettings.from_context({})


def test_every_default_would_be_accepted_as_a_setting() -> None:
    """A default is never parsed, so nothing else would notice one that its own rule refuses."""
    settings = DeploymentSettings.from_context(MINIMAL)
    given = {
        name: ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in settings
    }
    assert DeploymentSettings.from_context(given) == settings


def test_every_setting_is_documented() -> None:
    for setting in DeploymentSettings.model_fields.values():
        assert setting.description
        assert allowed(setting)


@pytest.mark.parametrize("given", [45, "45", 45.0])
def test_numbers_come_from_json_and_from_the_command_line(given: object) -> None:
    assert read(submitter_timeout_seconds=given).submitter_timeout_seconds == 45


@pytest.mark.parametrize("given", [["one-bucket", "two.buckets"], "one-bucket, two.buckets"])
def test_lists_come_from_json_and_from_the_command_line(given: object) -> None:
    settings = read(payload_buckets=given, submitter_memory_mb=1400)
    assert settings.payload_buckets == ("one-bucket", "two.buckets")


@pytest.mark.parametrize("given", [{"team": "billing", "x:y": ""}, "team=billing, x:y="])
def test_tags_come_from_json_and_from_the_command_line(given: object) -> None:
    settings = read(tags=given, environment="prod", stack_prefix="Invoices")
    assert settings.tags == ("team=billing", "x:y=")
    assert (
        settings.stack_tags.items()
        >= {
            "team": "billing",
            "x:y": "",
            "environment": "prod",
            "deployment": "Invoices",
        }.items()
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workspace_id", "x" * 63),
        ("workspace_id", "A-1_b"),
        ("reportflow_url", "https://reports.example.com:8443/v1"),
        ("reportflow_url", "http://127.0.0.1:9000/v1"),
        ("reportflow_url", "http://localhost/v1"),
        ("reportflow_url", "http://[::1]:9000/v1"),
        ("former_reportflow_url", ""),
        ("payload_buckets", ""),
        ("payload_key_arns", "arn:aws:kms:eu-west-1:111122223333:key/mrk-1a2b"),
        ("request_senders", "111122223333"),
        ("request_senders", "arn:aws:iam::111122223333:role/apps/billing@x"),
        ("request_senders", "arn:aws-us-gov:iam::111122223333:user/ci"),
        ("request_senders", "arn:aws:sns:us-east-1:111122223333:orders.fifo"),
        ("request_senders", "arn:aws:events:us-east-1:111122223333:rule/a-bus/a-rule"),
        ("submitter_timeout_seconds", 900),
        ("webhook_timeout_seconds", 29),
        ("request_batch_size", 10),
        ("request_maximum_concurrency", 2),
        ("message_retention_days", 14),
        ("log_retention_days", "731"),
        ("removal_policy", "destroy"),
        ("check_delay_seconds", 900),
        ("alarm_email", ""),
        ("alarm_email", "night-shift@example.com"),
        ("max_receive_count", 990),
        ("reportflow_files_url", "https://files.example.com/shared"),
    ],
)
def test_accepts(key: str, value: object) -> None:
    read(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workspace_id", ""),
        ("workspace_id", "x" * 64),
        ("workspace_id", "-acme"),
        ("workspace_id", "_acme"),
        ("workspace_id", "acme-"),
        ("workspace_id", "acme.example"),
        ("workspace_id", "acme\n"),
        ("workspace_id", 7),
        ("reportflow_url", "http://reports.example.com/v1"),
        ("reportflow_url", "http://127.0.0.1.example.com/v1"),
        ("reportflow_url", "http://10.0.0.1/v1"),
        ("reportflow_url", "ftp://127.0.0.1/v1"),
        ("former_reportflow_url", "http://reports.example.com/v1"),
        ("reportflow_url", "https://reports.example.com:0/v1"),
        ("reportflow_url", "https://user:word@reports.example.com/v1"),
        ("reportflow_url", "https://reports.example.com/v1?key=1"),
        ("reportflow_url", "https://reports.example.com/v1#top"),
        ("reportflow_url", "https://reports.example.com:99999/v1"),
        ("reportflow_url", "https://reports.example.com\\@evil.example/v1"),
        ("reportflow_url", "https:///v1"),
        ("reportflow_url", "reports.example.com/v1"),
        ("reportflow_url", ""),
        ("stack_prefix", "1st"),
        ("stack_prefix", "Report_Flow"),
        ("removal_policy", "keep"),
        ("payload_buckets", "Upper-Case"),
        ("payload_buckets", "ab"),
        ("payload_buckets", "x" * 64),
        ("payload_buckets", "two..dots"),
        ("payload_buckets", "192.168.0.1"),
        ("payload_buckets", "one,,two"),
        ("payload_buckets", "everything*"),
        ("payload_key_arns", "arn:aws:kms:eu-west-1:111122223333:alias/payloads"),
        ("payload_key_arns", "arn:aws:kms:eu-west-1:111122223333:key/*"),
        ("request_senders", "*"),
        ("request_senders", "11112222333"),
        ("request_senders", "arn:aws:iam::111122223333:role/*"),
        ("request_senders", "arn:aws:iam::111122223333:root"),
        ("request_senders", "arn:aws:sns:us-east-1:111122223333:*"),
        ("request_senders", "arn:aws:s3:::a-bucket"),
        ("request_senders", "arn:aws:sts::111122223333:assumed-role/billing/session"),
        ("submitter_timeout_seconds", 0),
        ("submitter_timeout_seconds", 901),
        ("submitter_timeout_seconds", "30s"),
        ("submitter_timeout_seconds", "1e2"),
        ("submitter_timeout_seconds", 1.5),
        ("submitter_timeout_seconds", True),
        ("submitter_timeout_seconds", None),
        ("submitter_timeout_seconds", "٣٠"),
        ("webhook_timeout_seconds", 30),
        ("submitter_memory_mb", 127),
        ("request_batch_size", 11),
        ("request_maximum_concurrency", 1),
        ("download_maximum_concurrency", 1001),
        ("max_receive_count", 1),
        ("max_receive_count", 991),
        ("check_delay_seconds", 901),
        ("alarm_email", "night-shift"),
        ("alarm_email", "one@example.com,two@example.com"),
        ("unfinished_alarm_seconds", 59),
        ("refused_webhooks_alarm", 0),
        ("lost_webhooks_alarm", 0),
        ("reportflow_files_url", "http://files.example.com"),
        ("reportflow_files_url", "https://user:word@files.example.com"),
        ("message_retention_days", 15),
        ("log_level", "LOUD"),
        ("environment", "Prod"),
        ("tags", "team"),
        ("tags", "=billing"),
        ("tags", "aws:team=billing"),
        ("tags", "team=billing,team=sales"),
        ("tags", {"team": "a,b"}),
        ("tags", "x" * 129 + "="),
        ("tags", ["team"]),
        ("archive_transition_class", "DEEP_ARCHIVE"),
        ("archive_expiry_days", -1),
        ("archive_lock_mode", "on"),
        ("log_retention_days", 8),
        ("log_retention_days", True),
        ("archive_expiry_days", True),
        ("archive_expiry_days", "36501"),
    ],
)
def test_refuses_with_key_value_and_what_is_allowed(key: str, value: object) -> None:
    words = allowed(DeploymentSettings.model_fields[key])
    assert f"{key} = {value!r}: must be {words}" in "\n".join(mistakes(**{key: value}))


@pytest.mark.parametrize(
    ("contract", "url"),
    [
        ("workspace", "https://acme.re-port-flow.com/v1"),
        ("central", "https://api.re-port-flow.com/v1"),
    ],
)
def test_each_contract_has_its_url(contract: str, url: str) -> None:
    assert read(workspace_id="acme", contract=contract).reportflow_url == url


def test_a_slash_at_the_urls_end_is_dropped() -> None:
    settings = read(reportflow_url="https://reports.example.com/v1/")
    assert settings.reportflow_url == "https://reports.example.com/v1"


def test_a_misspelt_setting_is_a_mistake_and_gets_a_suggestion() -> None:
    (mistake,) = mistakes(**{"max-file-mb": "20"})
    assert mistake == "  max-file-mb = '20': no such setting; did you mean max_file_mb?"


def test_a_setting_like_no_other_gets_no_suggestion() -> None:
    (mistake,) = mistakes(colour="blue")
    assert mistake == "  colour = 'blue': no such setting"


@pytest.mark.parametrize(
    "key",
    [
        "@aws-cdk/core:defaultCrossStackReferences",
        "@some-construct/flag",
        "aws:cdk:enable-path-metadata",
        "aws-cdk-flag",
        "availability-zones:account=1:region=ap-northeast-1",
    ],
)
def test_the_context_that_cdk_itself_keeps_is_none_of_ours(key: str) -> None:
    assert read(**{key: "anything"}) == DeploymentSettings.from_context(MINIMAL)


def test_all_mistakes_are_reported_at_once() -> None:
    told = mistakes(
        workspace_id="-",
        log_level="LOUD",
        unheard_of="yes",
        download_batch_size=10,
        max_file_mb=2000,
    )
    assert [mistake.split()[0] for mistake in told] == [
        "log_level",
        "unheard_of",
        "workspace_id",
        "download_batch_size",
    ]


def test_a_batch_of_the_largest_files_must_fit_the_disk() -> None:
    largest = read(download_batch_size=5, max_file_mb=2035)
    assert largest.downloader_tmp_mb <= 10_240
    (mistake,) = mistakes(download_batch_size=5, max_file_mb=2036)
    assert "This batch needs 10244 MiB. Lower one of the two." in mistake


def test_a_batch_of_the_largest_payloads_must_fit_the_memory() -> None:
    read(request_batch_size=10, submitter_memory_mb=512)
    read(payload_buckets="payloads", request_batch_size=10, submitter_memory_mb=1400)
    read(payload_buckets="payloads", request_batch_size=5, submitter_memory_mb=1050)
    (mistake,) = mistakes(
        payload_buckets="payloads", request_batch_size=10, submitter_memory_mb=1050
    )
    assert "submitter_memory_mb = 1050, contract = 'workspace', request_batch_size = 10" in mistake
    assert "Set submitter_memory_mb to 1400 or more, or request_batch_size to 5 or less." in mistake


def test_the_largest_payloads_of_central_take_more_memory() -> None:
    central = {"contract": "central", "payload_buckets": "payloads", "request_batch_size": 4}
    read(**central, submitter_memory_mb=2300)
    (mistake,) = mistakes(**central, submitter_memory_mb=2299)
    assert "contract = 'central'" in mistake
    assert "Set submitter_memory_mb to 2300 or more, or request_batch_size to 3 or less." in mistake


def test_a_batch_that_cannot_be_small_enough_is_not_proposed() -> None:
    (mistake,) = mistakes(payload_buckets="payloads", request_batch_size=1, submitter_memory_mb=769)
    assert mistake.endswith("Set submitter_memory_mb to 770 or more.")


def test_a_job_is_remembered_as_long_as_its_message_can_come_back() -> None:
    read(message_retention_days=14, status_ttl_days=28)
    (mistake,) = mistakes(message_retention_days=14, status_ttl_days=27)
    assert "Set status_ttl_days to 28 or more." in mistake


def test_the_functions_give_up_before_sqs_does() -> None:
    soon = {"completion_deadline_seconds": 60, "reportflow_requests_per_minute": 0}
    read(max_attempts=5, max_receive_count=6, **soon)
    (mistake,) = mistakes(max_attempts=5, max_receive_count=5, **soon)
    assert "Set max_receive_count to more than 5." in mistake


def test_waiting_for_the_rate_limit_uses_no_message_up() -> None:
    assert conflicts.NO_SLOT_SECONDS == consumer.NO_SLOT_SECONDS
    assert conflicts.LONGEST_DELAY == consumer.MAX_DELAY_SECONDS
    short = {"max_receive_count": 500, "message_retention_days": 7}
    read(**short)
    (mistake,) = mistakes(**short | {"max_receive_count": 490})
    assert "max_receive_count = 490" in mistake
    assert "set reportflow_requests_per_minute to 0" in mistake
    read(**short | {"max_receive_count": 490, "reportflow_requests_per_minute": 0})


def test_a_job_is_given_up_before_its_check() -> None:
    a_day_less_the_last_hours = 21 * 3600
    (mistake,) = mistakes(
        completion_deadline_seconds=a_day_less_the_last_hours, message_retention_days=1
    )
    assert f"Set completion_deadline_seconds to less than {a_day_less_the_last_hours}." in mistake
    read(completion_deadline_seconds=a_day_less_the_last_hours - 1, message_retention_days=1)


def test_somebody_elses_webhook_raises_no_alarm() -> None:
    (mistake,) = mistakes(unfinished_alarm_seconds=1800, orphan_grace_seconds=1800)
    assert "Set unfinished_alarm_seconds to more than 1800." in mistake
    read(unfinished_alarm_seconds=1801, orphan_grace_seconds=1800)


def test_nothing_that_was_archived_goes_by_itself() -> None:
    settings = read()
    assert settings.archive_expiry_days == settings.archive_noncurrent_days == 0
    assert settings.removal_policy == "retain"


@pytest.mark.parametrize(
    ("good", "bad", "fix"),
    [
        (
            {"orphan_grace_seconds": 91},
            {"orphan_grace_seconds": 90},
            "Set orphan_grace_seconds to more than 90.",
        ),
        (
            {"check_delay_seconds": 1, "completion_deadline_seconds": 989},
            {"completion_deadline_seconds": 990},
            "Set completion_deadline_seconds to less than 990.",
        ),
        (
            {"archive_transition_class": "STANDARD_IA", "archive_transition_days": 30},
            {"archive_transition_days": 29},
            "Set archive_transition_days to 30 or more.",
        ),
        (
            {
                "archive_transition_days": 10,
                "archive_expiry_days": 100,
                "archive_noncurrent_days": 1,
            },
            {"archive_expiry_days": 99},
            "Set archive_expiry_days to 100 or more.",
        ),
        (
            {"archive_expiry_days": 9, "archive_noncurrent_days": 1},
            {"archive_noncurrent_days": 0},
            "Set archive_noncurrent_days to 1 or more.",
        ),
        (
            {"archive_lock_mode": "governance", "archive_lock_days": 1},
            {"archive_lock_days": 0},
            "Set both a mode and days, or neither.",
        ),
        (
            {"archive_lock_mode": "governance", "archive_lock_days": 1},
            {"archive_lock_mode": "off"},
            "Set both a mode and days, or neither.",
        ),
        (
            {
                "archive_lock_mode": "governance",
                "archive_lock_days": 9,
                "archive_expiry_days": 9,
                "archive_noncurrent_days": 1,
            },
            {"archive_lock_days": 10},
            "Set archive_expiry_days to 10 or more.",
        ),
        (
            {"archive_lock_mode": "compliance", "archive_lock_days": 9},
            {"removal_policy": "destroy"},
            "Set removal_policy to retain",
        ),
    ],
)
def test_a_condition_is_broken_at_its_bound_and_the_error_says_what_to_set(
    good: Mapping[str, object], bad: Mapping[str, object], fix: str
) -> None:
    read(**good)
    (mistake,) = mistakes(**{**good, **bad})
    assert fix in mistake


@pytest.mark.parametrize(("limit", "burst"), [(10, 10), (60, 61), (1, 1)])
def test_a_burst_leaves_something_of_the_minute(limit: int, burst: int) -> None:
    read(reportflow_requests_per_minute=0, reportflow_burst=burst)
    read(reportflow_requests_per_minute=burst + 1, reportflow_burst=burst)
    (mistake,) = mistakes(reportflow_requests_per_minute=limit, reportflow_burst=burst)
    assert f"Set reportflow_burst to less than {limit}," in mistake


def test_a_conflict_with_a_value_that_is_wrong_anyway_is_not_reported() -> None:
    (mistake,) = mistakes(download_batch_size=11, max_file_mb=10_000)
    assert mistake.startswith("  download_batch_size = 11: must be")


@pytest.mark.parametrize("limit", [10, 100, 301, 3000, 30_000])
def test_a_webhook_for_each_request_is_let_in_twice(limit: int) -> None:
    """However few there are, ReportFlow may send some at a time."""
    needed = 2 * limit / 60
    rate = read(reportflow_requests_per_minute=limit).webhook_requests_per_second
    assert max(10, needed) <= rate < 10 + needed


def test_webhooks_are_limited_where_requests_are_not() -> None:
    rate = read(reportflow_requests_per_minute=0).webhook_requests_per_second
    assert read().webhook_requests_per_second < rate < 1000


class Recorder:
    """The default settings; notes which of them a check reads."""

    def __init__(self, changed: Mapping[str, object]) -> None:
        self.read: set[str] = set()
        self._settings = read(**changed)

    def __getattr__(self, name: str) -> object:
        if name in DeploymentSettings.model_fields:
            self.read.add(name)
            return getattr(self._settings, name)
        computed: property = getattr(DeploymentSettings, name)
        return computed.__get__(self)


@pytest.mark.parametrize("condition", conflicts.CONDITIONS, ids=lambda each: each.settings[0])
def test_a_condition_names_each_setting_that_its_check_reads(
    condition: conflicts.Condition,
) -> None:
    """An error that names too few would send its reader to the wrong setting."""
    lasting = {
        "payload_buckets": "payloads",
        "submitter_memory_mb": 1400,
        "archive_transition_days": 30,
        "archive_expiry_days": 4000,
        "archive_noncurrent_days": 1,
        "archive_lock_mode": "compliance",
        "archive_lock_days": 4000,
    }
    recorder = Recorder(lasting)
    assert condition.holds(cast("DeploymentSettings", recorder))
    assert recorder.read == set(condition.settings)
    condition.fix(cast("DeploymentSettings", recorder))
    assert recorder.read == set(condition.settings)


@pytest.mark.parametrize(("size", "files"), [(1, 1), (5, 50), (10, 300)])
def test_the_downloaders_disk_holds_a_batch(size: int, files: int) -> None:
    disk = read(download_batch_size=size, max_file_mb=files).downloader_tmp_mb
    assert disk >= 512
    assert disk > size * files
