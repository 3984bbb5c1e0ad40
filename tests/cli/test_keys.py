"""The account's keys are put into the secret, and nothing else in it changes."""

import json
from collections.abc import Mapping

import pytest

from cli.target import Target
from tests.cli.conftest import Cli


@pytest.fixture
def before(target: Target) -> Mapping[str, object]:
    return value(target)


def value(target: Target) -> dict[str, object]:
    # By its stage: without one, moto may answer with the version before.
    answer = target.secretsmanager.get_secret_value(
        SecretId=target.secret_id, VersionStage="AWSCURRENT"
    )
    stored: dict[str, object] = json.loads(answer["SecretString"])
    return stored


def test_keys_come_from_standard_input_and_are_not_shown(
    cli: Cli, target: Target, before: Mapping[str, object]
) -> None:
    # Those that the system's ReportFlow knows, so that nobody else's test meets others.
    given = (str(before["appKey"]), str(before["secretKey"]))
    client = target.secretsmanager
    empty = json.dumps({**before, "appKey": "", "secretKey": ""})
    client.put_secret_value(SecretId=target.secret_id, SecretString=empty)
    result = cli("set-keys", stdin="\n".join(given) + "\n")
    assert result.exit_code == 0, result.output
    assert value(target) == before
    assert not [key for key in given if key in result.output]


@pytest.mark.parametrize("stdin", ["", "one\n", "one\ntwo\nthree\n", "one\ntw\x00o\n"])
def test_anything_but_two_keys_changes_nothing(
    cli: Cli, target: Target, before: Mapping[str, object], stdin: str
) -> None:
    assert cli("set-keys", stdin=stdin).exit_code == 2
    assert value(target) == before
