import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import fields

from reportflow.settings import DownloaderSettings, SubmitterSettings, WebhookSettings, load
from stacks.settings import DeploymentSettings
from tests.stacks.synthesis import CHANGED, DEFAULTS
from tests.stacks.template import Properties, Template, called, reference, senders, statements

MIB = 1024 * 1024
DAY = 24 * 60 * 60


def tags_of(assembly: Path) -> dict[str, str]:
    """The tags that all stacks of an assembly have in common, which is all they have."""
    manifest = json.loads((assembly / "manifest.json").read_text())
    tags: list[dict[str, str]] = [
        artifact["properties"]["tags"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    ]
    assert all(each == tags[0] for each in tags)
    return tags[0]


def loaded(environment: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of the deployment as the functions load them."""
    read: dict[str, Any] = {}
    kinds: Mapping[str, type[Any]] = {
        "submitter": SubmitterSettings,
        "webhook": WebhookSettings,
        "downloader": DownloaderSettings,
    }
    for name, kind in kinds.items():
        variables = {key: str(value) for key, value in environment[name].items()}
        settings: object = load(kind, variables)
        read |= {each.name: getattr(settings, each.name) for each in fields(kind)}
    return {name: read[name] for name in DeploymentSettings.model_fields.keys() & read.keys()}


def found(assembly: Path, storage: Template, pipeline: Template) -> dict[str, Any]:
    """The settings as the templates have them."""
    functions = pipeline.of_type("AWS::Lambda::Function")
    queues = pipeline.of_type("AWS::SQS::Queue")
    by_name = {
        function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: function
        for function in functions.values()
    }
    environment = {name: by_name[name]["Environment"]["Variables"] for name in by_name}
    sources: dict[str, Properties] = {}
    for source in pipeline.of_type("AWS::Lambda::EventSourceMapping").values():
        function = functions[called(pipeline, source["FunctionName"])]
        sources[function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]] = source
    requests = queues[reference(sources["submitter"]["EventSourceArn"])]
    (log_retention,) = {
        group["RetentionInDays"] for group in pipeline.of_type("AWS::Logs::LogGroup").values()
    }
    table = storage.resources[next(iter(storage.of_type("AWS::DynamoDB::Table")))]
    (prefix,) = {template.name.split("-")[0] for template in assembly.glob("*.template.json")}
    monitoring = Template.read(assembly / f"{prefix}-Monitoring.template.json")
    thresholds = {
        alarm["AlarmName"].removeprefix(f"{prefix}-"): alarm["Threshold"]
        for alarm in monitoring.of_type("AWS::CloudWatch::Alarm").values()
    }
    bucket = storage.one("AWS::S3::Bucket")
    lifecycle = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    (moved,) = lifecycle["Move"]["Transitions"]
    lock = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    tags = tags_of(assembly)
    return {
        "environment": tags.pop("environment"),
        "tags": tuple(
            f"{key}={value}"
            for key, value in tags.items()
            if key not in {"application", "deployment"}
        ),
        "archive_transition_days": moved["TransitionInDays"],
        "archive_transition_class": moved["StorageClass"],
        "archive_expiry_days": lifecycle["Expire"]["ExpirationInDays"],
        "archive_noncurrent_days": lifecycle["Forget"]["NoncurrentVersionExpiration"][
            "NoncurrentDays"
        ],
        "archive_lock_mode": lock["Mode"].lower(),
        "archive_lock_days": lock["Days"],
        **loaded(environment),
        "stack_prefix": prefix,
        "removal_policy": {"Delete": "destroy", "Retain": "retain"}[table["DeletionPolicy"]],
        "payload_key_arns": tuple(
            statement["Resource"]
            for role in pipeline.of_type("AWS::IAM::Role").values()
            for statement in statements(role)
            if statement["Action"] == "kms:Decrypt"
        ),
        "request_senders": tuple(
            str(sender)
            for policy in pipeline.of_type("AWS::SQS::QueuePolicy").values()
            for sender in senders(policy)
        ),
        **{f"{name}_timeout_seconds": by_name[name]["Timeout"] for name in by_name},
        **{f"{name}_memory_mb": by_name[name]["MemorySize"] for name in by_name},
        "request_batch_size": sources["submitter"]["BatchSize"],
        "download_batch_size": sources["downloader"]["BatchSize"],
        "request_maximum_concurrency": sources["submitter"]["ScalingConfig"]["MaximumConcurrency"],
        "download_maximum_concurrency": sources["downloader"]["ScalingConfig"][
            "MaximumConcurrency"
        ],
        "message_retention_days": requests["MessageRetentionPeriod"] // DAY,
        "max_file_mb": int(environment["downloader"]["MAX_FILE_BYTES"]) // MIB,
        "alarm_email": monitoring.one("AWS::SNS::Subscription")["Endpoint"],
        "unfinished_alarm_seconds": thresholds["RequestsUnfinished"],
        "refused_webhooks_alarm": thresholds["WebhooksRefused"],
        "lost_webhooks_alarm": thresholds["WebhooksLost"],
        "log_level": environment["webhook"]["POWERTOOLS_LOG_LEVEL"],
        "log_retention_days": log_retention,
    }


def test_every_setting_has_its_effect(
    changed_assembly: Path, changed_storage: Template, changed_pipeline: Template
) -> None:
    default = DeploymentSettings.from_context(DEFAULTS).model_dump()
    changed = DeploymentSettings.from_context(CHANGED).model_dump()
    assert not [name for name in default if default[name] == changed[name]]
    assert found(changed_assembly, changed_storage, changed_pipeline) == changed


def test_a_setting_of_two_functions_is_the_same_in_both(changed_pipeline: Template) -> None:
    told: dict[str, set[str]] = {}
    for function in changed_pipeline.of_type("AWS::Lambda::Function").values():
        for name, value in function["Environment"]["Variables"].items():
            if name != "POWERTOOLS_SERVICE_NAME":
                told.setdefault(name, set()).add(str(value))
    assert {name: values for name, values in told.items() if len(values) > 1} == {}
