"""The account's keys are put into the secret, and nothing else in it changes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.target import Target
from tests.cli.conftest import Cli, by_central


@pytest.fixture
def before(target: Target) -> Iterator[Mapping[str, object]]:
    """The secret as it is; after the test it is so again, for the system that runs on it."""
    found = value(target)
    yield found
    put(target, found)


@pytest.fixture
def central_cli(state_file: Path, tmp_path: Path) -> Cli:
    """The command against a deployment that speaks `central`."""
    return Cli(["--state", str(by_central(state_file, tmp_path))], {})


def put(target: Target, stored: Mapping[str, object]) -> None:
    text = json.dumps(dict(stored))
    target.secretsmanager.put_secret_value(SecretId=target.secret_id, SecretString=text)


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
    put(target, {**before, "appKey": "", "secretKey": ""})
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


def test_central_takes_one_key_and_leaves_the_other_contracts_alone(
    central_cli: Cli, target: Target, before: Mapping[str, object]
) -> None:
    result = central_cli("set-keys", stdin="ak_3f9c1e\n")

    assert result.exit_code == 0, result.output
    assert value(target) == {**before, "centralAppKey": "ak_3f9c1e"}
    assert "ak_3f9c1e" not in result.output


def test_of_a_key_and_a_client_the_last_that_was_set_is_in_use(
    central_cli: Cli, target: Target, before: Mapping[str, object]
) -> None:
    assert central_cli("set-keys", stdin="ak_3f9c1e\n").exit_code == 0

    result = central_cli("set-keys", "--oauth", stdin="client-1\ns3cr3t\n")
    assert result.exit_code == 0, result.output
    oauth = {"centralAppKey": "", "clientId": "client-1", "clientSecret": "s3cr3t"}
    assert value(target) == {**before, **oauth}
    assert "s3cr3t" not in result.output

    assert central_cli("set-keys", stdin="ak_new\n").exit_code == 0
    key = {"centralAppKey": "ak_new", "clientId": "", "clientSecret": ""}
    assert value(target) == {**before, **key}


@pytest.mark.parametrize(
    ("options", "stdin"),
    [
        ((), ""),
        ((), "local-app-key\n"),
        ((), "ak_one\nak_two\n"),
        ((), "ak_\x00\n"),
        ((), "ak_キー\n"),
        (("--oauth",), "client-1\n"),
        (("--oauth",), "ak_one\n"),
        (("--oauth",), "client-1\ns3cr3t\nmore\n"),
    ],
)
def test_anything_else_changes_nothing_on_central(
    *,
    central_cli: Cli,
    target: Target,
    before: Mapping[str, object],
    options: tuple[str, ...],
    stdin: str,
) -> None:
    result = central_cli("set-keys", *options, stdin=stdin)

    assert result.exit_code == 2
    assert value(target) == before
    assert not [key for key in stdin.split() if key in result.output]


@pytest.mark.parametrize(
    ("options", "stdin", "said"),
    [
        ((), "ak_3f9c1e\ns3cr3t\n", "contract=central"),
        ((), "a-key\nak_3f9c1e\n", "contract=central"),
        (("--oauth",), "client-1\ns3cr3t\n", "no OAuth"),
    ],
)
def test_the_workspace_contract_refuses_the_keys_of_central(
    *,
    cli: Cli,
    target: Target,
    before: Mapping[str, object],
    options: tuple[str, ...],
    stdin: str,
    said: str,
) -> None:
    result = cli("set-keys", *options, stdin=stdin)

    assert result.exit_code == 2
    assert said in result.output.replace("\n", " ")
    assert value(target) == before


def test_central_says_which_setting_a_key_of_workspace_needs(
    central_cli: Cli, before: Mapping[str, object]
) -> None:
    result = central_cli("set-keys", stdin=f"{before['appKey']}\n")

    assert "contract=workspace" in " ".join(result.output.replace("│", " ").split())
