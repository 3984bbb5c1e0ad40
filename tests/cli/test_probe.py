"""The webhook is asked by the way that the AWS clients take."""

import socket
import ssl
from dataclasses import replace
from http.client import parse_headers
from pathlib import Path

import pytest

from cli import checks, secret
from cli.failures import CliError
from cli.findings import Severity
from cli.probe import probe
from cli.target import Target
from tests.cli.numbers.deployment import found
from tests.unit.peer import answer, listening
from tests.unit.tls_peer import make_certificate, over_tls, serving

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def on_aws(target: Target) -> Target:
    return replace(target, is_local=False, webhook_base_url="https://hooks.example/v1")


def test_a_proxy_is_asked_where_the_environment_names_one(
    on_aws: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(lambda _: answer(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert probe(on_aws, "token") is None
        monkeypatch.setenv("NO_PROXY", "hooks.example")
        assert probe(on_aws, "token") is None

    [asked] = proxy.received
    assert (asked.method, asked.target) == ("CONNECT", "hooks.example:443")


def test_this_machines_system_is_asked_directly(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would learn the token."""
    with listening(lambda _: answer(502)) as proxy, listening(lambda _: answer(200)) as webhook:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert probe(replace(target, webhook_base_url=webhook.url), "token") == 200

    assert not proxy.received


def test_what_netrc_has_for_the_host_is_not_sent(
    on_aws: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with listening(lambda _: answer(200)) as webhook:
        assert probe(replace(on_aws, webhook_base_url=webhook.url), "token") == 200

    [asked] = webhook.received
    assert "authorization" not in asked.headers


def test_certificates_are_those_of_the_aws_clients(
    on_aws: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    with serving(over_tls(certificate, well)) as port:
        there = replace(on_aws, webhook_base_url=f"https://127.0.0.1:{port}")
        assert probe(there, "token") is None
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        assert probe(there, "token") == 200


def test_no_answer_says_nothing_of_the_webhook_but_how_to_reach_it(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    away = replace(target, webhook_base_url=f"http://127.0.0.1:{port}")

    [finding] = found(checks.webhook, away)

    assert finding.severity is Severity.UNKNOWN
    assert "HTTPS_PROXY" in finding.remedy
    monkeypatch.setattr(secret, "PROBE_SECONDS", 0)
    with pytest.raises(CliError, match="HTTPS_PROXY"):
        secret.accepted_url(away)


def well(client: ssl.SSLSocket) -> None:
    """Answer 200, once all of the request is read: closed on unread bytes, it would be lost."""
    with client.makefile("rb") as request:
        request.readline()
        request.read(int(parse_headers(request)["Content-Length"]))
    client.sendall(b"".join(answer(200)))
