"""The HTTP session that carries the keys: no redirects, proxies, `.netrc` or cookies."""

from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final, override

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError

POOL_SIZE: Final = 16
"""More than the ten records of a batch, which share one session."""


class Session(requests.Session):
    """Thread-safe: its pool holds the sockets, and nothing of one request stays for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(pool_maxsize=POOL_SIZE, max_retries=0))

    @override
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # requests reads the whole body of a redirect before it does not follow it.
        return None


class _TlsConnection(HTTPSConnection):
    """Tells a handshake that failed from a connection that broke later.

    urllib3 reports both alike, but only before the handshake's end has surely nothing been sent.
    """

    @override
    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            raise NewConnectionError(self, "no TLS connection") from error


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        pools = {**self.poolmanager.pool_classes_by_scheme, "https": _TlsPool}
        self.poolmanager.pool_classes_by_scheme = pools
