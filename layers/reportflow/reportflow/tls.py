"""One TLS context for the process: loading the root certificates takes 200 million instructions.

urllib3 loads them again for each connection, and botocore makes a context for each client. A
function's first batch opens some 30 connections.
"""

import ssl
from functools import cache
from threading import Lock
from typing import Final, override

from botocore.awsrequest import AWSHTTPSConnection, AWSHTTPSConnectionPool
from certifi import where
from urllib3.util.ssl_ import create_urllib3_context

_loading: Final = Lock()


def context(ca_certs: str) -> ssl.SSLContext:
    """Return the process's context that trusts the root certificates in this file. Thread-safe."""
    with _loading:
        return _load(ca_certs)


@cache
def _load(ca_certs: str) -> ssl.SSLContext:
    loaded = create_urllib3_context()
    loaded.load_verify_locations(ca_certs)
    return loaded


class _AwsConnection(AWSHTTPSConnection):
    """botocore's connection, with the process's context where botocore's defaults apply.

    The others connect as botocore has them connect: with a bundle of the user's own, which
    OpenSSL's strict rules may refuse; through a proxy; and with a client certificate.
    """

    @override
    def connect(self) -> None:
        if self.ca_certs == where() and not self.proxy and not self.cert_file:
            self.ssl_context = context(self.ca_certs)
            # The context has them. urllib3 would load them again.
            self.ca_certs = None
        super().connect()


def share_with_botocore() -> None:
    """Let all of botocore's connections in this process share the context.

    botocore has no option for it. `ConnectionCls` is urllib3's documented way to change the
    connections of a pool.
    """
    AWSHTTPSConnectionPool.ConnectionCls = _AwsConnection
