"""An upgrade from the last release keeps what holds data, and what others know by its address."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import released
from tests.stacks.template import Template

type Change = Callable[[dict[str, Any]], None]


def resource(document: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    return next(
        (name, of) for name, of in document["Resources"].items() if of["Type"] == f"AWS::{kind}"
    )


def rename(kind: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        name, _ = resource(document, kind)
        document["Resources"]["Another"] = document["Resources"].pop(name)

    return change


def set_property(kind: str, key: str, value: object) -> Change:
    return lambda document: resource(document, kind)[1]["Properties"].update({key: value})


def change_index(document: dict[str, Any]) -> None:
    table = resource(document, "DynamoDB::Table")[1]["Properties"]
    table["GlobalSecondaryIndexes"][0]["Projection"] = {"ProjectionType": "ALL"}


def add_two_indexes(document: dict[str, Any]) -> None:
    table = resource(document, "DynamoDB::Table")[1]["Properties"]
    index = table["GlobalSecondaryIndexes"][0]
    table["GlobalSecondaryIndexes"] += [{**index, "IndexName": "one"}, {**index, "IndexName": "2"}]


def add_one_index(document: dict[str, Any]) -> None:
    table = resource(document, "DynamoDB::Table")[1]["Properties"]
    index = table["GlobalSecondaryIndexes"][0]
    table["GlobalSecondaryIndexes"].append({**index, "IndexName": "one"})


def let_go(document: dict[str, Any]) -> None:
    resource(document, "S3::Bucket")[1]["DeletionPolicy"] = "Delete"


@pytest.mark.parametrize("stack", released.STACKS)
def test_nothing_that_must_outlive_an_upgrade_is_replaced(cloud_assembly: Path, stack: str) -> None:
    now = Template.read(cloud_assembly / f"ReportFlow-{stack}.template.json")
    before = released.read(stack)
    assert before.resources
    assert list(released.dangers(before, now)) == [], (
        "People's data is in what was released. Change it so that nothing is replaced."
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename("S3::Bucket"), "is gone"),
        (rename("SecretsManager::Secret"), "is gone"),
        (set_property("S3::Bucket", "BucketName", "invoices"), "replaced: /properties/BucketName"),
        (
            set_property("DynamoDB::Table", "KeySchema", [{"AttributeName": "id"}]),
            "replaced: /properties/KeySchema",
        ),
        (set_property("DynamoDB::Table", "TableName", "jobs"), "replaced: /properties/TableName"),
        (
            set_property("SecretsManager::Secret", "GenerateSecretString", {"PasswordLength": 64}),
            "lose the keys",
        ),
        (set_property("SecretsManager::Secret", "SecretString", "{}"), "lose the keys"),
        (change_index, "without its index byFileId"),
        (add_two_indexes, "more than one index"),
        (let_go, "no longer be retained: DeletionPolicy"),
    ],
)
def test_a_dangerous_change_is_reported(storage: Template, change: Change, told: str) -> None:
    document = copy.deepcopy(dict(storage.document))
    change(document)
    (danger,) = released.dangers(storage, Template(document))
    assert told in danger


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename("Lambda::Function"), "is gone"),
        (set_property("Lambda::Function", "FunctionName", "submitter"), "would be replaced"),
    ],
)
def test_a_function_whose_name_another_stack_imports_keeps_it(
    pipeline: Template, change: Change, told: str
) -> None:
    before = Template(released.reduced(pipeline.document))
    document = copy.deepcopy(dict(pipeline.document))
    change(document)
    (danger,) = released.dangers(before, Template(document))
    assert told in danger


def retain_but_what_was_never_whole(document: dict[str, Any]) -> None:
    resource(document, "DynamoDB::Table")[1]["DeletionPolicy"] = "RetainExceptOnCreate"


@pytest.mark.parametrize(
    "change",
    [
        add_one_index,
        retain_but_what_was_never_whole,
        set_property("DynamoDB::Table", "BillingMode", "PROVISIONED"),
        set_property("S3::Bucket", "LifecycleConfiguration", {"Rules": []}),
    ],
)
def test_a_harmless_change_is_not(storage: Template, change: Change) -> None:
    document = copy.deepcopy(dict(storage.document))
    change(document)
    assert list(released.dangers(storage, Template(document))) == []
