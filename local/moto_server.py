"""moto's server with each conditional write done in one piece: `moto_server.py PORT`.

moto answers requests in threads, and between the check of a condition and the write that it
guards another thread may run: two claims of one job would both succeed, and a reader would see
an item that is half written. DynamoDB and S3 promise that neither happens. Requests to these two
therefore wait for one another; SQS's, which may wait for messages, do not.
"""

import re
import sys
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/aws4_request")


class OneAtATime:
    """Lets one request to each of the named services in at a time."""

    def __init__(self, application: "WSGIApplication", services: Iterable[str]) -> None:
        self._application = application
        self._locks = {service: Lock() for service in services}

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request, when it is its turn."""
        signed_for = _SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
        lock = self._locks.get(signed_for[1]) if signed_for else None
        if lock is None:
            return self._application(environ, start_response)
        with lock:
            return self._application(environ, start_response)


def main() -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        OneAtATime(DomainDispatcherApplication(create_backend_app), ("dynamodb", "s3")),
        threaded=True,
        request_handler=MotoRequestHandler,
    )


if __name__ == "__main__":
    main()
