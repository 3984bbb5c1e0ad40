"""The webhook is asked by the way that the AWS clients take."""

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import parse_headers
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cli import checks, rotation
from cli.failures import CliError
from cli.findings import Severity
from cli.probe import probe
from cli.target import Target
from tests.cli.numbers.deployment import found
from tests.unit.peer import answer, listening

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
    certificate = made_certificate(tmp_path)
    with answering_over_tls(certificate) as port:
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
    monkeypatch.setattr(rotation, "PROBE_SECONDS", 0)
    with pytest.raises(CliError, match="HTTPS_PROXY"):
        rotation.settled_url(away)


def made_certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "peer.pem"
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(encoding))
    return path


@contextmanager
def answering_over_tls(certificate: Path) -> Iterator[int]:
    """A port that answers 200 to whoever trusts the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client, suppress(OSError):
                        secure = context.wrap_socket(client, server_side=True)
                        with secure, secure.makefile("rb") as request:
                            # All of it: whoever closes on unread bytes takes the answer back.
                            request.readline()
                            head = parse_headers(request)
                            request.read(int(head["Content-Length"]))
                            secure.sendall(b"".join(answer(200)))

        accepting = Thread(target=accept)
        accepting.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()
