import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local import backend as backend_module
from local.backend import (
    Backend,
    BackendError,
    BackendKind,
    install_ministack,
    run_backend,
)
from local.paths import BUILD_CACHE


def port_of(backend: Backend) -> int:
    port = urlsplit(backend.endpoint_url).port
    assert port is not None
    return port


@pytest.mark.parametrize("kind", list(BackendKind))
def test_a_backend_serves_until_it_is_left(kind: BackendKind, tmp_path: Path) -> None:
    with run_backend(kind, tmp_path) as backend:
        url = backend.client("sqs").create_queue(QueueName="queue")["QueueUrl"]
        assert url.startswith(backend.endpoint_url)
        port = port_of(backend)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("kind", list(BackendKind))
def test_a_backend_hears_on_loopback_only(kind: BackendKind, tmp_path: Path) -> None:
    # The whole of 127/8 is this machine, and a server that hears everywhere answers on it.
    with run_backend(kind, tmp_path) as backend, socket.socket() as client:
        assert client.connect_ex(("127.0.0.2", port_of(backend))) != 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(BackendKind))
def test_two_of_a_kind_share_nothing(kind: BackendKind, tmp_path: Path) -> None:
    with run_backend(kind, tmp_path / "1") as one, run_backend(kind, tmp_path / "2") as other:
        one.client("sqs").create_queue(QueueName="queue")
        assert one.client("sqs").list_queues().get("QueueUrls")
        assert not other.client("sqs").list_queues().get("QueueUrls")


def test_clients_take_nothing_from_this_machines_settings(
    aws: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "theirs")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    fresh = Backend(aws.kind, aws.endpoint_url)
    assert fresh.client("sqs").meta.region_name == aws.region
    assert fresh.client("s3").list_buckets()["ResponseMetadata"]["HTTPStatusCode"] == 200
    fresh.close()


def test_a_client_is_made_once(aws: Backend) -> None:
    assert aws.client("s3") is aws.client("s3")


def test_a_backend_that_does_not_start_shows_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(backend_module, "_free_port", lambda: taken.getsockname()[1])
        with (
            pytest.raises(BackendError, match="already in use"),
            run_backend(BackendKind.MINISTACK, tmp_path),
        ):
            pass


def test_ministack_is_installed_once() -> None:
    python = install_ministack()
    assert BUILD_CACHE in python.parents
    made = python.parent.parent.stat().st_mtime_ns
    assert install_ministack() == python
    assert python.parent.parent.stat().st_mtime_ns == made


def test_an_installation_that_fails_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("ministack==1.0.0 --hash=sha256:00\n")
    monkeypatch.setattr(backend_module, "MINISTACK_LOCK", lock)
    monkeypatch.setattr(backend_module, "BUILD_CACHE", tmp_path / "cache")
    with pytest.raises(BackendError, match="uv pip"):
        install_ministack()
    assert not list((tmp_path / "cache").iterdir())
