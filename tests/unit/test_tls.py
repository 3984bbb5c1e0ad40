"""One TLS context serves botocore and ReportFlow, and nobody is trusted who was not before."""

import importlib
import ssl
from collections.abc import Iterator
from http.client import parse_headers
from pathlib import Path
from typing import Any

import botocore.httpsession
import certifi
import pytest

from reportflow import aws, http_session, tls
from reportflow.errors import Unavailable
from tests.unit.tls_peer import make_certificate, over_tls, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def port(certificate: Path) -> Iterator[int]:
    """A peer that answers every request with an empty JSON object."""

    def serve(client: ssl.SSLSocket) -> None:
        with client.makefile("rb") as request:
            request.readline()
            request.read(int(parse_headers(request).get("Content-Length", "0")))
        client.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with serving(over_tls(certificate, serve)) as port:
        yield port


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file of root certificates that was loaded, each time."""
    files: list[str] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, cafile: str | None = None, *others: Any) -> None:
        files.append(str(cafile))
        load(context, cafile, *others)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    return files


@pytest.fixture(autouse=True)
def _cold_clients(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "none")
    # The machine may have roots of its own.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
    importlib.reload(aws)
    yield
    importlib.reload(aws)


def trust_by_default(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have certifi name this file."""
    for module in (botocore.httpsession, tls):
        monkeypatch.setattr(module, "where", lambda: str(certificate))
    return str(certificate)


def call_aws() -> None:
    """Two calls of each of three clients, each on a connection of its own."""
    for _ in range(2):
        aws.dynamodb().list_tables()
        aws.secretsmanager().list_secrets()
        aws.events().list_rules()


def contexts_of(client: Any) -> set[ssl.SSLContext]:
    """The contexts of the connections that a client has made."""
    pools = client._endpoint.http_session._manager.pools
    return {
        connection.ssl_context
        for key in pools.keys()  # noqa: SIM118  (urllib3's container has no iterator)
        for connection in pools.get(key).pool.queue
        if connection
    }


def test_roots_are_loaded_once_for_botocore_and_reportflow(
    certificate: Path, port: int, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = trust_by_default(certificate, monkeypatch)

    call_aws()
    session = http_session.Session()
    session.roots = trusted
    with session.request("GET", f"https://127.0.0.1:{port}/", headers={}, seconds=10) as answer:
        assert answer.content == b"{}"
    call_aws()

    assert loaded == [trusted]


def test_a_peer_that_no_root_vouches_for_is_refused() -> None:
    with pytest.raises(Unavailable, match="SSLError"), aws.translated("dynamodb:ListTables"):
        aws.dynamodb().list_tables()


def test_a_peer_of_another_name_is_refused(
    certificate: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_by_default(certificate, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://localhost:{port}")

    with pytest.raises(Unavailable, match="SSLError"), aws.translated("dynamodb:ListTables"):
        aws.dynamodb().list_tables()


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_of_ones_own_is_loaded_as_botocore_loads_it(
    variable: str, certificate: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(certificate))

    aws.dynamodb().list_tables()

    assert loaded == [str(certificate)]
    (context,) = contexts_of(aws.dynamodb())
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_bundle_of_ones_own_replaces_the_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", certifi.where())

    with pytest.raises(Unavailable, match="SSLError"), aws.translated("dynamodb:ListTables"):
        aws.dynamodb().list_tables()


def test_the_shared_context_verifies_all_that_urllib3_does(certificate: Path) -> None:
    context = tls.context(str(certificate))

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
