"""API Gateway's HTTP API on a port of this machine: routes to functions, payload format 2.0."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from local.deployment import Route
from local.function_pool import FunctionPool
from local.http_server import Client, HttpRequest, HttpResponse, HttpServer
from local.lambda_process import InvocationFailed
from local.payload_format import (
    Api,
    MalformedResponseError,
    error_response,
    make_event,
    path_parameters,
    read_response,
)
from local.runtime_api import MAX_PAYLOAD_BYTES

logger = logging.getLogger(__name__)

INTEGRATION_SECONDS = 30.0
MAX_BODY_BYTES = 10 * 1024 * 1024


class HttpGateway:
    """Serves the routes from construction until `stop`."""

    def __init__(
        self,
        routes: Sequence[Route],
        pools: Mapping[str, FunctionPool],
        api: Api,
        *,
        port: int = 0,
        integration_seconds: float = INTEGRATION_SECONDS,
    ) -> None:
        """Listens on `port` of 127.0.0.1, or on a free one for 0; `pools` by function name.

        Raises:
            OSError: the port is in use.
        """
        self._routes = tuple(routes)
        self._pools = pools
        self._api = api
        self._integration_seconds = integration_seconds
        # As on Lambda, an invocation goes on after its request's time-out.
        self._invocations = ThreadPoolExecutor(thread_name_prefix="gateway-invocation")
        self._server = HttpServer(self._answer, error_response, port, MAX_BODY_BYTES)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return self._server.url

    def stop(self) -> None:
        """Takes no more requests, and finishes those in flight."""
        self._server.stop()
        self._invocations.shutdown()

    def _answer(self, request: HttpRequest, client: Client) -> None:
        """Runs the function of the request's route; many threads call it at the same time.

        Logs the route and never the path, which may carry a secret.
        """
        started = time.monotonic()
        for route in self._routes:
            parameters = path_parameters(route, request.method, request.path)
            if parameters is not None:
                response = self._integrate(request, route, parameters)
                name = f"{route.method} {route.path}"
                break
        else:
            response, name = error_response(HTTPStatus.NOT_FOUND), "no route"
        elapsed = time.monotonic() - started
        logger.info("%s: %d in %.0f ms", name, response.status, elapsed * 1000)
        client.send(response)

    def _integrate(
        self, request: HttpRequest, route: Route, parameters: Mapping[str, str]
    ) -> HttpResponse:
        event = make_event(request, route, parameters, self._api)
        payload = json.dumps(event, ensure_ascii=False).encode()
        if len(payload) > MAX_PAYLOAD_BYTES:
            return error_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        invocation = self._invocations.submit(self._pools[route.function_name].invoke, payload)
        try:
            return read_response(invocation.result(self._integration_seconds))
        except TimeoutError:
            invocation.cancel()
            logger.warning("%s took too long", route.function_name)
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE)
        except InvocationFailed as failure:
            logger.warning("%s: %s", route.function_name, failure.message)
        except MalformedResponseError as error:
            logger.warning("%s: malformed response: %s", route.function_name, error)
        return error_response(HTTPStatus.INTERNAL_SERVER_ERROR)
