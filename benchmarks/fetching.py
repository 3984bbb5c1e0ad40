"""How long does a file take from ReportFlow to the archive, and how much memory?

Both links carry 75 MB a second and answer after 15 ms, over TLS. The peer reads the file into
memory and calls `upload_fileobj`. The floor copies the bytes from one socket to the other: it
checks nothing, and after an error of S3 it would have to ask ReportFlow again.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from benchmarks.bench import Bar, Echo, Row
from benchmarks.candidates import Candidate, ours, peer
from benchmarks.deployment import Deployment, deployed
from benchmarks.echo import CHUNK
from benchmarks.running import Run, running

MEGABYTE: Final = 1_000_000
SIZES_MB: Final = (1, 20, 200)
LARGE_MB: Final = SIZES_MB[-1]
MOST_MB: Final = {1: 57.0, 10: 109.0}
"""The most memory by files at once: 8 and 60 MB more than the downloader takes when it is ready."""
AT_ONCE: Final = 10
ROUNDS: Final = 3
SPEED: Final = 75.0 * MEGABYTE
LATENCY_SECONDS: Final = 0.015
STEPS: Final = len(SIZES_MB) + 2

SETTINGS: Final[Mapping[str, str]] = {
    "reportflow_requests_per_minute": "0",
    "max_file_mb": "300",
}
CANDIDATES: Final[Mapping[str, Callable[[str], Candidate]]] = {"ours": ours, "peer": peer}


@contextmanager
def _deployed(bytes_per_second: float) -> Iterator[Deployment]:
    with deployed(
        reportflow_seconds=LATENCY_SECONDS, bytes_per_second=bytes_per_second, settings=SETTINGS
    ) as deployment:
        yield deployment


@contextmanager
def _running(candidate: Callable[[str], Candidate], deployment: Deployment) -> Iterator[Run]:
    to_s3 = {"AWS_ENDPOINT_URL_S3": deployment.reportflow.url}
    with running(candidate, deployment, to_s3) as run:
        yield run


def fetched(run: Run, name: str, size: int, files: int = 1) -> float:
    """Archive files of a size in one batch, and return the seconds of this invocation."""
    run.submit(files, name)
    run.batches("downloader", run.report(name, size), files)
    return run.wall_seconds["downloader"][-1]


def copied(place: Echo, size: int) -> float:
    """Copy the bytes from socket to socket, and return the seconds."""
    begun = time.monotonic()
    address = urlsplit(place.url)
    with _connected(place) as source, _connected(place) as target:
        asked = f"GET /file/download/u-{size}/f HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
        source.sendall(asked.encode())
        head, _, rest = _head(source)
        del head
        target.sendall(
            f"PUT /archive/f HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Content-Length: {size}\r\n\r\n".encode()
        )
        left = size - len(rest)
        target.sendall(rest)
        while left:
            read = source.recv(CHUNK)
            target.sendall(read)
            left -= len(read)
        if not _head(target)[0].startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the echo refused the copy")
    return time.monotonic() - begun


def _head(connection: ssl.SSLSocket) -> tuple[bytes, bytes, bytes]:
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(CHUNK)
    return read.partition(b"\r\n\r\n")


@contextmanager
def _connected(place: Echo) -> Iterator[ssl.SSLSocket]:
    address = urlsplit(place.url)
    with (
        socket.create_connection((address.hostname, address.port)) as plain,
        place.context.wrap_socket(plain, server_hostname=address.hostname) as secure,
    ):
        yield secure


def measure(step: Callable[[str], None]) -> Iterator[Row]:
    """Rows of the time of each size, then of the memory."""
    with _deployed(SPEED) as slow, _running(ours, slow) as mine, _running(peer, slow) as other:
        for run in (mine, other):
            fetched(run, f"first-{id(run)}", MEGABYTE)
        for megabytes in SIZES_MB:
            step(f"fetch to archive: {megabytes} MB")
            size = megabytes * MEGABYTE
            taken: dict[str, list[float]] = {"ours": [], "peer": [], "floor": []}
            for number in range(ROUNDS):
                name = f"{megabytes}-{number}"
                taken["ours"].append(fetched(mine, f"ours-{name}", size) * 1e3)
                taken["peer"].append(fetched(other, f"peer-{name}", size) * 1e3)
                taken["floor"].append(copied(slow.reportflow, size) * 1e3)
            what = f"fetch to archive, {megabytes} MB"
            of = taken["ours"], taken["peer"], taken["floor"]
            yield Row(what, "ms", *of, bar=1.15, kind=Bar.FLOOR)
        before = slow.reportflow.counts()["reportflow"]
        fetched(mine, "flaky", MEGABYTE)
        asked = slow.reportflow.counts()["reportflow"] - before - 1
        yield Row("downloads from ReportFlow if S3 fails once", "", [asked], [], [2])
    for files, what in ((1, f"one of {LARGE_MB} MB"), (AT_ONCE, f"{AT_ONCE} of {LARGE_MB} MB")):
        step(f"peak memory: {what}")
        peaks: dict[str, list[float]] = {}
        with _deployed(float("inf")) as fast:
            for name, candidate in CANDIDATES.items():
                with _running(candidate, fast) as run:
                    fetched(run, name, LARGE_MB * MEGABYTE, files)
                    peaks[name] = [run.peak_bytes("downloader") / 1e6]
        most = MOST_MB[files]
        ours_and_peers = peaks["ours"], peaks["peer"]
        yield Row(f"peak memory, {what}", "MB", *ours_and_peers, bar=most, kind=Bar.MOST)


if __name__ == "__main__":
    for row in measure(print):
        print(row)
